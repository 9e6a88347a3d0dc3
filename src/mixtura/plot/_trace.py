"""The objective of a fit, evaluation by evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.plot import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKED = 40  # up to this many evaluations, each has a dot


class TraceDisplay:
    """Objective of a fit (log-likelihood plus log prior) after each number of updates.

    Parameters
    ----------
    objective : ndarray of shape (n_evaluations,)
        One value for each evaluation; the first is that of the starting parameters.
    status : str
        How the fit ended.
    events : tuple
        What happened on the way: floors, collapses. Each has an `iteration` and a `message`.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Where it was drawn, after `plot`.
    line_ : Line2D
        The trace.
    """

    figsize = (7.2, 4.0)

    def __init__(self, *, objective: FloatArray, status: str = "", events: tuple[Any, ...] = ()) -> None:
        self.objective = objective
        self.status = status
        self.events = events

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Axes | None = None) -> TraceDisplay:
        """Draw how the fit of an estimator went.

        Parameters
        ----------
        estimator : fitted estimator
            With a `result_`.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        TraceDisplay

        Raises
        ------
        ValueError
            If the estimator keeps no trace: it was not fitted.
        ImportError
            If matplotlib is missing.
        """
        _style.require_matplotlib()
        return cls._compute(estimator).plot(ax=ax)

    @classmethod
    def _compute(cls, estimator: Any) -> TraceDisplay:
        result = getattr(estimator, "result_", None)
        if result is None:
            raise ValueError(f"{type(estimator).__name__} has no result_ to trace: fit it first")
        return cls(
            objective=np.asarray(result.objective, dtype=np.float64),
            status=str(result.status.message),
            events=tuple(result.events),
        )

    def plot(self, *, ax: Axes | None = None) -> TraceDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        TraceDisplay
            Itself, with `ax_`, `figure_` and `line_`.
        """
        from matplotlib.ticker import MaxNLocator

        _style.require_matplotlib()
        ax = _style.axes_or_new(ax, self.figsize)
        self.ax_, self.figure_ = ax, ax.figure
        updates = np.arange(len(self.objective))
        marker = "o" if len(updates) <= MARKED else None
        blue = _style.PALETTES[0][0]
        (self.line_,) = ax.plot(updates, self.objective, color=blue, lw=1.8, marker=marker, ms=4)
        for at in sorted({event.iteration for event in self.events}):
            ax.axvline(at, color=_style.PALETTES[0][1], lw=1, ls=(0, (4, 3)), zorder=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_formatter("{x:,.6g}")
        ax.set_xlabel("updates", color=_style.INK)
        ax.set_ylabel("log-likelihood + log prior", color=_style.INK)
        ax.grid(axis="y", color=_style.BARS, lw=0.6)
        _style.despine(ax)
        self._annotate(ax)
        return self

    def _annotate(self, ax: Axes) -> None:
        last = len(self.objective) - 1
        remark = self.status
        if self.events:
            remark += f" · {len(self.events)} event(s), at the dashed lines"
        noun = "update" if last == 1 else "updates"
        _style.heading(ax, f"{self.objective[-1]:,.2f} after {last:,} {noun}", remark)
