"""Quasi-Newton steps in free coordinates: they reach what EM reaches, sooner, and never go down."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import divergences
from benchmarks.data import clusters
from cases import CASES
from mixtura import GaussianMixture
from mixtura.acceleration import CALM, GROW, SHRINK, Evaluated, QuasiNewton
from mixtura.em import drive
from mixtura.sources import ArraySource


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_free_coordinates_lead_back(case):
    params = case.start(case.rows(400))
    vector = case.model.free(params)
    back = case.model.from_free(vector, params)
    assert_allclose(case.model.free(back), vector, rtol=0, atol=1e-11 * max(1.0, np.abs(vector).max()))


def test_the_metric_and_its_inverse_agree(case):
    params = case.start(case.rows(400))
    step = np.random.default_rng(3).normal(size=len(case.model.free(params)))
    gradient = case.model.metric(params, step)  # of all that has it as its gradient, any step will do
    assert_allclose(case.model.metric(params, case.model.inverse_metric(params, gradient)), gradient, rtol=0, atol=1e-9)


def test_the_metric_is_symmetric_and_positive(case):
    params = case.start(case.rows(400))
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, len(case.model.free(params))))
    assert_allclose(a @ case.model.metric(params, b), b @ case.model.metric(params, a), rtol=1e-10)
    assert a @ case.model.metric(params, a) > 0


def test_the_metric_is_the_curvature_of_the_divergence(case):
    # Twice the divergence of rows with known components, between parameters a small step apart, is step' M step.
    params, size = case.start(case.rows(400)), 1e-4
    step = size * np.random.default_rng(5).normal(size=len(case.model.free(params)))
    moved = case.model.from_free(case.model.free(params) + step, params)
    back = case.model.from_free(case.model.free(params) - step, params)
    found = step @ case.model.metric(params, step)
    assert_allclose(found, divergences.of_mixtures(params, moved) + divergences.of_mixtures(params, back), rtol=1e-5)


def test_the_metric_makes_the_gradient_of_an_update(case):
    # To first order, where little is left to gain (formula Q2): all that an ascent needs, whatever the update is.
    x, size = case.rows(800), 1e-2
    source = ArraySource(x)
    (near,) = drive(source, case.model, [case.start(x)], tol=1e-8, max_iter=2000)
    stats = case.model.e_step(near.params, x)
    updated, _ = case.model.m_step(stats, near.params)
    vector = case.model.free(near.params)
    gradient = case.model.metric(near.params, case.model.free(updated) - vector)

    def objective(vector):
        moved = case.model.from_free(vector, near.params)
        return (case.model.e_step(moved, x).loglik + case.model.log_prior(moved)) / stats.weight

    def slope(direction):
        unit = size / np.sqrt(direction @ case.model.metric(near.params, direction))
        once, twice = (objective(vector + h * direction) - objective(vector - h * direction) for h in (unit, 2 * unit))
        return (8 * once - twice) / (12 * unit)

    slopes = np.array([slope(direction) for direction in np.eye(len(vector))])
    if case.model.weighting.fixed:  # then the free components have not the share of rows that their weight says
        gradient *= slopes @ gradient / (gradient @ gradient)
    assert_allclose(slopes, gradient, rtol=0, atol=0.01 * np.abs(gradient).max())


def test_the_objective_never_falls_and_ends_no_lower(case):
    source = ArraySource(case.rows(800))
    start = case.start(source.x)
    (plain,) = drive(source, case.model, [start], tol=1e-12, max_iter=5000)
    (fast,) = drive(source, case.model, [start], tol=1e-12, max_iter=5000, ascent=QuasiNewton())
    assert np.diff(fast.objective).min() >= -1e-12 * np.abs(fast.objective).max()
    assert fast.objective[-1] >= plain.objective[-1] - 1e-6
    assert fast.n_passes <= 1.1 * plain.n_passes + 3


def test_a_slow_fit_takes_a_fifth_of_the_passes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 1)) + 1.5 * rng.normal(size=2)[rng.integers(2, size=500), None]
    case = CASES["gaussian-1d"]
    start = case.start(x)
    (plain,) = drive(ArraySource(x), case.model, [start], tol=1e-9, max_iter=20000)
    (fast,) = drive(ArraySource(x), case.model, [start], tol=1e-9, max_iter=20000, ascent=QuasiNewton())
    assert fast.objective[-1] >= plain.objective[-1] - 1e-6
    assert fast.n_passes * 5 <= plain.n_passes


def test_em_chooses_the_optimum(case):
    source = ArraySource(case.rows(800))
    start = case.start(source.x)
    (plain,) = drive(source, case.model, [start], tol=0.0, max_iter=40)
    (fast,) = drive(source, case.model, [start], tol=0.0, max_iter=40, ascent=QuasiNewton())
    settled = int(np.argmax(np.diff(plain.objective) < CALM * plain.weight)) + 1
    assert settled >= 2, "EM settles before it could be extrapolated: the test shows nothing"
    assert_array_equal(fast.objective[: settled + 1], plain.objective[: settled + 1])


def test_the_reach_follows_success_and_failure():
    case = CASES["gaussian-full"]
    x = case.rows(400)
    here, there = case.start(x), case.start(x, seed=2)
    blank = QuasiNewton().propose(case.model, Evaluated(here, there, (), [1e-4]), None).memory
    tried = replace(blank, size=0.5, reach=1.0, fallback=there)
    assert QuasiNewton().propose(case.model, Evaluated(there, here, (), [1e-4]), tried).memory.reach == GROW * 0.5
    failed = QuasiNewton().retreat(case.model, None, tried)
    assert failed.params is there
    assert failed.memory.reach == 0.5 / SHRINK


@pytest.mark.parametrize(("n", "d", "k", "separation"), [(3000, 2, 3, 1.0), (3000, 3, 4, 0.7), (2000, 1, 3, 1.5)])
def test_the_stop_leaves_less_than_that_of_plain_em(n, d, k, separation):
    x = clusters(n, d, k, separation=separation)
    options = {"random_state": 0, "init_params": "kmeans", "max_iter": 2000}
    plain = GaussianMixture(k, acceleration=None, **options).fit(x)
    fast = GaussianMixture(k, **options).fit(x)
    assert fast.loglik_ > plain.loglik_ + 1e-3 * n, "little is left: the test shows nothing"
    best = GaussianMixture(k, tol=1e-9, **options).fit(x)
    assert best.loglik_ - fast.loglik_ < 5e-3 * n
