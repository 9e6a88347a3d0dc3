"""The best of many starts: short EM runs on a bounded sample, of which the best go on, on a larger one.

A sample of m rows has its optimum where that of all rows lacks about q / 2m a row, q parameters; so nothing finer is
looked for on it. Formula K4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from mixtura import init
from mixtura._types import FloatArray
from mixtura.acceleration import Ascent, Plain
from mixtura.blas import one_thread
from mixtura.em import EMResult, drive, unobserved
from mixtura.generations import Candidate, children, ranked, resolution, run
from mixtura.init import Starts, comparable, fill_in, from_points, sample_size
from mixtura.model import Source
from mixtura.models.collapse import Floor
from mixtura.models.ensemble import Ensemble
from mixtura.models.kmeans import one_hot
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.repeats import merge
from mixtura.result import ALONE, Agreement
from mixtura.seeding import one_by_one, side_by_side
from mixtura.sources.arrays import ArraySource
from mixtura.survey import Survey

AUTO = "auto"

CANDIDATES, FEW = 4, 6  # for each start that is wanted, and at least
AMPLE = 1 << 18  # values by components up to which a sample is small: there more candidates go to their end
MANY, MOST = 24, 48  # of these; with their children they are behind many restarts of one kind in one case of thirty
EFFORT = 1 << 20  # rows by parameters by candidates from which there are less than most
FEWER, LEAST = 4, 8  # one in so many of the rows that candidates see is enough to start them from, or so many a value
MORE = 8  # times as many rows go to the best of them
LARGEST_SAMPLE = 1 << 24  # most values in those, if that is not less than the candidates see
FIRST, LATER = 20, 12  # updates of candidates and of their children
GENERATIONS = 3  # of children, each half as many as there are candidates
PARENTS = 3  # one in so many of all so far, the best
SHORT, LONGER = 8, 22  # updates of the candidates, and of the better ones: ten alone are too few for the demo
CLEAR = 5.0  # multiples of their tolerance, twice, by which the ends of the last runs are told apart
LONG = 200  # most updates of the best ones
FINER, FINEST = 0.3, 1e-7  # of the tolerance of the fit, and at least so much: a plateau has to be left on the sample


class _Sample(NamedTuple):
    """Rows (n, d) and their weights (n,)."""

    rows: FloatArray
    weight: FloatArray

    def thinned(self, size: int) -> _Sample:
        """Return every so many-th of the rows, at least `size` of them if there are so many."""
        step = max(1, len(self.rows) // size)
        return _Sample(np.ascontiguousarray(self.rows[::step]), self.weight[::step])

    def filled(self, found: Survey) -> _Sample:
        """Return the rows with guesses for what is missing."""
        return _Sample(fill_in(*self, found), self.weight)


class _Stage(NamedTuple):
    """Runs of EM on a sample, of which some are kept, with the tolerance, the most updates and the rule of each run."""

    sample: _Sample
    kept: int
    tol: float
    most: int
    ascent: Ascent


def search(
    source: Source, model: Mixture[Any], found: Survey, n: int, rng: np.random.Generator, *, tol: float, ascent: Ascent
) -> Starts:
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
    model = replace(model, on_collapse=Floor())  # of what collapses on all rows the fit itself is to speak
    size = sample_size(model)
    many = _Sample(*source.sample(max(size, min(MORE * size, LARGEST_SAMPLE // source.n_features)), rng))
    few = many.thinned(size)
    if model.n_components == 1:
        whole = few.filled(found)
        return Starts([from_points(model, found, *whole, whole.rows, init.random, rng)] * n)
    fewest = max(size // FEWER, LEAST * model.n_components * source.n_features)
    seeds = few.thinned(fewest).filled(found)
    # A kernel that all rows repay is compiled anyway: it runs on the sample as well.
    eager = replace(model, patience=model.patience * max(1, source.n_rows // size))
    with unobserved(), one_thread():
        starts, ends, stages = _begin(eager, found, few, seeds, n, rng, tol=tol, ascent=ascent)
        for stage in [*stages, _Stage(many, n, max(FINER * tol, FINEST), LONG, ascent)]:
            least = max(stage.tol, _noise(model, starts[0], len(stage.sample.rows), source.n_rows))
            rows = merge(ArraySource(*stage.sample), model.family)
            once = list(dict.fromkeys(ends))  # two fits would share a pass, but not what is done with its sums
            runs = drive(rows, eager, once, tol=least, max_iter=stage.most, ascent=stage.ascent)
            results = [runs[once.index(end)] for end in ends]
            ends = _ends(results)[: stage.kept] or ends
    return Starts((ends + starts)[:n], _agreement(results, max(tol, CLEAR * least)))


def _begin(
    model: Mixture[Any],
    found: Survey,
    few: _Sample,
    seeds: _Sample,
    n: int,
    rng: np.random.Generator,
    *,
    tol: float,
    ascent: Ascent,
) -> tuple[list[MixtureParams[Any]], list[MixtureParams[Any]], list[_Stage]]:
    """Return starts, where to go on, the best first, and in what stages on the sample of few rows."""
    room = few.rows.size * model.n_components
    if room > AMPLE:
        starts = _apart(model, found, seeds, max(FEW, CANDIDATES * n), rng)
        # Of so few updates a quasi-Newton step learns little, and takes longer than they do.
        return starts, starts, [_Stage(few, 3 * n, tol, SHORT, Plain()), _Stage(few, 2 * n, tol, LONGER, ascent)]
    ensemble = None if model.compiles(*few.rows.shape) else Ensemble.of(model)
    if ensemble is None:
        starts = _apart(model, found, seeds, max(MANY, CANDIDATES * n), rng)
        return starts, starts, [_Stage(few, 3 * n, tol, SHORT + LONGER, Plain())]
    effort = len(few.rows) * model.family.n_parameters(init.blank(model, found))
    starts = _together(ensemble, found, seeds, max(min(MOST, EFFORT // effort), MANY, CANDIDATES * n), rng)
    return starts, _evolve(ensemble, few, starts, n, rng, tol=tol) or starts, []


def _evolve(
    ensemble: Ensemble[Any],
    sample: _Sample,
    starts: list[MixtureParams[Any]],
    n: int,
    rng: np.random.Generator,
    *,
    tol: float,
) -> list[MixtureParams[Any]]:
    """Return the best that short runs of EM find from all starts and their children, and twice as many without parents.

    Those have nothing in common: where they agree with the best, that says something.
    """
    rows, agreed = ensemble.prepare(starts[0].components, *sample), tol * sample.weight.sum()
    founders = found = ranked(run(ensemble, rows, ensemble.join(starts), tol=tol, max_iter=FIRST))
    for _ in range(GENERATIONS):
        parents = found[: len(starts) // PARENTS]
        if len(parents) < 2 or parents[0].height - parents[-1].height < agreed:
            break
        born = children(ensemble, parents, len(starts) // 2, rng)
        found = ranked(found + run(ensemble, rows, born, tol=tol, max_iter=LATER))
    best = [one.params for one in found[:n]]
    others = [one.params for one in founders if all(one.params is not params for params in best)]
    return best + others[: 2 * n]


def _apart(
    model: Mixture[Any], found: Survey, sample: _Sample, count: int, rng: np.random.Generator
) -> list[MixtureParams[Any]]:
    """Return starts, made one by one."""
    drawn = one_by_one(comparable(sample.rows, found), sample.weight, model.n_components, count, rng)
    return [init.from_resp(model, found, *sample, resp) for resp in drawn]


def _together(
    ensemble: Ensemble[Any], found: Survey, sample: _Sample, count: int, rng: np.random.Generator
) -> list[MixtureParams[Any]]:
    """Return starts, all made at once but for those that want a second look."""
    k = ensemble.member.n_components
    labels = side_by_side(comparable(sample.rows, found), sample.weight, k, count, rng)
    blank = ensemble.blank(init.blank(ensemble.member, found), count)
    resp = (labels[:, None] == np.arange(k)[:, None]).reshape(count * k, -1).astype(np.float64)
    params, collapsed = ensemble.from_resp(blank, ensemble.prepare(blank, *sample), resp)
    starts = ensemble.split(params)
    for i in collapsed:
        starts[i] = init.from_resp(ensemble.member, found, *sample, one_hot(labels[i], k))
    return starts


def _noise(model: Mixture[Any], params: MixtureParams[Any], m: int, n: int) -> float:
    """Return by how much the mean log-likelihood of n rows is expected to lack its optimum at that of m of them."""
    return model.n_parameters(params) / 2 * max(0.0, 1 / m - 1 / n)


def _agreement(results: list[EMResult[MixtureParams[Any]]], tol: float) -> Agreement:
    """Return how far the last runs came to the same end; of a component that collapsed the height says nothing."""
    usable = [result for result in results if not result.failed and (result.params.weights > 0).all()]
    counted = [result for result in usable if not result.events] or usable
    return Agreement.among(counted, tol) if counted else ALONE


def _ends(results: list[EMResult[MixtureParams[Any]]]) -> list[MixtureParams[Any]]:
    """Return where runs that did not diverge have come to, the best first.

    Of those that came to the same end the first stands for all: they are the same object, and go on as one.
    """
    ends: list[Candidate] = []
    for end in ranked([Candidate(r.params, float(r.objective[-1]), bool(r.events)) for r in results if not r.failed]):
        same = ends and abs(ends[-1].height - end.height) <= resolution(end.height)
        ends.append(ends[-1] if same else end)
    return [end.params for end in ends]
