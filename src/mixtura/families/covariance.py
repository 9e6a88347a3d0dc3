"""The covariance structures of a Gaussian family, as objects: `Full`, `Tied`, `Diag`, `Spherical`.

Everything that depends on the structure is a method here. All arrays are in frame coordinates. A *factor* is the
lower-triangular ``L`` with ``L' L`` the precision, so that ``|L (z - mu)|**2`` is the squared distance; for `Diag`
and `Spherical` it is one over the standard deviation. Formula numbers are those of docs/formulas.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixtura._types import FloatArray
from mixtura.families.linalg import invert_lower, ratio, well_conditioned
from mixtura.stats import Sums


@dataclass(frozen=True, eq=False, kw_only=True)
class Moments(Sums):
    """Weighted sums about a pivot p: counts, first moments, second moments of each component.

    Attributes
    ----------
    s0 : (k,) array
        Sum of the responsibilities.
    s1 : (k, d) array
        Sum of ``r (z - p)``.
    s2 : (k, d, d) or (k, d) array
        Sum of ``r (z - p)(z - p)'``, or of its diagonal.
    """

    s0: FloatArray
    s1: FloatArray
    s2: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class PooledMoments(Sums):
    """Sums from which the scatter pooled over components follows without cancellation (formula M5).

    Attributes
    ----------
    s0, s1 : (k,), (k, d) array
        As in `Moments`.
    within : (d, d) array
        Sum of ``(z - m)(z - m)'``, where m is the row's posterior mean of the pivots.
    cross : (k, k) array
        Sum of ``r_a r_b``.
    """

    s0: FloatArray
    s1: FloatArray
    within: FloatArray
    cross: FloatArray


FACTOR_ROUNDING = 1e-3  # a covariance of condition 1e12 is rebuilt from its factor to about so many digits
BlockSums = tuple[FloatArray, FloatArray, Sums]


class Covariance(ABC):
    """One covariance structure; the methods take stacks of k components in d dimensions."""

    name: ClassVar[str]
    isotropic: ClassVar[bool] = False  # compares distances across columns: all share one scale

    @abstractmethod
    def identity(self, k: int, d: int) -> FloatArray:
        """Return unit covariances."""

    @abstractmethod
    def moments(self, z: FloatArray, resp: FloatArray, pivot: FloatArray) -> Sums:
        """Return the sums over rows `z` (n, d) with responsibilities `resp` (n, k)."""

    @abstractmethod
    def estimate(self, sums: Sums, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        """Return the covariances about the new means ``pivot + shift``; `old` where a component is empty."""

    @abstractmethod
    def variances(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        """Return the (k, d) variances."""

    @abstractmethod
    def widen(self, covariances: FloatArray, amount: FloatArray) -> FloatArray:
        """Add `amount` (d,) to the variances."""

    @abstractmethod
    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        """Return covariances kept above the floor (d,), their factors, and which components were raised."""

    @abstractmethod
    def invert(self, factors: FloatArray) -> FloatArray:
        """Return the covariances that belong to factors."""

    @abstractmethod
    def precisions(self, factors: FloatArray) -> FloatArray:
        """Return the precisions that belong to factors, in scikit-learn's shape."""

    @abstractmethod
    def factor_precisions(self, precisions: FloatArray) -> FloatArray:
        """Return factors of precisions; raise `ValueError` where one is not positive definite."""

    @abstractmethod
    def scale_factors(self, factors: FloatArray, scale: FloatArray) -> FloatArray:
        """Return the factors that act on z where `factors` act on ``z * scale``."""

    def upper(self, factors: FloatArray) -> FloatArray:
        """Return the factors as scikit-learn's ``precisions_cholesky_``."""
        return factors

    @abstractmethod
    def squared_distance(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        """Return ``|L_k (z - mu_k)|**2`` as (n, k)."""

    @abstractmethod
    def log_det(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        """Return ``log |L_k|`` as (k,)."""

    @abstractmethod
    def rescale(self, covariances: FloatArray, scale: FloatArray) -> FloatArray:
        """Return the covariances of ``z * scale``."""

    @abstractmethod
    def expand(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        """Return them as (k, d, d) matrices."""

    def check_factors(self, covariances: FloatArray, factors: FloatArray) -> None:
        """Raise a `ValueError` unless the factors are those of these covariances, which so are positive definite."""
        if not self.is_factor(factors):
            raise ValueError("factors: expected triangular ones with a positive diagonal")
        implied = self.invert(factors)
        if not np.allclose(implied, covariances, rtol=FACTOR_ROUNDING, atol=FACTOR_ROUNDING * np.abs(implied).max()):
            raise ValueError("covariances: expected those that belong to the factors")

    @abstractmethod
    def is_factor(self, factors: FloatArray) -> bool:
        """Tell whether the factors are lower triangular with a positive diagonal, or positive numbers."""

    @abstractmethod
    def line_moments(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> Sums:
        """Return the sums of one column from its moments, each (m, k), stacked by block."""

    @abstractmethod
    def e_blocks(self, x: FloatArray, weight: FloatArray | None, *params: FloatArray) -> BlockSums:
        """Run the compiled E-step: return log-likelihoods, weights and sums, stacked by block.

        `params` are the frame's shift and scale, means, factors, log-densities at the means plus log-weights,
        and the pivot.
        """

    @abstractmethod
    def n_parameters(self, k: int, d: int) -> int:
        """Return the number of free covariance parameters."""

    @abstractmethod
    def shape(self, k: int, d: int) -> tuple[int, ...]:
        """Return the shape of the covariances."""


def _positive(values: FloatArray) -> FloatArray:
    if not (values > 0).all():
        raise ValueError("a precision is not positive")
    return np.sqrt(values)


def _floored(variances: FloatArray, least: FloatArray | float) -> tuple[FloatArray, FloatArray, list[int]]:
    """Keep variances (k,) or (k, d) at `least`; return them, their factors and the components raised."""
    low = variances < least
    variances = np.where(low, least, variances)
    raised = np.flatnonzero(low.any(axis=1) if low.ndim == 2 else low)
    return variances, 1.0 / np.sqrt(variances), raised.tolist()


@dataclass(frozen=True)
class Full(Covariance):
    """Each component has its own covariance matrix."""

    name: ClassVar[str] = "full"

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        return (k, d, d)

    def identity(self, k: int, d: int) -> FloatArray:
        return np.tile(np.eye(d), (k, 1, 1))

    def moments(self, z: FloatArray, resp: FloatArray, pivot: FloatArray) -> Moments:
        k, d = pivot.shape
        s1, s2 = np.empty((k, d)), np.empty((k, d, d))
        for j in range(k):
            centred = z - pivot[j]
            weighted = resp[:, j, None] * centred
            s1[j] = weighted.sum(axis=0)
            s2[j] = weighted.T @ centred
        return Moments(s0=resp.sum(axis=0), s1=s1, s2=(s2 + s2.transpose(0, 2, 1)) / 2)

    def estimate(self, sums: Moments, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        return ratio(sums.s2, sums.s0, old) - shift[:, :, None] * shift[:, None, :]

    def variances(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return np.diagonal(covariances, axis1=1, axis2=2)

    def widen(self, covariances: FloatArray, amount: FloatArray) -> FloatArray:
        return covariances + np.diag(amount)

    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        parts = [well_conditioned(c, floor) for c in covariances]
        kept = np.array([part[0] for part in parts])
        factors = invert_lower(np.array([part[1] for part in parts]))
        return kept, factors, [j for j, part in enumerate(parts) if part[2]]

    def invert(self, factors: FloatArray) -> FloatArray:
        root = invert_lower(factors)
        return root @ np.swapaxes(root, -1, -2)

    def precisions(self, factors: FloatArray) -> FloatArray:
        return np.swapaxes(factors, -1, -2) @ factors

    def factor_precisions(self, precisions: FloatArray) -> FloatArray:
        try:
            flipped = np.linalg.cholesky(precisions[..., ::-1, ::-1])
        except np.linalg.LinAlgError:
            raise ValueError("a precision matrix is not positive definite") from None
        return np.swapaxes(flipped[..., ::-1, ::-1], -1, -2)

    def is_factor(self, factors: FloatArray) -> bool:
        lower = bool((np.triu(factors, 1) == 0).all())
        return lower and bool((np.diagonal(factors, axis1=-2, axis2=-1) > 0).all())

    def scale_factors(self, factors: FloatArray, scale: FloatArray) -> FloatArray:
        return factors * scale

    def upper(self, factors: FloatArray) -> FloatArray:
        return np.swapaxes(factors, -1, -2)

    def squared_distance(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        distance = np.empty((len(z), len(means)))
        for j, mean in enumerate(means):
            whitened = (z - mean) @ factors[j].T
            distance[:, j] = np.einsum("ni,ni->n", whitened, whitened)
        return distance

    def log_det(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        return np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)

    def rescale(self, covariances: FloatArray, scale: FloatArray) -> FloatArray:
        return covariances * scale[:, None] * scale

    def expand(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return covariances

    def line_moments(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> Sums:
        return Moments(s0=s0, s1=s1[..., None], s2=s2[..., None, None])

    def e_blocks(self, x: FloatArray, weight: FloatArray | None, *params: FloatArray) -> BlockSums:
        from mixtura.kernels import gaussian_full

        loglik, total, s0, s1, s2 = gaussian_full.e_blocks(x, weight, *params)
        return loglik, total, Moments(s0=s0, s1=s1, s2=s2)

    def n_parameters(self, k: int, d: int) -> int:
        return k * d * (d + 1) // 2


@dataclass(frozen=True)
class Tied(Full):
    """All components share one covariance matrix."""

    name: ClassVar[str] = "tied"

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        return (d, d)

    def identity(self, k: int, d: int) -> FloatArray:
        return np.eye(d)

    def moments(self, z: FloatArray, resp: FloatArray, pivot: FloatArray) -> PooledMoments:
        s0 = resp.sum(axis=0)
        weight = resp.sum(axis=1)
        share = np.divide(resp, weight[:, None], out=np.zeros_like(resp), where=weight[:, None] > 0)
        centred = z - share @ pivot
        within = (weight[:, None] * centred).T @ centred
        s1 = np.array([resp[:, j] @ (z - pivot[j]) for j in range(len(pivot))])
        return PooledMoments(s0=s0, s1=s1, within=(within + within.T) / 2, cross=resp.T @ share)

    def estimate(self, sums: PooledMoments, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        gaps = pivot[:, None, :] - pivot[None, :, :]
        between = np.einsum("ab,abi,abj->ij", sums.cross, gaps, gaps) / 2
        moved = np.einsum("k,ki,kj->ij", sums.s0, shift, shift)
        return (sums.within + between - moved) / sums.s0.sum()

    def variances(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return np.broadcast_to(np.diagonal(covariances), (k, d))

    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        kept, factors, raised = super().factorize(covariances[None], floor)
        return kept[0], factors[0], raised

    def squared_distance(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        return super().squared_distance(np.broadcast_to(factors, (len(means), *factors.shape)), means, z)

    def log_det(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        return np.repeat(super().log_det(factors[None], 1, d), k)

    def expand(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return np.broadcast_to(covariances, (k, d, d))

    def line_moments(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> Sums:
        # Scatter about each pivot is at hand here, so nothing is left to the products of responsibilities.
        within = s2.sum(axis=-1)[..., None, None]
        cross = np.zeros((*s0.shape, s0.shape[-1]))
        return PooledMoments(s0=s0, s1=s1[..., None], within=within, cross=cross)

    def e_blocks(self, x: FloatArray, weight: FloatArray | None, *params: FloatArray) -> BlockSums:
        from mixtura.kernels import gaussian_tied

        loglik, total, s0, s1, within, cross = gaussian_tied.e_blocks(x, weight, *params)
        return loglik, total, PooledMoments(s0=s0, s1=s1, within=within, cross=cross)

    def n_parameters(self, k: int, d: int) -> int:
        return d * (d + 1) // 2


@dataclass(frozen=True)
class Diag(Covariance):
    """Each component has its own variance in each column, and no correlations."""

    name: ClassVar[str] = "diag"

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        return (k, d)

    def identity(self, k: int, d: int) -> FloatArray:
        return np.ones((k, d))

    def moments(self, z: FloatArray, resp: FloatArray, pivot: FloatArray) -> Moments:
        s1, s2 = np.empty_like(pivot), np.empty_like(pivot)
        for j in range(len(pivot)):
            centred = z - pivot[j]
            s1[j] = resp[:, j] @ centred
            s2[j] = resp[:, j] @ centred**2
        return Moments(s0=resp.sum(axis=0), s1=s1, s2=s2)

    def estimate(self, sums: Moments, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        return ratio(sums.s2, sums.s0, old) - shift**2

    def variances(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return covariances

    def widen(self, covariances: FloatArray, amount: FloatArray) -> FloatArray:
        return covariances + amount

    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        return _floored(covariances, floor**2)

    def invert(self, factors: FloatArray) -> FloatArray:
        return factors**-2.0

    def precisions(self, factors: FloatArray) -> FloatArray:
        return factors**2

    def factor_precisions(self, precisions: FloatArray) -> FloatArray:
        return _positive(precisions)

    def is_factor(self, factors: FloatArray) -> bool:
        return bool((factors > 0).all())

    def scale_factors(self, factors: FloatArray, scale: FloatArray) -> FloatArray:
        return factors * scale

    def squared_distance(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        distance = np.empty((len(z), len(means)))
        for j, mean in enumerate(means):
            whitened = (z - mean) * factors[j]
            distance[:, j] = np.einsum("ni,ni->n", whitened, whitened)
        return distance

    def log_det(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        return np.log(factors).sum(axis=1)

    def rescale(self, covariances: FloatArray, scale: FloatArray) -> FloatArray:
        return covariances * scale**2

    def expand(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return covariances[:, :, None] * np.eye(d)

    def line_moments(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> Sums:
        return Moments(s0=s0, s1=s1[..., None], s2=s2[..., None])

    def e_blocks(self, x: FloatArray, weight: FloatArray | None, *params: FloatArray) -> BlockSums:
        from mixtura.kernels import gaussian_diag

        loglik, total, s0, s1, s2 = gaussian_diag.e_blocks(x, weight, *params)
        return loglik, total, Moments(s0=s0, s1=s1, s2=s2)

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
        return super().estimate(sums, pivot, shift, old[:, None]).mean(axis=1)

    def variances(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return np.broadcast_to(covariances[:, None], (k, d))

    def widen(self, covariances: FloatArray, amount: FloatArray) -> FloatArray:
        return covariances + amount.mean()

    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        return _floored(covariances, float(floor.max()) ** 2)

    def scale_factors(self, factors: FloatArray, scale: FloatArray) -> FloatArray:
        return factors * scale[0]

    def squared_distance(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        return super().squared_distance(np.repeat(factors[:, None], means.shape[1], axis=1), means, z)

    def log_det(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        return d * np.log(factors)

    def rescale(self, covariances: FloatArray, scale: FloatArray) -> FloatArray:
        return covariances * scale[0] ** 2

    def expand(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return covariances[:, None, None] * np.eye(d)

    def e_blocks(self, x: FloatArray, weight: FloatArray | None, *params: FloatArray) -> BlockSums:
        shift, scale, means, factors, peaks, pivot = params
        spread = np.repeat(factors[:, None], means.shape[1], axis=1)
        return super().e_blocks(x, weight, shift, scale, means, spread, peaks, pivot)

    def n_parameters(self, k: int, d: int) -> int:
        return k


STRUCTURES: dict[str, Covariance] = {s.name: s for s in (Full(), Tied(), Diag(), Spherical())}
