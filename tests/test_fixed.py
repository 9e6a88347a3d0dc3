"""Weights, means and covariances that are fixed: they stay, and the rest is at its optimum given them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, stats
from sklearn.base import clone

from mixtura import GaussianMixture, load
from mixtura.priors import Dirichlet, Fixed, NormalInverseWishart

TIGHT = {"tol": 1e-13, "max_iter": 5000}


@pytest.fixture
def case(make_case, structure):
    return make_case(structure, n=400, k=3, d=2, seed=4, separation=1.5)


@pytest.mark.parametrize("acceleration", [None, "quasi-newton"])
def test_what_is_fixed_keeps_every_bit(case, structure, path, acceleration):
    covariances = True if structure == "tied" else [1]
    fixed = Fixed(weights=[2], means=[0, 2], covariances=covariances)
    options = {**case.start, "fixed": fixed, "acceleration": acceleration, **TIGHT}
    start, fit = (GaussianMixture(**{**options, "max_iter": most}).fit(case.x) for most in (0, 5000))
    assert fit.converged_
    assert fit.n_iter_ > 3
    assert np.diff(fit.result_.objective).min() >= -1e-12 * abs(fit.loglik_)
    assert fit.weights_[2] == case.weights[2]
    assert_allclose(fit.weights_.sum(), 1.0, rtol=1e-14)
    assert_array_equal(fit.means_[[0, 2]], start.means_[[0, 2]])
    assert_allclose(fit.means_[[0, 2]], case.means[[0, 2]], rtol=1e-14)
    own = slice(None) if structure == "tied" else 1
    for name in ("covariances_", "precisions_", "precisions_cholesky_"):
        assert_array_equal(getattr(fit, name)[own], getattr(start, name)[own])
    assert np.abs(fit.means_[1] - start.means_[1]).max() > 1e-3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_update_is_that_of_the_formula(case, structure):
    options = {**case.start, "reg_covar": 0.0, "acceleration": None}
    fixed = Fixed(weights=[0], means=[1])
    after = GaussianMixture(**options, fixed=fixed, max_iter=1, tol=0).fit(case.x)
    free = GaussianMixture(**options, max_iter=1, tol=0).fit(case.x)
    resp = GaussianMixture(**options, max_iter=0).fit(case.x).predict_proba(case.x)
    counts = resp.sum(axis=0)
    rest = counts[1:] / counts[1:].sum() * (1 - case.weights[0])
    assert_allclose(after.weights_, [case.weights[0], *rest], rtol=1e-12)
    means = free.means_.copy()
    means[1] = case.means[1]
    assert_allclose(after.means_, means, rtol=1e-12)
    scatters = np.array([(r * (case.x - m).T) @ (case.x - m) for r, m in zip(resp.T, means, strict=True)])
    variances = np.diagonal(scatters, axis1=1, axis2=2) / counts[:, None]
    expected = {
        "full": scatters / counts[:, None, None],
        "tied": scatters.sum(axis=0) / len(case.x),
        "diag": variances,
        "spherical": variances.mean(axis=1),
    }[structure]
    assert_allclose(after.covariances_, expected, rtol=1e-10, atol=1e-13)


def test_everything_may_be_fixed(case):
    fit = GaussianMixture(**case.start, fixed=Fixed(True, True, True)).fit(case.x)
    assert_array_equal(fit.weights_, case.weights)
    assert_allclose(fit.covariances_, case.covariances, rtol=1e-12)
    assert fit.converged_
    assert fit.model_.n_parameters(fit.params_) == 0


def test_no_step_of_scipy_goes_higher_within_the_constraints():
    # Two components on the line, one mean and the other's variance fixed, with priors on what is left.
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0, 1, 80), rng.normal(3, 0.6, 40)])
    prior = NormalInverseWishart([1.0], 2.0, 4.0, [[1.5]])
    fit = GaussianMixture(
        2, means_init=[[0.3], [3.0]], precisions_init=[[[1.0]], [[2.0]]], weight_prior=Dirichlet(3.0),
        component_prior=prior, fixed=Fixed(means=[0], covariances=[1]), tol=1e-15, max_iter=20_000,
    ).fit(x)  # fmt: skip

    def objective(p):
        weights, means, variances = np.array([p[0], 1 - p[0]]), np.array([0.3, p[1]]), np.array([np.exp(p[2]), 0.5])
        density = (weights * stats.norm.pdf(x[:, None], means, np.sqrt(variances))).sum(axis=1)
        known = stats.norm.logpdf(means, 1.0, np.sqrt(variances / 2)).sum() + 2 * np.log(weights).sum()
        return -np.log(density).sum() - known - stats.invgamma.logpdf(variances, 2.0, scale=0.75).sum()

    here = np.array([fit.weights_[0], fit.means_[1, 0], np.log(fit.covariances_[0, 0, 0])])
    found = optimize.minimize(objective, here + 0.02, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11})
    assert_allclose(here, found.x, atol=1e-6)


def test_missing_values_go_with_what_is_fixed(case, structure):
    x = np.where(np.random.default_rng(2).random(case.x.shape) < 0.1, np.nan, case.x)
    fit = GaussianMixture(**case.start, fixed=Fixed(means=[0, 1]), **TIGHT).fit(x)
    assert_allclose(fit.means_[:2], case.means[:2], rtol=1e-14)
    assert np.abs(fit.means_[2] - case.means[2]).max() > 1e-3
    assert np.diff(fit.result_.objective).min() >= -1e-12 * abs(fit.loglik_)


def test_streams_files_and_checkpoints_keep_what_is_fixed(case, structure, tmp_path):
    fixed = Fixed(weights=[1], means=[0])
    options = {**case.start, "fixed": fixed, "max_iter": 300, "tol": 1e-6}
    whole = clone(GaussianMixture(**options)).fit(case.x)
    whole.save(tmp_path / "fit.json")
    loaded = load(tmp_path / "fit.json")
    assert loaded.fixed == fixed
    for batch in np.split(case.x, 4):
        loaded.partial_fit(batch)
    assert_array_equal(loaded.means_[0], whole.means_[0])
    assert loaded.weights_[1] == whole.weights_[1]

    def interrupt(state):
        if state.n_passes == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        GaussianMixture(**options, checkpoint=tmp_path / "c", callback=interrupt).fit(case.x)
    resumed = GaussianMixture(**options, checkpoint=tmp_path / "c").fit(case.x)
    assert_array_equal(resumed.covariances_, whole.covariances_)
    assert resumed.loglik_ == whole.loglik_


def test_a_part_of_a_fit_forgets_the_option(case):
    fit = GaussianMixture(**case.start, fixed=Fixed(means=[0])).fit(case.x)
    assert fit.marginal([0]).fixed is None


GIVEN = {"weights_init": [0.5, 0.5], "means_init": [[0.0], [5.0]], "precisions_init": [[[1.0]], [[1.0]]]}
CONTRADICTIONS = {
    "outside": (Fixed(means=[2]), {}, "Fixed: means names component 2, expected numbers from 0 to 1"),
    "no means": (Fixed(means=[0]), {"means_init": None}, "Fixed: means has no values to keep: give means_init"),
    "no covariances": (
        Fixed(covariances=True),
        {"precisions_init": None},
        "Fixed: covariances has no values to keep: give precisions_init",
    ),
    "no weights": (
        Fixed(weights=[1]),
        {"weights_init": None},
        "Fixed: weights has no values to keep: give weights_init",
    ),
    "nothing left": (
        Fixed(weights=[0]),
        {"weights_init": [1.0, 0.0]},
        r"Fixed: weights \[0\] sum to 1, which leaves nothing for the other components",
    ),
    "one of a tied": (
        Fixed(covariances=[0]),
        {"covariance_type": "tied", "precisions_init": [[1.0]]},
        "with covariance_type='tied' all share one: fix it for all",
    ),
    "dropped": (Fixed(means=[0]), {"on_collapse": "drop"}, "on_collapse='drop' would put something else in the place"),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_constraints_that_contradict_each_other_are_refused(what):
    fixed, options, message = CONTRADICTIONS[what]
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2, **{**GIVEN, **options}, fixed=fixed).fit([0.0, 1.0, 4.0, 6.0])


@pytest.mark.parametrize("value", [0.5, "means", [0.5], [[0]], [-1], [1, 1], [True, False]])
def test_what_names_no_components_is_refused(value):
    with pytest.raises(ValueError, match="Fixed: means is "):
        Fixed(means=value)
