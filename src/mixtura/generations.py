"""Candidates for starts side by side, and their children: mixtures of the components of two of them.

Where EM ends at many optima, the best have most of their components in common. A child takes components of two parents
that lie far apart, drawn as k-means++ draws rows, so it has what both have once, and what one of them found (formula
K10).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.draws import draw
from mixtura.em import drive, evaluate
from mixtura.model import Model, Source
from mixtura.models.ensemble import Ensemble
from mixtura.models.mixture import MixtureParams

TIED = 1e-10  # relative difference of objectives that may be rounding


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
    unit = TIED * max(abs(top), 1.0)
    return sorted(usable, key=lambda one: (one.collapsed, round((top - one.height) / unit)))


def run(
    ensemble: Ensemble[Any], rows: Source, starts: MixtureParams[Any], *, tol: float, max_iter: int
) -> list[Candidate]:
    """Return where short runs of EM end; nothing if they diverge."""
    model = cast("Model[Any, Any]", ensemble)  # without what kernels, streams and checkpoints want
    result = drive(rows, model, [starts], tol=tol, max_iter=max_iter)[0]
    if result.failed:
        return []
    loglik, members = evaluate(rows, model, result.params).each, ensemble.split(result.params)
    collapsed = {ensemble.member_of(event) for event in result.events}
    return [
        Candidate(params, float(height) + ensemble.member.log_prior(params), i in collapsed)
        for i, (params, height) in enumerate(zip(members, loglik, strict=True))
    ]


def children(
    ensemble: Ensemble[Any], parents: Sequence[Candidate], count: int, rng: np.random.Generator
) -> MixtureParams[Any]:
    """Return so many mixtures of components of two parents each."""
    joined = ensemble.join([parent.params for parent in parents])
    distances, weights = ensemble.family.distances(joined.components), joined.weights.ravel()
    numbers = np.arange(len(weights)).reshape(len(parents), -1)
    picks = []
    for _ in range(count):
        pool = numbers[rng.choice(len(parents), 2, replace=False)].ravel()
        picks.append(pool[_far_apart(distances[np.ix_(pool, pool)], weights[pool], numbers.shape[1], rng)])
    return ensemble.recombine(joined, np.array(picks))


def _far_apart(distances: FloatArray, weights: FloatArray, k: int, rng: np.random.Generator) -> IntArray:
    """Draw k of these components, each by its weight and its squared distance from the nearest of those before."""
    chosen = draw(weights, 1, rng).tolist()
    while len(chosen) < k:
        gain = weights * distances[:, chosen].min(axis=1)
        left = weights.copy()
        left[chosen] = 0.0
        chosen += draw(gain if gain.any() else left, 1, rng).tolist()
    return np.array(chosen)
