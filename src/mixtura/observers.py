"""Who is told how a fit goes, after each of its evaluations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mixtura.context import setting
from mixtura.progress import unheard

P = TypeVar("P")

logger = logging.getLogger("mixtura.em")  # a name that programs listen to


@dataclass(frozen=True, eq=False)
class State(Generic[P]):
    """What an observer of a fit is told after each evaluation.

    Attributes
    ----------
    restart : int
        Which of the fits that share the passes, from 0.
    iteration, max_iter : int
        Updates that preceded this evaluation, and the most there will be.
    objective : float
        Log-likelihood plus log prior at `params`.
    loglik, weight : float
        Log-likelihood and total weight of the rows.
    params : P
        The parameters, in the model's own form.
    n_passes : int
        Passes over the data so far.
    seconds : float
        Since the first pass began, in this process.
    """

    restart: int
    iteration: int
    max_iter: int
    objective: float
    loglik: float
    weight: float
    params: P
    n_passes: int
    seconds: float


Observer = Callable[[State[Any]], Any]


def _log(state: State[Any]) -> None:
    logger.info("restart %d, iteration %d: objective %.9g", state.restart, state.iteration, state.objective)


_observers: ContextVar[tuple[Observer, ...]] = ContextVar("mixtura_observers", default=(_log,))


def observe(observer: Observer) -> AbstractContextManager[None]:
    """Call ``observer(state)`` after every evaluation of the fits made inside; if it returns True, they end there.

    Examples
    --------
    >>> from mixtura import GaussianMixture
    >>> from mixtura.em import observe
    >>> with observe(lambda state: print(state.iteration, round(state.objective, 3))):
    ...     fitted = GaussianMixture(1).fit([0.0, 1.0, 2.0])
    0 -3.649
    """
    return setting(_observers, (*_observers.get(), observer))


@contextmanager
def unobserved() -> Iterator[None]:
    """Let no observer, no log and no listener hear of the fits made inside: they are a means to something else."""
    with setting(_observers, ()), unheard():
        yield


def tell(state: State[Any]) -> bool:
    """Tell every observer of an evaluation; return whether one of them wants the fit to end."""
    answers = [observer(state) for observer in _observers.get()]
    return any(answers)
