"""Where EM starts: what a component knows of the data, and responsibilities on a bounded sample of rows.

All draws go by the inverse of the cumulative weights, so a row of weight w is drawn as w copies of it would be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.acceleration import Memory
from mixtura.blocks import fold_blocks, posterior_rows
from mixtura.draws import draw, draw_rows, spread_out
from mixtura.families import Full, Gaussian
from mixtura.frame import Frame
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.model import Source
from mixtura.models.kmeans import KMeans, KMeansParams, one_hot, squared_distances
from mixtura.models.missing import impute
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.result import ALONE, Agreement
from mixtura.sources.labelled import UNKNOWN, LabelledSource
from mixtura.stats import Forest
from mixtura.survey import Survey

T = TypeVar("T")

SAMPLE_ROWS = 1 << 14  # rows that a start looks at; k-means on more finds the same centres
SAMPLE_ROWS_A_COMPONENT = 256
KMEANS_ITERATIONS = 100
START_WORK = 1 << 24  # values by clusters from which a start by NumPy takes as long as to compile a kernel for it
FILL_ROWS = 1 << 12  # rows from which missing values of a start are guessed
FILL_UPDATES = 5  # of the Gaussian that guesses them: two digits do
BLEND = 0.1  # share of all rows mixed into a start whose own rows leave it without width

Method = Callable[[FloatArray, FloatArray, int, np.random.Generator], FloatArray]


class Starts(NamedTuple):
    """Parameters to start EM from.

    Attributes
    ----------
    params : list of MixtureParams
        One for each restart.
    agreement : Agreement
        How far the candidates came to the same end as the best of them.
    memory : Memory or None
        What was learnt on the way there, if it was by an accelerated fit.
    """

    params: list[MixtureParams[Any]]
    agreement: Agreement = ALONE
    memory: Memory[MixtureParams[Any]] | None = None


def describe(source: Source, model: Mixture[Any], found: Survey) -> Survey:
    """Return the survey with what a prior has to know of all rows, in one pass over them; nothing without a prior.

    Where values are missing, a sample of rows that are filled in stands for all.
    """
    if not model.family.is_informed:
        return found
    # A kernel that the fit repays is compiled anyway: it makes these sums as well.
    one = Mixture(model.family, 1, patience=model.patience * model.n_components)
    frame = model.family.frame(found.low, found.high, found.centre)
    params = MixtureParams(weights=np.ones(1), components=model.family.blank(frame, 1))
    if found.n_missing:
        rows, weight = draw_sample(source, one, np.random.default_rng(0))
        sums = one.sums_of(params.components, fill_in(rows, weight, found), weight[:, None])
    else:
        step = partial(_fold_whole, one, params, compiled=one.compiles(source.n_rows, source.n_features))
        sums = source.fold([step])[0]
    return replace(found, whole=model.family.describe(frame, sums))


def _fold_whole(model: Mixture[Any], params: MixtureParams[Any], chunk: Chunk, *, compiled: bool) -> Forest[Any]:
    """Return a chunk's part of the family's sums over rows that are all of one component, whatever their labels say."""
    forest: Forest[Any] = Forest()
    if compiled:
        for (level, index), stats in model.e_blocks(params, replace(chunk, label=None)):
            forest.insert(level, index, stats.components)
        return forest
    for block in chunk.split(BLOCK_ROWS):
        part = block.packed()
        weight = np.ones(len(part)) if part.weight is None else part.weight
        forest.insert(0, block.first, model.family.suffstats(params.components, part.x, weight[:, None]))
    return forest


def blank(model: Mixture[T], found: Survey) -> T:
    """Return components of a model that know the data and no more."""
    frame = model.family.frame(found.low, found.high, found.centre)
    return model.family.blank(frame, model.n_components, found.whole)


def start(
    source: Source, model: Mixture[Any], found: Survey, method: str, rng: np.random.Generator
) -> MixtureParams[Any]:
    """Return parameters to start EM from.

    Parameters
    ----------
    source : Source
        The rows, of which a bounded sample is used.
    model : Mixture
        What will be fitted.
    found : Survey
        Range of the data.
    method : str
        A key of `METHODS`.
    rng : numpy.random.Generator
        Decides the sample and the start.
    """
    rows, weight = draw_sample(source, model, rng)
    rows = fill_in(rows, weight, found)
    return from_points(model, found, rows, weight, comparable(rows, found), METHODS[method], rng)


def draw_sample(source: Source, model: Mixture[Any], rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return the rows (n, d) that a start looks at, and their weights (n,)."""
    return source.sample(sample_size(model), rng)


def sample_size(model: Mixture[Any]) -> int:
    """Return how many rows a start looks at."""
    return max(SAMPLE_ROWS, SAMPLE_ROWS_A_COMPONENT * model.n_components)


def fill_in(rows: FloatArray, weight: FloatArray, found: Survey) -> FloatArray:
    """Return rows (n, d) with guesses for missing values, to start from: conditional means under one Gaussian (N5)."""
    if not found.n_missing:
        return rows
    model = Mixture(Gaussian(Full()), 1).for_missing()
    family: Any = model.family
    blank = family.blank(family.frame(found.low, found.high, found.centre), 1)
    params = MixtureParams(weights=np.ones(1), components=blank)
    some = Chunk(rows[:FILL_ROWS], weight[:FILL_ROWS])
    compiled = model.compiles(*some.x.shape)
    for _ in range(FILL_UPDATES):
        params, _ = model.m_step(fold_blocks(model, params, some, compiled=compiled).total(), params)
    return impute(family, params, Chunk(rows), compiled=compiled)


def start_from_labels(
    source: LabelledSource, model: Mixture[Any], found: Survey, rng: np.random.Generator
) -> MixtureParams[Any]:
    """Return parameters to start EM from: those of labelled rows, and of rows far from them for other components."""
    rows, weight, labels = source.sample_labelled(sample_size(model), rng)
    rows = fill_in(rows, weight, found)
    method = partial(_nearest_known, labels)
    return from_points(model, found, rows, weight, comparable(rows, found), method, rng)


def _nearest_known(
    labels: IntArray, points: FloatArray, weight: FloatArray, k: int, rng: np.random.Generator
) -> FloatArray:
    """Assign rows without a label to the nearest mean of labelled rows, or row drawn far from those (formula K5)."""
    centres: dict[int, FloatArray] = {}
    for label in np.unique(labels[labels != UNKNOWN]):
        mine = labels == label
        centres[int(label)] = np.average(points[mine], axis=0, weights=weight[mine])
    for component in range(k):
        if component not in centres:
            gain = weight.copy()
            if centres:
                gain *= squared_distances(points, np.array(list(centres.values()))).min(axis=1)
            centres[component] = points[draw((gain if gain.any() else weight)[None], 1, [rng])[0, 0]]
    closest = nearest(points, np.array([centres[component] for component in range(k)]))
    return one_hot(np.where(labels == UNKNOWN, closest, labels), k)


def from_points(
    model: Mixture[Any],
    found: Survey,
    rows: FloatArray,
    weight: FloatArray,
    points: FloatArray,
    method: Method,
    rng: np.random.Generator,
) -> MixtureParams[Any]:
    """Return the parameters of `rows` that a method assigns by distances between their `points`."""
    return from_resp(model, found, rows, weight, method(points, weight, model.n_components, rng))


def from_resp(
    model: Mixture[Any], found: Survey, rows: FloatArray, weight: FloatArray, resp: FloatArray
) -> MixtureParams[Any]:
    """Return the parameters of rows (n, d) of these weights (n,) and responsibilities (n, k)."""
    k, empty = model.n_components, blank(model, found)
    resp = resp * weight[:, None]
    params, events = model.from_resp(empty, rows, resp)
    if events or not (params.weights > 0).all() or not model.family.is_interior(params.components):
        # Components without rows, width or some value of their own also get a little of all rows: a start must not be
        # where EM cannot leave.
        resp = (1 - BLEND) * resp + BLEND * weight[:, None] / k
        params, _ = model.from_resp(empty, rows, resp)
    return params


def random(points: FloatArray, weight: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Give every row random responsibilities."""
    resp: FloatArray = rng.random((len(points), k))
    resp /= resp.sum(axis=1, keepdims=True)
    return resp


def random_from_data(points: FloatArray, weight: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Assign rows to the nearest of k rows drawn at random."""
    return one_hot(nearest(points, draw_rows(points, weight, k, [rng])[0]), k)


def kmeans_plus_plus(points: FloatArray, weight: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Assign rows to the nearest of k rows drawn far apart."""
    return one_hot(nearest(points, spread_out(points, weight, k, [rng])[0]), k)


def kmeans(points: FloatArray, weight: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Assign rows by k-means from rows drawn far apart."""
    return one_hot(settle(points, weight, spread_out(points, weight, k, [rng])[0]), k)


def settle(points: FloatArray, weight: FloatArray, centers: FloatArray, tol: float = 0.0) -> IntArray:
    """Return the labels that k-means ends at, or has when the inertia falls by less than `tol` of itself."""
    model, rows = KMeans(len(centers)), Chunk(points, weight)
    params = KMeansParams.start(Frame.identity(points.shape[1]), centers)
    compiled = _repays(model, points)
    inertia = np.inf
    for _ in range(KMEANS_ITERATIONS):
        stats = fold_blocks(model, params, rows, compiled=compiled).total()
        before, (params, _) = params, model.m_step(stats, params)
        if model.same(before, params) or inertia + stats.loglik < -tol * stats.loglik:
            break
        inertia = -stats.loglik
    return nearest(points, params.centers)


METHODS: dict[str, Method] = {
    "kmeans": kmeans,
    "k-means++": kmeans_plus_plus,
    "random": random,
    "random_from_data": random_from_data,
}


def comparable(rows: FloatArray, found: Survey) -> FloatArray:
    """Shift rows to the centre and divide by one number: distances keep the data's proportions, at any unit."""
    reach = float(np.maximum(found.high - found.centre, found.centre - found.low).max())
    points: FloatArray = (rows - found.centre) / (reach if reach > 0 else 1.0)
    return points


def nearest(points: FloatArray, centres: FloatArray) -> IntArray:
    """Return the number of the nearest centre of each row."""
    model, params = KMeans(len(centres)), KMeansParams.start(Frame.identity(points.shape[1]), centres)
    compiled = _repays(model, points)
    return posterior_rows(model, params, Chunk(points), compiled=compiled, wanted="labels").labels


def _repays(model: KMeans, points: FloatArray) -> bool:
    """Tell whether compiling the kernel of k-means, which the fit itself has no use for, repays itself in a start."""
    return points.size * model.n_clusters >= START_WORK and model.compiles(*points.shape)
