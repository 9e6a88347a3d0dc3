"""Quasi-Newton steps in free coordinates: they reach what EM reaches, sooner, and never go down."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cases import CASES
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
    again = case.model.inverse_metric(params, case.model.metric(params, step))
    k = case.model.n_components
    again[:k] += (params.weights * (step - again)[:k]).sum()  # a shift of all logarithms changes no weight
    assert_allclose(again, step, rtol=1e-9, atol=1e-9)


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
    assert_allclose(found, divergence(params, moved) + divergence(params, back), rtol=1e-5)


def divergence(p, q):
    """Return the Kullback-Leibler divergence of rows and their components under p from those under q."""
    total = np.sum(p.weights * np.log(p.weights / q.weights))
    if hasattr(p.components, "rates"):
        a, b = p.components.rates, q.components.rates
        return total + np.sum(p.weights * (a * np.log(a / b) - a + b).sum(axis=1))
    k, d = p.components.means.shape
    for j in range(k):
        s, t = (dense(c.components.covariances, j, k, d) for c in (p, q))
        gap = p.components.means[j] - q.components.means[j]
        inverse = np.linalg.inv(t)
        logs = np.linalg.slogdet(t)[1] - np.linalg.slogdet(s)[1]
        total += p.weights[j] * (np.trace(inverse @ s) - d + gap @ inverse @ gap + logs) / 2
    return total


def dense(covariances, j, k, d):
    """Return the covariance (d, d) of one component from those of any structure."""
    if covariances.shape in ((k, d, d), (d, d)):
        return covariances.reshape(-1, d, d)[j if covariances.ndim == 3 else 0]
    return np.eye(d) * covariances[j]


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
    x = rng.normal(size=(2000, 1)) + 1.5 * rng.normal(size=2)[rng.integers(2, size=2000), None]
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
