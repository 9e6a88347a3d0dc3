"""The finite mixture: each row comes from one of k components of a family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.blocks import sum_rows
from mixtura.capabilities import Suspicious
from mixtura.families.linalg import is_occupied, log_or_never
from mixtura.grid import BLOCK_ROWS, Chunk, dense, is_sparse
from mixtura.model import Event, EventKind, Family, Posterior
from mixtura.models.collapse import CollapsePolicy, Floor
from mixtura.models.weights import Weighting
from mixtura.persistence import decode
from mixtura.stats import Forest, Node, Stats
from mixtura.values import same_bits

T = TypeVar("T")

COMPILED_WORK = 1 << 20  # n k d from which loading a cached kernel repays itself: benchmarks/start.py

PATTERNS = 64  # times longer the composed path takes where rows lack values, pattern by pattern

NEGLIGIBLE = 2.0**-80  # share of the mixture's density that a component may do without in a row (formula S8)
LOST = 1e-15  # most relative error of a sum that this may bring: else nothing is left out

WEIGHT_ROUNDING = 1e-6  # how far from 1 weights that a user or a file gives may sum


@dataclass(frozen=True, eq=False)
class MixtureParams(Generic[T]):
    """Mixing weights (k,) that sum to one, and the parameters of the components.

    With `sparse`, the E-step may leave out what is negligible; `Mixture.refine` certifies that it was. `reseeds` counts
    the components that `Reseed` has replaced on the way here.
    """

    weights: FloatArray
    components: T
    sparse: bool = True
    reseeds: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class MixtureStats(Stats):
    """Log-likelihood, total weight, and the family's sums, among them the counts ``s0``.

    `negligible` tells what may have been left out: where a component has less than this share of the density.
    """

    components: Any
    negligible: float = field(default=0.0, metadata={"label": True})


@dataclass(frozen=True)
class Mixture(Generic[T]):
    """A mixture of `n_components` distributions of one family.

    Parameters
    ----------
    family : Family
        Distribution of a component.
    n_components : int
        Number of components, k, to begin with.
    on_collapse : CollapsePolicy
        `Floor()`, `Reseed()`, `Drop()` or `Raise()` of `mixtura.models.collapse`.
    patience : int
        How much longer than usual the composed path takes with this family.
    weighting : Weighting
        How the mixing weights are estimated.
    """

    family: Family[T, Any]
    n_components: int
    on_collapse: CollapsePolicy = field(default_factory=Floor)
    patience: int = 1
    weighting: Weighting = field(default_factory=Weighting)

    def __post_init__(self) -> None:
        self.weighting.check(self.n_components, renumbered=self.on_collapse.shrinks)
        self.on_collapse.check(self.family)

    def for_missing(self) -> Mixture[T]:
        """Return the model of the same components for rows that may lack values, or this where these cannot."""
        make = getattr(self.family, "for_missing", None)
        return self if make is None else replace(self, family=make(), patience=PATTERNS)

    def e_step(self, params: MixtureParams[T], rows: Chunk | Array) -> MixtureStats:
        """Return the sums over rows: additive, so that anyone can cut the data and add up.

        Parameters
        ----------
        params : MixtureParams
            Where to evaluate: statistics at other parameters do not add.
        rows : (n, d) or (n,) array, or Chunk
            The rows, all of weight 1; a chunk has weights.

        Returns
        -------
        MixtureStats
            To be added, sent (`to_bytes`) and given to `m_step`.

        Raises
        ------
        ValueError
            If the rows have another number of columns than the parameters.
        """
        exact = replace(params, sparse=False)  # nobody may be there to ask `refine`
        return sum_rows(self, exact, rows, self.row_width(params))

    def row_width(self, params: MixtureParams[T]) -> int:
        """Return how many numbers a row is."""
        return self.family.n_features(params.components)

    def e_block(self, params: MixtureParams[T], chunk: Chunk) -> MixtureStats:
        """Return the sums over one block of rows, by composed NumPy."""
        params = _given(params, chunk.label)
        x = self._taken(chunk.x)
        loglik, resp = self.posterior(params, x)
        if chunk.weight is not None:
            resp *= chunk.weight[:, None]
        total, weight = chunk.total(loglik)
        return MixtureStats(
            loglik=float(total),
            weight=float(weight),
            pivot=self.family.pivot(params.components),
            components=self.family.suffstats(params.components, x, resp),
        )

    def e_blocks(self, params: MixtureParams[T], chunk: Chunk) -> Iterator[tuple[Node, MixtureStats]]:
        """Yield the subtrees of the canonical sum over the blocks of a chunk, by the family's compiled kernel."""
        params = _given(params, chunk.label)
        pivot, negligible = self.family.pivot(params.components), NEGLIGIBLE if params.sparse else 0.0
        subtrees = self.family.e_blocks(log_weights(params), params.components, chunk, negligible)
        for node, loglik, weight, sums in subtrees:
            yield node, MixtureStats(loglik=loglik, weight=weight, pivot=pivot, components=sums, negligible=negligible)

    def posterior_rows(self, params: MixtureParams[T], chunk: Chunk, wanted: Wanted) -> Posterior:
        """Return the posterior of rows by the family's compiled kernel; hopeless rows as in `posterior`."""
        found = self.family.posterior_rows(log_weights(params), params.components, chunk.x, wanted)
        if wanted == "labels" and (found.labels < 0).any():  # densities tell what is wrong with a row
            return self.posterior_rows(params, chunk, "densities")
        hopeless = np.isneginf(found.loglik)
        if hopeless.any():
            found.labels[hopeless] = params.weights.argmax()
            if wanted == "shares":
                found.resp[hopeless] = params.weights
        return found

    def compiles(self, n_rows: int, n_features: int) -> bool:
        """Tell whether these data repay a compiled kernel and there is one for this machine."""
        repays = n_rows * self.n_components * n_features * self.patience >= COMPILED_WORK
        return repays and self.family.fused(self.n_components, n_features)

    def posterior(self, params: MixtureParams[T], x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return log-densities (n,) and responsibilities (n, k) of rows (formulas E2, E3).

        A row of density zero under every component has log-density -inf and the mixing weights as its
        responsibilities.
        """
        log_density = self.family.log_density(params.components, self._taken(x))
        loglik, resp = weigh(log_density.T + log_weights(params)[:, None], params.weights)
        return loglik, resp.T

    def _taken(self, x: Any) -> Any:
        """Return rows as the family takes them: those of a sparse matrix as an array, unless it makes use of that."""
        return dense(x) if is_sparse(x) and not self.family.takes_sparse else x

    def m_step(self, stats: MixtureStats, params: MixtureParams[T]) -> tuple[MixtureParams[T], Sequence[Event]]:
        """Return the weights and components that maximize the expected objective (formula M1).

        What to do about components that collapsed is left to `on_collapse`.
        """
        counts = stats.components.s0
        components, narrow = self.family.update(stats.components, params.components)
        weights = self.weighting.update(counts, params.weights)
        updated = replace(params, weights=weights, components=components, sparse=True)
        emptied = (~is_occupied(counts) & (params.weights > 0)).nonzero()[0]
        empty = [Event(EventKind.EMPTY, int(j), f"component {j} lost all its rows") for j in emptied]
        events = [*empty, *narrow]
        return self.on_collapse.settle(self.family, updated, events) if events else (updated, events)

    def refine(self, stats: MixtureStats, params: MixtureParams[T]) -> MixtureParams[T] | None:
        """Return the same parameters about a better pivot where the sums lost too many digits, or without leaving out.

        What was left out of a component's sums is less than `negligible` of its weight; a component that has hardly
        any rows, as one that starts far from the data, may live of just these.
        """
        left_out = stats.negligible * params.weights * stats.weight
        if (left_out > LOST * stats.components.s0).any():
            return replace(params, sparse=False)
        components = self.family.refine(stats.components, params.components)
        return None if components is None else replace(params, components=components)

    def same(self, a: MixtureParams[T], b: MixtureParams[T]) -> bool:
        """Tell whether two parameters are equal bit for bit."""
        return same_bits(a, b)

    def log_prior(self, params: MixtureParams[T]) -> float:
        """Return the log prior density: 0 for maximum likelihood."""
        return self.weighting.log_prior(params.weights) + self.family.log_prior(params.components)

    def expected(self, params: MixtureParams[T], weight: float = 1.0) -> MixtureStats:
        """Return the statistics, of this total weight, of which `m_step` makes `params`."""
        return MixtureStats(
            loglik=0.0,
            weight=weight,
            pivot=self.family.pivot(params.components),
            components=self.family.expected(params.components, self.weighting.counts(params.weights, weight)),
        )

    def free(self, params: MixtureParams[T]) -> FloatArray:
        """Return the coordinates of the weights, and those of the family (formula Q1)."""
        return np.concatenate([self.weighting.free(params.weights), self.family.free(params.components)])

    def from_free(self, vector: FloatArray, like: MixtureParams[T]) -> MixtureParams[T] | None:
        """Return the parameters with these coordinates; a weight of 0 stays."""
        tilt, rest = self._split(vector, like)
        components = self.family.from_free(rest, like.components)
        weights = self.weighting.from_free(tilt, like.weights)
        return None if components is None else replace(like, weights=weights, components=components)

    def metric(self, params: MixtureParams[T], step: FloatArray) -> FloatArray:
        """Return the complete-data information per unit of weight, times a step (formula Q2)."""
        (tilt, rest), weights = self._split(step, params), params.weights
        return np.concatenate(
            [self.weighting.metric(weights, tilt), self.family.metric(params.components, weights, rest)]
        )

    def inverse_metric(self, params: MixtureParams[T], gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""
        (tilt, rest), weights = self._split(gradient, params), params.weights
        steps = (
            self.weighting.inverse_metric(weights, tilt),
            self.family.inverse_metric(params.components, weights, rest),
        )
        return np.concatenate(steps)

    def _split(self, vector: FloatArray, params: MixtureParams[T]) -> tuple[FloatArray, FloatArray]:
        """Return the parts of a vector of coordinates that belong to the weights and to the family."""
        m = self.weighting.n_free(len(params.weights))
        return vector[:m], vector[m:]

    def decode(self, tree: Any) -> MixtureParams[T]:
        """Return the parameters that `mixtura.persistence.encode` made a tree of."""
        params: MixtureParams[T] = decode(MixtureParams, tree, "parameters", self.family.params_type)
        return params

    def from_resp(self, blank: T, x: FloatArray, resp: FloatArray) -> tuple[MixtureParams[T], Sequence[Event]]:
        """Return the parameters that weighted responsibilities (n, k) of rows imply.

        The sums are taken again at the first result where those about `blank` lost digits, or held guesses by it.
        """
        sums = self.sums_of(blank, x, resp)
        theta, events = self.family.update(sums, blank)
        if self.family.has_unseen or self.family.refine(sums, blank) is not None:
            theta, events = self.family.update(self.sums_of(theta, x, resp), theta)
        counts = resp.sum(axis=0)
        return MixtureParams(weights=counts / counts.sum(), components=theta), events

    def sums_of(self, theta: T, x: FloatArray, resp: FloatArray) -> Any:
        """Return the family's sums over rows of these responsibilities.

        Block by block: a longer product would depend on the threads of BLAS.
        """
        forest: Forest[Any] = Forest()
        for b, row in enumerate(range(0, len(x), BLOCK_ROWS)):
            rows = slice(row, row + BLOCK_ROWS)
            forest.insert(0, b, self.family.suffstats(theta, x[rows], resp[rows]))
        return forest.total()

    def suspects(self, params: MixtureParams[T], weight: float) -> Sequence[Event]:
        """Return an event for each component that is likely to be spurious, by rows of this total weight."""
        family = self.family
        return family.suspects(params.components, weight * params.weights) if isinstance(family, Suspicious) else ()

    def sample(self, params: MixtureParams[T], n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """Draw `n` rows; return them (n, d), grouped by component, and their components (n,)."""
        counts = rng.multinomial(n, params.weights)
        labels = np.repeat(np.arange(len(counts)), counts)
        return self.family.sample(params.components, labels, rng), labels

    def check(self, params: MixtureParams[T], n_features: int) -> None:
        """Raise a `ValueError` that names the first thing about parameters from elsewhere that cannot be."""
        weights, k = params.weights, self.n_components
        least = 1 if self.on_collapse.shrinks else k
        if weights.ndim != 1 or not least <= len(weights) <= k:
            raise ValueError(f"weights: expected shape ({k},), found {weights.shape}")
        if (weights < 0).any() or abs(weights.sum() - 1) > WEIGHT_ROUNDING:
            raise ValueError("weights: expected non-negative numbers that sum to 1")
        self.family.check(params.components, len(weights), n_features)

    def n_parameters(self, params: MixtureParams[T]) -> int:
        """Return the number of free parameters."""
        return self.weighting.n_parameters(len(params.weights)) + self.family.n_parameters(params.components)


def _given(params: MixtureParams[T], label: int | None) -> MixtureParams[T]:
    """Return the joint density of a row and its known component as a mixture with one weight that is not 0 (L1)."""
    if label is None:
        return params
    return replace(params, weights=np.where(np.arange(len(params.weights)) == label, params.weights, 0.0))


def log_weights(params: MixtureParams[Any]) -> FloatArray:
    """Return the logarithms of the mixing weights, -inf for an empty component."""
    return log_or_never(params.weights)


def weigh(
    joint: FloatArray, weights: FloatArray, precision: type[np.floating[Any]] = np.float64
) -> tuple[FloatArray, FloatArray]:
    """Return log-densities (..., n) and responsibilities (..., k, n) of rows in mixtures.

    Parameters
    ----------
    joint : (..., k, n) array
        Log-densities of the rows and their components; overwritten.
    weights : (..., k) array
        Mixing weights: the responsibilities of a row that is impossible under all components.
    precision : dtype
        Of the responsibilities. NumPy's exponential takes a fourth of the time in float32 where there is no AVX-512.
    """
    top = joint.max(axis=-2)
    hopeless = np.isneginf(top)
    joint -= np.where(hopeless, 0.0, top)[..., None, :]
    shares = joint.astype(precision, copy=False)
    np.exp(shares, out=shares)
    total = shares.sum(axis=-2)
    if hopeless.any():
        shares, total = np.where(hopeless[..., None, :], weights[..., None], shares), np.where(hopeless, 1.0, total)
    shares /= total[..., None, :]
    return np.log(total) + top, shares
