"""What is done about a component that lost its rows or its width: a policy, applied after every M-step.

The M-step leaves a component without rows where it was, and a family raises one without width to the least that the
numbers can carry, so parameters are finite whatever happens. The policy decides whether they stay.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mixtura._types import IntArray
from mixtura.capabilities import Divisible
from mixtura.model import SHARED, Event, EventKind

if TYPE_CHECKING:
    from mixtura.models.mixture import MixtureParams

KEPT = {EventKind.EMPTY: "keeps its last parameters", EventKind.FLOOR: "was raised to the floor"}


class CollapsePolicy(ABC):
    """A rule for components that collapsed."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()  # of the methods of `Divisible`
    shrinks: ClassVar[bool] = False  # whether a fit may end with fewer components than it began with

    def check(self, family: Any) -> None:
        """Raise a `TypeError` if a family lacks a method that this policy needs."""
        if missing := [name for name in self.needs if not hasattr(family, name)]:
            raise TypeError(
                f"on_collapse={self.name!r} needs a family with the method {missing[0]!r}, which the {family.name} "
                f"family lacks: add it, or take on_collapse='floor' or 'raise'"
            )

    @abstractmethod
    def settle(
        self, family: Any, params: MixtureParams[Any], events: Sequence[Event]
    ) -> tuple[MixtureParams[Any], Sequence[Event]]:
        """Return the parameters to go on with, and events that tell what was done.

        Parameters
        ----------
        family : Family
            Of the components.
        params : MixtureParams
            What the M-step made, with collapsed components as they were or at the floor.
        events : sequence of Event
            What collapsed; not empty.
        """


@dataclass(frozen=True)
class Floor(CollapsePolicy):
    """Keep the component where it was or at the floor."""

    name: ClassVar[str] = "floor"

    def settle(
        self, family: Any, params: MixtureParams[Any], events: Sequence[Event]
    ) -> tuple[MixtureParams[Any], Sequence[Event]]:
        return params, [event.then(event.kind, KEPT[event.kind]) for event in events]


@dataclass(frozen=True)
class Raise(CollapsePolicy):
    """End the fit."""

    name: ClassVar[str] = "raise"

    def settle(
        self, family: Any, params: MixtureParams[Any], events: Sequence[Event]
    ) -> tuple[MixtureParams[Any], Sequence[Event]]:
        return params, [replace(event, kind=EventKind.REFUSED) for event in events]


class _Replacing(CollapsePolicy):
    """A policy that puts something else in the place of single components.

    What all components share cannot be replaced, and where all collapse at once it is the data that have no width:
    there it keeps the floor.
    """

    kind: ClassVar[EventKind]

    def settle(
        self, family: Any, params: MixtureParams[Any], events: Sequence[Event]
    ) -> tuple[MixtureParams[Any], Sequence[Event]]:
        own = {event.component: event for event in events if event.component != SHARED}
        if not 0 < len(own) < len(params.weights) or not self._may_replace(params, len(own)):
            return Floor().settle(family, params, events)
        params, outcomes = self._replace(family, params, np.array(sorted(own)))
        replaced = [own[j].then(self.kind, outcome) for j, outcome in zip(sorted(own), outcomes, strict=True)]
        _, kept = Floor().settle(family, params, [event for event in events if event.component == SHARED])
        return params, [*replaced, *kept]

    def _may_replace(self, params: MixtureParams[Any], count: int) -> bool:
        """Tell whether so many more components may be replaced."""
        return True

    @abstractmethod
    def _replace(
        self, family: Divisible[Any], params: MixtureParams[Any], collapsed: IntArray
    ) -> tuple[MixtureParams[Any], list[str]]:
        """Return the mixture without these components as they are, and what became of each, in words."""


@dataclass(frozen=True)
class Drop(_Replacing):
    """Remove the component and go on with the others."""

    name: ClassVar[str] = "drop"
    needs: ClassVar[tuple[str, ...]] = ("take",)
    shrinks: ClassVar[bool] = True
    kind: ClassVar[EventKind] = EventKind.DROP

    def _replace(
        self, family: Divisible[Any], params: MixtureParams[Any], collapsed: IntArray
    ) -> tuple[MixtureParams[Any], list[str]]:
        left = np.setdiff1d(np.arange(len(params.weights)), collapsed)
        weights = params.weights[left]
        components = family.take(params.components, left)
        left_over = replace(params, weights=weights / weights.sum(), components=components)
        return left_over, ["was dropped"] * len(collapsed)


@dataclass(frozen=True)
class Reseed(_Replacing):
    """Let the component take over one half of the widest one (formula C1).

    A fit does so at most as often as it has components; then collapsed ones stay at the floor.
    """

    name: ClassVar[str] = "reseed"
    needs: ClassVar[tuple[str, ...]] = ("take", "spread", "part")
    kind: ClassVar[EventKind] = EventKind.RESEED

    def _may_replace(self, params: MixtureParams[Any], count: int) -> bool:
        return params.reseeds + count <= len(params.weights)

    def _replace(
        self, family: Divisible[Any], params: MixtureParams[Any], collapsed: IntArray
    ) -> tuple[MixtureParams[Any], list[str]]:
        weights, theta = params.weights.copy(), params.components
        everyone, outcomes = np.arange(len(weights)), []
        for done, j in enumerate(collapsed):
            scatter = weights * family.spread(theta)
            scatter[collapsed[done:]] = -1.0  # what has collapsed has no halves
            widest = int(np.argmax(scatter))
            theta = family.part(family.take(theta, np.where(everyone == j, widest, everyone)), widest, int(j))
            weights[[widest, j]] = (weights[widest] + weights[j]) / 2
            outcomes.append(f"took over one half of component {widest}")
        return replace(params, weights=weights, components=theta, reseeds=params.reseeds + len(collapsed)), outcomes
