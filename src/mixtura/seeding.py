"""Rows assigned to k groups in many ways: what candidates for starts are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.draws import draw_rows, spread_out
from mixtura.families.linalg import quotient, together
from mixtura.init import KMEANS_ITERATIONS, nearest, settle
from mixtura.models.kmeans import one_hot, squared_distances

RAW, WHITE = 0, 1
ROUGH = 1e-3  # least share by which the inertia of k-means falls in an iteration: EM goes on from there

Draw = Callable[[FloatArray, FloatArray, int, Sequence[np.random.Generator]], FloatArray]


class Way(NamedTuple):
    """In what columns rows are compared, how centers are drawn among them, and whether k-means goes on from there."""

    columns: int
    draw: Draw
    settles: bool = False


WAYS = (  # k-means on whitened columns costs most and finds least
    Way(RAW, draw_rows),
    Way(WHITE, spread_out),
    Way(RAW, spread_out, settles=True),
    Way(WHITE, draw_rows),
    Way(RAW, spread_out),
)


def one_by_one(
    raw: FloatArray, weight: FloatArray, k: int, count: int, rng: np.random.Generator
) -> Iterator[FloatArray]:
    """Yield so many assignments, as responsibilities (n, k), each by the kernel of k-means where that repays itself.

    Parameters
    ----------
    raw : (n, d) array
        Rows in coordinates in which their distances mean something.
    weight : (n,) array
        Their weights.
    k, count : int
        How many groups, and how many assignments; the ways take turns.
    rng : numpy.random.Generator
        Decides the draws.
    """
    spaces = _spaces(raw, weight)
    for way, own in zip(_turns(count), rng.spawn(count), strict=True):
        points = spaces[way.columns]
        centers = way.draw(points, weight, k, [own])[0]
        yield one_hot(settle(points, weight, centers, ROUGH) if way.settles else nearest(points, centers), k)


def side_by_side(raw: FloatArray, weight: FloatArray, k: int, count: int, rng: np.random.Generator) -> IntArray:
    """Return as many for the same arguments, as labels (count, n), made several at a time.

    Of few rows NumPy's calls cost more than the work that they do.
    """
    spaces, ways, rngs = _spaces(raw, weight), _turns(count), rng.spawn(count)
    labels = np.empty((count, len(raw)), dtype=np.intp)
    for way in dict.fromkeys(ways):
        points = spaces[way.columns]
        alike = np.array([i for i, other in enumerate(ways) if other is way])
        for some in together(len(alike), k * len(raw)):
            centers = way.draw(points, weight, k, [rngs[i] for i in alike[some]])
            labels[alike[some]] = _assign(points, weight, centers, settles=way.settles)
    return labels


def _spaces(raw: FloatArray, weight: FloatArray) -> list[FloatArray]:
    """Return the rows as they are and whitened, column by column in memory."""
    return [np.asfortranarray(points) for points in (raw, whitened(raw, weight))]


def _turns(count: int) -> list[Way]:
    return [WAYS[i % len(WAYS)] for i in range(count)]


def _assign(points: FloatArray, weight: FloatArray, centers: FloatArray, *, settles: bool) -> IntArray:
    """Return labels (r, n) by the nearest of each set of centers (r, k, d), or of those that k-means makes of them."""
    r, k, d = centers.shape
    inertia = np.inf
    for _ in range(KMEANS_ITERATIONS):
        distance = squared_distances(points, centers.reshape(-1, d)).T.reshape(r, k, -1)
        labels: IntArray = distance.argmin(axis=1)
        before, inertia = inertia, float((distance.min(axis=1) * weight).sum())
        if not settles or before - inertia <= ROUGH * inertia:
            break
        mine = (labels[:, None] == np.arange(k)[:, None]) * weight
        counts = mine.sum(axis=2, keepdims=True)
        centers = np.where(counts > 0, quotient(mine @ points, counts), centers)
    return labels


def whitened(rows: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the rows in coordinates that have unit variances and no correlations."""
    centred = rows - np.average(rows, axis=0, weights=weight)
    scale = np.abs(centred).max(axis=0)
    unit = centred / np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh((unit * weight[:, None]).T @ unit / weight.sum())
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    points: FloatArray = unit @ (vectors[:, kept] / np.sqrt(values[kept]))
    return points if kept.any() else unit
