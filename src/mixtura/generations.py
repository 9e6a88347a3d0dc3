"""Candidates for starts side by side, and their children: mixtures of the components of two of them.

Where EM ends at many optima, the best have most of their components in common. A child takes components of two parents
that lie far apart, drawn as k-means++ draws rows, so it has what both have once, and what one of them found (formula
K10).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.draws import draw
from mixtura.em import climb
from mixtura.model import Model
from mixtura.models.ensemble import Ensemble, Prepared
from mixtura.models.mixture import MixtureParams

TIED = 1e-7  # relative difference of objectives that may be rounding, of responsibilities in float32


class Candidate(NamedTuple):
    """A mixture that EM has come to: its parameters, its objective, and whether a component collapsed on the way."""

    params: MixtureParams[Any]
    height: float
    collapsed: bool = False


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return those of the highest objectives first, ties in their order, and those with a collapsed component last.

    Without those with an empty component: that it became empty is for the fit to tell. Which of two objectives is the
    higher by rounding alone would depend on the units of the data.
    """
    usable = [one for one in candidates if (one.params.weights > 0).all()]
    top = max((one.height for one in usable), default=0.0)
    return sorted(usable, key=lambda one: (one.collapsed, round((top - one.height) / resolution(top))))


def resolution(height: float) -> float:
    """Return by how much objectives near this one may differ by rounding."""
    return TIED * max(abs(height), 1.0)


def run(
    ensemble: Ensemble[Any], rows: Prepared, starts: MixtureParams[Any], *, tol: float, max_iter: int
) -> list[Candidate]:
    """Return where short runs of EM end; nothing if they diverge."""
    model = cast("Model[Any, Any]", ensemble)  # all of one that the loop uses
    result, stats = climb(partial(ensemble.e_step, rows), model, starts, tol=tol, max_iter=max_iter)
    if result.failed:
        return []
    members = ensemble.split(result.params)
    collapsed = {ensemble.member_of(event) for event in result.events}
    return [
        Candidate(params, float(height) + ensemble.member.log_prior(params), i in collapsed)
        for i, (params, height) in enumerate(zip(members, stats.each, strict=True))
    ]


def children(
    ensemble: Ensemble[Any], parents: Sequence[Candidate], count: int, rng: np.random.Generator
) -> MixtureParams[Any]:
    """Return so many mixtures of components of two parents each."""
    joined = ensemble.join([parent.params for parent in parents])
    distances, weights = ensemble.family.distances(joined.components), joined.weights.ravel()
    first = rng.integers(len(parents), size=count)
    second = (first + rng.integers(1, len(parents), size=count)) % len(parents)
    numbers = np.arange(len(weights)).reshape(len(parents), -1)
    pools = np.hstack([numbers[first], numbers[second]])
    own = distances[pools[:, :, None], pools[:, None, :]]
    picks = _far_apart(own, weights[pools], numbers.shape[1], [rng] * count)
    return ensemble.recombine(joined, np.take_along_axis(pools, picks, axis=1))


def _far_apart(distances: FloatArray, weights: FloatArray, k: int, rngs: Sequence[np.random.Generator]) -> IntArray:
    """Draw k of m components, (r, k), each by its weight and its squared distance from the nearest of those before.

    The weights are (r, m), the distances (r, m, m).
    """
    each, gain, nearest = np.arange(len(weights)), weights, np.full_like(weights, np.inf)
    left, chosen = weights.copy(), []
    for _ in range(k):
        chosen.append(draw(gain, 1, rngs)[:, 0])
        left[each, chosen[-1]] = 0.0
        nearest = np.minimum(nearest, distances[each, chosen[-1]])
        gain = weights * nearest
        gain = np.where(gain.any(axis=1, keepdims=True), gain, left)
    return np.stack(chosen, axis=1)
