"""Variances without correlations: one for each column (`Diag`), or one for all (`Spherical`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.families.covariance import Completion, Covariance, Moments, split
from mixtura.families.linalg import as_columns, quotient, ratio, squared_norms, together


@dataclass(frozen=True)
class Diag(Covariance[Moments]):
    """Each component has its own variance in each column, and no correlations."""

    name: ClassVar[str] = "diag"
    correlated: ClassVar[bool] = False

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        return (k, d)

    def scale_shape(self, d: int) -> tuple[int, ...]:
        return (d,)

    def identity(self, k: int, d: int) -> FloatArray:
        return np.ones((k, d))

    def moments(self, z: FloatArray, resp: FloatArray, pivot: FloatArray) -> Moments:
        s1, s2 = np.empty_like(pivot), np.empty_like(pivot)
        for some in together(len(pivot), z.size):
            centred = z.T - pivot[some, :, None]
            weighted = resp.T[some, None] * centred
            s1[some] = weighted.sum(axis=2)
            s2[some] = (weighted * centred).sum(axis=2)
        return Moments(s0=resp.sum(axis=0), s1=s1, s2=s2)

    def expected(self, counts: FloatArray, covariances: FloatArray, shift: FloatArray) -> Moments:
        second = self.variances(covariances, *shift.shape) + shift**2
        return Moments(s0=counts, s1=counts[:, None] * shift, s2=counts[:, None] * second)

    def gather(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> Moments:
        return Moments(s0=s0, s1=s1, s2=s2.diagonal(axis1=1, axis2=2))

    def estimate(self, sums: Moments, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        return ratio(sums.s2, sums.s0, old) - shift**2

    def n_second(self, k: int) -> int:
        return 0

    def from_second(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> Moments:
        return Moments(s0=s0, s1=s1, s2=s2.reshape(s1.shape))

    def complete(self, sums: Moments, pivot: FloatArray, completion: Completion) -> Moments:
        offset, lift = completion.offset, completion.lift[0]  # the slopes are 0
        k = len(offset)
        spread = np.zeros_like(offset)
        spread[:, completion.rest] = self.variances(completion.spread, k, len(completion.rest))
        s0 = sums.s0[:, None]
        return Moments(s0=sums.s0, s1=sums.s1 @ lift.T + s0 * offset, s2=sums.s2 @ lift.T + s0 * (offset**2 + spread))

    def scatter(self, counts: FloatArray, gaps: FloatArray) -> FloatArray:
        return counts[:, None] * gaps**2

    def rows_of_each(self, counts: FloatArray) -> FloatArray:
        return counts[:, None]

    def free(self, factors: FloatArray) -> FloatArray:
        return np.log(factors).ravel()

    def from_free(self, vector: FloatArray, like: FloatArray) -> FloatArray:
        factors: FloatArray = np.exp(vector).reshape(like.shape)
        return factors

    def metric(self, factors: FloatArray, weights: FloatArray, d: int, step: FloatArray) -> FloatArray:
        return self._information(weights, d) * step

    def inverse_metric(self, factors: FloatArray, weights: FloatArray, d: int, gradient: FloatArray) -> FloatArray:
        return quotient(gradient, self._information(weights, d))

    def _information(self, weights: FloatArray, d: int) -> FloatArray:
        """Return that about the logarithm of each deviation, which is 2 for each column that it is the deviation of."""
        return np.repeat(2 * weights, d)

    def variances(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return covariances

    def widen(self, covariances: FloatArray, amount: FloatArray) -> FloatArray:
        return covariances + amount

    def narrow(self, covariances: FloatArray, components: IntArray, along: FloatArray) -> FloatArray:
        narrowed = covariances.copy()
        narrowed[components] -= along**2
        return narrowed

    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        return _floored(covariances, floor**2)

    def invert(self, factors: FloatArray) -> FloatArray:
        return 1.0 / factors**2

    def precisions(self, factors: FloatArray) -> FloatArray:
        return factors**2

    def factor_precisions(self, precisions: FloatArray) -> FloatArray:
        return _positive(precisions)

    def is_factor(self, factors: FloatArray) -> bool:
        return bool((factors > 0).all())

    def scale_factors(self, factors: FloatArray, scale: FloatArray) -> FloatArray:
        return factors * scale

    def squared_distance(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        return as_columns(
            squared_norms((z.T - means[some, :, None]) * factors[some, :, None])
            for some in together(len(means), z.size)
        )

    def log_det(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        total: FloatArray = np.log(factors).sum(axis=1)
        return total

    def log_det_slopes(self, k: int, d: int) -> FloatArray:
        return np.repeat(np.eye(k), d, axis=1)

    def whiten(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        return (z[:, None, :] - means) * factors.reshape(len(means), -1)

    def roots(self, factors: FloatArray) -> FloatArray:
        return 1.0 / factors

    def spread_scores(self, y: FloatArray) -> FloatArray:
        scores: FloatArray = (y**2 - 1) / np.sqrt(2)
        return scores

    def spread_slots(self, k: int, d: int) -> IntArray:
        return np.arange(k * d).reshape(k, d)

    def spread_effects(self, factors: FloatArray, d: int) -> FloatArray:
        variances = self.invert(factors)
        effects: FloatArray = np.diag(np.sqrt(2) * variances.ravel()).reshape(-1, *variances.shape)
        return effects

    def entries(self, shape: tuple[int, ...]) -> tuple[BoolArray, BoolArray]:
        return np.ones(shape, dtype=np.bool_), np.ones(shape, dtype=np.bool_)

    def rescale(self, covariances: FloatArray, scale: FloatArray) -> FloatArray:
        return covariances * scale**2

    def select(self, covariances: FloatArray, columns: IntArray) -> FloatArray:
        return covariances[:, columns]

    def split_factors(
        self, factors: FloatArray, given: IntArray, rest: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        slopes = np.zeros((1, len(rest), len(given)))  # columns are independent within a component
        return self.select(factors, given), self.select(factors, rest), slopes

    def expand(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return covariances[:, :, None] * np.eye(d)

    def expand_factors(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        return self.expand(factors, k, d)

    def least_rows(self, d: int) -> int:
        return 2

    def kernel(self, d: int) -> Any:
        from mixtura.kernels import gaussian_diag

        return gaussian_diag

    def unpack(self, sums: FloatArray, k: int, d: int) -> Moments:
        s0, s1, s2 = split(sums, (k,), (k, d), (k, d))
        return Moments(s0=s0, s1=s1, s2=s2)

    def n_parameters(self, k: int, d: int) -> int:
        return k * d


@dataclass(frozen=True)
class Spherical(Diag):
    """Each component has one variance, the same in every column."""

    name: ClassVar[str] = "spherical"
    isotropic: ClassVar[bool] = True

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        return (k,)

    def identity(self, k: int, d: int) -> FloatArray:
        return np.ones(k)

    def estimate(self, sums: Moments, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        mean: FloatArray = super().estimate(sums, pivot, shift, old[:, None]).mean(axis=1)
        return mean

    def scatter(self, counts: FloatArray, gaps: FloatArray) -> FloatArray:
        mean: FloatArray = super().scatter(counts, gaps).mean(axis=1)
        return mean

    def rows_of_each(self, counts: FloatArray) -> FloatArray:
        return counts

    def scale_shape(self, d: int) -> tuple[int, ...]:
        return ()

    def repeats(self, d: int) -> int:
        return d

    def _information(self, weights: FloatArray, d: int) -> FloatArray:
        return 2 * d * weights

    def variances(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return np.broadcast_to(covariances[:, None], (k, d))

    def widen(self, covariances: FloatArray, amount: FloatArray) -> FloatArray:
        return covariances + float(amount.mean())

    def narrow(self, covariances: FloatArray, components: IntArray, along: FloatArray) -> FloatArray:
        narrowed = covariances.copy()
        narrowed[components] -= float((along**2).mean())
        return narrowed

    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        return _floored(covariances, float(floor.max()) ** 2)

    def scale_factors(self, factors: FloatArray, scale: FloatArray) -> FloatArray:
        return factors * float(scale[0])

    def squared_distance(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        return super().squared_distance(np.repeat(factors[:, None], means.shape[1], axis=1), means, z)

    def log_det(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        return d * np.log(factors)

    def log_det_slopes(self, k: int, d: int) -> FloatArray:
        return d * np.eye(k)

    def spread_scores(self, y: FloatArray) -> FloatArray:
        total: FloatArray = super().spread_scores(y).sum(axis=2, keepdims=True) / np.sqrt(y.shape[2])
        return total

    def spread_slots(self, k: int, d: int) -> IntArray:
        return np.arange(k)[:, None]

    def spread_effects(self, factors: FloatArray, d: int) -> FloatArray:
        effects: FloatArray = super().spread_effects(factors, d) / np.sqrt(d)
        return effects

    def rescale(self, covariances: FloatArray, scale: FloatArray) -> FloatArray:
        return covariances * float(scale[0]) ** 2

    def select(self, covariances: FloatArray, columns: IntArray) -> FloatArray:
        return covariances

    def expand(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return covariances[:, None, None] * np.eye(d)

    def kernel(self, d: int) -> Any:
        from mixtura.kernels import gaussian_spherical

        return gaussian_spherical

    def unpack(self, sums: FloatArray, k: int, d: int) -> Moments:
        s0, s1, trace = split(sums, (k,), (k, d), (k,))
        s2 = np.zeros((k, d))
        s2[:, 0] = trace  # only what the columns add up to counts
        return Moments(s0=s0, s1=s1, s2=s2)

    def n_parameters(self, k: int, d: int) -> int:
        return k


def _positive(values: FloatArray) -> FloatArray:
    if not (values > 0).all():
        raise ValueError("a precision is not positive")
    return np.sqrt(values)


def _floored(variances: FloatArray, least: FloatArray | float) -> tuple[FloatArray, FloatArray, list[int]]:
    """Keep variances (k,) or (k, d) at `least`; return them, their factors and the components raised."""
    low = variances < least
    raised: list[int] = []
    if low.any():
        variances = np.where(low, least, variances)
        raised = np.flatnonzero(low.any(axis=1) if low.ndim == 2 else low).tolist()
    return variances, 1.0 / np.sqrt(variances), raised
