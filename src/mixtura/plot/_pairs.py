"""Pairs of columns of a Gaussian mixture: rows, ellipses, marginal densities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixtura._types import FloatArray
from mixtura.plot import _data, _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COLUMNS = 6  # panels of more are too small to read
PANEL = 1.9  # inches a side
MARGIN = 0.2  # share of the range of the data by which ellipses may extend an axis
LETTERS = 15  # characters of a remark to an inch
SIGMAS = ((1.0, 1.7, 1.0), (2.0, 1.0, 0.8))  # standard deviations, line width, opacity of each ellipse


class PairsDisplay:
    """Every pair of columns: rows by component with 1 and 2 sigma ellipses; marginals on the diagonal.

    Build it with `from_estimator`; the arrays it holds can be drawn again with `plot`.

    Parameters
    ----------
    rows : ndarray of shape (m, c)
        The rows drawn, the columns drawn.
    labels : ndarray of shape (m,)
        Most probable component of each of them.
    weights : ndarray of shape (k,)
        Mixture weights.
    means : ndarray of shape (k, c)
        Means in the columns drawn.
    covariances : ndarray of shape (k, c, c)
        Covariances in the columns drawn.
    edges, heights : list of ndarray
        Histogram of each column, of all the rows, as a density.
    names : list of str
        Names of the columns drawn.
    left_out : list of str
        Names of the columns not drawn.
    n_rows : int
        Rows in the histograms.
    colors : sequence of k colors, optional
        A color for each component.

    Attributes
    ----------
    axes_ : ndarray of shape (c, c)
        The panels, after `plot`; None above the diagonal.
    figure_ : Figure
        Where it was drawn.
    scatters_ : dict of (int, int) to PathCollection
        Rows in each panel below the diagonal.
    ellipses_ : dict of (int, int) to list of Ellipse
        In each panel, for each component its ellipses of 1 and of 2 sigma.
    lines_ : list of Line2D
        Marginal density of the mixture in each column.
    """

    def __init__(
        self,
        *,
        rows: FloatArray,
        labels: NDArray[np.intp],
        weights: FloatArray,
        means: FloatArray,
        covariances: FloatArray,
        edges: list[FloatArray],
        heights: list[FloatArray],
        names: list[str],
        left_out: list[str] | None = None,
        n_rows: int = 0,
        colors: Sequence[Any] | None = None,
    ) -> None:
        self.rows = rows
        self.labels = labels
        self.weights = weights
        self.means = means
        self.covariances = covariances
        self.edges = edges
        self.heights = heights
        self.names = names
        self.left_out = left_out or []
        self.n_rows = n_rows
        self.colors = colors

    @property
    def figsize(self) -> tuple[float, float]:
        """Inches of a figure that suits the number of columns."""
        side = max(5.6, PANEL * len(self.names) + 0.9)
        return (side, side)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        sample_weight: ArrayLike | None = None,
        columns: Sequence[int | str] | None = None,
        bins: str | int | Sequence[float] = "auto",
        max_rows: int = 4000,
        random_state: int = 0,
        colors: Sequence[Any] | None = None,
        ax: Axes | NDArray[Any] | None = None,
    ) -> PairsDisplay:
        """Draw a fitted Gaussian mixture of several columns.

        Parameters
        ----------
        estimator : fitted estimator with Gaussian components
        X : array-like or table of shape (n, d)
        sample_weight : array-like of shape (n,), optional
            Weights of the rows: in the histograms, and for the choice of rows drawn.
        columns : sequence of int or str, optional
            Columns to draw, by number or name; the first six by default.
        bins : "auto", int or sequence of float, default "auto"
            Bars of the histograms.
        max_rows : int, default 4000
            Rows drawn, chosen at random.
        random_state : int, default 0
            Seed of that choice.
        colors : sequence of k colors, optional
            A color for each component; by default a color-blind-safe sequence.
        ax : matplotlib Axes or ndarray of them of shape (c, c), optional
            Where to draw: one is divided into panels. A new figure by default.

        Returns
        -------
        PairsDisplay

        Raises
        ------
        ValueError
            If the components are not Gaussian, a column is unknown, or X does not fit the model.
        ImportError
            If matplotlib is missing.
        """
        _style.require_matplotlib()
        display = cls._compute(
            estimator,
            X,
            sample_weight=sample_weight,
            columns=columns,
            bins=bins,
            max_rows=max_rows,
            random_state=random_state,
            colors=colors,
        )
        return display.plot(ax=ax)

    @classmethod
    def _compute(
        cls,
        estimator: Any,
        X: Any,
        *,
        sample_weight: ArrayLike | None = None,
        columns: Sequence[int | str] | None = None,
        bins: str | int | Sequence[float] = "auto",
        max_rows: int = 4000,
        random_state: int = 0,
        colors: Sequence[Any] | None = None,
    ) -> PairsDisplay:
        means, covariances = _data.gaussian_parameters(estimator)
        rows = _data.as_matrix(estimator, X)
        row_weights = _data.as_weights(sample_weight, len(rows))
        names = _data.column_names(estimator)
        shown = _choose_columns(names, columns)
        drawn = rows[_data.choose_rows(len(rows), max_rows, row_weights, random_state)]
        with _data.plain_arrays():
            labels = estimator.predict(drawn)
        weights = np.asarray(estimator.weights_, dtype=np.float64)
        sds = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
        edges = [_data.bin_edges(rows[:, j], bins, _data.narrowest(weights, sds[:, j])) for j in shown]
        return cls(
            rows=drawn[:, shown],
            labels=np.asarray(labels),
            weights=weights,
            means=means[:, shown],
            covariances=covariances[:, shown][:, :, shown],
            edges=edges,
            heights=[_data.histogram(rows[:, j], e, row_weights) for j, e in zip(shown, edges, strict=True)],
            names=[names[j] for j in shown],
            left_out=[name for j, name in enumerate(names) if j not in shown],
            n_rows=len(rows),
            colors=colors,
        )

    def plot(self, *, ax: Axes | NDArray[Any] | None = None) -> PairsDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes or ndarray of them of shape (c, c), optional
            Where to draw: one is divided into panels. A new figure by default.

        Returns
        -------
        PairsDisplay
            Itself, with `axes_`, `figure_`, `scatters_`, `ellipses_` and `lines_`.
        """
        _style.require_matplotlib()
        c = len(self.names)
        self.axes_ = _panels(_style.axes_or_new(ax, self.figsize), c)
        self.figure_ = self.axes_[0, 0].figure
        colors = list(self.colors or _style.component_colors(len(self.weights)))
        self.scatters_: dict[tuple[int, int], Any] = {}
        self.ellipses_: dict[tuple[int, int], list[Any]] = {}
        self.lines_: list[Any] = []
        for i in range(c):
            self._draw_marginal(self.axes_[i, i], i, colors)
            for j in range(i):
                self._draw_pair(self.axes_[i, j], i, j, colors)
        self._label_panels()
        self._draw_heading()
        self._draw_legend(colors)
        return self

    def _limits(self, i: int) -> tuple[float, float]:
        """Choose the range of column `i`: that of the data, and the ellipses if they end not far beyond."""
        low, high = self.edges[i][0], self.edges[i][-1]
        seen = self.weights >= min(_data.VISIBLE, self.weights.max())
        reach = 2.1 * np.sqrt(self.covariances[seen, i, i])
        slack = MARGIN * (high - low)
        return (
            float(np.clip((self.means[seen, i] - reach).min(), low - slack, low - slack / 8)),
            float(np.clip((self.means[seen, i] + reach).max(), high + slack / 8, high + slack)),
        )

    def _draw_marginal(self, ax: Axes, i: int, colors: Sequence[Any]) -> None:
        edges, heights = self.edges[i], self.heights[i]
        means, variances = self.means[:, i], self.covariances[:, i, i]
        grid = _data.axis_grid(*self._limits(i), means, np.sqrt(variances))
        components = self.weights[:, None] * _data.normal_density(grid, means, variances)
        ax.stairs(heights, edges, fill=True, color=_style.BARS)
        for curve, color in zip(components, colors, strict=True):
            ax.plot(grid, curve, color=color, lw=1.1, zorder=3)
        density = components.sum(axis=0)
        self.lines_.extend(ax.plot(grid, density, color=_style.INK, lw=1.3, zorder=4))
        ax.set_xlim(self._limits(i))
        ax.set_ylim(0, _data.axis_top(density, heights))
        _style.despine(ax)
        ax.spines["left"].set_visible(False)
        ax.set_yticks([])

    def _draw_pair(self, ax: Axes, i: int, j: int, colors: Sequence[Any]) -> None:
        from matplotlib import patheffects
        from matplotlib.colors import to_rgba_array
        from matplotlib.patches import Ellipse

        paint = to_rgba_array(colors)[self.labels]
        size = float(np.clip(6000 / len(self.rows), 2.0, 14.0))
        self.scatters_[i, j] = ax.scatter(
            self.rows[:, j], self.rows[:, i], s=size, c=paint, alpha=0.45, lw=0, rasterized=True
        )
        halo = [patheffects.withStroke(linewidth=3.2, foreground="white", alpha=0.85)]
        self.ellipses_[i, j] = []
        for component, color in enumerate(colors):
            center = (float(self.means[component, j]), float(self.means[component, i]))
            block = self.covariances[component][np.ix_([j, i], [j, i])]
            for sigma, width, opacity in SIGMAS:
                w, h, angle = ellipse_axes(block, sigma)
                ellipse = Ellipse(center, w, h, angle=angle, fill=False, ec=color, lw=width, alpha=opacity)
                ellipse.set_path_effects([*halo, patheffects.Normal()])
                self.ellipses_[i, j].append(ax.add_patch(ellipse))
        ax.set_xlim(self._limits(j))
        ax.set_ylim(self._limits(i))
        _style.despine(ax)

    def _label_panels(self) -> None:
        from matplotlib.ticker import MaxNLocator

        last = len(self.names) - 1
        for i, name in enumerate(self.names):
            for j in range(i + 1):
                ax = self.axes_[i, j]
                ax.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
                ax.tick_params(labelbottom=i == last, labelleft=j == 0 and i > 0, labelsize=7)
                if i != j:
                    ax.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
            self.axes_[last, i].set_xlabel(_style.shorten(name), fontsize=9, color=_style.INK)
            if i > 0:
                self.axes_[i, 0].set_ylabel(_style.shorten(name), fontsize=9, color=_style.INK)
        self.figure_.align_ylabels(list(self.axes_[1:, 0]))

    def _draw_heading(self) -> None:
        noun = "component" if len(self.weights) == 1 else "components"
        rows = f"{self.n_rows:,} rows"
        if len(self.rows) < self.n_rows:
            rows += f", {len(self.rows):,} drawn"
        title = f"{len(self.weights)} {noun}"
        if self.left_out:
            budget = int(LETTERS * (self.figsize[0] - 1)) - len(rows) - 24
            total = len(self.names) + len(self.left_out)
            title += f", {len(self.names)} of {total} columns"
            rows += f" · left out: {_style.enumerate_names(self.left_out, budget)}"
        _style.heading(self.axes_[0, 0], title, rows)

    def _draw_legend(self, colors: Sequence[Any]) -> None:
        handles, texts = _style.component_legend(self.weights, colors)
        corner = self.axes_[0, 0]
        legend = corner.legend(
            handles,
            texts,
            loc="upper left",
            bbox_to_anchor=(1.06, 1.0),
            borderaxespad=0.0,
            frameon=False,
            fontsize=8,
            labelcolor=_style.INK,
            ncols=1 + (len(handles) - 1) // 10,
        )
        legend.set_in_layout(False)


def ellipse_axes(covariance: FloatArray, sigma: float) -> tuple[float, float, float]:
    """Turn a covariance into an ellipse of `sigma` standard deviations.

    Parameters
    ----------
    covariance : ndarray of shape (2, 2)
    sigma : float

    Returns
    -------
    width, height, angle : float
        Full lengths along and across the widest direction, and its angle in degrees.
    """
    values, vectors = np.linalg.eigh(covariance)
    height, width = 2 * sigma * np.sqrt(np.maximum(values, 0.0))
    return float(width), float(height), float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))


def _choose_columns(names: list[str], columns: Sequence[int | str] | None) -> list[int]:
    if columns is None:
        return list(range(min(len(names), MOST_COLUMNS)))
    chosen = []
    for column in columns:
        known = column in names if isinstance(column, str) else 0 <= column < len(names)
        if not known:
            raise ValueError(f"unknown column {column!r}; the model has {_style.enumerate_names(names, 200)}")
        chosen.append(names.index(column) if isinstance(column, str) else int(column))
    if not chosen:
        raise ValueError("columns is empty: name at least one")
    return chosen


def _panels(ax: Axes | NDArray[Any], c: int) -> NDArray[Any]:
    """Lay out the panels on and below the diagonal."""
    if isinstance(ax, np.ndarray):
        if ax.shape != (c, c):
            raise ValueError(f"ax has shape {ax.shape}; {c} columns need ({c}, {c})")
        for above in ax[np.triu_indices(c, 1)]:
            above.set_axis_off()
        return ax
    cells = ax.get_subplotspec()
    if cells is None:
        raise ValueError("ax is not part of a grid of subplots; pass one that is, or an array of axes")
    ax.set_axis_off()
    grid = cells.subgridspec(c, c, wspace=0.06, hspace=0.06)
    panels = np.full((c, c), None, dtype=object)
    for i in range(c):
        for j in range(i + 1):
            panels[i, j] = ax.figure.add_subplot(grid[i, j])
    return panels
