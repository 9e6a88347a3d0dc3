"""Values of one column cut into fine cells, and each cell stood for by two weighted values (formulas I5 to I7).

Cells are equal parts of equal buckets, as many parts as the narrowest component asks for that reaches the bucket, so
that neither a narrow cluster nor an outlier that stretches the range costs more than some cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from math import log2

import numpy as np

from mixtura._types import FloatArray
from mixtura.grid import Chunk
from mixtura.model import Source
from mixtura.sources.arrays import ArraySource

BUCKETS = 1 << 10
STEP = 1 / 16  # most width of a cell, in standard deviations: what is left out is of the fourth order in it
REACH = 9.0  # standard deviations beyond which a component's share is below the rounding of any other's
MOST_PARTS = 1 << 16  # of one bucket
MOST_CELLS = 1 << 17  # of all: their sums stay in cache
DIGITS = 52  # that a sum of one sign holds
LEAST_RANGE = 1e-300  # of constant values
POINTLIKE = 1e-4  # deviation, in halves of a cell, below which rounding may be all there is to its skewness


@dataclass(frozen=True, eq=False)
class Cells:
    """Where the cells lie.

    Attributes
    ----------
    low, scale : float
        Where the first bucket begins, and how many buckets there are in a unit of the values.
    buckets : (m, 2) array
        The number of the first cell of each bucket, and how many it is cut into.
    rounder : float
        Adding and subtracting it rounds a product of weights and places so that all sums are exact.
    """

    low: float
    scale: float
    buckets: FloatArray
    rounder: float

    @classmethod
    def over(cls, low: float, high: float, widths: FloatArray, most_weight: float) -> Cells:
        """Cut the values from `low` to `high`, of total weight `most_weight` at most.

        Parameters
        ----------
        low, high : float
            The least and the greatest value.
        widths : (m,) array
            The most that a cell of each bucket may be wide.
        most_weight : float
            A bound of the total weight.
        """
        bucket = max(high - low, LEAST_RANGE) / len(widths)
        parts = np.exp2(np.ceil(np.log2(np.clip(bucket / widths, 1, MOST_PARTS))))
        while parts.sum() > MOST_CELLS:
            parts = np.maximum(parts / 2, 1)
        buckets = np.column_stack([np.cumsum(parts) - parts, parts])
        grid = np.exp2(np.ceil(log2(most_weight)) - DIGITS)
        return cls(low, 1 / bucket, buckets, float(1.5 * grid * 2.0**DIGITS))

    def __len__(self) -> int:
        return int(self.buckets[:, 1].sum())

    def widths(self) -> FloatArray:
        """Return how wide the cells of each bucket are."""
        return 1 / (self.scale * self.buckets[:, 1])

    def tally(self, chunk: Chunk, *, compiled: bool) -> FloatArray:
        """Return the sums (cells, 4) of w, w u, w u^2 and w u^3 over a chunk, u from -1 to 1 in each cell."""
        if compiled:
            from mixtura.kernels.cells import tally_rows

            return tally_rows(chunk, self.low, self.scale, self.buckets, self.rounder, len(self))
        values = np.asarray(chunk.x[:, 0], dtype=np.float64)
        weight = np.ones(len(chunk)) if chunk.weight is None else chunk.weight
        known = ~np.isnan(values)
        weight = np.where(known, weight, 0.0)
        place = np.clip((np.where(known, values, self.low) - self.low) * self.scale, 0, len(self.buckets))
        bucket = np.minimum(place.astype(np.int64), len(self.buckets) - 1)
        first, parts = self.buckets[bucket].T
        within = (place - bucket) * parts
        part = np.minimum(np.floor(within), parts - 1)
        u, cell = 2.0 * (within - part) - 1.0, (first + part).astype(np.int64)
        sums = np.empty((len(self), 4))
        for power in range(4):
            sums[:, power] = np.bincount(cell, (weight + self.rounder) - self.rounder, len(self))
            weight = weight * u
        return sums

    def points(self, sums: FloatArray) -> ArraySource:
        """Return two values for each cell, weighted so that they have its weight, mean, variance and skewness.

        They are the nodes of the Gauss rule for what is in the cell; a cell of one value has that value twice.
        """
        filled = np.flatnonzero(sums[:, 0] > 0)
        weight = sums[filled, 0]
        mean, square, cube = (sums[filled, power] / weight for power in (1, 2, 3))
        sd = np.sqrt(np.maximum(square - mean**2, 0.0))
        third = cube - 3 * mean * square + 2 * mean**3
        skewness = np.divide(third, sd**3, out=np.zeros_like(sd), where=sd > POINTLIKE)
        root = np.sqrt(skewness**2 + 4)
        left, right = (skewness - root) / 2, (skewness + root) / 2
        u = np.clip(np.column_stack([mean + sd * left, mean + sd * right]), -1, 1)
        share = np.column_stack([weight / (1 + left**2), weight / (1 + right**2)])
        bucket = np.searchsorted(self.buckets[:, 0], filled, side="right") - 1
        first, parts = self.buckets[bucket].T
        place = bucket[:, None] + ((filled - first)[:, None] + (u + 1) / 2) / parts[:, None]
        values = self.low + place / self.scale
        return ArraySource(values.reshape(-1, 1), share.ravel())


def widths(low: float, high: float, means: FloatArray, sds: FloatArray) -> FloatArray:
    """Return how wide cells may be in each bucket from `low` to `high`, for components (k,) in any order."""
    edges = np.linspace(low, high, BUCKETS + 1)
    widest = np.full(BUCKETS, max(high - low, LEAST_RANGE))
    for mean, sd in zip(means, sds, strict=True):
        near = (edges[1:] >= mean - REACH * sd) & (edges[:-1] <= mean + REACH * sd)
        widest[near] = np.minimum(widest[near], STEP * sd)
    return widest


def compress(source: Source, cells: Cells, *, compiled: bool) -> ArraySource:
    """Return the weighted values that stand for the rows of a source, in one pass over them."""
    tables: Iterable[FloatArray] = source.map_rows(partial(cells.tally, compiled=compiled))
    total = np.zeros((len(cells), 4))
    for table in tables:
        total += table  # exactly: in any order, and however the rows are cut
    return cells.points(total)
