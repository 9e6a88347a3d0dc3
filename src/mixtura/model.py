"""The protocols: what a model, a family and a source of rows must provide.

A model is frozen configuration with pure functions on parameters, which are frozen values. It knows nothing of
chunks, threads or tolerance. Its E-step yields sums and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, runtime_checkable

import numpy as np

from mixtura._types import Array, BoolArray, FloatArray, IntArray, Wanted
from mixtura.frame import Frame
from mixtura.grid import Chunk
from mixtura.stats import Forest, Node, Stats, Sums

P = TypeVar("P")
S = TypeVar("S", bound=Stats)
T = TypeVar("T")
M = TypeVar("M", bound=Sums)
R = TypeVar("R")


SHARED = -1  # stands for what all components share, in the place of one

LEBESGUE = "Lebesgue"  # measure of families of all numbers of an interval: what they have is a density
COUNTING = "counting"  # and of counts and categories: what they have is a probability


class EventKind(Enum):
    """What can happen to a component: it collapsed, and was kept, replaced, or the end of the fit; or it is suspect."""

    EMPTY = "empty"
    FLOOR = "floor"
    RESEED = "reseed"
    DROP = "drop"
    REFUSED = "refused"
    SPURIOUS = "spurious"


@dataclass(frozen=True)
class Event:
    """Something that happened to one component in an update, as a value.

    Attributes
    ----------
    kind : EventKind
        What happened.
    component : int
        To which component, by its number before the update; `SHARED` for what all share.
    message : str
        The same in words.
    iteration : int
        In which update; 0 while it is not known.
    """

    kind: EventKind
    component: int
    message: str
    iteration: int = 0

    def at(self, iteration: int) -> Self:
        """Return this event as one of the given iteration."""
        return replace(self, iteration=iteration)

    def then(self, kind: EventKind, outcome: str) -> Self:
        """Return this event with what it led to."""
        return replace(self, kind=kind, message=f"{self.message} and {outcome}")

    @property
    def restarts(self) -> bool:
        """Whether the fit goes on from elsewhere, maybe with other components: then the objective may fall."""
        return self.kind in (EventKind.RESEED, EventKind.DROP)

    @property
    def fatal(self) -> bool:
        """Whether the fit ends with it."""
        return self.kind is EventKind.REFUSED

    def to_list(self) -> list[Any]:
        """Return this event as plain values."""
        return [self.kind.name, self.component, self.message, self.iteration]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> Self:
        """Return the event that `to_list` described; raise `KeyError`, `TypeError` or `ValueError` for another list."""
        kind, component, message, iteration = values
        return cls(EventKind[kind], int(component), str(message), int(iteration))


@dataclass(frozen=True, eq=False)
class Posterior:
    """What a mixture knows of rows.

    Attributes
    ----------
    loglik : (n,) array, or (0,) where nobody asked
        Log-densities.
    labels : (n,) array of int
        Most probable components.
    resp : (n, k) array, or (0, k) where nobody asked
        Probabilities of the components.
    """

    loglik: FloatArray
    labels: IntArray
    resp: FloatArray

    @classmethod
    def join(cls, parts: Sequence[Posterior]) -> Posterior:
        """Return the posterior of rows one part after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


class Model(Protocol[P, S]):
    """One latent structure; all functions are pure."""

    def e_block(self, params: P, chunk: Chunk, /) -> S:
        """Return the sums over one block of rows, by composed NumPy; additive over blocks."""

    def e_blocks(self, params: P, chunk: Chunk, /) -> Iterator[tuple[Node, S]]:
        """Yield the complete subtrees of the canonical sum over the blocks of a chunk, by a compiled kernel."""

    def compiles(self, n_rows: int, n_features: int, /) -> bool:
        """Tell whether data of this many rows repay the compiled kernel, and there is one for this machine."""

    def m_step(self, stats: S, params: P, /) -> tuple[P, Sequence[Event]]:
        """Return the parameters that maximize the expected objective, and what happened to components."""

    def refine(self, stats: S, params: P, /) -> P | None:
        """Return the same parameters, to be evaluated another way, if `stats` are not as exact as they could be."""

    def same(self, a: P, b: P, /) -> bool:
        """Tell whether two parameters are equal bit for bit."""

    def log_prior(self, params: P, /) -> float:
        """Return the log prior density: 0 for maximum likelihood."""

    def expected(self, params: P, weight: float = 1.0, /) -> S:
        """Return the statistics, of this total weight, of which `m_step` makes `params`: what it has learnt so far."""

    def decode(self, tree: Any, /) -> P:
        """Return the parameters that `mixtura.persistence.encode` made a tree of."""


class SmoothModel(Model[P, S], Protocol[P, S]):
    """A model whose parameters have coordinates in which the objective is smooth, so that EM can be accelerated."""

    def free(self, params: P, /) -> FloatArray:
        """Return coordinates (q,) without bounds, in which every step is feasible (formula Q1)."""

    def from_free(self, vector: FloatArray, like: P, /) -> P | None:
        """Return the parameters with these coordinates, and what has none as in `like`; None where the numbers end."""

    def metric(self, params: P, step: FloatArray, /) -> FloatArray:
        """Return the complete-data information per unit of weight, times a step in free coordinates (formula Q2)."""

    def inverse_metric(self, params: P, gradient: FloatArray, /) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""


class RowModel(Model[P, S], Protocol[P, S]):
    """A model under which rows are independent, so that each can be judged on its own."""

    @property
    def family(self) -> Family[Any, Any]:
        """The family that says which rows there can be."""

    def for_missing(self) -> RowModel[P, Any]:
        """Return the model for rows that may lack values, or this where these cannot."""

    def posterior(self, params: P, x: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Return log-densities (n,) and responsibilities (n, k) of rows, by composed NumPy."""

    def posterior_rows(self, params: P, chunk: Chunk, wanted: Wanted, /) -> Posterior:
        """Return the posterior of rows by a compiled kernel."""


@dataclass(frozen=True)
class States(Generic[M]):
    """What a Markov chain asks of rows in states of a family, at given parameters.

    Attributes
    ----------
    densities : callable
        Takes rows; returns their densities (n, k8) over the largest of a row, or near it, and the logarithm (n,) of
        that. Zeros after the k-th make up whole vectors of eight.
    sums : callable
        Takes rows and responsibilities (n, k); returns the family's sums.
    encode : callable, optional
        Takes a chunk of rows (n, d); returns what the others take in their place, at any parameters, or None for the
        rows themselves.
    """

    densities: Callable[[Any], tuple[FloatArray, FloatArray]]
    sums: Callable[[Any, FloatArray], M]
    encode: Callable[[Chunk], Any] | None = None


class Family(Protocol[T, M]):
    """The distribution of a component, with parameters `T` for all components at once and sums `M`."""

    name: ClassVar[str]

    takes_sparse: ClassVar[bool]  # whether composed code takes rows of a sparse matrix as they are

    @property
    def support(self) -> str:
        """The possible values, in words, for errors."""

    @property
    def measure(self) -> str:
        """With respect to what `log_density` is a density: log-likelihoods compare where it is the same."""

    @property
    def params_type(self) -> Any:
        """The dataclass of the parameters, or a tuple of such for a family of several parts."""

    @property
    def has_unseen(self) -> bool:
        """Whether more than its component is unseen of a row: then sums depend on all of `theta`, else on its pivot."""

    def in_support(self, x: FloatArray, /) -> BoolArray:
        """Tell which values (n, d) a component can yield."""

    def frame(self, low: FloatArray, high: FloatArray, centre: FloatArray, /) -> Frame:
        """Choose the coordinates for columns of this range, or refuse them."""

    @property
    def is_informed(self) -> bool:
        """Whether there is a prior that has to know what all rows are like."""

    def describe(self, frame: Frame, sums: M, /) -> Any:
        """Return what a prior has to know of all rows, of their sums in one blank component."""

    def blank(self, frame: Frame, n_components: int, whole: Any = None, /) -> T:
        """Return parameters that only fix frame, pivot and what `describe` told, to take the first sums about."""

    def log_density(self, theta: T, x: FloatArray, /) -> FloatArray:
        """Return the (n, k) log-densities of rows under each component."""

    def suffstats(self, theta: T, x: FloatArray, resp: FloatArray, /) -> M:
        """Return the sums over rows weighted by `resp` (n, k); `theta` supplies the pivot."""

    def expected(self, theta: T, counts: FloatArray, /) -> M:
        """Return the sums, with counts (k,), of which `update` makes `theta`."""

    def update(self, sums: M, theta: T, /) -> tuple[T, Sequence[Event]]:
        """Return the parameters that maximize the expected log-density plus `log_prior`."""

    def log_prior(self, theta: T, /) -> float:
        """Return the log prior density of the components: 0 for maximum likelihood."""

    def free(self, theta: T, /) -> FloatArray:
        """Return coordinates (q,) without bounds (formula Q1)."""

    def from_free(self, vector: FloatArray, like: T, /) -> T | None:
        """Return the parameters with these coordinates, and what has none as in `like`; None where the numbers end."""

    def metric(self, theta: T, weights: FloatArray, step: FloatArray, /) -> FloatArray:
        """Return the information of rows whose components are known, of shares `weights` (k,), times a step."""

    def inverse_metric(self, theta: T, weights: FloatArray, gradient: FloatArray, /) -> FloatArray:
        """Return the step of which `metric` makes this gradient; 0 for a component without weight."""

    def is_interior(self, theta: T, /) -> bool:
        """Tell whether no parameter is at a bound which EM does not leave, so that it may start here."""

    def refine(self, sums: M, theta: T, /) -> T | None:
        """Return `theta` about a better pivot where `sums` lost too many digits to the present one."""

    def pivot(self, theta: T, /) -> str:
        """Digest the point about which sums are taken: sums about different points do not add."""

    def sample(self, theta: T, labels: IntArray, rng: np.random.Generator, /) -> FloatArray:
        """Draw one row from the component named by each label."""

    def n_features(self, theta: T, /) -> int:
        """Return how many columns the components are of."""

    def n_parameters(self, theta: T, /) -> int:
        """Return the number of free parameters of all components."""

    def attributes(self, theta: T, /) -> dict[str, Any]:
        """Return the parameters in the data's own units, by their public names."""

    def check(self, theta: T, n_components: int, n_features: int, /) -> None:
        """Raise a `ValueError` that names what about parameters from elsewhere cannot be."""

    def fused(self, n_components: int, n_features: int, /) -> bool:
        """Tell whether there is a compiled kernel for mixtures of this size."""

    def e_blocks(
        self, log_weights: FloatArray, theta: T, chunk: Chunk, negligible: float, /
    ) -> Iterator[tuple[Node, float, float, M]]:
        """Run that kernel: yield level and index, log-likelihood, weight and sums of the subtrees of a chunk.

        It may leave a row out of the sums of a component whose density is less than `negligible` of the mixture's.
        """

    def states(self, theta: T, /) -> States[M]:
        """Return what a Markov chain asks of rows, by kernels as far as there are any."""

    def posterior_rows(self, log_weights: FloatArray, theta: T, x: Array, wanted: Wanted, /) -> Posterior:
        """Run the kernel of the posterior over rows."""


@runtime_checkable
class Source(Protocol):
    """Rows that can be read again and again in the same order; the only place that knows where they are."""

    n_rows: int
    n_features: int
    names: tuple[str, ...] | None  # of the columns

    @property
    def fingerprint(self) -> str:
        """A digest that differs where the rows differ, as far as a glance tells."""

    def fold(self, steps: Sequence[Callable[[Chunk], Forest[S]]], /) -> list[S]:
        """Return, for every step, the canonical sum over all rows, reading them once."""

    def map_rows(self, step: Callable[[Chunk], R], most: int | None = None, /) -> Iterator[R]:
        """Apply `step`, which can be pickled, to consecutive rows, at most so many at a time, in order.

        It is applied where the rows are, for what is far away.
        """

    def sample(self, n: int, rng: np.random.Generator, /) -> tuple[FloatArray, FloatArray]:
        """Return at most `n` rows of positive weight drawn without replacement, in order, and their weights."""

    def locate(self, row: int, /) -> str:
        """Return where a row is, in words, for errors."""
