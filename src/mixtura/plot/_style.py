"""What the displays share of their looks: colors, figures, labels, legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

A = TypeVar("A")  # axes, or an array of them

# For 6, 8 and 10 colors, by M. A. Petroff, "Accessible color sequences for data visualization"
# (arXiv:2107.02270): distinguishable under the three common forms of color-vision deficiency.
PALETTES = (
    ("#5790fc", "#f89c20", "#e42536", "#964a8b", "#9c9ca1", "#7a21dd"),
    ("#1845fb", "#ff5e02", "#c91f16", "#c849a9", "#adad7d", "#86c8dd", "#578dff", "#656364"),
    (
        "#3f90da",
        "#ffa90e",
        "#bd1f01",
        "#94a4a2",
        "#832db6",
        "#a96b59",
        "#e76300",
        "#b9ac70",
        "#717581",
        "#92dadd",
    ),
)
INK = "#1f2430"  # lines and text of the mixture as a whole
BARS = "#d7dbe2"  # the data: light enough that every component shows on it
FAINT = "#6b7280"  # remarks
LEGEND_ENTRIES = 20  # more than this is a list nobody reads
NAME_LENGTH = 18  # characters of a column name that fit beside one panel of a grid


def require_matplotlib() -> None:
    """Check that matplotlib is there.

    Raises
    ------
    ImportError
        If it is not; the message names the extra to install.
    """
    try:
        import matplotlib  # noqa: F401  # only whether it is there is asked
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "mixtura[plot]"') from error


def component_colors(k: int) -> list[str]:
    """Choose one color for each of `k` components.

    Parameters
    ----------
    k : int
        Number of components.

    Returns
    -------
    list of str
        Hexadecimal colors: a color-blind-safe sequence up to 10, beyond that steps of viridis.
    """
    for palette in PALETTES:
        if k <= len(palette):
            return list(palette[:k])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    ramp = colormaps["viridis"]
    # The last tenth of viridis is too pale for lines on white.
    return [to_hex(ramp(t)) for t in np.linspace(0.0, 0.9, k)]


def axes_or_new(ax: A | None, size: tuple[float, float]) -> A | Axes:
    """Return `ax`, or open a pyplot figure of `size` inches with one axes, as scikit-learn's displays do."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    axes: Axes = plt.figure(figsize=size, layout="constrained").add_subplot()
    return axes


def shorten(name: str, length: int = NAME_LENGTH) -> str:
    """Cut a column name to what fits beside a panel."""
    return name if len(name) <= length else name[: length - 1] + "…"


def enumerate_names(names: Sequence[str], length: int = 80) -> str:
    """Write out as many names as fit into `length` characters, and how many more there are."""
    short = [shorten(name) for name in names]
    fit = len(short)
    while fit > 1 and len(", ".join(short[:fit])) > length:
        fit -= 1
    return ", ".join(short[:fit]) + (f" and {len(short) - fit} more" if fit < len(short) else "")


def despine(ax: Axes) -> None:
    """Keep only the two axes that are read."""
    ax.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.tick_params(colors=INK, labelsize=8, color=FAINT)
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_offset_text().set(fontsize=7, color=INK)


def heading(ax: Axes, title: str, remark: str = "") -> Text:
    """Put a title, and a fainter remark under it, at the left above an axes."""
    if remark:
        ax.annotate(
            remark,
            (0, 1),
            xytext=(0, 5),
            xycoords="axes fraction",
            textcoords="offset points",
            va="bottom",
            fontsize=8,
            color=FAINT,
            annotation_clip=False,
        ).set_in_layout(False)
    return ax.set_title(title, loc="left", fontsize=11, color=INK, pad=18 if remark else 6)


def percent(weights: NDArray[np.float64]) -> list[str]:
    """Write mixture weights as shares, short."""
    return [f"{100 * w:.1f} %" if w >= 0.0005 else "< 0.1 %" for w in weights]


def component_legend(weights: NDArray[np.float64], colors: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """Make the handles and texts of a legend of components, the heaviest ones of many.

    Parameters
    ----------
    weights : ndarray of shape (k,)
        Mixture weights.
    colors : sequence of length k
        A color for each component.

    Returns
    -------
    handles : list of Line2D
    texts : list of str
    """
    from matplotlib.lines import Line2D

    shown = np.sort(np.argsort(-weights, kind="stable")[:LEGEND_ENTRIES])
    shares = percent(weights)
    handles = [Line2D([], [], color=colors[c], lw=3, solid_capstyle="butt") for c in shown]
    texts = [f"{c}: {shares[c]}" for c in shown]
    if len(shown) < len(weights):
        handles.append(Line2D([], [], lw=0))
        texts.append(f"and {len(weights) - len(shown)} lighter")
    return handles, texts
