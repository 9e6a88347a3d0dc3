"""What a covariance structure of the Gaussian family must provide, and the sums that it works on.

Everything that depends on the structure is a method of `Covariance`. All arrays are in frame coordinates. A
*factor* is the lower-triangular ``L`` with ``L' L`` the precision, so that ``|L (z - mu)|**2`` is the squared
distance; for `Diag` and `Spherical` it is one over the standard deviation. Formula numbers: docs/formulas.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
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
        Sum of ``r (z - p)(z - p)'``, or of its diagonal; of spherical components only what this adds up to counts.
    """

    s0: FloatArray
    s1: FloatArray
    s2: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class PooledMoments(Sums):
    """Sums from which the scatter pooled over components follows without cancellation (formulas S4, S5, M5).

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


@dataclass(frozen=True, eq=False)
class Completion:
    """What follows, in each component, of the columns that rows lack from those that they have (formula N2).

    A row less the pivot, completed, is the observed part of the same, lifted, plus an offset.

    Attributes
    ----------
    rest : (r,) array of int
        The columns that are missing.
    lift : (k, d, g) or (1, d, g) array
        One for each observed column, and the slopes of the others on them.
    offset : (k, d) array
        0 in the observed columns.
    spread : array
        Covariances of the missing columns about their regression, in the shape of the structure.
    """

    rest: IntArray
    lift: FloatArray
    offset: FloatArray
    spread: FloatArray


FACTOR_ROUNDING = 1e-3  # a covariance of condition 1e12 is rebuilt from its factor to about so many digits
M = TypeVar("M", bound=Sums)


class Covariance(ABC, Generic[M]):
    """One covariance structure; the methods take stacks of k components in d dimensions."""

    name: ClassVar[str]
    owner: ClassVar[str] = "the covariance of component {}"  # for events
    correlated: ClassVar[bool] = True  # has products of different columns among its sums
    isotropic: ClassVar[bool] = False  # compares distances across columns: all share one scale

    @abstractmethod
    def identity(self, k: int, d: int) -> FloatArray:
        """Return unit covariances."""

    @abstractmethod
    def moments(self, z: FloatArray, resp: FloatArray, pivot: FloatArray) -> M:
        """Return the sums over rows `z` (n, d) with responsibilities `resp` (n, k)."""

    @abstractmethod
    def expected(self, counts: FloatArray, covariances: FloatArray, shift: FloatArray) -> M:
        """Return the sums of rows with exactly these counts (k,), covariances and means, ``pivot + shift``."""

    @abstractmethod
    def gather(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> M:
        """Return the sums that S1 to S3 are, with `s2` (k, d, d): where these were not taken row by row."""

    @abstractmethod
    def estimate(self, sums: M, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        """Return the covariances about the new means ``pivot + shift``; `old` where a component is empty."""

    @abstractmethod
    def n_second(self, k: int) -> int:
        """Return how many matrices of second moments the sums hold; 0 for diagonals."""

    @abstractmethod
    def from_second(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> M:
        """Return the sums, given second moments about the pivots: `n_second`, packed as triangles, or diagonals."""

    @abstractmethod
    def complete(self, sums: M, pivot: FloatArray, completion: Completion) -> M:
        """Return the expected sums over all columns of rows that have `sums` over the observed ones (N3, N4)."""

    @abstractmethod
    def scatter(self, counts: FloatArray, gaps: FloatArray) -> FloatArray:
        """Return sums of squares, such as `estimate` divides, of so many rows (k,) at these points (k, d)."""

    @abstractmethod
    def rows_of_each(self, counts: FloatArray) -> FloatArray:
        """Return how many rows each covariance belongs to, of counts (k,), to be multiplied with covariances."""

    def n_matrices(self, k: int) -> int:
        """Return how many covariances k components have."""
        return k

    def owned(self, components: Sequence[int]) -> list[int] | slice:
        """Return which covariances are those of these components."""
        return list(components)

    def stacked(self, k: int) -> Covariance[Any]:
        """Return the structure of the components of several mixtures of k."""
        return self

    def stack(self, members: Sequence[FloatArray]) -> FloatArray:
        """Return covariances or factors of several mixtures in the shape of this structure, which they share."""
        return np.concatenate(members)

    def unstack(self, stack: FloatArray, k: int) -> list[FloatArray]:
        """Return those of each mixture of k."""
        return np.split(stack, len(stack) // k)

    @abstractmethod
    def scale_shape(self, d: int) -> tuple[int, ...]:
        """Return the shape of one covariance as users write it."""

    def wishart_size(self, d: int) -> int:
        """Return how many columns the Wishart distribution of one covariance has."""
        return 1

    def repeats(self, d: int) -> int:
        """Return for how many columns each number in a covariance stands."""
        return 1

    @abstractmethod
    def free(self, factors: FloatArray) -> FloatArray:
        """Return coordinates (q,) without bounds of factors: logarithms of what is positive, and the rest."""

    @abstractmethod
    def from_free(self, vector: FloatArray, like: FloatArray) -> FloatArray:
        """Return the factors, of the shape of `like`, with these coordinates."""

    @abstractmethod
    def metric(self, factors: FloatArray, weights: FloatArray, d: int, step: FloatArray) -> FloatArray:
        """Return the information of rows of known components, of shares `weights` (k,), times a step (formula Q2)."""

    @abstractmethod
    def inverse_metric(self, factors: FloatArray, weights: FloatArray, d: int, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient; 0 for a component without weight."""

    @abstractmethod
    def variances(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        """Return the (k, d) variances."""

    @abstractmethod
    def widen(self, covariances: FloatArray, amount: FloatArray) -> FloatArray:
        """Add `amount` (d,) to the variances."""

    @abstractmethod
    def narrow(self, covariances: FloatArray, components: IntArray, along: FloatArray) -> FloatArray:
        """Take the scatter of a step `along` (d,) from the covariances of components that have their own."""

    def take(self, matrices: FloatArray, components: IntArray) -> FloatArray:
        """Return the covariances or factors of these components, in this order."""
        return matrices[components]

    @abstractmethod
    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        """Return covariances kept above the floor (d,), their factors, and which were raised, or `SHARED`."""

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

    def kernel_factors(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        """Return the factors in the shape that the kernel takes."""
        return factors

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
    def log_det_slopes(self, k: int, d: int) -> FloatArray:
        """Return the derivative (k, q) of ``log |L_k|`` by the coordinates `free`, in which it is linear."""

    @abstractmethod
    def whiten(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        """Return ``L_k (z - mu_k)`` as (n, k, d)."""

    @abstractmethod
    def roots(self, factors: FloatArray) -> FloatArray:
        """Return the inverses of factors, in their shape."""

    @abstractmethod
    def spread_scores(self, y: FloatArray) -> FloatArray:
        """Return the scores (n, k, s) of unit information about the covariance, of whitened rows (formula V2)."""

    @abstractmethod
    def spread_slots(self, k: int, d: int) -> IntArray:
        """Return the numbers (k, s) of the coordinates of each component's covariance."""

    @abstractmethod
    def spread_effects(self, factors: FloatArray, d: int) -> FloatArray:
        """Return the derivative (q, *shape) of the covariances by these coordinates (formula V2)."""

    def basis(self, d: int) -> FloatArray:
        """Return what these coordinates do to a unit covariance, as symmetric matrices (s, d, d)."""
        effects = self.spread_effects(self.identity(1, d), d)
        return np.stack([self.expand(effect, 1, d)[0] for effect in effects])

    @abstractmethod
    def entries(self, shape: tuple[int, ...]) -> tuple[BoolArray, BoolArray]:
        """Tell which entries of covariances are not repeated by symmetry, and which are variances."""

    @abstractmethod
    def rescale(self, covariances: FloatArray, scale: FloatArray) -> FloatArray:
        """Return the covariances of ``z * scale``."""

    @abstractmethod
    def expand(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        """Return them as (k, d, d) matrices."""

    @abstractmethod
    def expand_factors(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        """Return the factors as (k, d, d) matrices."""

    @abstractmethod
    def least_rows(self, d: int) -> int:
        """Return the most rows of which the covariance of a component says nothing."""

    @abstractmethod
    def select(self, covariances: FloatArray, columns: IntArray) -> FloatArray:
        """Return the covariances of these columns, in this order."""

    @abstractmethod
    def split_factors(
        self, factors: FloatArray, given: IntArray, rest: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the factors of the columns `given`, those of the `rest` about its regression on them, and the slopes.

        Together they make the density that `factors` make (formula U2). Slopes are (k, r, g), or (1, r, g) where all
        components share them.
        """

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
    def kernel(self, d: int) -> Any:
        """Return the module of the compiled kernel for d columns."""

    @abstractmethod
    def unpack(self, sums: FloatArray, k: int, d: int) -> M:
        """Return the sums that this kernel wrote one after another."""

    @abstractmethod
    def n_parameters(self, k: int, d: int) -> int:
        """Return the number of free covariance parameters."""

    @abstractmethod
    def shape(self, k: int, d: int) -> tuple[int, ...]:
        """Return the shape of the covariances."""


def split(sums: FloatArray, *shapes: tuple[int, ...]) -> list[FloatArray]:
    """Return consecutive parts of a vector as arrays of these shapes."""
    parts, begin = [], 0
    for shape in shapes:
        end = begin + prod(shape)
        parts.append(sums[begin:end].reshape(shape))
        begin = end
    return parts
