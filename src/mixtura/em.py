"""The one loop of the library: expectation-maximization as a generator, and the driver that feeds it.

The generator yields parameters and receives statistics, so it knows neither data nor threads, and one driver can
serve many live fits in each pass over the data. It evaluates, tests, and only then updates: the objective that it
reports belongs to the parameters that it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from mixtura._types import FloatArray
from mixtura.blocks import fold_blocks
from mixtura.model import Event, EventKind, Model, Source
from mixtura.stats import Stats

P = TypeVar("P")
S = TypeVar("S", bound=Stats)

REPEATS = 2  # most passes that a model may ask for at the same parameters; more could not help

Fit = Generator[P, S, "EMResult[P]"]


class Status(Enum):
    """How a fit ended; ``message`` says it in a sentence."""

    CONVERGED = "the objective changes by less than the tolerance"
    ITERATION_LIMIT = "the iteration limit was reached before the tolerance was met"
    STALLED = "an update left every parameter as it was; further passes cannot change them"
    DIVERGED = "the log-likelihood or a statistic is not finite"

    @property
    def message(self) -> str:
        """Explain the status in a sentence."""
        return self.value


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
        What happened to single components, in order.
    """

    params: P
    status: Status
    objective: FloatArray
    loglik: float
    weight: float
    n_iter: int
    n_passes: int
    events: tuple[Event, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether further iterations would change the objective by less than the tolerance."""
        return self.status in (Status.CONVERGED, Status.STALLED)


Observer = Callable[[int, float, int], None]
_observers: ContextVar[tuple[Observer, ...]] = ContextVar("mixtura_observers", default=())


@contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Call ``observer(iteration, objective, max_iter)`` after every evaluation of the fits made inside.

    Examples
    --------
    >>> from mixtura import GaussianMixture
    >>> from mixtura.em import observe
    >>> with observe(lambda iteration, objective, max_iter: print(iteration, round(objective, 3))):
    ...     fitted = GaussianMixture(1).fit([0.0, 1.0, 2.0])
    0 -3.649
    """
    token = _observers.set((*_observers.get(), observer))
    try:
        yield
    finally:
        _observers.reset(token)


@dataclass
class _Trace:
    """The record of one fit while it runs."""

    objective: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    passes: int = 0
    _last: set[tuple[EventKind, int]] = field(default_factory=set)

    def report(self, events: Sequence[Event], iteration: int) -> None:
        """Record events, but not those that only continue from the iteration before."""
        continued = self._last
        self._last = {(event.kind, event.component) for event in events}
        self.events += [e.at(iteration) for e in events if (e.kind, e.component) not in continued]

    def result(self, params: P, stats: Stats, status: Status) -> EMResult[P]:
        return EMResult(
            params=params,
            status=status,
            objective=np.array(self.objective),
            loglik=float(stats.loglik),
            weight=float(stats.weight),
            n_iter=len(self.objective) - 1,
            n_passes=self.passes,
            events=tuple(self.events),
        )


def em(model: Model[P, S], params: P, *, tol: float = 1e-3, max_iter: int = 100) -> Fit[P, S]:
    """Iterate expectation-maximization from `params`: yield parameters, receive their statistics.

    Parameters
    ----------
    model : Model
        Gives ``m_step``, ``log_prior`` and ``refine``.
    params : P
        Where to start.
    tol : float
        Stop when the objective per unit of weight changes by less than this in one iteration.
    max_iter : int
        Most updates to make; there is one evaluation more.

    Yields
    ------
    P
        Parameters whose statistics over all rows are to be sent back.

    Returns
    -------
    EMResult
        The parameters of the last evaluation, and how the fit went.
    """
    trace = _Trace()
    while True:
        params, stats, finite = yield from _evaluate(model, params, trace)
        objective = float(stats.loglik) + model.log_prior(params)
        trace.objective.append(objective)
        iteration = len(trace.objective) - 1
        for observer in _observers.get():
            observer(iteration, objective, max_iter)
        if not (np.isfinite(objective) and finite):
            return trace.result(params, stats, Status.DIVERGED)
        if iteration and abs(objective - trace.objective[-2]) < tol * float(stats.weight):
            return trace.result(params, stats, Status.CONVERGED)
        if iteration == max_iter:
            return trace.result(params, stats, Status.ITERATION_LIMIT)
        updated, events = model.m_step(stats, params)
        trace.report(events, iteration + 1)
        if model.same(updated, params):
            return trace.result(params, stats, Status.STALLED)
        params = updated


def _evaluate(model: Model[P, S], params: P, trace: _Trace) -> Generator[P, S, tuple[P, S, bool]]:
    """Yield parameters and receive their statistics, again where the model asks; tell whether these are finite."""
    for repeat in range(1 + REPEATS):
        stats = yield params
        trace.passes += 1
        finite = stats.is_finite()
        if not finite or repeat == REPEATS or (better := model.refine(stats, params)) is None:
            break
        params = better
    return params, stats, finite


def drive(
    source: Source, model: Model[P, S], starts: Sequence[P], *, tol: float = 1e-3, max_iter: int = 100
) -> list[EMResult[P]]:
    """Run EM from each of `starts`; every pass over `source` serves all fits that are still live.

    Parameters
    ----------
    source : Source
        The rows.
    model : Model
        What to fit.
    starts : sequence of P
        One fit is run from each.
    tol, max_iter : float, int
        As for `em`.

    Returns
    -------
    list of EMResult
        In the order of `starts`.
    """
    fits = [em(model, start, tol=tol, max_iter=max_iter) for start in starts]
    asked = {i: next(fit) for i, fit in enumerate(fits)}
    results: dict[int, EMResult[P]] = {}
    while asked:
        for i, stats in zip(list(asked), _fold(source, model, list(asked.values())), strict=True):
            try:
                asked[i] = fits[i].send(stats)
            except StopIteration as stop:
                results[i] = stop.value
                del asked[i]
    return [results[i] for i in range(len(fits))]


def evaluate(source: Source, model: Model[P, S], params: P) -> S:
    """Return the statistics of all rows at `params`, in one pass."""
    return _fold(source, model, [params])[0]


def _fold(source: Source, model: Model[P, S], asked: Sequence[P]) -> list[S]:
    compiled = model.compiles(source.n_rows, source.n_features)
    return source.fold([partial(fold_blocks, model, params, compiled=compiled) for params in asked])
