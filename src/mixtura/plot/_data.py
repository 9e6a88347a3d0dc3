"""What the displays share of their numbers: rows, names, histograms, marginal parameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixtura._types import FloatArray
from mixtura.families import Gaussian, ZeroInflated

MOST_BINS = 160  # finer bars than this are thinner than the line drawn over them
FEWEST_BINS = 12
QUANTILE_ROWS = 1_000_000  # quantiles for a picture need no more rows
TAIL = 0.001  # share of rows at either end that may not stretch the axis
PLACE_ROWS = 100_000  # and where a component is, to a pixel, as few
VISIBLE = 0.02  # weight from which a component has to be seen well
GRID = 600  # points along an axis; more cannot be seen
PEAK = np.linspace(-8.0, 8.0, 161)  # points around each mean, in its sds: no narrow peak is missed


def as_matrix(estimator: Any, X: Any) -> FloatArray:
    """Take the rows as a float matrix of as many columns as the estimator knows.

    Parameters
    ----------
    estimator : fitted estimator
    X : array-like or table of shape (n, d) or (n,)

    Returns
    -------
    ndarray of shape (n, d)

    Raises
    ------
    ValueError
        If the shape does not fit the estimator, there are no rows, or a value is not finite.
    """
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim == 1:
        rows = rows[:, None]
    d = int(estimator.n_features_in_)
    if rows.ndim != 2 or rows.shape[1] != d:
        raise ValueError(f"X has shape {np.shape(X)}; the fitted model expects {d} column(s)")
    if len(rows) == 0:
        raise ValueError("X has no rows: there is nothing to draw")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(f"X has {rows[row, column]} in row {row}, column {column}: remove or fill it")
    return rows


def as_weights(sample_weight: ArrayLike | None, n: int) -> FloatArray | None:
    """Take row weights as a vector of length `n`."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n,):
        raise ValueError(f"sample_weight has shape {weights.shape}, expected ({n},)")
    return weights


def column_names(estimator: Any) -> list[str]:
    """Name the columns: as in the table the model was fitted to, else x or x0, x1, ..."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        return [str(name) for name in names]
    d = int(estimator.n_features_in_)
    return ["x"] if d == 1 else [f"x{j}" for j in range(d)]


@contextmanager
def plain_arrays() -> Iterator[None]:
    """Let an estimator that was fitted to a table be asked about arrays without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        yield


def choose_rows(n: int, most: int, weights: FloatArray | None, seed: int) -> NDArray[np.intp]:
    """Draw at most `most` rows, in random order, heavy rows more often.

    Random order, because in the order of the data the last group would cover the others.
    """
    rng = np.random.default_rng(seed)
    if weights is None:
        return rng.permutation(n) if n <= most else rng.choice(n, most, replace=False)
    drawn = np.unique(rng.choice(n, most, p=weights / weights.sum()))
    return rng.permutation(drawn)


def view_range(values: FloatArray) -> tuple[float, float]:
    """Choose the range of an axis: all the values, unless a few far away would squeeze the rest."""
    thinned = values[:: max(1, len(values) // QUANTILE_ROWS)]
    low, high = np.quantile(thinned, [TAIL, 1 - TAIL])
    slack = 0.6 * (high - low)
    low, high = max(values.min(), low - slack), min(values.max(), high + slack)
    if not high > low:
        half = max(abs(low), 1.0) * 0.5
        return float(low - half), float(high + half)
    return float(low), float(high)


def bin_edges(values: FloatArray, bins: str | int | Sequence[float], narrowest: float = np.inf) -> FloatArray:
    """Choose histogram edges over the visible range of `values`.

    Parameters
    ----------
    values : ndarray of shape (n,)
    bins : "auto", int or sequence of float
        "auto": the width of Freedman and Diaconis, between 12 and 160 bars; bars of rounded values
        hold equally many of them, as otherwise the histogram shows combs that are not in the data.
    narrowest : float, optional
        Standard deviation of the narrowest peak to be resolved: no bar of "auto" is wider.

    Returns
    -------
    ndarray
        Increasing edges.
    """
    if not isinstance(bins, str):
        span = view_range(values) if isinstance(bins, int) else None
        return np.asarray(np.histogram_bin_edges(values, bins, span), dtype=np.float64)
    if bins != "auto":
        raise ValueError(f"bins is {bins!r}; expected 'auto', a number or a sequence of edges")
    low, high = view_range(values)
    width = float(np.clip(bar_width(values, narrowest), (high - low) / MOST_BINS, (high - low) / FEWEST_BINS))
    step = _resolution(values[:: max(1, len(values) // QUANTILE_ROWS)])
    if step > width / 8:
        width = step * np.ceil(width / step - 0.25)
        count = int(np.floor((high - low + step / 2) / width)) + 1
        return np.asarray(low - step / 2 + width * np.arange(count + 1), dtype=np.float64)
    return np.linspace(low, high, max(2, round((high - low) / width) + 1))


def bar_width(values: FloatArray, narrowest: float) -> float:
    """Return the width of Freedman and Diaconis, or the standard deviation of the narrowest peak if that is less."""
    thinned = values[:: max(1, len(values) // QUANTILE_ROWS)]
    q1, q3 = np.quantile(thinned, [0.25, 0.75])
    return min(float(2 * (q3 - q1) / np.cbrt(len(values))), narrowest)


def _resolution(values: FloatArray) -> float:
    """Find the step of which all distances between rounded values are multiples; 0 if there is none."""
    distinct = np.unique(values)
    if len(distinct) < FEWEST_BINS or len(distinct) > 8 * MOST_BINS:
        return 0.0
    gaps = np.diff(distinct)
    steps = gaps / gaps.min()
    return float(gaps.min()) if np.abs(steps - np.round(steps)).max() < 1e-3 else 0.0


def histogram(values: FloatArray, edges: FloatArray, weights: FloatArray | None) -> FloatArray:
    """Count rows in bars as a density of *all* rows, those outside the bars included."""
    counts, _ = np.histogram(values, edges, weights=weights)
    total = float(len(values)) if weights is None else weights.sum()
    return np.asarray(counts / (total * np.diff(edges)), dtype=np.float64)


def narrowest(weights: FloatArray, sds: FloatArray) -> float:
    """Take the standard deviation of the narrowest component that has a visible share."""
    return float(sds[weights >= min(VISIBLE, weights.max())].min())


def axis_top(density: FloatArray, heights: FloatArray) -> float:
    """Choose the end of a density axis: all of it, unless one spike would flatten the rest."""
    curve, bars = density.max(), heights.max()
    return float(1.06 * max(min(curve, 3 * bars), min(bars, 3 * curve), np.finfo(float).tiny))


def axis_grid(low: float, high: float, means: FloatArray, sds: FloatArray) -> FloatArray:
    """Choose where to evaluate densities: evenly, and closely around each mean."""
    near = (means[:, None] + sds[:, None] * PEAK).ravel()
    near = near[(near > low) & (near < high)]
    return np.unique(np.concatenate([np.linspace(low, high, GRID), near]))


def normal_density(x: FloatArray, means: FloatArray, variances: FloatArray) -> FloatArray:
    """Evaluate normal densities of k components at m points: shape (k, m)."""
    z2 = (x - means[:, None]) ** 2 / variances[:, None]
    return np.asarray(np.exp(-0.5 * z2) / np.sqrt(2 * np.pi * variances[:, None]), dtype=np.float64)


def is_discrete(estimator: Any) -> bool:
    """Tell whether the components yield whole numbers only."""
    return not bool(estimator.model_.family.in_support(np.array([[0.5]]))[0, 0])


def point_mass(estimator: Any) -> float:
    """Return the probability of the value 0 where all other values have a density, 0.0 where it has one as well."""
    if not isinstance(estimator.model_.family, ZeroInflated) or is_discrete(estimator):
        return 0.0
    with plain_arrays():
        return float(np.exp(estimator.score_samples(np.zeros((1, 1)))[0]))


def centers(estimator: Any) -> tuple[FloatArray, FloatArray]:
    """Take the mean and standard deviation of each component in each column: two arrays (k, d)."""
    means, covariances = gaussian_parameters(estimator)
    return means, np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))


def places(estimator: Any, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Take the mean and standard deviation (k,) of each component of one column.

    Those of a normal distribution are parameters; of others the rows tell what is needed to draw them.
    """
    if isinstance(estimator.model_.family, Gaussian):
        means, sds = centers(estimator)
        return means[:, 0], sds[:, 0]
    rows = values[:: max(1, len(values) // PLACE_ROWS)]
    with plain_arrays():
        shares = estimator.predict_proba(rows[:, None])
    shares /= np.maximum(shares.sum(axis=0), np.finfo(np.float64).tiny)
    means = rows @ shares
    return means, np.sqrt(((rows[:, None] - means) ** 2 * shares).sum(axis=0))


def gaussian_parameters(estimator: Any) -> tuple[FloatArray, FloatArray]:
    """Take the means (k, d) and dense covariances (k, d, d) of a Gaussian mixture.

    Raises
    ------
    ValueError
        If the components are not Gaussian.
    """
    family = estimator.model_.family
    if not isinstance(family, Gaussian):
        raise ValueError(
            f"the components are {family.name}, not gaussian: ellipses can't be drawn; "
            "DensityDisplay draws models of one column"
        )
    means = np.asarray(estimator.means_, dtype=np.float64)
    covariances = np.asarray(estimator.covariances_, dtype=np.float64)
    k, d = means.shape
    return means, family.covariance.expand(covariances, k, d)
