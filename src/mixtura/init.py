"""Where EM starts: the range and frame of the data, and responsibilities on a bounded sample of rows.

All draws go by the inverse of the cumulative weights, so a row of weight w is drawn as w copies of it would be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from mixtura.model import LEBESGUE, Family, Source
from mixtura.models.kmeans import KMeans, KMeansParams, one_hot, squared_distances
from mixtura.models.missing import impute
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.result import ALONE, Agreement
from mixtura.sources.labelled import UNKNOWN, LabelledSource
from mixtura.stats import Forest

T = TypeVar("T")

SAMPLE_ROWS = 1 << 14  # rows that a start looks at; k-means on more finds the same centres
SAMPLE_ROWS_A_COMPONENT = 256
SURVEY_ROWS = 1 << 12  # rows whose middle stands for that of all
LOOK_VALUES = (
    1 << 16
)  # that a survey holds as float64: they stay in cache, and what Python does with them hardly counts
ABREAST = 1 << 10  # values that a reduction over columns takes at once
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


@dataclass(frozen=True, eq=False)
class Survey:
    """What one look over the data tells.

    Attributes
    ----------
    low, high, centre : (d,) array
        Range and middle of each column, of the values that are there.
    heaviest, weight : float
        The largest weight of a row, and that of all.
    n_missing, n_empty : int
        How many values are missing, and from how many rows all are.
    whole : Any
        All rows as one component, where a prior has to know it (see `describe`).
    """

    low: FloatArray
    high: FloatArray
    centre: FloatArray
    heaviest: float
    weight: float
    n_missing: int = 0
    n_empty: int = 0
    whole: Any = None

    def suited(self, model: Mixture[Any]) -> Mixture[Any]:
        """Return the model to fit to these data: one that takes missing values, where there are some."""
        return model.for_missing() if self.n_missing else model


@dataclass(frozen=True, eq=False)
class _Look:
    """The same of one chunk, the number of its rows, and the first place outside the support."""

    rows: int
    low: FloatArray
    high: FloatArray
    heaviest: float
    weight: float
    n_missing: int
    n_empty: int
    bad: Bad | None


@dataclass(frozen=True)
class Bad:
    """A value that no component can yield: its row in the chunk, its column, and the value."""

    row: int
    column: int
    value: float


def survey(source: Source, family: Family[Any, Any]) -> Survey:
    """Check every value and return the range of the rows that have weight.

    Raises
    ------
    ValueError
        Names the first row and column whose value is infinite or outside the family's support, or missing where the
        family has no use for such rows, or a column without any value.
    """
    low, high = np.full(source.n_features, np.inf), np.full(source.n_features, -np.inf)
    first = n_missing = n_empty = 0
    heaviest = weight = 0.0
    for look in source.map_rows(partial(_look, family)):
        if look.bad:
            refuse(look.bad, first, source, family)
        low, high, first = np.minimum(low, look.low), np.maximum(high, look.high), first + look.rows
        n_missing, n_empty = n_missing + look.n_missing, n_empty + look.n_empty
        heaviest, weight = max(heaviest, look.heaviest), weight + look.weight
    if n_missing:
        _refuse_columns_without_values(low, source)
    rows, _ = source.sample(SURVEY_ROWS, np.random.default_rng(0))
    return Survey(low, high, _middle(rows, low, high), heaviest, weight, n_missing, n_empty)


def _refuse_columns_without_values(low: FloatArray, source: Source) -> None:
    """Raise a `ValueError` that names a column in which no row of positive weight has a value."""
    void = np.flatnonzero(np.isinf(low))
    if len(void):
        column = void[0] if source.names is None else repr(source.names[void[0]])
        raise ValueError(f"all values of column {column} are missing (NaN): nothing can be learnt of it, leave it out")


def _middle(rows: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the medians of the values that are there, or the middles of the ranges where there is none."""
    if not np.isnan(rows).any():
        return np.median(rows, axis=0)
    void = np.isnan(rows).all(axis=0)
    return np.nanmedian(np.where(void, low / 2 + high / 2, rows), axis=0)


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


def refuse(bad: Bad, first: int, source: Source, family: Family[Any, Any]) -> None:
    """Raise a `ValueError` that names a value, its row, of a chunk that starts at row `first`, and its column."""
    column = bad.column if source.names is None else repr(source.names[bad.column])
    where = f"{source.locate(first + bad.row)}, column {column}"
    if np.isfinite(bad.value):
        raise ValueError(f"{where} is {bad.value:g}: a {family.name} component takes {family.support} only")
    kind = "NaN" if np.isnan(bad.value) else "infinity"
    raise ValueError(
        f"Input X contains {kind}: {where} is {bad.value}, expected {family.support}; remove the row or fill it in"
    )


def find_bad(chunk: Chunk, family: Family[Any, Any]) -> Bad | None:
    """Return the first value of a chunk outside the family's support."""
    return _look(family, chunk).bad


def _look(family: Family[Any, Any], chunk: Chunk) -> _Look:
    low, high = np.full(chunk.x.shape[1], np.inf), np.full(chunk.x.shape[1], -np.inf)
    heaviest = 1.0 if chunk.weight is None else float(chunk.weight.max())
    weight = float(len(chunk) if chunk.weight is None else chunk.weight.sum())
    n_missing = n_empty = 0
    for part in chunk.split(max(1, LOOK_VALUES // chunk.x.shape[1])):
        x = part.packed().x
        if part.weight is None and not n_missing and (ends := _good_ends(family, x)) is not None:
            low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
            continue
        good = family.in_support(x)
        if not good.all():
            row, column = (int(i) for i in np.unravel_index(int(np.argmin(good)), good.shape))
            before = (part.first - chunk.first) * BLOCK_ROWS
            bad = Bad(before + row, column, float(x[row, column]))
            return _Look(len(chunk), low, high, heaviest, weight, n_missing, n_empty, bad)
        missing = np.isnan(x)
        holes = bool(missing.any())
        if holes:
            n_missing, n_empty = n_missing + int(missing.sum()), n_empty + int(missing.all(axis=1).sum())
        if part.weight is not None:
            x = x[part.weight > 0]
        low = np.minimum(low, _reduce(np.fmin if holes else np.minimum, x, np.inf))
        high = np.maximum(high, _reduce(np.fmax if holes else np.maximum, x, -np.inf))
    return _Look(len(chunk), low, high, heaviest, weight, n_missing, n_empty, None)


def _good_ends(family: Family[Any, Any], x: FloatArray) -> FloatArray | None:
    """Return the least and the largest value of each column, (2, d), if they tell that no value is bad or missing.

    They do where the support is an interval, in half the time of a look at each value.
    """
    if family.measure != LEBESGUE:
        return None
    ends = np.array([_reduce(np.minimum, x, np.inf), _reduce(np.maximum, x, -np.inf)])
    return None if np.isnan(ends).any() or not family.in_support(ends).all() else ends


def _reduce(extreme: np.ufunc, x: FloatArray, initial: float) -> FloatArray:
    """Return the least or the largest value of each column; rows beside one another make that ten times as fast."""
    n, d = x.shape
    abreast = max(1, ABREAST // d)
    whole = n - n % abreast
    wide = extreme.reduce(x[:whole].reshape(-1, abreast * d), axis=0, initial=initial)
    values: FloatArray = extreme.reduce(np.concatenate([wide.reshape(abreast, d), x[whole:]]), axis=0)
    return values


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
            centres[component] = points[draw(gain if gain.any() else weight, 1, rng)[0]]
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
    return one_hot(nearest(points, draw_rows(points, weight, k, rng)), k)


def kmeans_plus_plus(points: FloatArray, weight: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Assign rows to the nearest of k rows drawn far apart."""
    return one_hot(nearest(points, spread_out(points, weight, k, rng)), k)


def kmeans(points: FloatArray, weight: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Assign rows by k-means from rows drawn far apart."""
    return one_hot(settle(points, weight, spread_out(points, weight, k, rng)), k)


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
