"""The same start and the same ``reg_covar`` give the same parameters as scikit-learn, step by step."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.mixture import GaussianMixture as TheirGaussianMixture

import naive
from mixtura import GaussianMixture, MixtureModel
from mixtura.families import Poisson

PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fit_both(case, max_iter, x=None, reg_covar=1e-6):
    """Fit ours and theirs with ``max_iter`` updates from the start of the case."""
    x = case.x if x is None else x
    options = {**case.start, "reg_covar": reg_covar, "max_iter": max_iter, "tol": 0.0}
    return GaussianMixture(**options, acceleration=None).fit(x), TheirGaussianMixture(**options).fit(x)


def assert_same_parameters(ours, theirs, rtol=1e-8):
    """Compare arrays to ``rtol`` of their largest entry: one near zero has no relative error of its own."""
    for name in PARAMETERS:
        actual, desired = getattr(ours, name), getattr(theirs, name)
        assert actual.shape == desired.shape, name
        assert_allclose(actual, desired, rtol=rtol, atol=rtol * np.abs(desired).max(), err_msg=name)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("max_iter", [1, 5, 50])
def test_parameters_after_some_updates(structure, path, d, max_iter, make_case):
    # Components that overlap, so that 50 updates are far from the end: each still moves the parameters.
    ours, theirs = fit_both(make_case(structure, d=d, separation=1.5), max_iter)
    assert ours.n_iter_ == theirs.n_iter_ == max_iter
    assert_same_parameters(ours, theirs)


@pytest.mark.parametrize("reg_covar", [0.0, 1e-3, 0.5])
def test_reg_covar_means_the_same(structure, path, reg_covar, make_case):
    assert_same_parameters(*fit_both(make_case(structure, d=2), 5, reg_covar=reg_covar))


@pytest.mark.parametrize("d", [1, 3])
def test_parameters_of_many_blocks(structure, path, d, make_case):
    assert_same_parameters(*fit_both(make_case(structure, n=5_000, k=4, d=d), 5))


def test_no_update_leaves_the_start(structure, make_case):
    # scikit-learn 1.9 cannot do this: with all three given and max_iter=0 it has no covariances to return.
    case = make_case(structure, d=3)
    ours = GaussianMixture(**case.start, max_iter=0).fit(case.x)
    assert ours.n_iter_ == 0
    assert_allclose(ours.weights_, case.weights, rtol=1e-12)
    assert_allclose(ours.means_, case.means, rtol=1e-12)
    assert_allclose(ours.precisions_, case.start["precisions_init"], rtol=1e-10, atol=1e-12)
    assert_allclose(ours.covariances_, case.covariances, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_predictions(structure, d, make_case):
    case = make_case(structure, d=d)
    ours, theirs = fit_both(case, 5)
    assert_allclose(ours.predict_proba(case.x), theirs.predict_proba(case.x), rtol=1e-7, atol=1e-12)
    assert_allclose(ours.score_samples(case.x), theirs.score_samples(case.x), rtol=1e-8)
    assert_array_equal(ours.predict(case.x), theirs.predict(case.x))
    for name in ("score", "aic", "bic"):
        assert getattr(ours, name)(case.x) == pytest.approx(getattr(theirs, name)(case.x), rel=1e-9), name


def test_the_loglik_is_that_of_the_returned_parameters(structure, path, make_case):
    # scikit-learn's lower_bound_ belongs to the parameters before the last update; ours to those returned.
    case = make_case(structure)
    ours, theirs = fit_both(case, 3)
    total = theirs.score_samples(case.x).sum()
    assert ours.loglik_ == pytest.approx(total, rel=1e-10)
    assert ours.lower_bound_ == pytest.approx(total / len(case.x), rel=1e-10)
    assert ours.result_.objective[-1] == pytest.approx(total, rel=1e-10)
    assert len(ours.result_.objective) == 4  # three updates, four evaluations
    assert_allclose(ours.result_.objective[:-1] / len(case.x), theirs.lower_bounds_, rtol=1e-10)


def test_to_sklearn_is_their_estimator_with_our_parameters(structure, make_case):
    case = make_case(structure, d=2)
    ours, _ = fit_both(case, 5)
    exported = ours.to_sklearn()
    assert type(exported) is TheirGaussianMixture
    assert exported.covariance_type == structure
    for name in PARAMETERS:
        assert_array_equal(getattr(exported, name), getattr(ours, name), err_msg=name)
    assert exported.n_features_in_ == 2
    assert exported.converged_ == ours.converged_
    assert exported.n_iter_ == ours.n_iter_
    assert_allclose(exported.score_samples(case.x), ours.score_samples(case.x), rtol=1e-9)
    assert_array_equal(exported.predict(case.x), ours.predict(case.x))
    rows, _ = exported.sample(3)
    assert rows.shape == (3, 2)
    assert exported.bic(case.x) == pytest.approx(ours.bic(case.x), rel=1e-9)


def test_sample_has_the_moments_of_the_mixture(structure, make_case):
    ours, theirs = fit_both(make_case(structure, k=2, d=2), 5)
    n = 60_000
    for model in (
        ours.set_params(random_state=0),
        theirs.set_params(random_state=0),
    ):  # theirs checks the check
        rows, labels = model.sample(n)
        assert rows.shape == (n, 2)
        assert labels.shape == (n,)
        for j, weight in enumerate(ours.weights_):
            mine = rows[labels == j]
            covariance = full_covariance(ours, j)
            sd = np.sqrt(np.diag(covariance))
            assert len(mine) / n == pytest.approx(weight, abs=5 * np.sqrt(weight / n))
            assert np.all(np.abs(mine.mean(axis=0) - ours.means_[j]) < 5 * sd / np.sqrt(len(mine)))
            error = np.abs(np.cov(mine.T) - covariance) / np.outer(sd, sd)
            assert error.max() < 5 * np.sqrt(2 / len(mine))


def full_covariance(model, j):
    """Return the covariance of component ``j`` as (d, d)."""
    covariances = model.covariances_ if model.covariance_type == "tied" else model.covariances_[j]
    d = model.means_.shape[1]
    return np.diag(np.broadcast_to(covariances, d)) if np.ndim(covariances) < 2 else covariances


def test_sample_repeats_with_its_seed(structure, make_case):
    ours, _ = fit_both(make_case(structure), 1)
    first, second, other = (ours.sample(50, random_state=seed) for seed in (7, 7, 8))
    assert_array_equal(first[0], second[0])
    assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("d", [1, 3])
def test_float32_rows_are_computed_in_float64(structure, path, d, make_case):
    # The rows are float32 numbers; scikit-learn gets the same numbers as float64.
    case = make_case(structure, d=d)
    x = case.x.astype(np.float32)
    options = {**case.start, "reg_covar": 1e-6, "max_iter": 5, "tol": 0.0}
    ours = GaussianMixture(**options, acceleration=None).fit(x)
    theirs = TheirGaussianMixture(**options).fit(x.astype(np.float64))
    assert_same_parameters(ours, theirs)
    assert ours.score(x) == pytest.approx(theirs.score(x.astype(np.float64)), rel=1e-9)


@pytest.mark.parametrize("given", [("means_init",), ("means_init", "weights_init"), ("precisions_init",)])
def test_partial_starts_take_the_rest_from_the_data(structure, given, make_case):
    # Two clumps far apart: every initial clustering is the same one, so the rest of the start is too.
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.standard_normal((80, 2)), 30 + rng.standard_normal((120, 2))])
    shapes = {
        "full": np.stack([np.eye(2)] * 2),
        "tied": np.eye(2),
        "diag": np.ones((2, 2)),
        "spherical": np.ones(2),
    }
    start = {
        "means_init": np.array([[0.0, 1.0], [29.0, 30.0]]),
        "weights_init": np.array([0.5, 0.5]),
        "precisions_init": shapes[structure],
    }
    options = {name: start[name] for name in given} | {
        "covariance_type": structure,
        "max_iter": 2,
        "tol": 0.0,
    }
    ours = GaussianMixture(2, random_state=0, acceleration=None, **options).fit(x)
    theirs = TheirGaussianMixture(2, random_state=0, **options).fit(x)
    order = np.argsort(ours.means_[:, 0]), np.argsort(theirs.means_[:, 0])
    assert_allclose(ours.means_[order[0]], theirs.means_[order[1]], rtol=1e-8)
    assert_allclose(ours.weights_[order[0]], theirs.weights_[order[1]], rtol=1e-8)


# ---------------------------------------------------------------- beyond scikit-learn: the oracle judges


def test_weighted_fit_is_that_of_the_oracle(structure, path, make_case):
    case = make_case(structure, n=80, d=2)
    row_weights = np.random.default_rng(1).integers(0, 5, size=80) / 2
    params = case.weights, case.means, case.covariances
    for _ in range(3):
        params = naive.gaussian_update(case.x, *params, structure, row_weights, reg_covar=1e-3)
    ours = GaussianMixture(**case.start, acceleration=None, reg_covar=1e-3, max_iter=3, tol=0.0)
    ours.fit(case.x, sample_weight=row_weights)
    for name, expected in zip(PARAMETERS, params, strict=False):
        assert_allclose(getattr(ours, name), expected, rtol=1e-10, atol=1e-11, err_msg=name)
    loglik = naive.gaussian_loglik(case.x, *params, structure, row_weights)
    assert ours.loglik_ == pytest.approx(loglik, rel=1e-11)
    assert ours.score(case.x, sample_weight=row_weights) == pytest.approx(loglik / row_weights.sum(), rel=1e-11)
    n_parameters = {"full": 17, "tied": 11, "diag": 14, "spherical": 11}[structure]  # k = 3, d = 2
    bic = -2 * loglik + n_parameters * np.log(row_weights.sum())
    assert ours.bic(case.x, sample_weight=row_weights) == pytest.approx(bic, rel=1e-10)
    assert ours.aic(case.x, sample_weight=row_weights) == pytest.approx(-2 * loglik + 2 * n_parameters, rel=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_poisson_fit_is_that_of_the_oracle(weighted):
    rng = np.random.default_rng(5)
    x = rng.poisson([[2.0, 9.0]] * 40 + [[7.0, 1.0]] * 60)
    row_weights = rng.integers(0, 4, size=100) / 2 if weighted else None
    options = {"n_components": 2, "init_params": "kmeans", "acceleration": None, "random_state": 0}
    start = MixtureModel(Poisson(), max_iter=0, **options).fit(x, sample_weight=row_weights)
    ours = MixtureModel(Poisson(), max_iter=3, tol=0.0, **options).fit(x, sample_weight=row_weights)
    params = start.weights_, start.rates_
    for _ in range(3):
        params = naive.poisson_update(x, *params, row_weights)
    assert_allclose(ours.weights_, params[0], rtol=1e-11)
    assert_allclose(ours.rates_, params[1], rtol=1e-11)
    assert ours.loglik_ == pytest.approx(naive.poisson_loglik(x, *params, row_weights), rel=1e-11)
    assert_allclose(ours.predict_proba(x), naive.poisson_responsibilities(x, *params), rtol=1e-9, atol=1e-300)
