"""A histogram: bins between edges, and how many values fell into each."""

from __future__ import annotations

from collections.abc import Generator
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.grid import CHUNK_ROWS, Chunk
from mixtura.sources.arrays import ArraySource
from mixtura.sources.local import LocalSource

VALUES_A_BIN = 4  # that stand for a bin at a start: even one bin then has a width


class Histogram(LocalSource):
    """Counts of values of one column in bins, to be given to `fit`, `score`, `aic` and `bic` in place of rows.

    Parameters
    ----------
    edges : (m + 1,) array-like
        Where bins begin and end, in increasing order. The first may be -inf and the last +inf: such a bin is open.
    counts : (m,) array-like
        How many values fell into each bin: numbers from 0, which may be fractions, as weights are.

    Raises
    ------
    ValueError
        For edges that do not increase, counts that are negative or all 0, lengths that do not fit, and NaN.

    Notes
    -----
    No value fell outside the bins. A row of this source is a bin, its lower and its upper edge, whose weight is the
    count. Formulas I1 to I4.

    Examples
    --------
    >>> import numpy as np
    >>> from mixtura import GaussianMixture, Histogram
    >>> ages = Histogram([0, 20, 40, 60, np.inf], [12, 30, 41, 9])
    >>> fitted = GaussianMixture(1).fit(ages)
    >>> fitted.means_.round(1).tolist()
    [[40.3]]
    """

    n_features = 1
    names = None

    def __init__(self, edges: Any, counts: Any) -> None:
        self.edges, self.counts = _vector("edges", edges), _vector("counts", counts)
        _check_edges(self.edges)
        _check_counts(self.counts, self.edges)
        self.n_rows = len(self.counts)
        self._bins = Chunk(np.column_stack([self.edges[:-1], self.edges[1:]]), self.counts)

    def __repr__(self) -> str:
        low, high = self.edges[0], self.edges[-1]
        return f"Histogram({self.n_rows} bins from {low:g} to {high:g}, {self.counts.sum():g} values)"

    @cached_property
    def fingerprint(self) -> str:
        """Digest of edges and counts."""
        return blake2b(self.edges.tobytes() + self.counts.tobytes(), digest_size=16).hexdigest()

    def chunks(self) -> Generator[Chunk, None, None]:
        """Yield the bins."""
        yield from self._bins.split(CHUNK_ROWS)

    @property
    def n_positive(self) -> int:
        """Bins that are not empty."""
        return int(np.count_nonzero(self.counts))

    def take(self, ranks: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the bins of these ascending ranks among those that are not empty, with their counts."""
        bins = np.flatnonzero(self.counts)[ranks]
        return self._bins.x[bins], self.counts[bins]

    def locate(self, row: int) -> str:
        """Return which bin it is, in words, for errors."""
        return f"bin {row}"

    def stand_in(self) -> ArraySource:
        """Return values spread evenly over the bins that are not empty: where to look for a start.

        An open bin is taken to be as wide as the one beside it.
        """
        edges = self.edges.copy()
        if np.isinf(edges[0]):
            edges[0] = 2 * edges[1] - edges[2]
        if np.isinf(edges[-1]):
            edges[-1] = 2 * edges[-2] - edges[-3]
        inside = (np.arange(VALUES_A_BIN) + 0.5) / VALUES_A_BIN
        filled = np.flatnonzero(self.counts)
        low, high = edges[filled, None], edges[filled + 1, None]
        values = low * (1 - inside) + high * inside
        weight = np.repeat(self.counts[filled] / VALUES_A_BIN, VALUES_A_BIN)
        return ArraySource(values.reshape(-1, 1), weight)


def _vector(name: str, values: Any) -> FloatArray:
    """Return numbers as a vector of their own, that nobody else can change."""
    try:
        vector = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} of a histogram: expected numbers in a vector ({error})") from None
    if vector.ndim != 1:
        raise ValueError(
            f"{name} of a histogram have shape {vector.shape}, expected a vector: histograms are of one column"
        )
    vector.flags.writeable = False
    return vector


def _check_edges(edges: FloatArray) -> None:
    if len(edges) < 2:
        raise ValueError(f"a histogram has {len(edges)} edges, expected one more than bins, at least 2")
    if np.isnan(edges).any():
        raise ValueError(f"edge {int(np.isnan(edges).argmax())} of a histogram is NaN, expected a number")
    with np.errstate(invalid="ignore"):  # infinity less infinity
        rises = np.diff(edges) > 0
    if not rises.all():
        j = int(np.argmin(rises))
        raise ValueError(
            f"edges {j} and {j + 1} of a histogram are {edges[j]:g} and {edges[j + 1]:g}, expected increasing "
            f"edges: sort them, and give each once"
        )
    if not np.isfinite(np.diff(edges)).any():
        raise ValueError("all bins of a histogram are open, expected one at least between two finite edges")


def _check_counts(counts: FloatArray, edges: FloatArray) -> None:
    if len(counts) != len(edges) - 1:
        raise ValueError(
            f"a histogram of {len(edges)} edges has {len(counts)} counts, expected {len(edges) - 1}: one between each "
            f"edge and the next"
        )
    good = np.isfinite(counts) & (counts >= 0)
    if not good.all():
        j = int(np.argmin(good))
        raise ValueError(f"count {j} of a histogram is {counts[j]:g}, expected a finite number from 0")
    if not counts.any():
        raise ValueError("all counts of a histogram are 0: there is nothing to fit")
