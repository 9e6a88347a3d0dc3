"""Hidden Markov models: all paths enumerated, published values, laws, hmmlearn, and what bad input is told."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.exceptions import ConvergenceWarning

import naive_hmm
from laws import assert_close
from mixtura import HMM, grid, load
from mixtura import init as module_of_starts
from mixtura.acceleration import Plain, QuasiNewton
from mixtura.em import Job, drive, drive_jobs, evaluate
from mixtura.exceptions import CollapseWarning
from mixtura.families import Bernoulli, Categorical, Diag, Full, Gaussian, Poisson, Spherical, Tied
from mixtura.grid import BLOCK_ROWS, Chunk, Sequences
from mixtura.kernels.threads import using_threads
from mixtura.models import hmm as module
from mixtura.models.hmm import ChainPrior, HiddenMarkov, HMMParams
from mixtura.sources.sequences import SequenceSource
from mixtura.stats import Stats
from mixtura.values import same_bits
from test_docs import DOCS, run_page

START = np.array([0.6, 0.3, 0.1])
CYCLE = np.array([[0.7, 0.25, 0.05], [0.0, 0.6, 0.4], [0.35, 0.05, 0.6]])  # not reversible: 0 to 1 to 2 to 0
RATES = np.array([[1.0], [5.0], [12.0]])
LENGTHS = np.array([5, 1, 4, 2])
WEIGHT = np.array([1.0, 2.5, 0.0, 3.0])


@pytest.fixture(params=["composed", "compiled"])
def path(request, monkeypatch):
    """Each path of the E-step in turn, whatever the size of the data."""
    compiled = request.param == "compiled"
    if compiled and not Gaussian().fused(2, 2):
        pytest.skip("this machine does not run the kernels")
    monkeypatch.setattr(module, "COMPILED_STEPS", 0 if compiled else 1 << 62)
    return request.param


def poisson_params(start: Any = START, transmat: Any = CYCLE, rates: Any = RATES) -> HMMParams[Any]:
    family, k = Poisson(), len(start)
    theta = replace(family.blank(family.frame(*np.zeros((3, rates.shape[1]))), k), rates=np.array(rates))
    return HMMParams(np.array(start), np.array(transmat), theta, np.full(k, 1 / k), np.full(k, 0.9 / k))


def draw(params: HMMParams[Any], lengths: Any, seed: int = 0, family: Any = None) -> Any:
    model = HiddenMarkov(family or Poisson(), len(params.startprob))
    rng = np.random.default_rng(seed)
    return np.concatenate([model.sample(params, int(n), rng)[0] for n in lengths])


def gaussian_case() -> tuple[Any, HMMParams[Any], Any]:
    family = Gaussian(Full())
    x = np.random.default_rng(3).normal(size=(int(LENGTHS.sum()), 2)) * [1.0, 20.0] + [5.0, 1e4]
    theta = family.blank(family.frame(x.min(axis=0), x.max(axis=0), np.median(x, axis=0)), 3)
    theta = family.with_means(theta, np.array([[4.0, 1e4], [5.0, 1e4 + 20], [6.5, 1e4 - 15]]))
    covariances = np.array([[[1.0, 3.0], [3.0, 300.0]], [[0.5, 0.0], [0.0, 90.0]], [[2.0, -9.0], [-9.0, 200.0]]])
    theta = family.with_precisions(theta, np.linalg.inv(covariances))
    params = HMMParams(START, CYCLE, theta, np.full(3, 1 / 3), np.full(3, 0.3))
    means = family.attributes(theta)["means_"]
    frozen = [stats.multivariate_normal(mean, covariance) for mean, covariance in zip(means, covariances, strict=True)]
    return HiddenMarkov(family, 3), params, (x, np.column_stack([f.pdf(x) for f in frozen]))


def count_case() -> tuple[Any, HMMParams[Any], Any]:
    params = poisson_params()
    x = draw(params, LENGTHS)
    return HiddenMarkov(Poisson(), 3), params, (x, stats.poisson(RATES[:, 0]).pmf(x))


def category_case() -> tuple[Any, HMMParams[Any], Any]:
    probs = np.array([[0.7, 0.2, 0.1, 0.0], [0.1, 0.1, 0.2, 0.6], [0.25] * 4])
    family = Categorical(4)
    theta = replace(family.blank(family.frame(*np.zeros((3, 1))), 3), probs=probs[:, None])
    x = np.random.default_rng(4).integers(0, 4, (int(LENGTHS.sum()), 1)).astype(float)
    params = HMMParams(START, CYCLE, theta, np.full(3, 1 / 3), np.full(3, 0.3))
    return HiddenMarkov(family, 3), params, (x, probs[:, x[:, 0].astype(int)].T)


@pytest.mark.parametrize("make", [gaussian_case, count_case, category_case])
def test_sums_paths_and_posteriors_are_those_of_all_paths(make, path):
    model, params, (x, densities) = make()
    chunk = Sequences(x, WEIGHT, lengths=LENGTHS)
    compiled = path == "compiled"
    found = evaluate(SequenceSource(x, LENGTHS, WEIGHT), model, params)
    loglik, resp, _ = model.smooth(params, replace(chunk, weight=None), compiled=compiled)
    scores, states = model.best_paths(params, chunk, compiled=compiled)
    total, first, transitions = 0.0, np.zeros(3), np.zeros((3, 3))
    for m, (a, b) in enumerate(itertools.pairwise(np.cumsum([0, *LENGTHS]))):
        log, posterior, pairs, best, most = naive_hmm.enumerate_paths(densities[a:b], START, CYCLE)
        assert_allclose(loglik[m], log, rtol=1e-12)
        assert_allclose(resp[a:b], posterior, rtol=1e-10, atol=1e-14)
        assert_allclose(scores[m], most, rtol=1e-12)
        assert_array_equal(states[a:b], best)
        total, first = total + WEIGHT[m] * log, first + WEIGHT[m] * np.array(posterior[0])
        transitions += WEIGHT[m] * np.array(pairs)
    assert_allclose(found.loglik, total, rtol=1e-12)
    assert_allclose(found.weight, (WEIGHT * LENGTHS).sum())
    assert_allclose(found.first, first, rtol=1e-10)
    assert_allclose(found.transitions, transitions, rtol=1e-10, atol=1e-14)
    assert_allclose(found.components.s0, (np.repeat(WEIGHT, LENGTHS)[:, None] * resp).sum(axis=0), rtol=1e-10)
    updated, _ = model.m_step(found, params)
    assert_allclose(updated.startprob, first / first.sum(), rtol=1e-10)
    assert_allclose(updated.transmat, transitions / transitions.sum(axis=1, keepdims=True), rtol=1e-10, atol=1e-14)


def test_umbrella_world():
    # Russell & Norvig, Artificial Intelligence, section 15.2; the values are those of hmmlearn's own test.
    umbrella = np.array([[1.0], [1.0], [0.0], [1.0], [1.0]])
    hmm = HMM(
        Bernoulli(), 2, startprob_init=[0.5, 0.5], transmat_init=[[0.7, 0.3], [0.3, 0.7]],
        emissions_init={"probs": [[0.9], [0.2]]}, max_iter=0,
    ).fit(umbrella)  # fmt: skip
    loglik, resp = hmm.score_samples(umbrella)
    assert loglik == pytest.approx(-3.3725, abs=5e-5)
    assert hmm.loglik_ == pytest.approx(loglik, rel=1e-14)
    assert_allclose(resp[:, 0], [0.8673, 0.8204, 0.3075, 0.8204, 0.8673], atol=5e-5)
    score, states = hmm.decode(umbrella)
    assert score == pytest.approx(-4.4590, abs=5e-5)
    assert states.tolist() == [0, 0, 1, 0, 0]
    assert hmm.decode(umbrella, algorithm="map")[1].tolist() == [0, 0, 1, 0, 0]


MANY = np.array([40, 1, 700, 1500, 3, 3, 900, 20])


def poisson_data(seed: int = 0) -> tuple[HiddenMarkov[Any], HMMParams[Any], Any]:
    x = draw(poisson_params(), MANY, seed)
    start = poisson_params(np.full(3, 1 / 3), np.full((3, 3), 1 / 3), np.array([[2.0], [6.0], [9.0]]))
    return HiddenMarkov(Poisson(), 3), start, x


@pytest.mark.parametrize("ascent", [Plain(), QuasiNewton()], ids=["plain", "accelerated"])
def test_the_objective_never_falls_and_ends_at_the_truth(ascent):
    model, start, x = poisson_data()
    (result,) = drive(SequenceSource(x, MANY), model, [start], tol=1e-9, max_iter=400, ascent=ascent)
    assert result.converged
    assert np.diff(result.objective).min() > -1e-10 * abs(result.objective[-1])
    assert result.objective[-1] - result.objective[0] > 100
    order = np.argsort(result.params.components.rates[:, 0])
    assert_allclose(result.params.components.rates[order], RATES, rtol=0.1)
    assert_allclose(result.params.transmat[np.ix_(order, order)], CYCLE, atol=0.06)  # its transpose is 0.35 away


@pytest.mark.parametrize("prior", [ChainPrior(), ChainPrior(3.0, 1 + 4 * np.eye(3))], ids=["ml", "map"])
def test_the_end_of_a_fit_is_a_maximum(prior):
    model, start, x = poisson_data()
    model, source = replace(model, prior=prior), SequenceSource(x, MANY)
    (result,) = drive(source, model, [start], tol=1e-13, max_iter=500, ascent=QuasiNewton())

    def objective(vector):
        params = model.from_free(vector, result.params)
        return evaluate(source, model, params).loglik + model.log_prior(params)

    here, rng = model.free(result.params), np.random.default_rng(0)
    parts = np.split(np.arange(len(here)), [3, 12])  # first states, transitions, emissions
    interior = np.concatenate([module.stacked(result.params).ravel() > 1e-3, np.ones(3, dtype=bool)])
    for part in parts[1:] if prior.startprob == 1 else parts:
        direction = np.zeros_like(here)
        direction[part] = rng.normal(size=len(part)) * interior[part]
        ahead, behind = objective(here + 1e-3 * direction), objective(here - 1e-3 * direction)
        slope, bend = (ahead - behind) / 2e-3, (ahead - 2 * objective(here) + behind) / 1e-6
        assert bend < 0
        assert abs(slope / bend) < 1e-4


def test_the_gradient_that_acceleration_sees_is_that_of_the_objective():
    model, start, x = poisson_data()
    source = SequenceSource(x, MANY)
    (near,) = drive(source, model, [start], tol=0.0, max_iter=25)  # where the gradient is still large
    params = near.params
    updated, _ = model.m_step(evaluate(source, model, params), params)
    gradient = model.metric(params, model.free(updated) - model.free(params)) * near.weight
    slopes = np.zeros(len(gradient))
    for j in range(len(gradient)):
        step = np.where(np.arange(len(gradient)) == j, 1e-4, 0.0)
        moved = [model.from_free(model.free(params) + side * step, params) for side in (1, -1)]
        ahead, behind = (evaluate(source, model, there).loglik for there in moved)
        slopes[j] = (ahead - behind) / 2e-4
    for part in np.split(np.arange(len(gradient)), [3, 6, 9, 12]):  # first states, each row of transitions, rates
        assert_allclose(gradient[part], slopes[part], atol=0.1 * np.abs(slopes[part]).max())
    step = np.random.default_rng(0).normal(size=len(gradient))
    back = model.metric(params, model.inverse_metric(params, model.metric(params, step)))
    assert_allclose(back, model.metric(params, step), rtol=1e-9, atol=1e-12)


def test_sums_of_sequences_add():
    model, params, x = poisson_data()
    whole = evaluate(SequenceSource(x, MANY), model, params)
    cut = int(MANY[:3].sum())
    parts = [SequenceSource(x[:cut], MANY[:3]), SequenceSource(x[cut:], MANY[3:])]
    total: Stats = evaluate(parts[0], model, params) + evaluate(parts[1], model, params)
    assert_close(total, whole)
    assert same_bits(type(whole).from_bytes(whole.to_bytes()), whole)


def test_weights_are_copies(path):
    model, params, x = poisson_data()
    copies = np.array([2, 3, 0, 1, 4, 1, 2, 0])
    weighted = evaluate(SequenceSource(x, MANY, copies.astype(float)), model, params)
    rows = np.split(x, np.cumsum(MANY)[:-1])
    repeated = [np.concatenate([part] * c) for part, c in zip(rows, copies, strict=True) if c]
    assert_close(weighted, evaluate(SequenceSource(np.concatenate(repeated), np.repeat(MANY, copies)), model, params))


def test_chunks_and_threads_change_no_bit(path, monkeypatch):
    monkeypatch.setattr(grid, "BLOCK_STEPS", BLOCK_ROWS)  # four blocks of few rows
    model, params, x = poisson_data()
    whole = evaluate(SequenceSource(x, MANY), model, params)
    for chunk_rows in (1, BLOCK_ROWS, 2 * BLOCK_ROWS):
        assert same_bits(evaluate(SequenceSource(x, MANY, chunk_rows=chunk_rows), model, params), whole)
    for threads in (1, 2, 5):
        with using_threads(threads):
            assert same_bits(evaluate(SequenceSource(x, MANY), model, params), whole)


def test_blocks_are_whole_sequences_on_a_grid_of_their_own():
    lengths = np.array([64000, 64000, 64000, 384000, 1, 1, 131070, 5])
    chunk = Sequences(np.zeros((lengths.sum(), 1)), lengths=lengths)
    assert [(b.first, b.lengths.tolist()) for b in chunk.split(1)] == [
        (0, [64000, 64000, 64000]), (1, [384000]), (2, [1, 1, 131070]), (3, [5]),
    ]  # fmt: skip
    assert [b.first for b in chunk.split(512000)] == [0, 2]
    assert [len(b.packed()) for b in chunk.split(1 << 20)] == [lengths.sum()]


def test_permuted_states_are_the_same_model(path):
    model, params, x = poisson_data()
    params = poisson_params()
    order = np.array([2, 0, 1])
    other = poisson_params(START[order], CYCLE[np.ix_(order, order)], RATES[order])
    one, two = (evaluate(SequenceSource(x, MANY), model, p) for p in (params, other))
    assert_allclose(two.loglik, one.loglik, rtol=1e-13)
    assert_allclose(two.transitions, one.transitions[np.ix_(order, order)], rtol=1e-9, atol=1e-9)


def test_the_kernel_is_the_composed_path():
    model, params, x = poisson_data()
    rng = np.random.default_rng(1)
    for k in (1, 2, 8, 9, 17):
        params = poisson_params(rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k), rng.gamma(2, 3, (k, 1)))
        model, chunk = HiddenMarkov(Poisson(), k), Sequences(x, lengths=MANY)
        compiled, composed = (model.smooth(params, chunk, compiled=way) for way in (True, False))
        for one, two in zip(compiled, composed, strict=True):
            assert_allclose(one, two, rtol=1e-10, atol=1e-12)
        scores, states = model.best_paths(params, chunk, compiled=True)
        others = model.best_paths(params, chunk, compiled=False)
        assert_allclose(scores, others[0], rtol=1e-12)
        assert_array_equal(states, others[1])


@pytest.mark.parametrize("structure", [Full(), Diag(), Tied(), Spherical()], ids=lambda s: s.name)
def test_the_kernel_of_moments_sums_as_the_composed_path(structure):
    rng, family = np.random.default_rng(0), Gaussian(structure)
    x, resp = rng.normal(size=(1500, 3)) * 5 + 1000, rng.dirichlet(np.ones(4), 1500)
    theta = family.blank(family.frame(x.min(axis=0), x.max(axis=0), np.median(x, axis=0)), 4)
    theta = family.with_means(theta, x[:4])
    ours, _ = family.update(family.states(theta).sums(x, resp), theta)
    theirs, _ = family.update(family.suffstats(theta, x, resp), theta)
    assert_close((ours.means, ours.covariances), (theirs.means, theirs.covariances), 1e-11)


def test_a_long_sequence_neither_underflows_nor_loses_digits():
    # Where every row of the transitions is the same, rows are independent: their mixture is the exact answer.
    n, shares, means = 1_000_000, np.array([0.3, 0.7]), np.array([0.0, 3.0])
    rng = np.random.default_rng(0)
    x = rng.normal(means[(rng.random(n) < 0.7).astype(int)], 1.0)
    joint = shares * np.exp(-((x[:, None] - means) ** 2) / 2) / np.sqrt(2 * np.pi)
    hmm = HMM(
        Gaussian(Diag()), 2, startprob_init=shares, transmat_init=[shares, shares], max_iter=0,
        emissions_init={"means": means[:, None], "covariances": np.ones((2, 1))},
    ).fit(x)  # fmt: skip
    exact = float(np.log(joint.sum(axis=1)).astype(np.longdouble).sum())
    assert hmm.loglik_ == pytest.approx(exact, rel=1e-13)
    expected = joint / joint.sum(axis=1, keepdims=True)
    resp = hmm.predict_proba(x)
    assert_allclose(resp, expected, atol=1e-12)


def test_what_scaling_cannot_hold_is_done_in_logarithms():
    # From state 0 to 2 in one step is forbidden, and the rows ask for it: all paths have less than 1e-308 of the most.
    start, transmat = np.array([1.0, 0.0, 0.0]), np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    x = np.array([[0.0], [0.0], [9000.0], [9000.0], [9000.0]])
    params = poisson_params(start, transmat, np.array([[1.0], [2.0], [9000.0]]))
    model, chunk = HiddenMarkov(Poisson(), 3), Sequences(x, lengths=np.array([5]))
    (one, resp, pairs), (two, *others) = (model.smooth(params, chunk, compiled=way) for way in (True, False))
    assert np.isfinite(one).all()
    assert_allclose(one, two, rtol=1e-14)
    assert_allclose(resp, others[0])
    assert_allclose(pairs, others[1])
    impossible = np.array([[0.0], [1e6], [0.0]])
    loglik, _, _ = model.smooth(
        poisson_params(start, transmat, np.zeros((3, 1))), Sequences(impossible, lengths=np.array([3])), compiled=True
    )
    assert loglik[0] == -np.inf


def test_a_row_without_values_has_density_1(path):
    model, params, (x, densities) = gaussian_case()
    x, densities = x.copy(), densities.copy()
    x[2], densities[2] = np.nan, 1.0
    found = evaluate(SequenceSource(x, LENGTHS), model.for_missing(), params)
    logs = [
        naive_hmm.enumerate_paths(densities[a:b], START, CYCLE)[0]
        for a, b in itertools.pairwise(np.cumsum([0, *LENGTHS]))
    ]
    assert found.loglik == pytest.approx(sum(logs), rel=1e-12)


def test_a_fit_with_missing_values():
    rng = np.random.default_rng(0)
    states = np.repeat([0, 1, 0, 1, 0, 1], 60)
    x = rng.normal(np.where(states, 6.0, 0.0)[:, None], 1.0, (360, 2))
    x[rng.random(x.shape) < 0.1] = np.nan
    x[50:55] = np.nan
    hmm = HMM(Gaussian(Full()), 2, random_state=0).fit(x)
    assert_allclose(np.sort(hmm.means_[:, 0]), [0, 6], atol=0.5)
    labels = hmm.predict(x)
    assert (labels == labels[0]).sum() == (states == 0).sum()


def test_transitions_of_probability_0_stay_and_what_is_fixed_too():
    _, _, x = poisson_data()
    band = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])
    start = {"rates": [[2.0], [6.0], [9.0]]}
    for acceleration in (None, "quasi-newton"):
        options: Any = {"emissions_init": start, "transmat_init": band, "acceleration": acceleration, "tol": 1e-8}
        hmm = HMM(Poisson(), 3, max_iter=200, random_state=0, **options).fit(x, MANY)
        assert_array_equal(hmm.transmat_ == 0, band == 0)
        assert np.abs(hmm.transmat_ - band)[band > 0].max() > 0.05
        assert hmm.model_.n_parameters(hmm.params_) == 2 + 3 + 3
        fixed = HMM(Poisson(), 3, fixed=["transmat", "emissions"], random_state=0, **options).fit(x, MANY)
        assert_array_equal(fixed.transmat_, band)
        assert_array_equal(fixed.rates_, start["rates"])
        assert np.ptp(fixed.startprob_) > 0.1


def test_states_that_are_given_whole_are_not_searched_for(monkeypatch):
    _, _, x = poisson_data()

    def refuse(*_):
        raise AssertionError("searched")

    monkeypatch.setattr(module_of_starts, "start", refuse)
    given = {"means": [[1.0], [5.0]], "covariances": [[[1.0]], [[4.0]]]}
    hmm = HMM(Gaussian(Full()), 2, emissions_init=given, max_iter=0).fit(x, MANY)
    assert_allclose(hmm.means_, given["means"], rtol=1e-14)
    assert_allclose(hmm.covars_, given["covariances"], rtol=1e-14)
    assert_array_equal(HMM(Poisson(), 1, emissions_init={"rates": [[2.0]]}, max_iter=0).fit(x).rates_, [[2.0]])
    for part, value in given.items():
        with pytest.raises(AssertionError, match="searched"):
            HMM(Gaussian(Full()), 2, emissions_init={part: value}, max_iter=0).fit(x, MANY)


def test_a_prior_adds_its_counts():
    model, start, x = poisson_data()
    extra = 1 + np.arange(9.0).reshape(3, 3)
    model = replace(model, prior=ChainPrior(np.array([2.0, 1.0, 1.0]), extra))
    found = evaluate(SequenceSource(x, MANY), model, start)
    updated, _ = model.m_step(found, start)
    counts = found.transitions + extra - 1
    assert_allclose(updated.transmat, counts / counts.sum(axis=1, keepdims=True), rtol=1e-12)
    assert_allclose(updated.startprob, (found.first + np.eye(3)[0]) / (found.first.sum() + 1), rtol=1e-12)
    expected = ((extra - 1) * np.log(updated.transmat)).sum() + np.log(updated.startprob[0])
    assert model.log_prior(updated) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("prior", [ChainPrior(), ChainPrior(2.0, 3.0)], ids=["ml", "map"])
def test_the_update_of_expected_statistics_gives_the_parameters_back(prior):
    model, start, x = poisson_data()
    model = replace(model, prior=prior)
    params, _ = model.m_step(evaluate(SequenceSource(x, MANY), model, start), start)
    again, _ = model.m_step(model.expected(params, 100.0), params)
    assert_allclose(again.transmat, params.transmat, rtol=1e-12)
    assert_allclose(again.startprob, params.startprob, rtol=1e-12)
    assert_allclose(again.components.rates, params.components.rates, rtol=1e-12)


def test_a_state_that_is_never_visited_keeps_what_it_was():
    x = np.array([0.0, 1, 0, 2, 1, 1, 0, 1] * 4)
    hmm = HMM(
        Poisson(), 2, startprob_init=[1.0, 0.0], transmat_init=[[1.0, 0.0], [0.5, 0.5]],
        emissions_init={"rates": [[1.0], [7.0]]}, acceleration=None,
    )  # fmt: skip
    with pytest.warns(CollapseWarning, match="state 1 is never visited in iteration 1"):
        hmm.fit(x)
    assert hmm.rates_[1, 0] == 7.0
    assert_array_equal(hmm.transmat_[1], [0.5, 0.5])
    assert hmm.converged_


def test_a_category_that_was_never_seen_is_impossible_later():
    x = np.array([0, 1, 0, 1, 1, 0, 0, 2, 2, 2, 1, 0] * 5)
    hmm = HMM(Categorical(4), 2, random_state=0).fit(x)
    assert_array_equal(hmm.emissionprob_[:, 3], 0.0)
    assert hmm.score([0, 3, 1]) == -np.inf
    assert np.isfinite(hmm.predict_proba([0, 3, 1])).all()


def test_a_checkpoint_goes_on_with_the_same_bits(tmp_path):
    _, _, x = poisson_data()
    options: Any = {"random_state": 0, "tol": 1e-9, "n_init": 2, "init_params": "random_from_data"}
    whole = HMM(Poisson(), 3, **options).fit(x, MANY)
    path = tmp_path / "fit.ckpt"

    def stop(state):
        if state.iteration == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        HMM(Poisson(), 3, checkpoint=path, callback=stop, **options).fit(x, MANY)
    resumed = HMM(Poisson(), 3, checkpoint=path, **options).fit(x, MANY)
    assert same_bits(resumed.params_, whole.params_)
    assert_array_equal(resumed.result_.objective, whole.result_.objective)


def test_a_job_is_described_as_data():
    model, start, x = poisson_data()
    job = Job(model, start)
    again = Job.from_tree(model, job.to_tree())
    one, two = drive_jobs(SequenceSource(x, MANY), [job, again], max_iter=3)
    assert same_bits(one.params, two.params)


@pytest.mark.parametrize("family", [Poisson(), Gaussian(Full()), Categorical(30)], ids=lambda family: family.name)
def test_a_saved_model_is_the_same(family, tmp_path):
    _, _, x = poisson_data()
    hmm = HMM(family, 2, random_state=0, transmat_prior=[[2.0, 1.0], [1.0, 2.0]], max_iter=30, tol=1e-2).fit(x, MANY)
    hmm.save(tmp_path / "hmm.json")
    again = load(tmp_path / "hmm.json")
    assert same_bits(again.params_, hmm.params_)
    assert again.loglik_ == hmm.loglik_
    assert_array_equal(again.predict(x, MANY), hmm.predict(x, MANY))


def test_samples_are_of_the_model():
    params = poisson_params()
    x, states = HiddenMarkov(Poisson(), 3).sample(params, 20_000, np.random.default_rng(0))
    counts = np.zeros((3, 3))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    assert_allclose(counts / counts.sum(axis=1, keepdims=True), CYCLE, atol=0.02)
    assert_allclose([x[states == j].mean() for j in range(3)], RATES[:, 0], rtol=0.05)


@pytest.mark.parametrize("structure", [Full(), Diag(), Tied(), Spherical()], ids=lambda s: s.name)
def test_one_update_is_that_of_hmmlearn(structure):
    theirs_module = pytest.importorskip("hmmlearn.hmm")
    rng = np.random.default_rng(1)
    x, means = rng.normal(size=(300, 2)) + rng.integers(0, 3, 300)[:, None], np.array([[0.0, 0], [1, 1], [2, 2]])
    lengths = [100, 150, 50]
    covariances = np.full(structure.shape(3, 2), 1.0) if structure.name in ("diag", "spherical") else np.eye(2)
    covariances = np.broadcast_to(covariances, structure.shape(3, 2)).copy()
    theirs = theirs_module.GaussianHMM(
        3, structure.name, min_covar=0, covars_prior=0, covars_weight=0, n_iter=1, init_params="", tol=0,
        implementation="scaling",
    )  # fmt: skip
    theirs.startprob_, theirs.transmat_, theirs.means_, theirs.covars_ = START, CYCLE, means, covariances
    score = theirs.score(x, lengths)
    states = theirs.predict(x, lengths)
    hmm = HMM(
        Gaussian(structure), 3, startprob_init=START, transmat_init=CYCLE, max_iter=0,
        emissions_init={"means": means, "covariances": covariances},
    ).fit(x, lengths)  # fmt: skip
    assert hmm.loglik_ == pytest.approx(score, rel=1e-12)
    assert_array_equal(hmm.predict(x, lengths), states)
    theirs.fit(x, lengths)
    with pytest.warns(ConvergenceWarning):
        hmm.set_params(max_iter=1, acceleration=None).fit(x, lengths)
    assert_allclose(hmm.transmat_, theirs.transmat_, rtol=1e-10)
    assert_allclose(hmm.startprob_, theirs.startprob_, rtol=1e-10)
    assert_allclose(hmm.means_, theirs.means_, rtol=1e-10)
    if structure.name == "full":  # their M-step of the others weights covars_prior otherwise
        assert_allclose(hmm.covars_, theirs.covars_, rtol=1e-8)


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    names = run_page("hmm.md", tmp_path, monkeypatch)
    assert names["model"].monitor_.converged
    assert_allclose(names["known"].get_stationary_distribution(), [2 / 3, 1 / 3])
    agree = (names["path"] == names["states"]).mean()
    assert max(agree, 1 - agree) > 0.98
    assert_allclose(np.diag(names["hmm"].transmat_), 0.98, atol=0.02)
    assert_allclose(names["left_right"].means_[:, 0], [0, 4, 8], atol=0.6)
    assert (names["left_right"].transmat_[names["band"] == 0] == 0).all()


GOOD = np.array([1.0, 0, 2, 5, 6, 4, 1, 0])
BAD: dict[str, tuple[dict[str, Any], Any, Any, str]] = {
    "lengths": ({}, GOOD, {"lengths": [3, 4]}, r"the lengths of 2 sequences sum to 7, but X has 8 rows"),
    "empty": ({}, GOOD, {"lengths": [3, 0, 5]}, r"sequence 1 has length 0, expected at least one row"),
    "fraction": ({}, GOOD, {"lengths": [3.5, 4.5]}, r"lengths: expected a vector of whole numbers"),
    "weights": ({}, GOOD, {"lengths": [3, 5], "sample_weight": [1, 2, 3]}, r"one weight for each sequence"),
    "weight": ({}, GOOD, {"lengths": [3, 5], "sample_weight": [1, -2]}, r"sample_weight of sequence 1 is -2"),
    "no weight": ({}, GOOD, {"lengths": [3, 5], "sample_weight": [0, 0]}, r"0 for every sequence"),
    "support": (
        {}, np.where(GOOD == 6, -1, GOOD), {"lengths": [3, 5]}, r"row 4 \(step 1 of sequence 1\), column 0 is -1",
    ),
    "NaN": ({}, np.where(GOOD == 6, np.nan, GOOD), {"lengths": [3, 5]}, r"step 1 of sequence 1"),
    "transmat": ({"transmat_init": [[0.5, 0.5], [0.5, 0.6]]}, GOOD, {}, r"transmat_init, row 1: expected"),
    "startprob": ({"startprob_init": [0.5, 0.6]}, GOOD, {}, r"startprob_init: expected probabilities that sum to 1"),
    "shape": ({"transmat_init": np.eye(3)}, GOOD, {}, r"transmat_init: expected shape \(2, 2\), found \(3, 3\)"),
    "prior": ({"transmat_prior": [[0.5, 1.0], [1.0, 1.0]]}, GOOD, {}, r"transmat_prior is .* expected finite"),
    "prior shape": ({"startprob_prior": [1.0, 1.0, 1.0]}, GOOD, {}, r"startprob_prior has shape \(3,\)"),
    "fixed": ({"fixed": ["means"]}, GOOD, {}, r"fixed has 'means', expected some of startprob, transmat, emissions"),
    "emissions": ({"emissions_init": {"means": [[1.0], [2.0]]}}, GOOD, {}, r"'means', which the family 'poisson'"),
    "rates": ({"emissions_init": {"rates": [[1.0]]}}, GOOD, {}, r"rates: expected \(2, 1\) numbers from 0"),
    "few": ({}, GOOD[:1], {}, r"n_states = 2, n_samples = 1"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "x", "of_fit", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_named(options, x, of_fit, message):
    hmm = HMM(Poisson(), 2, **options)
    with pytest.raises(ValueError, match=message):
        hmm.fit(x, **of_fit)
    assert not hasattr(hmm, "params_")


def test_bad_input_of_prediction_is_named():
    hmm = HMM(Poisson(), 2, random_state=0).fit(GOOD)
    with pytest.raises(ValueError, match=r"step 2 of sequence 0.*takes whole numbers from 0 only"):
        hmm.predict([1, 2, 0.5])
    with pytest.raises(ValueError, match="sum to 2, but X has 3 rows"):
        hmm.score([1, 2, 3], [1, 1])
    with pytest.raises(ValueError, match="expected 'viterbi' or 'map'"):
        hmm.decode([1, 2], algorithm="best")
    with pytest.raises(TypeError, match="takes sequences"):
        hmm.model_.e_block(hmm.params_, Chunk(np.ones((3, 1))))
    with pytest.raises(TypeError, match="expected an object such as"):
        HMM(Poisson, 2).fit(GOOD)


def test_gaussian_starts_that_cannot_be_are_named():
    for given, message in {
        "scale": "expected 'means' or 'covariances'",
        "means": r"means has shape \(1,\)",
    }.items():
        with pytest.raises(ValueError, match=message):
            HMM(Gaussian(Full()), 2, emissions_init={given: [1.0]}).fit(GOOD)
    with pytest.raises(ValueError, match="positive definite"):
        HMM(Gaussian(Full()), 2, emissions_init={"covariances": -np.ones((2, 1, 1))}).fit(GOOD)
