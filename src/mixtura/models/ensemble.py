"""Many mixtures of one model side by side: one call of NumPy serves all, where it costs more than its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any, Generic, TypeVar

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.capabilities import Stackable, Stacked
from mixtura.model import Event
from mixtura.models.mixture import Mixture, MixtureParams, log_weights, weigh
from mixtura.stats import Stats
from mixtura.values import same_bits

T = TypeVar("T")

AT_ONCE = 1 << 17  # densities that are worked on fast


@dataclass(frozen=True, eq=False, kw_only=True)
class EnsembleStats(Stats):
    """The sums of all components of all members, and the log-likelihood of each member, (r,)."""

    components: Any
    each: FloatArray


@dataclass(frozen=True, eq=False)
class Prepared:
    """Rows as the family of an ensemble takes them, and their weights (n,); None stands for ones."""

    x: Any
    weight: FloatArray | None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, some: slice) -> Prepared:
        return Prepared(self.x[some], None if self.weight is None else self.weight[some])

    @property
    def total(self) -> float:
        """The total weight."""
        return float(len(self) if self.weight is None else self.weight.sum())

    def weighted(self, values: FloatArray) -> FloatArray:
        """Return values (..., n) of the rows times their weights."""
        return values if self.weight is None else values * self.weight.astype(values.dtype)


@dataclass(frozen=True)
class Ensemble(Generic[T]):
    """A model whose parameters are those of r mixtures, with weights (r, k) and r k components.

    Its log-likelihood and its weight are the sums of theirs, as if each had rows of its own, so its mean gain is the
    mean of their gains. Their priors take part in updates, but are not in the objective.

    Parameters
    ----------
    member : Mixture
        The model of each.
    family : Stacked
        That of the components of all.
    precision : dtype
        Of responsibilities. Starts need no more than four digits.
    """

    member: Mixture[T]
    family: Stacked[T]
    precision: type[np.floating[Any]] = np.float32

    @classmethod
    def of(cls, member: Mixture[T]) -> Ensemble[T] | None:
        """Return the ensemble of such mixtures, None where their components cannot be stacked."""
        family = member.family.stacked(member.n_components) if isinstance(member.family, Stackable) else None
        return None if family is None else cls(member, family)

    def join(self, members: Sequence[MixtureParams[T]]) -> MixtureParams[T]:
        """Return the parameters of mixtures as one."""
        components = self.family.stack([params.components for params in members])
        return replace(members[0], weights=np.stack([params.weights for params in members]), components=components)

    def split(self, params: MixtureParams[T]) -> list[MixtureParams[T]]:
        """Return the parameters of each mixture."""
        parts = self.family.unstack(params.components)
        return [
            replace(params, weights=weights, components=part)
            for weights, part in zip(params.weights, parts, strict=True)
        ]

    def recombine(self, params: MixtureParams[T], picks: IntArray) -> MixtureParams[T]:
        """Return mixtures of components that are picked, (r, k), by their numbers among all."""
        weights = params.weights.ravel()[picks]
        components = self.family.take(params.components, picks.ravel())
        return replace(params, weights=weights / weights.sum(axis=1, keepdims=True), components=components)

    def blank(self, member: T, n_members: int) -> T:
        """Return the components of so many mixtures that all have these."""
        return self.family.stack([member] * n_members)

    def prepare(self, blank: T, x: FloatArray, weight: FloatArray) -> Prepared:
        """Return rows (n, d) of these weights as the other methods take them."""
        return Prepared(self.family.prepare(blank, x), None if (weight == 1).all() else weight)

    def from_resp(self, blank: T, rows: Prepared, resp: FloatArray) -> tuple[MixtureParams[T], set[int]]:
        """Return the parameters that responsibilities (r k, n) of rows imply, and which mixtures collapsed.

        As for one mixture, the sums are taken again where digits were lost.
        """
        resp = rows.weighted(resp)
        sums = self.family.moments(blank, rows.x, resp)
        theta, events = self.family.update(sums, blank)
        if self.family.refine(sums, blank) is not None:
            theta, events = self.family.update(self.family.moments(theta, rows.x, resp), theta)
        counts = resp.sum(axis=1).reshape(-1, self.member.n_components)
        weights = counts / counts.sum(axis=1, keepdims=True)
        empty = np.flatnonzero((weights == 0).any(axis=1)).tolist()
        params = MixtureParams(weights=weights, components=theta)
        return params, {*empty, *(self.member_of(event) for event in events)}

    def member_of(self, event: Event) -> int:
        """Return the number of the mixture that an event of `m_step` is about."""
        return event.component // self.member.n_components

    def e_step(self, rows: Prepared, params: MixtureParams[T]) -> EnsembleStats:
        """Return the sums over all rows, some at a time: arrays of the densities of all would be slow."""
        step = max(1, AT_ONCE // params.weights.size)
        parts = [self._e_step(rows[i : i + step], params) for i in range(0, len(rows), step)]
        return reduce(add, parts)

    def _e_step(self, rows: Prepared, params: MixtureParams[T]) -> EnsembleStats:
        joint = self.family.joint(params.components, log_weights(params).ravel(), rows.x)
        loglik, resp = weigh(joint.reshape(*params.weights.shape, -1), params.weights, self.precision)
        each = rows.weighted(loglik).sum(axis=1)
        resp = rows.weighted(resp.reshape(joint.shape))
        return EnsembleStats(
            loglik=float(each.sum()),
            weight=rows.total * len(each),
            components=self.family.moments(params.components, rows.x, resp),
            each=each,
        )

    def m_step(self, stats: EnsembleStats, params: MixtureParams[T]) -> tuple[MixtureParams[T], Sequence[Event]]:
        """Return the update of each mixture; of components that collapse the numbers are those among all."""
        components, events = self.family.update(stats.components, params.components)
        counts = stats.components.s0.reshape(params.weights.shape)
        weights = self.member.weighting.update(counts, params.weights)
        return replace(params, weights=weights, components=components), events

    def refine(self, stats: EnsembleStats, params: MixtureParams[T]) -> MixtureParams[T] | None:
        """Return the same parameters about a better pivot where the sums lost too many digits."""
        components = self.family.refine(stats.components, params.components)
        return None if components is None else replace(params, components=components)

    def same(self, a: MixtureParams[T], b: MixtureParams[T]) -> bool:
        """Tell whether two parameters are equal bit for bit."""
        return same_bits(a, b)

    def log_prior(self, params: MixtureParams[T]) -> float:
        """Return 0: see above."""
        return 0.0
