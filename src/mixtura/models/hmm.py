"""The hidden Markov model: the rows of a sequence come from states of a family, and the states from a Markov chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.arena import reusing
from mixtura.families.base import log_density_pieces, sum_pieces
from mixtura.families.categorical import Categorical, CategoricalParams
from mixtura.families.linalg import is_occupied, log_positive, quotient
from mixtura.grid import Chunk, Sequences, dense
from mixtura.kernels.segments import Bounds
from mixtura.kernels.threads import allowed_threads, share_out, using_threads
from mixtura.model import Event, EventKind, Family, States
from mixtura.models import chain
from mixtura.persistence import decode
from mixtura.stats import Node, Stats
from mixtura.values import same_bits

T = TypeVar("T")
Smoothed = tuple[FloatArray, FloatArray, FloatArray]

COMPILED_STEPS = 1 << 9  # steps from which loading a cached kernel repays itself: the composed path takes 50 us each

NORMALIZED = 1e-6  # how far from 1 probabilities that a user or a file gives may sum


@dataclass(frozen=True, eq=False)
class HMMParams(Generic[T]):
    """Parameters of a hidden Markov model of k states.

    Attributes
    ----------
    startprob : (k,) array
        Probabilities of the state of the first row.
    transmat : (k, k) array
        Probabilities of the next state (column), given the present one (row).
    components : T
        Those of the family.
    visits, exits : (k,) array
        Shares of all rows that are in each state, and in it and not the last of a sequence, as of the last update:
        how much the data say about each parameter.
    """

    startprob: FloatArray
    transmat: FloatArray
    components: T
    visits: FloatArray
    exits: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class HMMStats(Stats):
    """Expected first states (k,) and transitions (k, k), and the family's sums, among them the counts ``s0``."""

    first: FloatArray
    transitions: FloatArray
    components: Any


@dataclass(frozen=True, eq=False)
class ChainPrior:
    """Dirichlet priors of first states and of transitions; 1 everywhere stands for maximum likelihood.

    Parameters
    ----------
    startprob : float or (k,) array
        From 1.
    transmat : float or (k, k) array
        From 1; 1 and c on the diagonal makes states that last.
    """

    startprob: Any = 1.0
    transmat: Any = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.asarray(value, dtype=np.float64) >= 1).all() or not np.isfinite(value).all():
                raise ValueError(f"{name}_prior is {value!r}, expected finite numbers from 1, which says nothing")


@dataclass(frozen=True)
class HiddenMarkov(Generic[T]):
    """A hidden Markov model whose states have distributions of one family.

    Transitions that have probability 0 keep it: a start decides which there are.

    Parameters
    ----------
    family : Family
        Distribution of a row in a state.
    n_states : int
        Number of states, k.
    prior : ChainPrior
        Of the probabilities of first states and of transitions.
    fixed : tuple of str
        Fields of the parameters that updates leave as they are.
    """

    family: Family[T, Any]
    n_states: int
    prior: ChainPrior = field(default_factory=ChainPrior)
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        k = self.n_states
        for name, shape in {"startprob": (k,), "transmat": (k, k)}.items():
            if (found := np.shape(getattr(self.prior, name))) not in ((), shape):
                raise ValueError(f"{name}_prior has shape {found}, expected a number or {shape}")

    def for_missing(self) -> HiddenMarkov[T]:
        """Return the model of the same states for rows that may lack values, or this where these cannot."""
        make = getattr(self.family, "for_missing", None)
        return self if make is None else replace(self, family=make())

    def compiles(self, n_rows: int, n_features: int) -> bool:
        """Tell whether these data repay a compiled kernel and this machine runs it well."""
        if n_rows < COMPILED_STEPS:
            return False
        from mixtura.kernels.simd import has_fma

        return has_fma()

    def e_block(self, params: HMMParams[T], chunk: Chunk) -> HMMStats:
        """Return the sums over one block of sequences, by composed NumPy."""
        rows = as_sequences(chunk)
        found = self.smooth(params, rows, compiled=False)
        return self._sums(params, rows, found, sum_pieces(self.family, params.components, rows.x, found[1]))

    def e_blocks(self, params: HMMParams[T], chunk: Chunk) -> Iterator[tuple[Node, HMMStats]]:
        """Yield the sums over the blocks of a chunk, by compiled kernels: blocks are shared out to threads."""
        states, scaled = self._kernels(params)
        blocks = as_sequences(chunk).blocks
        found: list[Any] = [None] * len(blocks)
        inner = allowed_threads() if len(blocks) == 1 else 1

        def run(begin: int, end: int) -> None:
            with using_threads(inner):
                for b in range(begin, end):
                    with reusing(blocks[b].idle):
                        rows, x = blocks[b], encoded(states, blocks[b])
                        smoothed = self._complete(params, rows, *scaled(rows, x))
                        found[b] = self._sums(params, rows, smoothed, states.sums(x, smoothed[1]))

        share_out(run, len(blocks), 1)
        for block, stats in zip(blocks, found, strict=True):
            yield (0, block.first), stats

    def smooth(self, params: HMMParams[T], chunk: Sequences, *, compiled: bool) -> Smoothed:
        """Return the log-likelihoods (m,) of sequences, and weighted: states of their rows (n, k), transitions (k, k).

        Scaled, by a kernel, where `compiled`; sequences whose numbers become too small that way, and all others, in
        logarithms. The log-likelihood of an impossible one is -inf.
        """
        if compiled:
            states, scaled = self._kernels(params)
            return self._complete(params, chunk, *scaled(chunk, encoded(states, chunk)))
        m, k = len(chunk.lengths), self.n_states
        return self._complete(params, chunk, np.full(m, np.nan), np.empty((len(chunk), k)), np.zeros((k, k)))

    def _kernels(self, params: HMMParams[T]) -> tuple[States[Any], Callable[[Sequences, Any], Smoothed]]:
        """Return what is asked of rows, and what finds the states of sequences, NaN where it cannot tell."""
        from mixtura.kernels import markov

        states = self.family.states(params.components)
        prepared = markov.prepare(params.startprob, params.transmat)

        def scaled(rows: Sequences, x: Any) -> Smoothed:
            return prepared.smooth(*states.densities(x), rows.once(bounds_of), weights(rows))

        return states, scaled

    def _complete(
        self, params: HMMParams[T], chunk: Sequences, loglik: FloatArray, resp: FloatArray, transitions: FloatArray
    ) -> Smoothed:
        """Work out in logarithms the sequences whose log-likelihood is NaN."""
        for i in np.flatnonzero(np.isnan(loglik)):
            rows, weight = slice(chunk.starts[i], chunk.starts[i + 1]), weights(chunk)[i]
            found = chain.smooth(*log_chain(params), self.log_density(params, dense(chunk.x[rows])))
            loglik[i], resp[rows] = found.loglik, weight * found.resp
            transitions += weight * found.transitions
        return loglik, resp, transitions

    def _sums(self, params: HMMParams[T], chunk: Sequences, found: Smoothed, components: Any) -> HMMStats:
        """Return the sums over one block (formulas H4, H5)."""
        loglik, resp, transitions = found
        total, weight = chunk.total(loglik)
        return HMMStats(
            loglik=float(total),
            weight=float(weight),
            pivot=self.family.pivot(params.components),
            first=resp[chunk.starts[:-1]].sum(axis=0),
            transitions=transitions,
            components=components,
        )

    def best_paths(self, params: HMMParams[T], chunk: Sequences, *, compiled: bool) -> tuple[FloatArray, IntArray]:
        """Return the most probable path of each sequence, (n,), and the log-probabilities (m,) of it and the rows."""
        logs, log_density = log_chain(params), self.log_density(params, chunk.x)
        if compiled:
            from mixtura.kernels import markov

            return markov.decode(log_density, chunk.starts, *logs)
        found = [chain.best_path(*logs, log_density[a:b]) for a, b in pairwise(chunk.starts)]
        return np.array([score for score, _ in found]), np.concatenate([path for _, path in found])

    def log_density(self, params: HMMParams[T], x: FloatArray) -> FloatArray:
        """Return the log-densities (n, k) of rows in each state."""
        return log_density_pieces(self.family, params.components, x)

    def m_step(self, stats: HMMStats, params: HMMParams[T]) -> tuple[HMMParams[T], Sequence[Event]]:
        """Return the probabilities and components that maximize the expected objective (formula H5).

        A state that no row is in, or that none leaves, keeps what no row speaks of.
        """
        old, extra = stacked(params), self._extra()
        counts = np.where(old > 0, np.concatenate([stats.first[None], stats.transitions]) + extra, 0.0)
        totals = counts.sum(axis=1, keepdims=True)
        rows = np.where(is_occupied(totals), quotient(counts, totals), old)
        components, narrow = self.family.update(stats.components, params.components)
        visits = stats.components.s0
        emptied = np.flatnonzero(~is_occupied(visits) & is_occupied(params.visits))
        empty = [Event(EventKind.EMPTY, int(j), f"state {j} is never visited") for j in emptied]
        updated = HMMParams(
            startprob=rows[0],
            transmat=rows[1:],
            components=components,
            visits=visits / stats.weight,
            exits=stats.transitions.sum(axis=1) / stats.weight,
        )
        return self._hold(updated, params), [*empty, *narrow]

    def refine(self, stats: HMMStats, params: HMMParams[T]) -> HMMParams[T] | None:
        """Return the same parameters about a better pivot where the sums lost too many digits."""
        if "components" in self.fixed:
            return None
        components = self.family.refine(stats.components, params.components)
        return None if components is None else replace(params, components=components)

    def same(self, a: HMMParams[T], b: HMMParams[T]) -> bool:
        """Tell whether two parameters are equal bit for bit."""
        return same_bits(a, b)

    def log_prior(self, params: HMMParams[T]) -> float:
        """Return the log prior density, but for the constant (formula H7)."""
        extra, components = self._extra(), self.family.log_prior(params.components)
        return float((extra * log_positive(stacked(params))).sum()) + components if extra.any() else components

    def expected(self, params: HMMParams[T], weight: float = 1.0) -> HMMStats:
        """Return the statistics, of this total weight, of which `m_step` makes `params`."""
        rows = stacked(params)
        extra = np.where(rows > 0, self._extra(), 0.0)
        totals = weight * masses(params) + extra.sum(axis=1)
        counts = totals[:, None] * rows - extra
        return HMMStats(
            loglik=0.0,
            weight=weight,
            pivot=self.family.pivot(params.components),
            first=counts[0],
            transitions=counts[1:],
            components=self.family.expected(params.components, weight * params.visits),
        )

    def free(self, params: HMMParams[T]) -> FloatArray:
        """Return the roots of the probabilities, and the family's coordinates (formulas H8, Q1)."""
        return np.concatenate([self._choice.free(choices(params)), self.family.free(params.components)])

    def from_free(self, vector: FloatArray, like: HMMParams[T]) -> HMMParams[T] | None:
        """Return the parameters with these coordinates; a probability of 0 stays."""
        own, rest = self._split(vector)
        chosen, components = self._choice.from_free(own, choices(like)), self.family.from_free(rest, like.components)
        if chosen is None or components is None:
            return None
        rows = chosen.probs[:, 0]
        return self._hold(replace(like, startprob=rows[0], transmat=rows[1:], components=components), like)

    def metric(self, params: HMMParams[T], step: FloatArray) -> FloatArray:
        """Return the complete-data information per unit of weight, times a step (formulas H8, Q2)."""
        own, rest = self._split(step)
        of_chain = self._choice.metric(choices(params), masses(params), own)
        return np.concatenate([of_chain, self.family.metric(params.components, params.visits, rest)])

    def inverse_metric(self, params: HMMParams[T], gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""
        own, rest = self._split(gradient)
        of_chain = self._choice.inverse_metric(choices(params), masses(params), own)
        return np.concatenate([of_chain, self.family.inverse_metric(params.components, params.visits, rest)])

    def decode(self, tree: Any) -> HMMParams[T]:
        """Return the parameters that `mixtura.persistence.encode` made a tree of."""
        params: HMMParams[T] = decode(HMMParams, tree, "parameters", self.family.params_type)
        return params

    def sample(self, params: HMMParams[T], n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """Draw one sequence of `n` rows; return them (n, d), and their states (n,)."""
        bounds = stacked(params).cumsum(axis=1)
        states, row = np.empty(n, dtype=np.int64), 0
        for t, drawn in enumerate(rng.random(n)):
            states[t] = np.searchsorted(bounds[row], drawn * bounds[row, -1], side="right")
            row = 1 + states[t]
        return self.family.sample(params.components, states, rng), states

    def check(self, params: HMMParams[T], n_features: int) -> None:
        """Raise a `ValueError` that names the first thing about parameters from elsewhere that cannot be."""
        k = self.n_states
        check_probabilities("startprob", params.startprob, (k,))
        check_probabilities("transmat", params.transmat, (k, k))
        for name in ("visits", "exits"):
            values = getattr(params, name)
            if values.shape != (k,) or (values < 0).any():
                raise ValueError(f"{name}: expected ({k},) numbers from 0")
        self.family.check(params.components, k, n_features)

    def n_parameters(self, params: HMMParams[T]) -> int:
        """Return the number of free parameters; a probability of 0 is none."""
        rows = stacked(params)
        return int((rows > 0).sum()) - len(rows) + self.family.n_parameters(params.components)

    def _hold(self, params: HMMParams[T], old: HMMParams[T]) -> HMMParams[T]:
        """Return parameters with those that are fixed as they were."""
        return replace(params, **{name: getattr(old, name) for name in self.fixed})

    @property
    def _choice(self) -> Categorical:
        """The family of the next state: the first one, and that after each state, are categories."""
        return Categorical(self.n_states)

    def _split(self, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the coordinates of the chain and those of the family."""
        m = (self.n_states + 1) * self.n_states
        return vector[:m], vector[m:]

    def _extra(self) -> FloatArray:
        """Return what the prior adds to the counts of first states and of transitions, (k + 1, k)."""
        k = self.n_states
        extra = np.empty((k + 1, k))
        extra[0], extra[1:] = self.prior.startprob, self.prior.transmat
        return extra - 1.0


def as_sequences(chunk: Chunk) -> Sequences:
    """Return a chunk of whole sequences; raise a `TypeError` for one of rows in no order."""
    if not isinstance(chunk, Sequences):
        raise TypeError("a hidden Markov model takes sequences: their rows come as Sequences, with lengths")
    return chunk


def encoded(states: States[Any], chunk: Sequences) -> Any:
    """Return rows as these states take them."""
    made = None if states.encode is None else chunk.once(states.encode)
    return chunk.packed().x if made is None else made


def bounds_of(chunk: Sequences) -> Bounds:
    """Return where sequences begin, for the kernels."""
    return Bounds(chunk.starts)


def weights(chunk: Sequences) -> FloatArray:
    """Return the weights (m,) of sequences."""
    return np.ones(len(chunk.lengths)) if chunk.weight is None else chunk.weight


def stacked(params: HMMParams[Any]) -> FloatArray:
    """Return the probabilities of the first state and, below, of the next one after each, (k + 1, k)."""
    return np.concatenate([params.startprob[None], params.transmat])


def choices(params: HMMParams[Any]) -> CategoricalParams:
    """Return the same as the parameters of k + 1 categorical components of one column."""
    return CategoricalParams(probs=stacked(params)[:, None])


def masses(params: HMMParams[Any]) -> FloatArray:
    """Return the share of the rows that each row of `stacked` is the law of, (k + 1,): they sum to 1."""
    return np.concatenate([[1.0 - params.exits.sum()], params.exits])


def log_chain(params: HMMParams[Any]) -> tuple[FloatArray, FloatArray]:
    """Return the logarithms of the probabilities of states, -inf for those that cannot be."""
    with np.errstate(divide="ignore"):
        return np.log(params.startprob), np.log(params.transmat)


def check_probabilities(name: str, values: FloatArray, shape: tuple[int, ...]) -> None:
    """Raise a `ValueError` that names the first row of probabilities that are none."""
    if values.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, found {values.shape}")
    for i, row in enumerate(np.atleast_2d(values)):
        if not (row >= 0).all() or not abs(row.sum() - 1) < NORMALIZED:
            where = name if values.ndim == 1 else f"{name}, row {i}"
            raise ValueError(f"{where}: expected probabilities that sum to 1, found {row.tolist()}")
