"""What families share: no kernel, no pivot, sums of one statistic, coordinates whose information is diagonal.

A family takes from here what holds for it, and itself holds little more than its density and its update.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from numbers import Integral
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray, Wanted
from mixtura.families.linalg import HALF_APART, quotient, ratio
from mixtura.frame import Frame
from mixtura.grid import BLOCK_ROWS, Chunk, is_sparse
from mixtura.kernels.threads import share_out
from mixtura.model import Event, States
from mixtura.stats import Forest, Sums
from mixtura.values import leaves

T = TypeVar("T")


class Composed(ABC, Generic[T]):
    """Served by composed NumPy, on rows as they are, with sums that have no pivot."""

    name: ClassVar[str]
    takes_sparse: ClassVar[bool] = False

    def frame(self, low: FloatArray, high: FloatArray, centre: FloatArray) -> Frame:
        """Return the identity: values are used as they are."""
        return Frame.identity(len(low))

    @property
    def has_unseen(self) -> bool:
        """Whether more than its component is unseen of a row: nothing else is."""
        return False

    @property
    def is_informed(self) -> bool:
        """Whether there is a prior: there is none."""
        return False

    def describe(self, frame: Frame, sums: Any) -> Any:
        """Return None: there is no prior, and nothing that it had to know."""
        return None

    def log_prior(self, theta: T) -> float:
        """Return 0: this is maximum likelihood."""
        return 0.0

    def unseen(self, theta: T, x: FloatArray, weight: FloatArray) -> FloatArray | float:
        """Return 0: rows lack nothing."""
        return 0.0

    @abstractmethod
    def n_features(self, theta: T) -> int:
        """Return how many columns the components are of."""

    @abstractmethod
    def n_parameters(self, theta: T) -> int:
        """Return the number of free parameters of all components."""

    def estimated(self, theta: T) -> BoolArray:
        """Return True for each coordinate."""
        return np.ones(self.n_parameters(theta), dtype=np.bool_)

    def prior_information(self, theta: T) -> tuple[FloatArray, FloatArray]:
        """Return zeros, (q,) each: there is no prior."""
        q = self.n_parameters(theta)
        return np.zeros(q), np.zeros(q)

    def is_interior(self, theta: T) -> bool:
        """Return True: EM leaves any parameters."""
        return True

    def refine(self, sums: Any, theta: T) -> T | None:
        """Return None: the sums have no pivot."""
        return None

    def pivot(self, theta: T) -> str:
        """Return the empty digest: the sums have no pivot."""
        return ""

    def fused(self, n_components: int, n_features: int) -> bool:
        """Return False: the composed path serves data of any size."""
        return False

    def e_blocks(self, log_weights: FloatArray, theta: T, chunk: Any, negligible: float) -> Any:
        """Refuse: there is no compiled kernel."""
        raise NotImplementedError(f"the {self.name} family has no compiled kernel")

    def states(self, theta: T) -> States[Any]:
        """Return what a Markov chain asks of rows: worked out once for those that are alike."""
        return States(partial(scaled_densities, self, theta), partial(tallied_sums, self, theta), find_alike)

    def posterior_rows(self, log_weights: FloatArray, theta: T, x: Any, wanted: Wanted) -> Any:
        """Refuse: there is no compiled kernel."""
        raise NotImplementedError(f"the {self.name} family has no compiled kernel")


@dataclass(frozen=True, eq=False, kw_only=True)
class MeanSums(Sums):
    """Sum of the responsibilities, (k,), and of ``r t(x)``, (k, ...)."""

    s0: FloatArray
    s1: FloatArray


class MeanFamily(Composed[T]):
    """Components that are determined by the mean of a statistic t(x), which is all that the update takes.

    Regular exponential families in the parametrization by their expectations: the maximum is where the expectation
    is the mean (formulas D1, D2).
    """

    @abstractmethod
    def mean(self, theta: T) -> FloatArray:
        """Return the expectation of t(x) in each component, (k, ...)."""

    @abstractmethod
    def from_mean(self, mean: FloatArray, theta: T) -> tuple[T, Sequence[Event]]:
        """Return the parameters with this expectation, in the coordinates of `theta`."""

    def statistic(self, theta: T, x: FloatArray) -> FloatArray:
        """Return t(x) of rows, (n, ...): the rows themselves, unless a family says otherwise."""
        return x

    def suffstats(self, theta: T, x: FloatArray, resp: FloatArray) -> MeanSums:
        """Return the counts and the sums of t(x) of each component."""
        statistic = self.statistic(theta, x)
        if is_sparse(statistic):
            return MeanSums(s0=resp.sum(axis=0), s1=np.ascontiguousarray((statistic.T @ resp).T))
        sums = resp.T @ statistic.reshape(len(x), -1)
        return MeanSums(s0=resp.sum(axis=0), s1=sums.reshape(-1, *statistic.shape[1:]))

    def expected(self, theta: T, counts: FloatArray) -> MeanSums:
        """Return the sums of which `update` makes `theta` (formula B1)."""
        mean = self.mean(theta)
        return MeanSums(s0=counts, s1=counts.reshape(-1, *[1] * (mean.ndim - 1)) * mean)

    def update(self, sums: MeanSums, theta: T) -> tuple[T, Sequence[Event]]:
        """Return the parameters whose expectation is the mean; a component without rows keeps its own."""
        return self.from_mean(ratio(sums.s1, sums.s0, self.mean(theta)), theta)

    def take(self, theta: T, components: IntArray) -> T:
        """Return the parameters of these components, in this order."""
        return self.from_mean(self.mean(theta)[components], theta)[0]


class Separable(Composed[T]):
    """Columns independent within a component, and coordinates (p, k, d) whose complete-data information is diagonal."""

    @abstractmethod
    def coordinates(self, theta: T) -> FloatArray:
        """Return p unbounded coordinates for each component and column, (p, k, d); 0 where there is none."""

    @abstractmethod
    def from_coordinates(self, coordinates: FloatArray, like: T) -> T:
        """Return the parameters with these coordinates, and what has none as in `like`."""

    @abstractmethod
    def information(self, theta: T) -> FloatArray:
        """Return the information of one row of a known component about each coordinate, (p, k, d)."""

    def free(self, theta: T) -> FloatArray:
        """Return the coordinates (q,), without bounds (formula Q1)."""
        return self.coordinates(theta).ravel()

    def from_free(self, vector: FloatArray, like: T) -> T | None:
        """Return the parameters with these coordinates; None where the numbers end."""
        with np.errstate(over="ignore", invalid="ignore"):
            theta = self.from_coordinates(vector.reshape(self.coordinates(like).shape), like)
        return theta if all(np.isfinite(values).all() for values in leaves(theta)) else None

    def metric(self, theta: T, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the information times a step (formula Q2)."""
        return (weights[:, None] * self.information(theta)).ravel() * step

    def inverse_metric(self, theta: T, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient; 0 for what has no information."""
        return quotient(gradient, (weights[:, None] * self.information(theta)).ravel())

    def spread(self, theta: T) -> FloatArray:
        """Return ones: in coordinates of unit information all components are equally wide."""
        return np.ones(self.coordinates(theta).shape[1])

    def part(self, theta: T, a: int, b: int) -> T:
        """Return `theta` with the equal components a and b moved apart by a row's distance (formula C1)."""
        coordinates = self.coordinates(theta).copy()
        step = np.sqrt(quotient(np.full_like(coordinates, HALF_APART), self.information(theta)))
        coordinates[:, a] -= step[:, a]
        coordinates[:, b] += step[:, b]
        return self.from_coordinates(coordinates, theta)

    def n_features(self, theta: T) -> int:
        """Return the number of columns."""
        return int(self.coordinates(theta).shape[-1])

    def n_parameters(self, theta: T) -> int:
        """Return the number of parameters of all components."""
        return self.coordinates(theta).size


def sum_pieces(family: Any, theta: Any, x: FloatArray, resp: FloatArray) -> Any:
    """Return a family's sums over rows, piece by piece: a longer product would depend on the threads of BLAS."""
    forest: Forest[Any] = Forest()
    for b, row in enumerate(range(0, len(x), BLOCK_ROWS)):
        rows = slice(row, row + BLOCK_ROWS)
        forest.insert(0, b, family.suffstats(theta, x[rows], resp[rows]))
    return forest.total()


def log_density_pieces(family: Any, theta: Any, x: FloatArray) -> FloatArray:
    """Return a family's log-densities (n, k) of rows, piece by piece for the same reason, by all threads."""
    found: list[Any] = [None] * -(-len(x) // BLOCK_ROWS)

    def run(begin: int, end: int) -> None:
        for b in range(begin, end):
            found[b] = family.log_density(theta, x[b * BLOCK_ROWS : (b + 1) * BLOCK_ROWS])

    share_out(run, len(found), len(found))
    return np.concatenate(found)


def find_alike(chunk: Chunk) -> Any:
    """Return which rows are alike, None where they are not of few kinds."""
    from mixtura.kernels import alike

    return alike.find_alike(chunk.packed().x)


def scaled_densities(family: Any, theta: Any, x: Any) -> tuple[FloatArray, FloatArray]:
    """Return densities (n, k8) of rows, or of those that are alike, over the largest, and its logarithm (n,)."""
    from mixtura.kernels import alike, states

    if isinstance(x, alike.Alike):
        return alike.look_up(log_density_pieces(family, theta, x.values), x)
    return states.over_largest(log_density_pieces(family, theta, x))


def tallied_sums(family: Any, theta: Any, x: Any, resp: FloatArray) -> Any:
    """Return a family's sums over rows, or over those that are alike, with these responsibilities (n, k)."""
    from mixtura.kernels import alike

    if isinstance(x, alike.Alike):
        return sum_pieces(family, theta, x.values, alike.tally(resp, x))
    return sum_pieces(family, theta, x, resp)


def expect(name: str, values: FloatArray, shape: tuple[int, ...], good: BoolArray | bool, words: str) -> None:
    """Raise a `ValueError` unless parameters from elsewhere have their shape and are what `words` say."""
    if values.shape != shape or not np.all(good):
        raise ValueError(f"{name}: expected {shape} {words}")


def digest(*arrays: FloatArray) -> str:
    """Return a short text that differs where the arrays differ."""
    return blake2b(b"".join(array.tobytes() for array in arrays), digest_size=8).hexdigest()


def whole_from_1(name: str, value: Any) -> int:
    """Return an option that is a whole number from 1, or raise a `ValueError`."""
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} is {value!r}, expected a whole number from 1")
    return int(value)


def is_whole(x: FloatArray) -> BoolArray:
    """Tell which values are whole numbers from 0."""
    whole: BoolArray = np.isfinite(x) & (x >= 0) & (np.floor(x) == x)
    return whole
