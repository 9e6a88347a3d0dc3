"""A criterion against the number of components, a line for each structure or family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.plot import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class CriterionDisplay:
    """What a selection tried: the criterion against the number of components, and the winner.

    Parameters
    ----------
    criterion : str
        Its name.
    curves : mapping of str to (m, 2) array
        For each structure or family, numbers of components and values of the criterion, in order.
    winner : tuple of (str, int, float)
        Structure or family, number of components and criterion of the winner.
    doubts : tuple of str
        Why the winner is not to be trusted blindly.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Where it was drawn, after `plot`.
    lines_ : list of Line2D
        One for each structure or family.
    """

    figsize = (7.2, 4.0)

    def __init__(
        self,
        *,
        criterion: str,
        curves: Mapping[str, FloatArray],
        winner: tuple[str, int, float],
        doubts: tuple[str, ...] = (),
    ) -> None:
        self.criterion = criterion
        self.curves = curves
        self.winner = winner
        self.doubts = doubts

    @classmethod
    def from_selection(cls, selection: Any, *, ax: Axes | None = None) -> CriterionDisplay:
        """Draw a `mixtura.selection.Selection`.

        Parameters
        ----------
        selection : Selection
            What `mixtura.select` returns, or the `selection_` of a `MixtureIC`.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        CriterionDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        _style.require_matplotlib()
        return cls.compute(selection).plot(ax=ax)

    @classmethod
    def compute(cls, selection: Any) -> CriterionDisplay:
        """Return the display that `from_selection` would draw, without drawing it."""
        points: dict[str, list[tuple[int, float]]] = {}
        for candidate in selection.candidates:
            value = getattr(candidate, selection.criterion)
            if np.isfinite(value):
                points.setdefault(candidate.kind, []).append((candidate.n_components, value))
        winner = selection.winner
        return cls(
            criterion=selection.criterion.upper(),
            curves={name: np.array(sorted(curve)) for name, curve in points.items()},
            winner=(winner.kind, winner.n_components, getattr(winner, selection.criterion)),
            doubts=selection.doubts,
        )

    def plot(self, *, ax: Axes | None = None) -> CriterionDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        CriterionDisplay
            Itself, with `ax_`, `figure_` and `lines_`.
        """
        from matplotlib.ticker import MaxNLocator

        _style.require_matplotlib()
        ax = _style.axes_or_new(ax, self.figsize)
        self.ax_, self.figure_ = ax, ax.figure
        colors = _style.component_colors(len(self.curves))
        self.lines_ = [
            ax.plot(*curve.T, color=color, lw=1.8, marker="o", ms=4, label=name)[0]
            for (name, curve), color in zip(self.curves.items(), colors, strict=True)
        ]
        kind, k, value = self.winner
        ax.plot(k, value, "o", ms=12, mfc="none", mec=_style.INK, mew=1.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_formatter("{x:,.6g}")
        ax.set_xlabel("components", color=_style.INK)
        ax.set_ylabel(f"{self.criterion} (lower is better)", color=_style.INK)
        ax.grid(axis="y", color=_style.BARS, lw=0.6)
        _style.despine(ax)
        if len(self.curves) > 1:
            ax.legend(frameon=False, fontsize=8, labelcolor=_style.INK)
        noun = "component" if k == 1 else "components"
        remark = "not stable: the doubts in the table say why" if self.doubts else "stable"
        _style.heading(ax, f"{kind} {k} {noun}: {self.criterion} {value:,.2f}", remark)
        return self
