"""Priors: against dense formulas, in any units, and on data that would collapse without."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, stats
from sklearn.base import clone

from mixtura import GaussianMixture, MixtureModel, load
from mixtura.families import Diag, Full, Gaussian, Poisson, Spherical, Tied
from mixtura.grid import BLOCK_ROWS
from mixtura.init import describe
from mixtura.kernels.simd import has_fma
from mixtura.model import EventKind
from mixtura.models import Mixture
from mixtura.priors import Dirichlet, NormalInverseWishart, Spread
from mixtura.sources import ArraySource
from mixtura.survey import survey

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


def test_clusters_far_apart_are_as_wide_as_they_are():
    """A thousand deviations apart the prior widens them by less than their standard error."""
    x = np.random.default_rng(0).normal(size=(2000, 2))
    x[1000:] += 1000.0
    fit = GaussianMixture(2, random_state=0).fit(x)
    sure = fit.standard_errors(x)
    own = np.array([np.cov(part.T, bias=True) for part in (x[:1000], x[1000:])])[np.argsort(fit.means_[:, 0]).argsort()]
    assert (np.abs(fit.covariances_ - own) < sure.covariances).all()


@pytest.mark.parametrize("structure", [Full(), Tied(), Diag(), Spherical()], ids=lambda structure: structure.name)
def test_a_kernel_that_the_fit_repays_tells_of_all_rows_as_well(structure):
    x = np.random.default_rng(0).normal(size=(3 * BLOCK_ROWS + 5, 4)) * [1.0, 2.0, 3.0, 4.0] + 7.0
    w = np.random.default_rng(1).integers(0, 3, len(x)).astype(float)
    source, family = ArraySource(x, w), Gaussian(structure, 0.0, Spread())
    found = survey(source, family)
    few, many = (describe(source, Mixture(family, k), found).whole for k in (1, 100))
    assert not Mixture(family, 1).compiles(*x.shape)
    assert Mixture(family, 100).compiles(*x.shape) == has_fma()
    for whole in (few, many):
        assert_allclose(whole.mean, found_mean(source, family, found, x, w), atol=1e-14)  # of a frame of about 1
    assert_allclose(many.covariance, few.covariance, rtol=1e-12, atol=1e-15)


def found_mean(source, family, found, x, w):
    """Return the mean of all rows in the frame of a survey."""
    return family.frame(found.low, found.high, found.centre).enter(np.average(x, axis=0, weights=w))


def test_no_component_is_narrower_than_its_rows_allow(structure):
    x = np.concatenate([CLUMPS, CLUMPS[:1].repeat(5, axis=0) + 30.0])
    fit = GaussianMixture(3, covariance_type=structure, random_state=0).fit(x)
    assert all(event.kind is EventKind.SPURIOUS for event in fit.result_.events)
    counts = fit.weights_ * len(x)
    rows = Spread().rows
    least = rows / (counts + rows) if structure != "tied" else np.full(3, rows / len(x))
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
    mixture = GaussianMixture(2, covariance_type=structure, tol=1e-10, random_state=0)
    fit = clone(mixture).fit(x)  # a warning would be an error
    assert not fit.result_.events
    again = clone(mixture).fit(1e6 * x)
    order, same = (np.argsort(m.means_[:, 0]) for m in (fit, again))  # of starts alike to rounding, either wins
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


@pytest.mark.parametrize("rows", [0, -1.0, np.nan, np.inf])
def test_a_prior_of_no_rows_is_refused(rows):
    with pytest.raises(ValueError, match=r"Spread: rows is .*, expected a finite number above 0"):
        Spread(rows)


def test_what_is_no_prior_is_refused():
    with pytest.raises(ValueError, match="The 'component_prior' parameter"):
        GaussianMixture(1, component_prior="spread").fit(CLUMPS)
    with pytest.raises(TypeError, match=r"prior is 3, expected an object such as Spread\(\)"):
        Gaussian(prior=3)


# ---------------------------------------------------------------- normal-inverse-Wishart and Dirichlet

NIW = {
    "full": NormalInverseWishart([1.0, 2.0, 3.0], 5.0, 7.0, [[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]]),
    "diag": NormalInverseWishart([1.0, 2.0, 3.0], 5.0, 7.0, [4.0, 3.0, 2.0]),
    "spherical": NormalInverseWishart([1.0, 2.0, 3.0], 5.0, 7.0, 4.0),
}
NIW["tied"] = NIW["full"]
TIGHT = {"tol": 1e-15, "max_iter": 20_000, "random_state": 0}


def log_density(structure, prior, means, covariances):
    """Return the log density of a normal-inverse-Wishart prior by SciPy."""
    k, d = means.shape
    matrices = dense(covariances, structure, k, d)
    total = sum(
        stats.multivariate_normal.logpdf(m, prior.mean, c / prior.mean_precision)
        for m, c in zip(means, matrices, strict=True)
    )
    if structure in ("full", "tied"):
        own = matrices if structure == "full" else matrices[:1]
        return total + sum(stats.invwishart.logpdf(c, prior.dof, prior.scale) for c in own)
    return total + stats.invgamma.logpdf(covariances, prior.dof / 2, scale=prior.scale / 2).sum()


def test_the_log_prior_is_that_of_scipy_but_for_a_constant(structure, make_case):
    prior, gaps = NIW[structure], []
    for seed in range(3):
        case = make_case(structure, n=60, k=3, d=3, seed=seed)
        options = {**case.start, "component_prior": prior, "weight_prior": Dirichlet([1.5, 2, 4]), "max_iter": 0}
        fit = GaussianMixture(**options).fit(case.x)
        expected = log_density(structure, prior, fit.means_, fit.covariances_)
        expected += stats.dirichlet.logpdf(fit.weights_ / fit.weights_.sum(), [1.5, 2, 4])
        gaps.append(fit.result_.objective[-1] - fit.loglik_ - expected)
    assert_allclose(gaps, gaps[0], rtol=0, atol=1e-9 * np.abs(gaps).max())


def test_one_component_has_the_conjugate_mode(structure, path):
    prior, n, d = NIW[structure], len(CLUMPS), 3
    fit = GaussianMixture(1, covariance_type=structure, component_prior=prior, **TIGHT).fit(CLUMPS)
    mean = CLUMPS.mean(axis=0)
    gap = mean - prior.mean
    scatter = (CLUMPS - mean).T @ (CLUMPS - mean) + n * 5.0 / (n + 5.0) * np.outer(gap, gap)
    expected = {
        "full": lambda: (prior.scale + scatter) / (n + 7.0 + d + 2),
        "tied": lambda: (prior.scale + scatter) / (n + 7.0 + d + 2),
        "diag": lambda: np.diag((prior.scale + np.diag(scatter)) / (n + 7.0 + 3)),
        "spherical": lambda: np.eye(d) * (prior.scale + np.trace(scatter)) / (n * d + 7.0 + 2 + d),
    }[structure]()
    assert_allclose(fit.means_[0], (n * mean + 5.0 * prior.mean) / (n + 5.0), rtol=1e-12)
    assert_allclose(dense(fit.covariances_, structure, 1, d)[0], expected, rtol=1e-11)


def test_the_defaults_are_those_of_fraley_and_raftery(structure):
    k, d, n = 2, 3, len(CLUMPS)
    scale = structured(np.cov(CLUMPS.T, bias=True), structure) / k ** (2 / d)
    by_hand = {"full": scale, "tied": scale, "diag": np.diag(scale), "spherical": scale[0, 0]}[structure]
    given = NormalInverseWishart(CLUMPS.mean(axis=0), 0.01, d + 2, by_hand)
    options = {"covariance_type": structure, "tol": 1e-12, "max_iter": 1000, "random_state": 0}
    one, other = (GaussianMixture(k, component_prior=p, **options).fit(CLUMPS) for p in (NormalInverseWishart(), given))
    order = np.argsort(one.weights_), np.argsort(other.weights_)
    assert_allclose(one.means_[order[0]], other.means_[order[1]], rtol=1e-4)  # the default scale is a thousandth wider
    assert_allclose(one.loglik_, other.loglik_, atol=1e-3 * n)


def test_no_step_of_scipy_goes_higher():
    # Two components on the line: all five parameters by a simplex on the penalized likelihood.
    x = np.concatenate([RNG.normal(0, 1, 60), RNG.normal(3, 0.7, 30)])
    prior, alpha = NormalInverseWishart([1.0], 2.0, 4.0, [[1.5]]), 3.0
    fit = GaussianMixture(2, component_prior=prior, weight_prior=Dirichlet(alpha), **TIGHT).fit(x)

    def objective(p):
        weights, means, variances = np.array([p[0], 1 - p[0]]), p[1:3, None], np.exp(p[3:, None, None])
        density = weights * stats.norm.pdf(x[:, None], means[:, 0], np.sqrt(variances[:, 0, 0]))
        logs = np.log(density.sum(axis=1)).sum() + (alpha - 1) * np.log(weights).sum()
        return -logs - log_density("full", prior, means, variances)

    here = np.concatenate([fit.weights_[:1], fit.means_[:, 0], np.log(fit.covariances_[:, 0, 0])])
    found = optimize.minimize(objective, here + 0.02, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11})
    assert_allclose(here, found.x, atol=1e-6)


def test_a_flat_dirichlet_is_no_prior():
    one, other = (GaussianMixture(2, weight_prior=p, random_state=0).fit(CLUMPS) for p in (None, Dirichlet([1, 1])))
    assert_array_equal(one.weights_, other.weights_)
    assert one.result_.objective[-1] == other.result_.objective[-1]


def test_weights_of_counts_have_a_prior_too():
    x = np.repeat([0, 1, 80, 81], [15, 15, 5, 5])
    fit = MixtureModel(Poisson(), 2, weight_prior=Dirichlet(6), random_state=0, tol=1e-12).fit(x)
    assert_allclose(np.sort(fit.weights_), [15 / 50, 35 / 50], rtol=1e-9)
    errors = fit.standard_errors(x).weights  # the prior has ten rows
    assert_allclose(errors, np.sqrt(0.3 * 0.7 / 50), rtol=1e-6)


def test_priors_survive_a_file_and_a_clone(tmp_path, structure):
    options = {"component_prior": NIW[structure], "weight_prior": Dirichlet([2, 3]), "covariance_type": structure}
    fit = clone(GaussianMixture(2, random_state=0, **options)).fit(CLUMPS)
    fit.save(tmp_path / "fit.json")
    loaded = load(tmp_path / "fit.json")
    assert loaded.weight_prior == Dirichlet([2, 3])
    assert_array_equal(loaded.partial_fit(CLUMPS[::2]).covariances_, fit.partial_fit(CLUMPS[::2]).covariances_)
    part = loaded.marginal([2, 0])
    assert_array_equal(part.component_prior.mean, [3.0, 1.0])
    assert np.isfinite(part.fit(CLUMPS[:, [2, 0]]).loglik_)


def test_a_stream_weighs_a_prior_against_all_its_rows(structure):
    options = {"covariance_type": structure, "component_prior": NIW[structure], "random_state": 0}
    stream = GaussianMixture(1, **options)
    for _ in range(20):
        stream.partial_fit(CLUMPS)
    many = GaussianMixture(1, **options).fit(CLUMPS, sample_weight=np.full(200, 20.0))
    assert_allclose(stream.means_, many.means_, rtol=1e-9)
    assert_allclose(stream.covariances_, many.covariances_, rtol=1e-9)


IMPOSSIBLE = {
    "dof": (NormalInverseWishart(dof=2), r"dof is 2, expected a finite number above 2 for covariance_type='full'"),
    "mean": (NormalInverseWishart([1, 2]), r"mean has shape \(2,\), expected \(3,\), a number a column"),
    "shape": (
        NormalInverseWishart(scale=[1, 2, 3]),
        r"scale has shape \(3,\), expected \(3, 3\) for covariance",
    ),
    "definite": (NormalInverseWishart(scale=np.diag([1, 0, 1])), "scale is not symmetric and positive definite"),
    "symmetric": (NormalInverseWishart(scale=np.eye(3) + np.eye(3, k=1) / 9), "scale is not symmetric"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_an_impossible_prior_is_refused(what):
    prior, message = IMPOSSIBLE[what]
    with pytest.raises(ValueError, match=f"NormalInverseWishart: {message}"):
        GaussianMixture(2, component_prior=prior).fit(CLUMPS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormalInverseWishart(mean_precision=-1), "mean_precision is -1, expected a finite number from 0"),
        (lambda: NormalInverseWishart(mean=[np.nan]), "mean contains NaN or infinity"),
        (lambda: Dirichlet(0.5), "alpha is 0.5, expected a finite number from 1: below 1"),
        (lambda: Dirichlet([2, np.inf]), "alpha is inf"),
        (lambda: Dirichlet([[2]]), r"alpha has shape \(1, 1\)"),
        (
            lambda: GaussianMixture(3, weight_prior=Dirichlet([2, 2])).fit(CLUMPS),
            "alpha has 2 numbers, expected one for",
        ),
        (
            lambda: GaussianMixture(2, weight_prior=Dirichlet([2, 2]), on_collapse="drop").fit(CLUMPS),
            "on_collapse='drop' renumbers",
        ),
    ],
)
def test_impossible_numbers_of_a_prior_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
