"""The best of many starts: short EM runs on a bounded sample, of which the best go on.

Formula K4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.acceleration import Ascent
from mixtura.em import EMResult, Status, drive, unobserved
from mixtura.init import Survey, comparable, draw_sample, from_points
from mixtura.model import Source
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.sources.arrays import ArraySource

AUTO = "auto"

METHODS = ("kmeans", "k-means++", "random_from_data")  # each tried on raw and on whitened columns
CANDIDATES = 4  # for each start that is wanted; at least one round of all methods
SHORT = 30  # updates after which the better starts tell themselves from the worse: ten are too few for the demo
LONG = 200  # most updates of the best ones on the sample
FINER, FINEST = 0.3, 1e-5  # of the fit's tolerance, and at least so much: its optimum is not that of all rows


def search(
    source: Source, model: Mixture[Any], found: Survey, n: int, rng: np.random.Generator, *, tol: float, ascent: Ascent
) -> list[MixtureParams[Any]]:
    """Return the `n` best starts, the best first.

    Parameters
    ----------
    source, model, found
        As for `mixtura.init.start`.
    n : int
        How many starts.
    rng : numpy.random.Generator
        Decides the sample and the starts.
    tol, ascent : float, Ascent
        Those of the fit that is to follow.
    """
    rows, weight = draw_sample(source, model, rng)
    sample = ArraySource(rows, weight)
    if model.n_components == 1:
        return [from_points(model, found, rows, weight, rows, "random", rng)] * n
    starts = list(_candidates(model, found, rows, weight, max(2 * len(METHODS), CANDIDATES * n), rng))
    with unobserved():
        short = _best(drive(sample, model, starts, tol=tol, max_iter=SHORT, ascent=ascent), n)
        if not short:
            return starts[:n]
        better = [result.params for result in short]
        finer = max(FINER * tol, FINEST)
        best = _best(drive(sample, model, better, tol=finer, max_iter=LONG, ascent=ascent), n) or short
    ends = [result.params for result in best]
    return ends + starts[: n - len(ends)]


def _candidates(
    model: Mixture[Any],
    found: Survey,
    rows: FloatArray,
    weight: FloatArray,
    count: int,
    rng: np.random.Generator,
) -> Iterator[MixtureParams[Any]]:
    raw, white = comparable(rows, found), _whitened(rows, weight)
    for i in range(count):
        points = raw if i % 2 == 0 else white
        yield from_points(model, found, rows, weight, points, METHODS[i // 2 % len(METHODS)], rng)


def _whitened(rows: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the rows in coordinates that have unit variances and no correlations."""
    centred = rows - np.average(rows, axis=0, weights=weight)
    scale = np.abs(centred).max(axis=0)
    unit = centred / np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh((unit * weight[:, None]).T @ unit / weight.sum())
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    points: FloatArray = unit @ (vectors[:, kept] / np.sqrt(values[kept]))
    return points if kept.any() else unit


def _best(results: list[EMResult[MixtureParams[Any]]], n: int) -> list[EMResult[MixtureParams[Any]]]:
    """Return the results of the highest objectives, those with a collapsed component last, without the diverged."""
    finite = [result for result in results if result.status is not Status.DIVERGED]
    return sorted(finite, key=lambda result: (bool(result.events), -float(result.objective[-1])))[:n]
