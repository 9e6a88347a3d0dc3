"""The oracle itself, against SciPy and scikit-learn: it must be right before it judges anything."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture as TheirGaussianMixture

import naive


def log_joint_by_scipy(case):
    """Return log(weight x density) (n, k) from ``scipy.stats``."""
    d = case.x.shape[1]
    columns = []
    for j, (weight, mean) in enumerate(zip(case.weights, case.means, strict=True)):
        covariance = {
            "full": lambda j=j: case.covariances[j],
            "tied": lambda: case.covariances,
            "diag": lambda j=j: np.diag(case.covariances[j]),
            "spherical": lambda j=j: case.covariances[j] * np.eye(d),
        }[case.structure]()
        columns.append(np.log(weight) + stats.multivariate_normal(mean, covariance).logpdf(case.x))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_gaussian_loglik_and_responsibilities_are_those_of_scipy(structure, d, make_case):
    case = make_case(structure, n=60, d=d)
    log_joint = log_joint_by_scipy(case)
    args = (case.x, case.weights, case.means, case.covariances, structure)
    assert_allclose(naive.gaussian_loglik(*args), logsumexp(log_joint, axis=1).sum(), rtol=1e-12)
    expected = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
    assert_allclose(naive.gaussian_responsibilities(*args), expected, rtol=1e-10, atol=1e-300)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("reg_covar", [0.0, 1e-2])
def test_gaussian_update_is_that_of_scikit_learn(structure, d, reg_covar, make_case):
    case = make_case(structure, n=60, d=d)
    theirs = TheirGaussianMixture(**case.start, reg_covar=reg_covar, max_iter=1).fit(case.x)
    weights, means, covariances = naive.gaussian_update(
        case.x, case.weights, case.means, case.covariances, structure, reg_covar=reg_covar
    )
    assert_allclose(weights, theirs.weights_, rtol=1e-11)
    assert_allclose(means, theirs.means_, rtol=1e-11)
    assert_allclose(covariances, theirs.covariances_, rtol=1e-10, atol=1e-11)


def test_a_row_weight_is_that_many_copies(structure, make_case):
    case = make_case(structure, n=40, d=2)
    copies = np.arange(len(case.x)) % 4  # zeros too
    repeated = np.repeat(case.x, copies, axis=0)
    start = (case.weights, case.means, case.covariances, structure)
    assert_allclose(
        naive.gaussian_loglik(case.x, *start, row_weights=copies),
        naive.gaussian_loglik(repeated, *start),
        rtol=1e-14,
    )
    weighted = naive.gaussian_update(case.x, *start, row_weights=copies)
    for ours, theirs in zip(weighted, naive.gaussian_update(repeated, *start), strict=True):
        assert_allclose(ours, theirs, rtol=1e-12)


def test_gaussian_updates_never_lower_the_loglik(structure, make_case):
    case = make_case(structure, n=60, d=2)
    params = case.weights, case.means, case.covariances
    before = naive.gaussian_loglik(case.x, *params, structure)
    for _ in range(5):
        params = naive.gaussian_update(case.x, *params, structure)
        after = naive.gaussian_loglik(case.x, *params, structure)
        assert after > before
        before = after


def test_the_update_is_exact_at_a_large_offset():
    # Two passes: no cancellation, so the variance at 1e8 is that of the same numbers moved to the origin.
    x = np.round(np.random.default_rng(0).standard_normal((50, 2)) * 2**10) / 2**10
    one = ([1.0], [[0.0, 0.0]], [np.eye(2)])
    moved = ([1.0], [[1e8, 1e8]], [np.eye(2)])
    _, _, here = naive.gaussian_update(x, *one)
    _, _, there = naive.gaussian_update(x + 1e8, *moved)
    assert_allclose(there, here, rtol=1e-7)  # the mean itself is known to eps x 1e8 only


@pytest.fixture
def counts():
    """Rows of counts, a start, and row weights."""
    rng = np.random.default_rng(5)
    x = rng.poisson([[2.0, 9.0]] * 25 + [[7.0, 1.0]] * 35)
    return x, np.array([0.3, 0.7]), np.array([[1.0, 5.0], [4.0, 2.0]]), rng.integers(0, 4, size=60)


def test_poisson_loglik_and_responsibilities_are_those_of_scipy(counts):
    x, weights, rates, row_weights = counts
    log_joint = np.log(weights) + stats.poisson(rates).logpmf(x[:, None, :]).sum(axis=2)
    log_density = logsumexp(log_joint, axis=1)
    assert_allclose(naive.poisson_loglik(x, weights, rates), log_density.sum(), rtol=1e-12)
    assert_allclose(naive.poisson_loglik(x, weights, rates, row_weights), row_weights @ log_density, rtol=1e-12)
    expected = np.exp(log_joint - log_density[:, None])
    assert_allclose(naive.poisson_responsibilities(x, weights, rates), expected, rtol=1e-11)


def test_poisson_update_is_the_weighted_mean(counts):
    x, weights, rates, row_weights = counts
    resp = np.array(naive.poisson_responsibilities(x, weights, rates)) * row_weights[:, None]
    new_weights, new_rates = naive.poisson_update(x, weights, rates, row_weights)
    assert_allclose(new_weights, resp.sum(axis=0) / row_weights.sum(), rtol=1e-12)
    assert_allclose(new_rates, resp.T @ x / resp.sum(axis=0)[:, None], rtol=1e-12)
    repeated = naive.poisson_update(np.repeat(x, row_weights, axis=0), weights, rates)
    assert_allclose(new_rates, repeated[1], rtol=1e-12)


def test_a_poisson_rate_of_zero_allows_only_zeros():
    assert naive.poisson_log_density([0, 3], [0.0, 2.0]) == pytest.approx(stats.poisson(2).logpmf(3))
    assert naive.poisson_log_density([1, 3], [0.0, 2.0]) == -math.inf


def test_a_weight_of_zero_takes_no_rows():
    resp = naive.gaussian_responsibilities([[0.0], [1.0]], [1.0, 0.0], [[0.0], [1.0]], [1.0, 1.0], "spherical")
    assert resp == [[1.0, 0.0], [1.0, 0.0]]
