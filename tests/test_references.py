"""Published values, and the recovery of a known truth."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris

from benchmarks.data import galaxies as read_galaxies
from mixtura import GaussianMixture, MixtureModel
from mixtura.families import Poisson


@pytest.fixture(scope="module")
def galaxies():
    """Return the velocities in thousands of km/s, one dimension."""
    velocities = read_galaxies()[:, 0]
    assert velocities.shape == (82,)
    return velocities


@pytest.fixture(scope="module")
def galaxies_fit(galaxies):
    """Fit three unequal variances from a start near the three clumps that the eye sees."""
    means = [[10.0], [21.0], [33.0]]
    return GaussianMixture(3, reg_covar=0, tol=1e-15, max_iter=10_000, means_init=means).fit(galaxies)


class TestGalaxies:
    """Three unequal variances: the values of mclust, taken to a tight stop."""

    def test_parameters(self, galaxies_fit):
        assert_allclose(galaxies_fit.weights_, [0.0853653, 0.8780511, 0.0365836], atol=1e-7)
        assert_allclose(galaxies_fit.means_.ravel(), [9.7101396, 21.4000988, 33.0443773], atol=1e-7)
        sd = np.sqrt(galaxies_fit.covariances_.ravel())
        assert_allclose(sd, [0.4225092, 2.1945457, 0.9217171], atol=1e-7)

    def test_loglik_and_bic(self, galaxies, galaxies_fit):
        assert galaxies_fit.converged_
        assert galaxies_fit.loglik_ == pytest.approx(-203.17922797, abs=1e-8)
        assert galaxies_fit.score(galaxies) * 82 == pytest.approx(-203.17922797, abs=1e-8)
        # The published BIC is 2 ll - df ln n (larger is better); scikit-learn's has the other sign.
        assert -galaxies_fit.bic(galaxies) == pytest.approx(-441.61221, abs=1e-5)
        assert galaxies_fit.aic(galaxies) == pytest.approx(2 * 203.17922797 + 2 * 8, abs=1e-7)

    def test_start_is_not_the_answer(self, galaxies):
        means = [[10.0], [21.0], [33.0]]
        start = GaussianMixture(3, reg_covar=0, max_iter=0, means_init=means).fit(galaxies)
        assert start.score(galaxies) * 82 < -203.17922797 - 1


@pytest.fixture(scope="module")
def iris():
    """Return Fisher's iris, all four columns."""
    return load_iris().data


class TestIris:
    """Full covariances: the values of mclust (VVV)."""

    def fit(self, x, k):
        return GaussianMixture(k, reg_covar=0, tol=1e-12, max_iter=10_000, n_init=3, random_state=0).fit(x)

    def test_two_components(self, iris):
        two = self.fit(iris, 2)
        assert two.loglik_ == pytest.approx(-214.35470437, abs=1e-8)
        assert -two.bic(iris) == pytest.approx(-574.01783, abs=1e-5)

    def test_three_components(self, iris):
        three = self.fit(iris, 3)
        # One-sided: the published stop is early. But a near-singular component is not a better answer.
        assert three.loglik_ >= -180.18547713 - 5e-9
        assert np.linalg.eigvalsh(three.covariances_).min() > 1e-3
        assert three.weights_.min() > 0.1


# ---------------------------------------------------------------- recovery of a known truth

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.0, 0.0], [4.0, 1.0], [-1.0, 5.0]])
COVARIANCES = {
    "full": np.array([[[1.5, 0.9], [0.9, 1.0]], [[0.6, -0.3], [-0.3, 1.2]], [[2.0, 0.0], [0.0, 0.5]]]),
    "tied": np.array([[1.5, 0.7], [0.7, 1.0]]),
    "diag": np.array([[1.5, 0.5], [0.4, 1.2], [2.0, 0.8]]),
    "spherical": np.array([1.5, 0.5, 0.8]),
}
N = 20_000
# Five standard errors of the widest estimate, at N rows, is 0.12: none of the starts is that near.
TOLERANCE = 0.12


def as_full(covariances, structure):
    """Return covariances (3, 2, 2) of any structure."""
    if structure == "full":
        return covariances
    if structure == "tied":
        return np.stack([covariances] * 3)
    return np.stack([np.diag(np.broadcast_to(c, 2)) for c in covariances])


def distances(fit, structure):
    """Return how far weights, means and covariances are from the truth, as three largest differences."""
    return (
        np.abs(fit.weights_ - WEIGHTS).max(),
        np.abs(fit.means_ - MEANS).max(),
        np.abs(fit.covariances_ - COVARIANCES[structure]).max(),
    )


def test_gaussian_truth_is_recovered(structure):
    rng = np.random.default_rng(20)
    labels = rng.choice(3, size=N, p=WEIGHTS)
    lower = np.linalg.cholesky(as_full(COVARIANCES[structure], structure))
    x = MEANS[labels] + np.einsum("nab,nb->na", lower[labels], rng.standard_normal((N, 2)))
    wide = {
        "full": np.stack([np.eye(2)] * 3),
        "tied": np.eye(2),
        "diag": np.ones((3, 2)),
        "spherical": np.ones(3),
    }
    options = {
        "covariance_type": structure,
        "reg_covar": 0,
        "weights_init": np.full(3, 1 / 3),
        "means_init": MEANS + np.array([[1.0, 1.0], [-1.0, 0.5], [1.0, -1.0]]),
        "precisions_init": wide[structure] / 4,
    }
    start = GaussianMixture(3, max_iter=0, **options).fit(x)
    fit = GaussianMixture(3, max_iter=1000, tol=1e-9, **options).fit(x)
    assert min(distances(start, structure)) > TOLERANCE
    assert max(distances(fit, structure)) < TOLERANCE
    assert fit.converged_


def test_gaussian_truth_is_recovered_from_a_random_start(structure):
    rng = np.random.default_rng(21)
    labels = rng.choice(3, size=N, p=WEIGHTS)
    lower = np.linalg.cholesky(as_full(COVARIANCES[structure], structure))
    x = MEANS[labels] + np.einsum("nab,nb->na", lower[labels], rng.standard_normal((N, 2)))
    options = {
        "covariance_type": structure,
        "init_params": "random_from_data",
        "n_init": 3,
        "random_state": 0,
    }
    fit = GaussianMixture(3, max_iter=1000, tol=1e-7, **options).fit(x)
    order = np.argsort(-fit.weights_)  # the true weights are well apart
    assert_allclose(fit.weights_[order], WEIGHTS, atol=TOLERANCE)
    assert_allclose(fit.means_[order], MEANS, atol=TOLERANCE)
    covariances = fit.covariances_ if structure == "tied" else fit.covariances_[order]
    assert_allclose(covariances, COVARIANCES[structure], atol=TOLERANCE)


def test_poisson_truth_is_recovered():
    weights = np.array([0.6, 0.4])
    rates = np.array([[1.0, 6.0, 3.0], [4.0, 2.0, 3.5]])
    rng = np.random.default_rng(22)
    labels = rng.choice(2, size=N, p=weights)
    x = rng.poisson(rates[labels])
    options = {"n_components": 2, "init_params": "kmeans", "random_state": 0}
    start = MixtureModel(Poisson(), max_iter=0, **options).fit(x)
    fit = MixtureModel(Poisson(), max_iter=1000, tol=1e-10, **options).fit(x)

    def distance(model):
        order = np.argsort(model.rates_[:, 0])
        return np.abs(model.weights_[order] - weights).max(), np.abs(model.rates_[order] - rates).max()

    assert max(distance(start)) > 0.12
    assert distance(fit)[0] < 0.03
    assert distance(fit)[1] < 0.12
    assert fit.converged_
