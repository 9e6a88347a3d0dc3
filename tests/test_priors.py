"""Priors: against dense formulas, in any units, and on data that would collapse without."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixtura import GaussianMixture, load
from mixtura.families import Gaussian
from mixtura.priors import Spread

RNG = np.random.default_rng(0)
CLUMPS = np.concatenate([RNG.normal(0, 1, (120, 3)), RNG.normal([4, 9, 1], [1, 2, 0.5], (80, 3))])
CLUMPS[:, 2] += 0.6 * CLUMPS[:, 0]


def dense(covariances, structure, k, d):
    """Return covariances of any structure as (k, d, d) matrices."""
    if structure in ("full", "tied"):
        return np.broadcast_to(covariances, (k, d, d))
    return np.eye(d) * np.broadcast_to(np.reshape(covariances, (k, -1, 1)), (k, d, d))


def structured(matrix, structure):
    """Return the matrix that is nearest to a covariance (d, d) under the structure."""
    if structure in ("full", "tied"):
        return matrix
    variances = np.diag(matrix)
    return np.diag(variances if structure == "diag" else np.full_like(variances, variances.mean()))


def spread_of(x, structure, weight=None):
    """Return the covariance by which the default is measured (formula P4)."""
    whole = np.cov(x.T, aweights=weight, bias=True).reshape(x.shape[1], -1)
    return structured(whole + 1e-3 * np.diag(np.diag(whole)), structure)


def test_one_update_is_that_of_the_formula(structure, path):
    weight = RNG.gamma(2.0, size=len(CLUMPS))
    options = {
        "covariance_type": structure,
        "component_prior": Spread(30.0),
        "init_params": "kmeans",
        "random_state": 0,
    }
    start = GaussianMixture(2, max_iter=0, **options).fit(CLUMPS, sample_weight=weight)
    with warnings.catch_warnings(action="ignore"):
        after = GaussianMixture(2, max_iter=1, tol=0, **options).fit(CLUMPS, sample_weight=weight)
    resp = start.predict_proba(CLUMPS) * weight[:, None]
    counts = resp.sum(axis=0)
    means = resp.T @ CLUMPS / counts[:, None]
    scatters = [(resp[:, j, None] * (CLUMPS - means[j])).T @ (CLUMPS - means[j]) for j in range(2)]
    prior = 30.0 * spread_of(CLUMPS, structure, weight)
    if structure == "tied":
        expected = np.broadcast_to((sum(scatters) + prior) / (counts.sum() + 30.0), (2, 3, 3))
    else:
        expected = [(structured(s, structure) + prior) / (n + 30.0) for s, n in zip(scatters, counts, strict=True)]
    assert_allclose(after.means_, means, rtol=1e-11)
    assert_allclose(dense(after.covariances_, structure, 2, 3), expected, rtol=1e-10, atol=1e-12)


def test_the_log_prior_is_rows_times_the_divergence(structure):
    fit = GaussianMixture(2, covariance_type=structure, component_prior=Spread(7.0), random_state=0).fit(CLUMPS)
    spread, total = spread_of(CLUMPS, structure), 0.0
    for sigma in dense(fit.covariances_, structure, 2, 3)[: 1 if structure == "tied" else 2]:
        ratio = np.linalg.solve(sigma, spread)
        total -= 7.0 / 2 * (np.trace(ratio) - np.linalg.slogdet(ratio)[1] - 3)
    assert fit.result_.objective[-1] - fit.loglik_ == pytest.approx(total, rel=1e-9)
    assert fit.lower_bound_ == pytest.approx((fit.loglik_ + total) / len(CLUMPS), rel=1e-12)


@pytest.mark.parametrize("unit", [1e6, 1e-6, 1e-150])
def test_the_default_is_the_same_in_any_units(structure, unit):
    options = {"covariance_type": structure, "tol": 1e-9, "init_params": "kmeans", "random_state": 0}
    here, there = (GaussianMixture(2, **options).fit(x) for x in (CLUMPS, unit * CLUMPS))
    assert_array_equal(there.predict(unit * CLUMPS), here.predict(CLUMPS))
    assert_allclose(there.weights_, here.weights_, rtol=1e-9)
    assert_allclose(there.means_, unit * here.means_, rtol=1e-9)
    assert_allclose(there.covariances_, unit**2 * here.covariances_, rtol=1e-9)
    assert_allclose(there.loglik_, here.loglik_ - CLUMPS.size * np.log(unit), rtol=1e-9)


@pytest.mark.parametrize("structure", ["full", "tied", "diag"])
def test_the_default_is_the_same_with_a_unit_for_each_column(structure):
    units = np.array([1e9, 1e-7, 3.0])
    options = {"covariance_type": structure, "tol": 1e-9, "means_init": CLUMPS[[0, -1]]}
    here = GaussianMixture(2, **options).fit(CLUMPS)
    there = GaussianMixture(2, **{**options, "means_init": units * CLUMPS[[0, -1]]}).fit(units * CLUMPS)
    assert_allclose(there.means_ / units, here.means_, rtol=1e-3)  # k-means, which starts the rest, has its own units
    assert_allclose(there.result_.objective[-1], here.result_.objective[-1] - 200 * np.log(units).sum(), rtol=1e-5)


def test_one_component_is_that_of_maximum_likelihood(structure):
    fit = GaussianMixture(1, covariance_type=structure).fit(CLUMPS)
    exact = GaussianMixture(1, covariance_type=structure, reg_covar=0).fit(CLUMPS)
    assert_allclose(
        fit.covariances_, exact.covariances_, rtol=1e-8
    )  # the prior has a row in 200,000, and its edge 1e-3
    assert fit.loglik_ == pytest.approx(exact.loglik_, abs=1e-9)


def test_no_component_is_narrower_than_its_rows_allow(structure):
    x = np.concatenate([CLUMPS, CLUMPS[:1].repeat(5, axis=0) + 30.0])
    fit = GaussianMixture(3, covariance_type=structure, random_state=0).fit(x)
    assert not fit.result_.events
    counts = fit.weights_ * len(x)
    least = 1e-3 / (counts + 1e-3) if structure != "tied" else np.full(3, 1e-3 / len(x))
    spread = spread_of(x, structure)
    for sigma, share in zip(dense(fit.covariances_, structure, 3, 3), least, strict=True):
        assert np.linalg.eigvals(np.linalg.solve(spread, sigma)).real.min() > share * (1 - 1e-9)


DEGENERATE = {
    "constant": np.column_stack([CLUMPS, np.full(200, 5.5)]),
    "zeros": np.column_stack([CLUMPS, np.zeros(200)]),
    "dependent": np.column_stack([CLUMPS, CLUMPS @ [1.0, -2.0, 0.5]]),
    "dummies": np.column_stack([CLUMPS, np.arange(200) % 2, 1 - np.arange(200) % 2]),
}


@pytest.mark.parametrize("what", DEGENERATE)
def test_columns_without_width_of_their_own_bring_no_collapse(what, structure):
    x = DEGENERATE[what]
    fit = GaussianMixture(2, covariance_type=structure, random_state=0).fit(x)  # a warning would be an error
    assert not fit.result_.events
    again = GaussianMixture(2, covariance_type=structure, random_state=0).fit(1e6 * x)
    order, same = (
        np.argsort(fit.weights_),
        np.argsort(again.weights_),
    )  # of starts that are alike to rounding, either wins
    assert_allclose(again.means_[same], 1e6 * fit.means_[order], rtol=1e-6, atol=1e-3)
    new = x[:3] + np.eye(x.shape[1])[-1]
    assert_allclose(fit.predict_proba(new).sum(axis=1), 1.0)
    assert np.isfinite(fit.score_samples(new)).all()


def test_a_number_is_no_prior():
    fit = GaussianMixture(2, reg_covar=1e-6, random_state=0).fit(CLUMPS)
    assert fit.model_.family.prior is None
    assert fit.result_.objective[-1] == fit.loglik_


def test_a_file_and_a_part_of_a_fit_keep_the_prior(tmp_path, structure):
    options = {"covariance_type": structure, "component_prior": Spread(5.0), "random_state": 0}
    fit = GaussianMixture(2, **options).fit(CLUMPS)
    fit.save(tmp_path / "fit.json")
    loaded = load(tmp_path / "fit.json")
    assert loaded.component_prior == Spread(5.0)
    assert_array_equal(loaded.partial_fit(CLUMPS[::2]).covariances_, fit.partial_fit(CLUMPS[::2]).covariances_)
    part = loaded.marginal([2, 0])
    assert part.component_prior == Spread(5.0)
    assert np.isfinite(part.partial_fit(CLUMPS[:, [2, 0]]).loglik_)


def test_a_stream_of_the_same_rows_stays_at_their_fit(structure):
    options = {"covariance_type": structure, "component_prior": Spread(40.0), "random_state": 0, "tol": 1e-12}
    stream = GaussianMixture(1, **options)
    for _ in range(60):
        stream.partial_fit(CLUMPS)
    # A prior of 40 rows against the 60 batches of 200 that it has seen.
    many = GaussianMixture(1, **options).fit(CLUMPS, sample_weight=np.full(200, 60.0))
    assert_allclose(stream.covariances_, many.covariances_, rtol=1e-2)


@pytest.mark.parametrize("rows", [0, -1.0, np.nan, np.inf])
def test_a_prior_of_no_rows_is_refused(rows):
    with pytest.raises(ValueError, match=r"Spread: rows is .*, expected a finite number above 0"):
        Spread(rows)


def test_what_is_no_prior_is_refused():
    with pytest.raises(ValueError, match="The 'component_prior' parameter"):
        GaussianMixture(1, component_prior="spread").fit(CLUMPS)
    with pytest.raises(TypeError, match=r"prior is 3, expected an object such as Spread\(\)"):
        Gaussian(prior=3)
