"""The components of several Gaussian mixtures at once: their densities and sums are products of large matrices.

A log-density is linear in the columns of a row and their squares and products, and the sums are those of the same. That
is fast and loses digits where a component is narrow beside the data; such a pass is made as for one mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.families.covariance import Moments
from mixtura.families.full import Full
from mixtura.families.gaussian import Gaussian, GaussianParams
from mixtura.families.linalg import lower_ones, pack_lower, ratio
from mixtura.frame import EPS
from mixtura.model import Event
from mixtura.stats import Sums

# The logarithm of a weight of 0 in a product of matrices, which may multiply it by 0 where it pads: -inf then warns.
NEVER = -1e30


@dataclass(frozen=True, eq=False)
class Features:
    """Rows, and what of them log-densities are linear in, column by column.

    Attributes
    ----------
    rows : (n, d) array
        In the data's own units.
    first : (1 + d, n) array
        Ones, and the columns in the frame.
    second : (t, n) array
        Squares of these columns, among their products if components are correlated.
    """

    rows: FloatArray
    first: FloatArray
    second: FloatArray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: slice) -> Features:
        return Features(self.rows[some], self.first[:, some], self.second[:, some])


@dataclass(frozen=True)
class StackedGaussian(Gaussian):
    """Components of several mixtures of `size` each, with moments about the centre of the frame where these do."""

    size: int = 1
    digits_lost: ClassVar[float] = 1e-4  # starts need no more than four

    def stack(self, members: Sequence[GaussianParams]) -> GaussianParams:
        """Return the components of several mixtures of one frame as those of this family."""
        means = np.concatenate([theta.means for theta in members])
        covariances = self.covariance.stack([theta.covariances for theta in members])
        factors = self.covariance.stack([theta.factors for theta in members])
        return self._about(replace(members[0], means=means, covariances=covariances, factors=factors))

    def unstack(self, theta: GaussianParams) -> list[GaussianParams]:
        """Return the components of each of the mixtures that were stacked."""
        parts = zip(
            theta.means.reshape(-1, self.size, theta.means.shape[1]),
            self.covariance.unstack(theta.covariances, self.size),
            self.covariance.unstack(theta.factors, self.size),
            strict=True,
        )
        return [
            replace(theta, means=means, covariances=covariances, factors=factors, pivot=means)
            for means, covariances, factors in parts
        ]

    def prepare(self, theta: GaussianParams, x: FloatArray) -> Features:
        """Return rows (n, d) with what densities and sums are linear in."""
        columns = theta.frame.enter(x).T
        squares = [columns[: i + 1] * columns[i] for i in range(len(columns))]
        return Features(
            rows=x,
            first=np.vstack([np.ones(len(x)), columns]),
            second=np.concatenate(squares) if self.covariance.correlated else columns * columns,
        )

    def joint(self, theta: GaussianParams, log_weights: FloatArray, x: Features) -> FloatArray:
        """Return the log-densities (k, n) of rows and their components (formula K11)."""
        if theta.pivot.any():
            return log_weights[:, None] + self.log_density(theta, x.rows).T
        precisions = self.covariance.precisions(theta.factors)
        slopes = self._multiply(precisions, theta.means)
        peaks = log_weights + self.log_peaks(theta) - (slopes * theta.means).sum(axis=1) / 2
        joint: FloatArray = np.column_stack([np.maximum(peaks, NEVER), slopes]) @ x.first
        by_matrix = self._of_each_matrix(joint)
        by_matrix -= (self._curvatures(precisions, theta)[:: by_matrix.shape[1]] @ x.second)[:, None]
        return joint

    def moments(self, theta: GaussianParams, x: Features, resp: FloatArray) -> Sums:
        """Return the moments about the pivot of rows of responsibilities (k, n) (formulas S1 to S3, K11)."""
        resp = resp.astype(np.float64, copy=False)
        if theta.pivot.any():
            return self.suffstats(theta, x.rows, resp.T)
        first = resp @ x.first.T
        second = self._of_each_matrix(resp).sum(axis=1) @ x.second.T
        sums: Sums = self.covariance.from_second(first[:, 0], first[:, 1:], second)
        return sums

    def distances(self, theta: GaussianParams) -> FloatArray:
        """Return the squared distances (k, k) between means, in the mean of the covariances."""
        k, d = theta.means.shape
        within = self.covariance.expand(theta.covariances, k, d).mean(axis=0)
        whitened = np.linalg.solve(np.linalg.cholesky(within), theta.means.T).T
        squared: FloatArray = ((whitened[:, None] - whitened) ** 2).sum(axis=2)
        return squared

    def _of_each_matrix(self, values: FloatArray) -> FloatArray:
        """Return a view (m, k / m, n) of values (k, n) by the covariance that components share."""
        k, n = values.shape
        return values.reshape(self.covariance.n_matrices(k), -1, n)

    def _curvatures(self, precisions: FloatArray, theta: GaussianParams) -> FloatArray:
        """Return by how much log-densities (k,) fall with each of these squares and products, (k, t)."""
        if not self.covariance.correlated:
            return self.covariance.variances(precisions, *theta.means.shape) / 2
        return pack_lower(precisions * lower_ones(precisions.shape[-1], 0.5)).reshape(len(precisions), -1)

    def _assemble(
        self, theta: GaussianParams, means: FloatArray, covariances: FloatArray
    ) -> tuple[GaussianParams, list[Event]]:
        theta, events = super()._assemble(theta, means, covariances)
        return self._about(theta), events

    def _about(self, theta: GaussianParams) -> GaussianParams:
        """Return `theta` with moments about the centre of the frame if no component is too narrow for that."""
        precisions = self.covariance.precisions(theta.factors)
        sharpest = self.covariance.variances(precisions, *theta.means.shape).max()
        wide = EPS * sharpest < self.digits_lost  # no row is further than 1 from the centre
        return replace(theta, pivot=np.zeros_like(theta.means) if wide else theta.means)


@dataclass(frozen=True)
class Grouped(Full):
    """Covariances (k, d, d) of which each `size` that follow one another are equal: those of mixtures with tied ones.

    Second moments are those of each group.
    """

    size: int = 1

    def moments(self, z: FloatArray, resp: FloatArray, pivot: FloatArray) -> Moments:
        own = super().moments(z, resp, pivot)
        return replace(own, s2=self._pool(own.s2))

    def from_second(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> Moments:
        each = super().from_second(s0[:: self.size], s1, s2)
        return replace(each, s0=s0)

    def estimate(self, sums: Moments, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        spread = sums.s2 - self._scatter(sums.s0, shift)
        return self._repeat(ratio(spread, self._pool(sums.s0), old[:: self.size]))

    def scatter(self, counts: FloatArray, gaps: FloatArray) -> FloatArray:
        return self._repeat(self._scatter(counts, gaps))

    def rows_of_each(self, counts: FloatArray) -> FloatArray:
        return super().rows_of_each(self._repeat(self._pool(counts)))

    def n_matrices(self, k: int) -> int:
        return k // self.size

    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        kept, factors, raised = super().factorize(covariances[:: self.size], floor)
        return self._repeat(kept), self._repeat(factors), [self.size * j for j in raised]

    def take(self, matrices: FloatArray, components: IntArray) -> FloatArray:
        return self._repeat(matrices[components[:: self.size]])  # that of the first in each group

    def stack(self, members: Sequence[FloatArray]) -> FloatArray:
        return self._repeat(np.stack(members))

    def unstack(self, stack: FloatArray, k: int) -> list[FloatArray]:
        return list(stack[::k])

    def _scatter(self, counts: FloatArray, gaps: FloatArray) -> FloatArray:
        """Return the sums of squares of each group's rows at these points."""
        return self._pool(counts[:, None, None] * gaps[:, :, None] * gaps[:, None, :])

    def _pool(self, values: FloatArray) -> FloatArray:
        """Return the sums over the components of each group."""
        total: FloatArray = values.reshape(-1, self.size, *values.shape[1:]).sum(axis=1)
        return total

    def _repeat(self, values: FloatArray) -> FloatArray:
        """Return what is of each group for each component."""
        return np.repeat(values, self.size, axis=0)
