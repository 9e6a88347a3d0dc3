"""Where EM goes next: to its own update, or further, by a quasi-Newton step in free coordinates.

An EM update is a gradient step in the metric of the complete-data information: it is short where much information is
missing, which is what makes EM slow. L-BFGS (Nocedal 1980) started from that metric learns the rest from the updates
that it sees (Jamshidian & Jennrich 1997), and needs nothing but the E-step's sums: each pass tells the objective of one
step and the update to start the next one from, so a step that fails costs that pass and no other. Formulas Q1 to Q6.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import numpy as np

from mixtura._types import FloatArray
from mixtura.blas import one_thread
from mixtura.model import Event, Model, SmoothModel
from mixtura.persistence import encode

P = TypeVar("P")

PAIRS = 10  # steps that are remembered
CALM = 1e-2  # gain per unit of weight below which EM has chosen its optimum: further steps may leave it for a worse one
LONGEST = 10.0  # most that a step may be longer than the update by scaling alone
GROW, SHRINK = 4.0, 4.0  # of the longest step, after one that succeeds or fails
CAUTION = 10.0  # times what is estimated may be left to gain, where few steps have yet told how slow EM is
CURVATURE = 1e-8  # least curvature, in units of the complete-data information, that a step may teach
ROUNDING = 1e-13  # of an objective, relative


@dataclass(frozen=True, eq=False)
class Evaluated(Generic[P]):
    """An evaluation of the objective, and what EM makes of it.

    Attributes
    ----------
    params, updated : P
        Where it was made, and the EM update.
    events : sequence of Event
        What happened to components in the update: then what was learnt no longer holds.
    gains : sequence of float
        How much each evaluation was above the one before, per unit of weight: the last two, up to this one.
    """

    params: P
    updated: P
    events: Sequence[Event]
    gains: Sequence[float]

    @property
    def restarts(self) -> bool:
        """Whether the update leads elsewhere, so that nothing that was learnt holds there."""
        return any(event.restarts for event in self.events)

    def afresh(self) -> Proposal[P]:
        """Go to the update and learn anew."""
        return Proposal(self.updated, math.inf)


@dataclass(frozen=True, eq=False)
class Memory(Generic[P]):
    """What is carried from one evaluation to the next, as a value that a checkpoint can hold.

    Attributes
    ----------
    point, gradient : (q,) array
        Free coordinates and gradient of the last evaluation.
    steps, turns : (m, q) array
        Steps, and by how much the gradient fell along each.
    size, reach : float
        Length of the step that is tried, and the longest that may be.
    calm : bool
        Whether EM has settled for an optimum, so that it may be extrapolated.
    fallback : P or None
        The EM update to go to if the step that is tried fails; None while the EM update itself is tried.
    """

    point: FloatArray
    gradient: FloatArray
    steps: FloatArray
    turns: FloatArray
    size: float = 0.0
    reach: float = math.inf
    calm: bool = False
    fallback: P | None = None

    def elsewhere(self, point: FloatArray) -> Memory[P]:
        """Return what holds as well for other rows, of which a fit begins at `point`: how the objective bends."""
        return replace(self, point=point, size=0.0, reach=math.inf, fallback=None)

    def to_tree(self) -> dict[str, Any]:
        """Return this as plain values."""
        return {**vars(self), "fallback": self.fallback and encode(self.fallback)}

    @classmethod
    def from_tree(cls, tree: dict[str, Any], decode: Callable[[Any], P]) -> Memory[P]:
        """Return what `to_tree` described; `decode` makes parameters of their trees."""
        return cls(**{**tree, "fallback": tree["fallback"] and decode(tree["fallback"])})


@dataclass(frozen=True, eq=False)
class Proposal(Generic[P]):
    """Where to evaluate next, how much is left to gain per unit of weight, and what to remember."""

    params: P
    remaining: float
    memory: Memory[P] | None = None


class Ascent(ABC):
    """A rule by which EM goes on."""

    @abstractmethod
    def propose(self, model: Model[P, Any], here: Evaluated[P], memory: Memory[P] | None) -> Proposal[P]:
        """Return where to go from an evaluation."""

    def retreat(self, model: Model[P, Any], tried: Evaluated[P] | None, memory: Memory[P]) -> Proposal[P]:
        """Return where to go from a step that failed; `tried` is None where it has no finite objective."""
        raise RuntimeError("an EM update cannot fail")


@dataclass(frozen=True)
class Plain(Ascent):
    """Expectation-maximization as it is; what is left to gain is taken for the last gain, as scikit-learn does."""

    def propose(self, model: Model[P, Any], here: Evaluated[P], memory: Memory[P] | None) -> Proposal[P]:
        """Go to the EM update."""
        return Proposal(here.updated, abs(here.gains[-1]) if here.gains else math.inf)


@dataclass(frozen=True)
class QuasiNewton(Ascent):
    """L-BFGS in free coordinates, from the metric of the complete-data information.

    A step that lowers the objective is not taken: the EM update of the point before, which is at hand, is. What is left
    to gain is estimated by the quadratic model and by Aitken's rule, of which the larger counts, times a factor of
    caution (formula Q6).

    Parameters
    ----------
    pairs : int
        Steps that are remembered.
    """

    pairs: int = PAIRS

    def propose(self, model: Model[P, Any], here: Evaluated[P], memory: Memory[P] | None) -> Proposal[P]:
        """Return a quasi-Newton step, or the EM update before EM has settled and where such a step cannot be held."""
        model = _smooth(model)
        point, update, gradient = _look_around(model, here)
        memory = self._take_in(here, memory, point, gradient)
        step = _direction(model, here.params, memory, update)
        informed = len(memory.steps) > 0 and not here.gains  # by a fit to other rows
        remaining = CAUTION * max(_inner(gradient, step), 0.0 if informed else aitken(here.gains))
        if not memory.calm or not len(memory.steps):
            return Proposal(here.updated, remaining, memory)
        size = math.sqrt(max(_inner(step, model.metric(here.params, step)), 0.0))
        shortened = min(1.0, memory.reach / size) if size > 0 else 1.0
        target = model.from_free(point + shortened * step, here.updated)
        if target is None:
            return Proposal(here.updated, remaining, memory)
        return Proposal(target, remaining, replace(memory, size=shortened * size, fallback=here.updated))

    def retreat(self, model: Model[P, Any], tried: Evaluated[P] | None, memory: Memory[P]) -> Proposal[P]:
        """Go to the EM update of the point before, with what the failed step taught."""
        if memory.fallback is None:
            return super().retreat(model, tried, memory)
        fallback = memory.fallback
        if tried is not None and not tried.events:
            point, _, gradient = _look_around(_smooth(model), tried)
            memory = self._learn(memory, point, gradient)
        return Proposal(fallback, math.inf, replace(memory, reach=memory.size / SHRINK, fallback=None))

    def _take_in(
        self, here: Evaluated[P], memory: Memory[P] | None, point: FloatArray, gradient: FloatArray
    ) -> Memory[P]:
        """Return what is known after an evaluation; an event leaves nothing of it but where EM is."""
        calm = bool(here.gains and here.gains[-1] < CALM)
        if memory is None or here.events:
            none = np.empty((0, len(point)))
            return Memory(point=point, gradient=gradient, steps=none, turns=none, calm=calm)
        memory = self._learn(memory, point, gradient)
        reach = memory.reach if memory.fallback is None else max(memory.reach, GROW * memory.size)
        calm = calm or memory.calm
        return replace(memory, point=point, gradient=gradient, reach=reach, calm=calm, fallback=None)

    def _learn(self, memory: Memory[P], point: FloatArray, gradient: FloatArray) -> Memory[P]:
        """Remember the step from the last evaluation to `point`, if the objective bends down along it (formula Q4)."""
        step, turn = point - memory.point, memory.gradient - gradient
        # Its length in the metric is known: of a step that was tried it is `size`, and an EM update times the metric is
        # the gradient.
        squared = _inner(step, memory.gradient) if memory.fallback is None else memory.size**2
        if not _inner(step, turn) > CURVATURE * squared:
            return memory
        kept = slice(max(0, len(memory.steps) + 1 - self.pairs), None)
        steps, turns = np.vstack([memory.steps, step])[kept], np.vstack([memory.turns, turn])[kept]
        return replace(memory, steps=steps, turns=turns)


def aitken(gains: Sequence[float]) -> float:
    """Return what is left to gain if the last gains go on as a geometric series.

    That is the last gain itself where there is no other to compare it with or they do not fall, and infinity where
    there is none.
    """
    if not gains:
        return math.inf
    last = abs(gains[-1])
    falls = len(gains) > 1 and last < gains[-2]
    return last * last / (gains[-2] - last) if falls else last


def rises(objective: float, best: float) -> bool:
    """Tell whether an objective is not below the best so far by more than rounding; NaN is below."""
    return objective >= best - ROUNDING * abs(best)


def _smooth(model: Model[P, Any]) -> SmoothModel[P, Any]:
    """Return a model as one that can be accelerated; raise a `TypeError` for one that has no free coordinates."""
    if not hasattr(model, "free"):
        raise TypeError(
            f"{type(model).__name__} has no free coordinates, which quasi-Newton steps are taken in: fit it without "
            f"acceleration"
        )
    return cast(SmoothModel[P, Any], model)


def _look_around(model: SmoothModel[P, Any], here: Evaluated[P]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return point, EM update and gradient of an evaluation, in free coordinates (formula Q2)."""
    point = model.free(here.params)
    update = model.free(here.updated) - point
    return point, update, model.metric(here.params, update)


def _direction(model: SmoothModel[P, Any], params: P, memory: Memory[P], update: FloatArray) -> FloatArray:
    """Return the quasi-Newton step (formula Q3); without memory it is the EM update.

    The two loops of L-BFGS are written as what they do: they solve triangular systems of the pairs' inner products.
    """
    if not len(memory.steps):
        return update
    steps, turns = memory.steps, memory.turns
    with one_thread():  # no number of threads can change the order of sums
        products = np.triu(steps @ turns.T)
        shares = np.linalg.solve(products, steps @ memory.gradient)
        bend, last = products[-1, -1], turns[-1]
        scale = bend / _inner(last, model.inverse_metric(params, last))
        rest = model.inverse_metric(params, memory.gradient - shares @ turns)
        direction: FloatArray = min(max(scale, 1.0), LONGEST) * rest
        shares = np.linalg.solve(products.T, products.diagonal() * shares - turns @ direction)
        return direction + shares @ steps


def _inner(a: FloatArray, b: FloatArray) -> float:
    """Return the inner product, by a sum whose order no number of threads can change."""
    return float((a * b).sum())
