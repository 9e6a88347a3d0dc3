"""Many mixtures of one model side by side: one call of NumPy serves all, where it costs more than its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.capabilities import Stackable, Stacked
from mixtura.grid import Chunk
from mixtura.model import Event
from mixtura.models.mixture import Mixture, MixtureParams, weigh
from mixtura.stats import Stats
from mixtura.values import same_bits

T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class EnsembleStats(Stats):
    """The sums of all components of all members, and the log-likelihood of each member, (r,)."""

    components: Any
    each: FloatArray


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
    """

    member: Mixture[T]
    family: Stacked[T]

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

    def from_resp(self, blank: T, x: FloatArray, resp: FloatArray) -> tuple[MixtureParams[T], set[int]]:
        """Return the parameters that weighted responsibilities (n, r k) of rows imply, and which mixtures collapsed."""
        k = self.member.n_components
        found, events = Mixture(self.family, resp.shape[1]).from_resp(blank, x, resp)
        weights = found.weights.reshape(-1, k)
        weights = weights / weights.sum(axis=1, keepdims=True)
        empty = np.flatnonzero((weights == 0).any(axis=1)).tolist()
        return replace(found, weights=weights), {*empty, *(self.member_of(event) for event in events)}

    def member_of(self, event: Event) -> int:
        """Return the number of the mixture that an event of `m_step` is about."""
        return event.component // self.member.n_components

    def compiles(self, n_rows: int, n_features: int) -> bool:
        """Return False: what repays a kernel needs no ensemble."""
        return False

    def e_block(self, params: MixtureParams[T], chunk: Chunk) -> EnsembleStats:
        """Return the sums over one block of rows."""
        log_density = self.family.log_density(params.components, chunk.x)
        members = log_density.T.reshape(*params.weights.shape, -1)
        loglik, resp = weigh(members.transpose(2, 0, 1), params)  # (n, r), (n, r, k)
        if chunk.weight is not None:
            loglik, resp = loglik * chunk.weight[:, None], resp * chunk.weight[:, None, None]
        each = loglik.sum(axis=0)
        weight = len(chunk) if chunk.weight is None else chunk.weight.sum()
        flat = resp.transpose(1, 2, 0).reshape(-1, len(chunk)).T
        return EnsembleStats(
            loglik=float(each.sum()),
            weight=float(weight) * len(each),
            pivot=self.family.pivot(params.components),
            components=self.family.suffstats(params.components, chunk.x, flat),
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
