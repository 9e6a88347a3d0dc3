"""The density of a mixture of one column, over the histogram of its data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mixtura._types import FloatArray
from mixtura.plot import _data, _style
from mixtura.sources.histogram import Histogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEPARATE_BARS = 60  # up to this many whole numbers, counts are drawn as bars with gaps
MOST_COUNTS = 4000  # whole numbers at which a probability is evaluated; beyond that, every so many


class DensityDisplay:
    """Density of a mixture of one column, its weighted components, and the data.

    Build it with `from_estimator`; the arrays it holds can be drawn again with `plot`.

    Parameters
    ----------
    grid : ndarray of shape (m,)
        Where the density is evaluated; whole numbers for counts.
    components : ndarray of shape (k, m)
        Weighted density (probability, for counts) of each component.
    weights : ndarray of shape (k,)
        Mixture weights.
    edges : ndarray of shape (b + 1,)
        Histogram edges.
    heights : ndarray of shape (b,)
        Histogram as a density of all rows.
    family : str
        Name of the family of the components.
    discrete : bool
        Whether the column holds counts.
    name : str
        Name of the column.
    n_rows : int
        Rows in the histogram.
    mass, zeros : float
        Probability of the value 0 where it is a point among numbers that have a density, and the share of the rows that
        are 0: bars of these areas, left of 0. Both are 0.0 elsewhere.

    Attributes
    ----------
    density : ndarray of shape (m,)
        Density of the mixture: the sum of its components; without the point.
    ax_, figure_ : Axes, Figure
        Where it was drawn, after `plot`.
    line_ : Line2D
        The mixture.
    component_lines_ : list of Line2D
        The components.
    bars_ : artist
        The data.
    point_ : artist or None
        The probability of 0, if it is a point.
    """

    figsize = (7.2, 4.3)

    def __init__(
        self,
        *,
        grid: FloatArray,
        components: FloatArray,
        weights: FloatArray,
        edges: FloatArray,
        heights: FloatArray,
        family: str,
        discrete: bool = False,
        name: str = "x",
        n_rows: int = 0,
        mass: float = 0.0,
        zeros: float = 0.0,
    ) -> None:
        self.grid = grid
        self.components = components
        self.weights = weights
        self.edges = edges
        self.heights = heights
        self.discrete = discrete
        self.family = family
        self.name = name
        self.n_rows = n_rows
        self.mass, self.zeros = mass, zeros
        self.density = components.sum(axis=0)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        sample_weight: ArrayLike | None = None,
        bins: str | int | Sequence[float] = "auto",
        ax: Axes | None = None,
    ) -> DensityDisplay:
        """Draw a fitted mixture of one column over its data.

        Parameters
        ----------
        estimator : fitted estimator of one column
        X : array-like or table of shape (n,) or (n, 1), or Histogram
            The rows, or counts of them; of open bins nothing is drawn.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows in the histogram.
        bins : "auto", int or sequence of float, default "auto"
            Bars of the histogram. Ignored for counts: those have a bar a number, or a few numbers.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        DensityDisplay

        Raises
        ------
        ValueError
            If the model has more than one column, or X does not fit it.
        ImportError
            If matplotlib is missing.
        """
        _style.require_matplotlib()
        return cls._compute(estimator, X, sample_weight=sample_weight, bins=bins).plot(ax=ax)

    @classmethod
    def _compute(
        cls,
        estimator: Any,
        X: Any,
        *,
        sample_weight: ArrayLike | None = None,
        bins: str | int | Sequence[float] = "auto",
    ) -> DensityDisplay:
        if estimator.n_features_in_ != 1:
            raise ValueError(
                f"DensityDisplay draws models of one column, this one has {estimator.n_features_in_}: use PairsDisplay"
            )
        discrete, mass, zeros = _data.is_discrete(estimator), _data.point_mass(estimator), 0.0
        if isinstance(X, Histogram):
            edges, heights = _bars(X)
            means, sds = _data.centers(estimator)
            grid = _data.axis_grid(edges[0], edges[-1], means[:, 0], sds[:, 0])
            n_rows = round(X.counts.sum())
        else:
            values = _data.as_matrix(estimator, X)[:, 0]
            weights, n_rows = _data.as_weights(sample_weight, len(values)), len(values)
            if mass:
                values, weights, zeros = _take_zeros(values, weights)
            means, sds = _data.places(estimator, values)
            narrowest = _data.narrowest(np.asarray(estimator.weights_), sds)
            if discrete:
                grid, edges = _counts_grid(values, narrowest)
            else:
                edges = _data.bin_edges(values, bins, narrowest)
                grid = _data.axis_grid(edges[0], edges[-1], means, sds)
            heights = (1 - zeros) * _data.histogram(values, edges, weights)
        return cls(
            grid=grid,
            components=_component_densities(estimator, grid),
            weights=np.asarray(estimator.weights_, dtype=np.float64),
            edges=edges,
            heights=heights,
            discrete=discrete,
            family=estimator.model_.family.name,
            name=_data.column_names(estimator)[0],
            n_rows=n_rows,
            mass=mass,
            zeros=zeros,
        )

    def plot(self, *, ax: Axes | None = None) -> DensityDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        DensityDisplay
            Itself, with `ax_`, `figure_`, `line_`, `component_lines_` and `bars_`.
        """
        _style.require_matplotlib()
        ax = _style.axes_or_new(ax, self.figsize)
        self.ax_, self.figure_ = ax, ax.figure
        colors = _style.component_colors(len(self.weights))
        self._draw_data(ax)
        self._draw_components(ax, colors)
        self._draw_mixture(ax)
        width = float(self.edges[1] - self.edges[0])
        self.point_ = self._draw_point(ax, width) if self.mass else None
        ax.set_xlim(min(self.edges[0], -1.5 * width) if self.mass else self.edges[0], self.edges[-1])
        points = np.array([self.mass, self.zeros]) / width
        ax.set_ylim(0, _data.axis_top(np.append(self.density, points[0]), np.append(self.heights, points[1])))
        ax.yaxis.set_major_formatter("{x:.4g}")  # a common factor would be written over the heading
        ax.set_xlabel(_style.shorten(self.name, 60), color=_style.INK)
        ax.set_ylabel("probability" if self.discrete else "density", color=_style.INK)
        _style.despine(ax)
        noun = "component" if len(self.weights) == 1 else "components"
        _style.heading(ax, f"{len(self.weights)} {self.family} {noun}", f"{self.n_rows:,} rows")
        self._draw_legend(ax, colors)
        return self

    def _draw_data(self, ax: Axes) -> None:
        if self._separate:
            widths = 0.86 * np.diff(self.edges)
            middles = (self.edges[1:] + self.edges[:-1]) / 2
            self.bars_: Any = ax.bar(middles, self.heights, widths, color=_style.BARS, label="data")
        else:
            self.bars_ = ax.stairs(self.heights, self.edges, fill=True, color=_style.BARS, label="data")

    def _draw_mixture(self, ax: Axes) -> None:
        look: dict[str, Any] = {"color": _style.INK, "zorder": 4, "label": "mixture"}
        if self._separate:
            ax.vlines(self.grid, 0, self.density, color=_style.INK, lw=1.0, zorder=4)
            (self.line_,) = ax.plot(self.grid, self.density, "o", ms=4, **look)
        else:
            (self.line_,) = ax.plot(self.grid, self.density, lw=1.6, **look)

    def _draw_point(self, ax: Axes, width: float) -> Any:
        """Draw the share of zeros, and their probability, as bars of these areas whose right side is at 0."""
        ax.bar(-width, self.zeros / width, width, align="edge", color=_style.BARS)
        edge: dict[str, Any] = {"align": "edge", "fill": False, "edgecolor": _style.INK, "lw": 1.6, "zorder": 4}
        return ax.bar(-width, self.mass / width, width, **edge)

    @property
    def _separate(self) -> bool:
        """Whether there are few enough whole numbers for a bar and a stem each."""
        return self.discrete and len(self.grid) <= SEPARATE_BARS

    def _draw_components(self, ax: Axes, colors: Sequence[str]) -> None:
        marker = "o" if self._separate else None
        self.component_lines_ = []
        for heights, color in zip(self.components, colors, strict=True):
            if len(colors) <= _style.LEGEND_ENTRIES and not self._separate:
                ax.fill_between(self.grid, heights, color=color, alpha=0.12, lw=0, zorder=2)
            (line,) = ax.plot(self.grid, heights, color=color, lw=1.5, marker=marker, ms=3, zorder=3)
            self.component_lines_.append(line)

    def _draw_legend(self, ax: Axes, colors: Sequence[str]) -> None:
        handles, texts = _style.component_legend(self.weights, colors)
        if self.point_ is not None:
            handles.append(self.point_)
            (share,) = _style.percent(np.array([self.mass]))
            texts.append(f"exactly 0: {share}")
        ax.legend(
            [self.bars_, self.line_, *handles],
            ["data", "mixture", *texts],
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0.0,
            frameon=False,
            fontsize=8,
            labelcolor=_style.INK,
        )


def _take_zeros(values: FloatArray, weights: FloatArray | None) -> tuple[FloatArray, FloatArray | None, float]:
    """Return the values that are not 0, their weights, and the share of zeros; all values if there are no others."""
    zero = values == 0
    share = float(np.average(zero, weights=weights))
    if zero.all():
        return values, weights, share
    return values[~zero], None if weights is None else weights[~zero], share


def _bars(histogram: Histogram) -> tuple[FloatArray, FloatArray]:
    """Return the edges of the bins that are not open, and their counts as a density of all values."""
    closed = np.isfinite(np.diff(histogram.edges))  # open ones are the first and the last at most
    edges = histogram.edges[np.isfinite(histogram.edges)]
    heights = histogram.counts[closed] / (histogram.counts.sum() * np.diff(edges))
    return edges, heights


def _component_densities(estimator: Any, grid: FloatArray) -> FloatArray:
    """Split the density at each point by responsibility: right for any family; 0 where it has none."""
    possible = estimator.model_.family.in_support(grid[:, None])[:, 0]
    if _data.point_mass(estimator):
        possible &= grid != 0
    rows, densities = grid[possible, None], np.zeros((len(estimator.weights_), len(grid)))
    with _data.plain_arrays():
        densities[:, possible] = np.exp(estimator.score_samples(rows)) * estimator.predict_proba(rows).T
    return densities


def _counts_grid(values: FloatArray, narrowest: float) -> tuple[FloatArray, FloatArray]:
    """Choose whole numbers to evaluate at, and bars of equally many whole numbers each."""
    low, high = (np.floor(values.min()), np.ceil(_data.view_range(values)[1]))
    numbers = high - low + 1
    widest = 1.0 if numbers <= SEPARATE_BARS else _data.bar_width(values, narrowest)
    step = np.ceil(max(1.0, widest, numbers / _data.MOST_BINS))
    edges = low - 0.5 + step * np.arange(int(np.ceil(numbers / step)) + 1)
    stride = max(1.0, np.ceil(numbers / MOST_COUNTS))
    return np.arange(low, edges[-1], stride), edges
