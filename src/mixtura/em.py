"""The one loop of the library: expectation-maximization as a generator, and the driver that feeds it.

The generator yields parameters and receives statistics, so it knows neither data nor threads, and one driver can
serve many live fits in each pass over the data. It evaluates, tests, and only then updates: the objective that it
reports belongs to the parameters that it returns.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from mixtura.acceleration import Ascent, Evaluated, Memory, Plain, rises
from mixtura.blas import one_thread
from mixtura.blocks import fold_blocks
from mixtura.checkpoint import Checkpoint
from mixtura.model import Model, Source
from mixtura.observers import State, observe, tell, unobserved
from mixtura.persistence import encode
from mixtura.progress import listen
from mixtura.result import ALONE, Agreement, EMResult, Status, Trace
from mixtura.stats import Stats
from mixtura.values import bits

__all__ = [
    "EMResult",
    "Job",
    "State",
    "Status",
    "climb",
    "drive",
    "drive_jobs",
    "em",
    "evaluate",
    "observe",
    "settle",
    "unobserved",
]

P = TypeVar("P")
S = TypeVar("S", bound=Stats)
R = TypeVar("R")

PLAIN = Plain()
REPEATS = 2  # most passes that a model may ask for at the same parameters; more could not help

Loop = Generator[P, S, "EMResult[P]"]

logger = logging.getLogger(__name__)


def em(
    model: Model[P, S],
    params: P,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    ascent: Ascent = PLAIN,
    trace: Trace[P] | None = None,
) -> Loop[P, S]:
    """Iterate expectation-maximization from `params`: yield parameters, receive their statistics.

    Parameters
    ----------
    model : Model
        Gives ``m_step``, ``log_prior`` and ``refine``, and free coordinates to an `ascent` that wants them.
    params : P
        Where to start, or to go on.
    tol : float
        Stop when `ascent` finds less than this left to gain, per unit of weight.
    max_iter : int
        Most updates to make; there is one evaluation more.
    ascent : Ascent
        Where to go from an evaluation: `Plain()` or `QuasiNewton()` of `mixtura.acceleration`.
    trace : Trace, optional
        The record to write; that of an interrupted fit makes it go on.

    Yields
    ------
    P
        Parameters whose statistics over all rows are to be sent back.

    Returns
    -------
    EMResult
        The parameters of the last evaluation, and how the fit went.
    """
    trace = Trace() if trace is None else trace
    while True:
        params, stats, finite = yield from _evaluate(model, params, trace)
        objective = float(stats.loglik) + model.log_prior(params)
        finite = finite and math.isfinite(objective)
        if trace.fallible and not (finite and rises(objective, trace.objective[-1])):
            tried = _look(model, stats, params, trace) if finite else None
            params = trace.follow(ascent.retreat(model, tried, trace.fallible))
            continue
        trace.record(params, float(stats.loglik), float(stats.weight), objective)
        if not finite:
            return trace.result(Status.DIVERGED)
        here = _look(model, stats, params, trace)
        proposal = here.afresh() if here.restarts else ascent.propose(model, here, trace.memory)
        if proposal.remaining < tol:
            return trace.result(Status.CONVERGED)
        if trace.iteration == max_iter:
            return trace.result(Status.ITERATION_LIMIT)
        trace.report(here.events)
        if any(event.fatal for event in here.events):
            return trace.result(Status.COLLAPSED)
        if model.same(here.updated, params):
            return trace.result(Status.STALLED)
        params = trace.follow(proposal)


def _look(model: Model[P, S], stats: S, params: P, trace: Trace[P]) -> Evaluated[P]:
    """Return what EM makes of statistics at `params`."""
    updated, events = model.m_step(stats, params)
    return Evaluated(params, updated, events, trace.gains())


def _evaluate(model: Model[P, S], params: P, trace: Trace[P]) -> Generator[P, S, tuple[P, S, bool]]:
    """Yield parameters and receive their statistics, again where the model asks; tell whether these are finite."""
    while True:
        stats = yield params
        trace.passes += 1
        finite = stats.is_finite()
        if not finite or trace.repeats == REPEATS or (better := model.refine(stats, params)) is None:
            trace.repeats = 0
            return params, stats, finite
        params, trace.repeats = better, trace.repeats + 1


@dataclass(frozen=True, eq=False)
class Job(Generic[P, S]):
    """One of the fits that share the passes over the data: what is fitted, and from where.

    Attributes
    ----------
    model : Model
        What is fitted.
    asked : P
        The parameters to evaluate first: a start, or those that an interrupted fit asked for.
    trace : Trace
        The record to go on with; an empty one for a fit that begins.
    """

    model: Model[P, S]
    asked: P
    trace: Trace[P] = field(default_factory=Trace)

    def to_tree(self) -> dict[str, Any]:
        """Return all that is needed to go on from here, but for the model, as plain values."""
        params = self.trace.params
        return {
            "asked": encode(self.asked),
            "params": None if params is None else encode(params),
            "trace": self.trace.to_tree(),
        }

    @classmethod
    def from_tree(cls, model: Model[P, S], tree: dict[str, Any]) -> Job[P, S]:
        """Return the fit that `to_tree` described."""
        params = None if tree["params"] is None else model.decode(tree["params"])
        return cls(model, model.decode(tree["asked"]), Trace.from_tree(tree["trace"], params, model.decode))


class _Fit(Generic[P, S]):
    """A job that runs: its loop, its record, and what it asks for or ended with."""

    def __init__(self, job: Job[P, S], number: int, *, begun: float, tol: float, max_iter: int, ascent: Ascent) -> None:
        self.model, self.asked, self.trace = job.model, job.asked, job.trace
        status = self.trace.status
        self.result: EMResult[P] | None = None if status is None else self.trace.result(status)
        self._number, self._max_iter, self._begun = number, max_iter, begun
        self._loop = em(self.model, self.asked, tol=tol, max_iter=max_iter, ascent=ascent, trace=self.trace)
        next(self._loop)

    def send(self, stats: S) -> bool:
        """Take in the statistics of the parameters asked for; tell whether they made an evaluation."""
        before = self.trace.iteration
        try:
            self.asked = self._loop.send(stats)
        except StopIteration as stop:
            self.result = stop.value
        return self.trace.iteration > before

    def stop(self, status: Status) -> None:
        """End where the last evaluation was."""
        if self.result is None:
            self._loop.close()
            self.result = self.trace.result(status)

    def tell(self) -> bool:
        """Tell every observer of the last evaluation; return whether one of them wants the fit to end."""
        trace = self.trace
        state = State(
            restart=self._number,
            iteration=trace.iteration,
            max_iter=self._max_iter,
            objective=trace.objective[-1],
            loglik=trace.loglik,
            weight=trace.weight,
            params=trace.params,
            n_passes=trace.passes,
            seconds=time.monotonic() - self._begun,
        )
        return tell(state)

    def to_tree(self) -> dict[str, Any]:
        """Return all that is needed to go on from here, as plain values."""
        return Job(self.model, self.asked, self.trace).to_tree()


class _OutOfTimeError(Exception):
    """The deadline has passed in the middle of a pass."""


def drive(
    source: Source,
    model: Model[P, S],
    starts: Sequence[P],
    *,
    agreement: Agreement = ALONE,
    memory: Memory[P] | None = None,
    checkpoint: Checkpoint | None = None,
    **options: Any,
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
    agreement : Agreement
        What the candidates for the starts came to; the results pass it on.
    memory : Memory, optional
        What a fit to other rows learnt that ended where this one starts.
    checkpoint : Checkpoint, optional
        Where the state goes after every pass. If it has one, the fits go on from there, and `starts` do not count.
    **options
        As for `drive_jobs`.

    Returns
    -------
    list of EMResult
        In the order of `starts`.
    """
    saved = None if checkpoint is None else checkpoint.saved
    if saved is None:
        jobs = [Job(model, start, Trace(agreement=agreement, memory=memory)) for start in starts]
    else:
        jobs = [Job.from_tree(model, tree) for tree in saved]
    return drive_jobs(source, jobs, checkpoint=checkpoint, **options)


def drive_jobs(
    source: Source,
    jobs: Sequence[Job[Any, Any]],
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    ascent: Ascent = PLAIN,
    deadline: float = math.inf,
    checkpoint: Checkpoint | None = None,
) -> list[EMResult[Any]]:
    """Run EM for jobs of any models; every pass over `source` serves all that are still live.

    Parameters
    ----------
    source : Source
        The rows.
    jobs : sequence of Job
        The fits; they need not be of one model.
    tol, max_iter, ascent : float, int, Ascent
        As for `em`.
    deadline : float
        When to stop, by ``time.monotonic()``: a pass in progress is abandoned, but for the first one.
    checkpoint : Checkpoint, optional
        Where the state goes after every pass.

    Returns
    -------
    list of EMResult
        In the order of `jobs`.
    """
    begun = time.monotonic()
    fits = [_Fit(job, i, begun=begun, tol=tol, max_iter=max_iter, ascent=ascent) for i, job in enumerate(jobs)]
    if checkpoint and checkpoint.saved is None:
        checkpoint.save([fit.to_tree() for fit in fits])
    elif checkpoint:
        logger.info("going on from %s, after %d passes", checkpoint.path, max(fit.trace.passes for fit in fits))
    while live := [fit for fit in fits if fit.result is None]:
        with one_thread():
            status = _pass(source, live, deadline)
        if checkpoint and status is not Status.TIME_LIMIT:
            checkpoint.save([fit.to_tree() for fit in fits])
        if status is not None:
            for fit in live:
                fit.stop(status)
    return [fit.result for fit in fits if fit.result is not None]


def _pass(source: Source, live: Sequence[_Fit[Any, Any]], deadline: float) -> Status | None:
    """Make one pass for the live fits and tell the observers; return a status if all are to end with it."""
    first = any(fit.trace.params is None for fit in live)

    def check_time(_: int) -> None:
        if not first and time.monotonic() >= deadline:
            raise _OutOfTimeError

    try:
        with listen(check_time):
            check_time(0)
            folded = _fold_once(source, [(fit.model, fit.asked) for fit in live])
    except _OutOfTimeError:
        return Status.TIME_LIMIT
    evaluated = [fit for fit, stats in zip(live, folded, strict=True) if fit.send(stats)]
    answers = [fit.tell() for fit in evaluated]
    return Status.STOPPED if any(answers) else None


def evaluate(source: Source, model: Model[P, S], params: P) -> S:
    """Return the statistics of all rows at `params`, in one pass."""
    stats: S = _fold(source, [(model, params)])[0]
    return stats


def climb(e_step: Callable[[P], S], model: Model[P, S], start: P, **options: Any) -> tuple[EMResult[P], S]:
    """Run EM from one start on the sums that `e_step` makes, unobserved; return how it went, and the last sums.

    Those are at the parameters that it ends with. The options are those of `em`.
    """
    return _feed(e_step, em(model, start, **options))


def settle(source: Source, model: Model[P, S], params: P) -> tuple[P, S]:
    """Return `params`, refined as far as the model asks, and the statistics of all rows at them."""
    (params, stats, _), _ = _feed(partial(evaluate, source, model), _evaluate(model, params, Trace()))
    return params, stats


def _feed(e_step: Callable[[P], S], loop: Generator[P, S, R]) -> tuple[R, S]:
    """Send a loop the sums that it asks for; return what it comes to, and the last sums."""
    asked = next(loop)
    while True:
        stats = e_step(asked)
        try:
            asked = loop.send(stats)
        except StopIteration as stop:
            return stop.value, stats


def _fold_once(source: Source, asked: Sequence[tuple[Model[Any, Any], Any]]) -> list[Any]:
    """Do what `_fold` does, once for all that ask for the same bits: so restarts that began at one place cost one."""
    if len({id(model) for model, _ in asked}) == len(asked):
        return _fold(source, asked)
    keys = [(id(model), bits(params)) for model, params in asked]
    once = dict(zip(keys, asked, strict=True))
    folded = dict(zip(once, _fold(source, list(once.values())), strict=True))
    return [folded[key] for key in keys]


def _fold(source: Source, asked: Sequence[tuple[Model[Any, Any], Any]]) -> list[Any]:
    """Return the statistics of all rows at the parameters of each model, in one pass."""
    size = source.n_rows, source.n_features
    return source.fold([partial(fold_blocks, model, params, compiled=model.compiles(*size)) for model, params in asked])
