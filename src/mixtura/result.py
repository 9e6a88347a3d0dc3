"""What a fit by EM records while it runs, and what it ends with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np

from mixtura._types import FloatArray
from mixtura.acceleration import ROUNDING, Memory, Proposal
from mixtura.model import Event, EventKind

P = TypeVar("P")

SAME = 2.0  # multiples of `tol` by which fits that stop at one optimum may differ: each lacks about `tol` of it


class Status(Enum):
    """How a fit ended; ``message`` says it in a sentence."""

    CONVERGED = "less than the tolerance is left to gain, by estimate"
    ITERATION_LIMIT = "the iteration limit was reached before the tolerance was met"
    TIME_LIMIT = "the time limit was reached before the tolerance was met"
    STOPPED = "a callback stopped the fit before the tolerance was met"
    STREAM = "the parameters follow a stream of batches, which has no end"
    STALLED = "an update left every parameter as it was; further passes cannot change them"
    COLLAPSED = "a component collapsed, which on_collapse='raise' does not allow"
    DIVERGED = "the log-likelihood or a statistic is not finite"

    @property
    def message(self) -> str:
        """Explain the status in a sentence."""
        return self.value


@dataclass(frozen=True)
class Agreement:
    """How far fits from several starts came to the same objective.

    They are the restarts of a fit, or where there is one only, the last runs of the search for its start, on a sample.

    Attributes
    ----------
    n_restarts : int
        How many there were.
    n_agreeing : int
        How many came to the best objective, itself among them, to what `tol` resolves.
    gap : float
        By how much the best that did not is below it, per unit of weight; 0 where all did.
    """

    n_restarts: int = 1
    n_agreeing: int = 1
    gap: float = 0.0

    @classmethod
    def among(cls, results: Sequence[EMResult[Any]], tol: float) -> Agreement:
        """Return how far results came to the same objective, the failed ones not; of one, what its start had."""
        if len(results) == 1:
            return results[0].agreement
        usable = [result for result in results if not result.failed]
        ends = np.array([float(result.objective[-1]) for result in usable]) / usable[0].weight
        below = ends.max() - ends
        others = below[below > max(SAME * tol, ROUNDING * abs(ends.max()))]
        return cls(len(results), len(below) - len(others), float(others.min()) if len(others) else 0.0)

    def __str__(self) -> str:
        below = f", the next {self.gap:.2g} a row below" if self.gap else ""
        return f"{self.n_agreeing} of {self.n_restarts} starts came to the best objective{below}"

    def to_list(self) -> list[Any]:
        """Return this as plain values."""
        return [self.n_restarts, self.n_agreeing, self.gap]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> Agreement:
        """Return what `to_list` described; raise `TypeError` or `ValueError` for another list."""
        n_restarts, n_agreeing, gap = values
        return cls(int(n_restarts), int(n_agreeing), float(gap))


ALONE = Agreement()  # of a fit from one start that was not searched for


@dataclass(frozen=True, eq=False)
class EMResult(Generic[P]):
    """What a fit by EM ends with.

    Attributes
    ----------
    params : P
        The parameters of the last evaluation.
    status : Status
        Why the fit ended.
    objective : (n_iter + 1,) array
        Log-likelihood plus log prior at each evaluation; the last one is that of `params`.
    loglik : float
        Log-likelihood of the weighted rows at `params`.
    weight : float
        Total weight of the rows.
    n_iter : int
        Updates that were made.
    n_passes : int
        Passes over the data.
    events : tuple of Event
        What happened to single components, in order, and which of them are suspect in the end.
    agreement : Agreement
        What the other restarts of the fit came to, or the other candidates for its start.
    memory : Memory or None
        What an accelerated fit learnt, for another one that begins where it ended.
    """

    params: P
    status: Status
    objective: FloatArray
    loglik: float
    weight: float
    n_iter: int
    n_passes: int
    events: tuple[Event, ...] = ()
    agreement: Agreement = ALONE
    memory: Memory[P] | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        ended = "converged" if self.converged else "not converged"
        lines = [
            f"{ended} after {self.n_iter} iterations, {self.n_passes} passes: {self.status.message}",
            f"log-likelihood {self.loglik:.12g}, {self.loglik / self.weight:.6g} a row",
            *(f"{event.message} in iteration {event.iteration}" for event in self.events),
        ]
        return "\n".join(lines if self.agreement == ALONE else [*lines, str(self.agreement)])

    @property
    def converged(self) -> bool:
        """Whether further iterations would change the objective by less than the tolerance."""
        return self.status in (Status.CONVERGED, Status.STALLED)

    @property
    def failed(self) -> bool:
        """Whether `params` are of no use."""
        return self.status in (Status.DIVERGED, Status.COLLAPSED)


@dataclass
class Trace(Generic[P]):
    """The record of one fit while it runs: with the parameters that it asks for, all that it needs to go on.

    Attributes
    ----------
    objective : list of float
        One for each evaluation.
    events : list of Event
        What happened to components.
    passes : int
        Passes over the data.
    repeats : int
        How many of them were made again at the parameters that are asked for.
    params : P
        Those of the last evaluation; None before the first.
    loglik, weight : float
        Of the last evaluation.
    memory : Memory or None
        What an accelerated fit has learnt.
    status : Status or None
        How the fit ended.
    agreement : Agreement
        What the candidates for the start came to.
    """

    objective: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    passes: int = 0
    repeats: int = 0
    params: P | None = None
    loglik: float = 0.0
    weight: float = 0.0
    memory: Memory[P] | None = None
    status: Status | None = None
    agreement: Agreement = ALONE
    _last: set[tuple[EventKind, int]] = field(default_factory=set)

    @property
    def iteration(self) -> int:
        """The number of the last evaluation: how many updates preceded it."""
        return len(self.objective) - 1

    def record(self, params: P, loglik: float, weight: float, objective: float) -> None:
        """Take in an evaluation."""
        self.params, self.loglik, self.weight = params, loglik, weight
        self.objective.append(objective)

    @property
    def fallible(self) -> Memory[P] | None:
        """The memory, if the step that is asked for may fail and there is something to fall back on."""
        return self.memory if self.memory and self.memory.fallback is not None else None

    def follow(self, proposal: Proposal[P]) -> P:
        """Keep what a proposal says to remember; return where it goes."""
        self.memory = proposal.memory
        return proposal.params

    def gains(self) -> list[float]:
        """Return the last gains, at most two, of an evaluation over the one before, since the last restart.

        They are per unit of weight.
        """
        since = max((event.iteration for event in self.events if event.restarts), default=0)
        return [(after - before) / self.weight for before, after in pairwise(self.objective[since:][-3:])]

    def report(self, events: Sequence[Event]) -> None:
        """Record events of the next update, but not those that only continue from the one before."""
        continued = self._last
        restarts = any(event.restarts for event in events)  # then numbers may mean other components
        self._last = set() if restarts else {(event.kind, event.component) for event in events}
        self.events += [e.at(self.iteration + 1) for e in events if (e.kind, e.component) not in continued]

    def result(self, status: Status) -> EMResult[P]:
        """End the fit, at the parameters of its last evaluation."""
        if self.params is None:
            raise RuntimeError("a fit cannot end before its first evaluation")
        self.status = status
        return EMResult(
            params=self.params,
            status=status,
            objective=np.array(self.objective),
            loglik=self.loglik,
            weight=self.weight,
            n_iter=self.iteration,
            n_passes=self.passes,
            events=tuple(self.events),
            agreement=self.agreement,
            memory=self.memory,
        )

    def to_tree(self) -> dict[str, Any]:
        """Return the record, but for the parameters, as plain values."""
        return {
            "objective": np.array(self.objective),
            "events": [event.to_list() for event in self.events],
            "passes": self.passes,
            "repeats": self.repeats,
            "loglik": self.loglik,
            "weight": self.weight,
            "status": self.status and self.status.name,
            "agreement": self.agreement.to_list(),
            "memory": self.memory and self.memory.to_tree(),
            "last": [[kind.name, component] for kind, component in sorted(self._last, key=lambda e: e[1])],
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any], params: P | None, decode: Callable[[Any], P]) -> Trace[P]:
        """Return the record that `to_tree` described; `decode` makes parameters of their trees."""
        return cls(
            objective=tree["objective"].tolist(),
            events=[Event.from_list(values) for values in tree["events"]],
            passes=tree["passes"],
            repeats=tree["repeats"],
            params=params,
            loglik=tree["loglik"],
            weight=tree["weight"],
            memory=tree["memory"] and Memory.from_tree(tree["memory"], decode),
            status=tree["status"] and Status[tree["status"]],
            agreement=Agreement.from_list(tree["agreement"]),
            _last={(EventKind[kind], component) for kind, component in tree["last"]},
        )
