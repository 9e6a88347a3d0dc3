"""Full covariances of which each run of components shares one: how mixtures with tied ones are stacked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixtura._types import FloatArray
from mixtura.families.covariance import Moments
from mixtura.families.full import Full
from mixtura.families.linalg import ratio


@dataclass(frozen=True)
class Grouped(Full):
    """Covariances (k, d, d) of which each `size` that follow one another are equal."""

    size: int = 1

    def estimate(self, sums: Moments, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        own = super().estimate(sums, pivot, shift, old)
        return ratio(self._pool(sums.s0[:, None, None] * own), self._pool(sums.s0), old)

    def scatter(self, counts: FloatArray, gaps: FloatArray) -> FloatArray:
        return self._pool(super().scatter(counts, gaps))

    def rows_of_each(self, counts: FloatArray) -> FloatArray:
        return super().rows_of_each(self._pool(counts))

    def n_matrices(self, k: int) -> int:
        return k // self.size

    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        kept, factors, raised = super().factorize(covariances[:: self.size], floor)
        return self._repeat(kept), self._repeat(factors), [self.size * j for j in raised]

    def _pool(self, values: FloatArray) -> FloatArray:
        """Return the sums over the components of each group, for each component."""
        return self._repeat(values.reshape(-1, self.size, *values.shape[1:]).sum(axis=1))

    def _repeat(self, values: FloatArray) -> FloatArray:
        return np.repeat(values, self.size, axis=0)
