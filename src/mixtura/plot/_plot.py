"""The picture that suits a model, in one call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixtura.plot import _style
from mixtura.plot._criterion import CriterionDisplay
from mixtura.plot._density import DensityDisplay
from mixtura.plot._pairs import PairsDisplay
from mixtura.plot._trace import TraceDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 180  # sharp on a dense screen, yet under a megabyte


def plot(estimator: Any, X: Any, *, ax: Axes | None = None, **options: Any) -> DensityDisplay | PairsDisplay:
    """Draw a fitted mixture over its data: the density of one column, pairs of several.

    Parameters
    ----------
    estimator : fitted estimator
    X : array-like or table of shape (n, d) or (n,)
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    **options
        Passed on to `DensityDisplay.from_estimator` or `PairsDisplay.from_estimator`.

    Returns
    -------
    DensityDisplay or PairsDisplay
    """
    _style.require_matplotlib()
    return prepare(estimator, X, **options).plot(ax=ax)


def prepare(estimator: Any, X: Any, **options: Any) -> DensityDisplay | PairsDisplay:
    """Compute the display that `plot` would draw, without drawing it.

    Parameters
    ----------
    estimator : fitted estimator
    X : array-like or table of shape (n, d) or (n,)
    **options
        As for `plot`.

    Returns
    -------
    DensityDisplay or PairsDisplay
    """
    if estimator.n_features_in_ == 1:
        return DensityDisplay._compute(estimator, X, **options)
    return PairsDisplay._compute(estimator, X, **options)


def save(
    display: CriterionDisplay | DensityDisplay | PairsDisplay | TraceDisplay,
    path: str | Path,
    *,
    format: str | None = None,
) -> None:
    """Draw a display into a file, without pyplot and its open figures.

    Parameters
    ----------
    display : CriterionDisplay, DensityDisplay, PairsDisplay or TraceDisplay
    path : str or Path
        A .png, .pdf or .svg file.
    format : str, optional
        "png", "pdf" or "svg", for a path that doesn't say.
    """
    _style.require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=display.figsize, layout="constrained", facecolor="white")
    display.plot(ax=figure.add_subplot())
    figure.savefig(path, format=format, dpi=DPI)
