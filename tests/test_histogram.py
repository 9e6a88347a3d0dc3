"""Fits of histograms: EM on the binned likelihood."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import norm

import naive
from mixtura import GaussianMixture, Histogram, MixtureModel, as_source, load
from mixtura.em import drive
from mixtura.exceptions import CheckpointError
from mixtura.families import Diag, Full, Gaussian, Poisson, Spherical, Tied
from mixtura.init import start
from mixtura.models import Mixture, MixtureParams
from mixtura.models.binned import model_of, rows_of
from mixtura.models.intervals import interval_moments
from mixtura.survey import survey

EDGES = np.array([-np.inf, -3.0, -1.0, 0.0, 0.5, 2.0, 3.0, 4.0, 5.5, 9.0, np.inf])
COUNTS = np.array([3.0, 14.0, 21.5, 12.0, 30.0, 9.25, 22.0, 31.0, 0.0, 2.0])
START = {"weights_init": [0.4, 0.6], "means_init": [[-0.5], [3.5]]}
EXACT = {"tol": 1e-15, "reg_covar": 0.0, "max_iter": 5000}


def drawn(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(0, 1, n // 2), rng.normal(4, 0.5, n - n // 2)])


def histogram_of(x, bins):
    counts, edges = np.histogram(x, bins)
    return Histogram(edges, counts)


def in_order(mixture):
    """Return weights, means and variances by increasing means."""
    order = np.argsort(mixture.means_[:, 0])
    variances = np.broadcast_to(np.ravel(mixture.covariances_), len(order))
    return mixture.weights_[order], mixture.means_[order, 0], variances[order]


# ---------------------------------------------------------------- the normal distribution on an interval


@pytest.mark.parametrize(
    ("low", "high"),
    [(-1, 1), (0.2, 0.3), (-0.3, -0.2), (-2, 5), (3, 3.001), (8, 9), (-9, -8), (30, 30.1), (30, 40), (-40, -30),
     (40, 40.8), (1.5, 1e150), (-1e150, -20), (-1e150, 0.5), (-1e150, 1e150), (0, 2), (-3e-5, 1e-5), (0.5, 2.6),
     (300, 1e150)],
)  # fmt: skip
def test_moments_on_an_interval_are_those_of_quadrature(low, high):
    nearest = min(max(low, 0.0), high)  # where the density is highest: all is relative to that there
    reach = 40 / (1 + abs(nearest))
    bounds = max(low, nearest - reach), min(high, nearest + reach)

    def integral(power):
        def scaled(t):
            return (t - nearest) ** power * math.exp((nearest - t) * (nearest + t) / 2)

        sides = (bounds[0], nearest), (nearest, bounds[1])  # on each the integrand has one sign
        return sum(quad(scaled, *side, epsabs=0, epsrel=1e-13, limit=200)[0] for side in sides if side[0] < side[1])

    mass = integral(0)
    offset, square = integral(1) / mass, integral(2) / mass
    found = interval_moments(*(np.array([float(v)]) for v in (low, high, high - low)))
    log_probability, first, second = (float(value[0]) for value in found)
    assert_allclose(log_probability, math.log(mass / math.sqrt(2 * math.pi)) - nearest**2 / 2, rtol=1e-13, atol=1e-13)
    assert_allclose(first, nearest + offset, rtol=1e-13, atol=1e-14)
    assert_allclose(second, nearest**2 + 2 * nearest * offset + square, rtol=1e-12)


def test_both_ways_to_the_moments_agree_where_they_meet():
    # Half a width of 1, and a slope of 4 over it, are where nodes hand over to tails.
    for middle, half in ((0.0, 1.0), (2.0, 1.0), (4.0, 1.0), (8.0, 0.5), (40.0, 0.1)):
        near, beyond = (
            interval_moments(*(np.array([v]) for v in (middle - h, middle + h, 2 * h)))
            for h in (half * (1 - 1e-9), half * (1 + 1e-9))
        )
        assert_allclose(np.ravel(near), np.ravel(beyond), rtol=1e-7)


def test_a_bin_narrower_than_a_rounding_of_its_place_has_its_density():
    width = 1e-18
    log_probability, first, second = interval_moments(*(np.array([v]) for v in (2.0, 2.0, width)))
    assert_allclose(log_probability, norm.logpdf(2) + math.log(width), rtol=1e-14)
    assert_allclose([first[0], second[0]], [2, 4])


# ---------------------------------------------------------------- one update


@pytest.mark.parametrize("covariance", [Full(), Tied(), Diag(), Spherical()], ids=lambda c: c.name)
def test_an_update_is_that_of_loops(covariance):
    histogram = Histogram(EDGES, COUNTS)
    weights, means, variances = [0.2, 0.3, 0.5], [-1.0, 1.5, 3.0], [0.8, 0.8, 0.8]
    model = Mixture(Gaussian(covariance), 3)
    found = survey(rows_of(histogram), model.family)
    blank = model.family.blank(model.family.frame(found.low, found.high, found.centre), 3)
    precisions = np.full(covariance.shape(3, 1), 1 / 0.8)
    theta = model.family.with_precisions(model.family.with_means(blank, np.array(means)[:, None]), precisions)
    begin = MixtureParams(weights=np.array(weights), components=theta)
    (result,) = drive(histogram, model_of(histogram, model), [begin], max_iter=1)
    fitted = model.family.attributes(result.params.components)
    loglik, *expected = naive.binned_update(EDGES, COUNTS, weights, means, variances, tied=covariance.name == "tied")
    assert_allclose(result.objective[0], loglik, rtol=1e-11)  # of Simpson's rule
    assert result.weight == COUNTS.sum()
    assert_allclose(result.params.weights, expected[0], rtol=1e-9)
    assert_allclose(fitted["means_"][:, 0], expected[1], rtol=1e-9)
    assert_allclose(np.broadcast_to(fitted["covariances_"].ravel(), 3), expected[2], rtol=1e-9)


def test_moments_about_another_point_make_the_same_update():
    histogram = Histogram(EDGES, COUNTS)
    rows = rows_of(histogram)
    model = model_of(histogram, Mixture(Gaussian(Full()), 3))
    here = start(rows, model, survey(rows, model.family), "kmeans", np.random.default_rng(0))
    there = replace(here, components=replace(here.components, pivot=here.components.pivot + 0.3))
    bins = next(histogram.chunks())
    (expected, _), (found, _) = (model.m_step(model.e_step(params, bins), params) for params in (here, there))
    assert_allclose(found.components.means, expected.components.means, rtol=1e-12)
    assert_allclose(found.components.covariances, expected.components.covariances, rtol=1e-10)


def test_bins_are_stood_for_by_values_spread_over_them():
    values = Histogram([-np.inf, 0, 1, 5, np.inf], [8, 4, 0, 2]).stand_in()
    assert_allclose(values.x[:, 0], [-0.875, -0.625, -0.375, -0.125, 0.125, 0.375, 0.625, 0.875, 5.5, 6.5, 7.5, 8.5])
    assert_allclose(values.weight, [2] * 4 + [1] * 4 + [0.5] * 4)


# ---------------------------------------------------------------- whole fits


def test_three_bins_are_fitted_exactly_by_one_component():
    # Two parameters and two free probabilities: both ends of the middle bin are at their quantiles.
    fitted = GaussianMixture(1, **EXACT).fit(Histogram([-np.inf, 1.0, 4.0, np.inf], [20, 50, 30]))
    low, high = norm.ppf([0.2, 0.7])
    sd = 3 / (high - low)
    assert_allclose([fitted.means_[0, 0], fitted.covariances_[0, 0, 0]], [1 - sd * low, sd**2], rtol=1e-6)
    assert_allclose(fitted.loglik_, 20 * math.log(0.2) + 50 * math.log(0.5) + 30 * math.log(0.3), rtol=1e-12)


@pytest.mark.parametrize("structure", ["full", "tied"])
def test_the_maximum_is_that_of_direct_maximization(structure):
    edges = np.array([-np.inf, -2, -1, 0, 1, 2, 3, 3.5, 4, 4.5, 5, np.inf])
    counts = np.histogram(drawn(1000), edges)[0] + 0.25

    def minus_loglik(free):
        weight = 1 / (1 + math.exp(-free[0]))
        sds = np.exp(free[3:]) * np.ones(2)
        cdf = weight * norm.cdf(edges, free[1], sds[0]) + (1 - weight) * norm.cdf(edges, free[2], sds[1])
        return -counts @ np.log(np.diff(cdf))

    fitted = GaussianMixture(2, covariance_type=structure, random_state=0, **EXACT).fit(Histogram(edges, counts))
    weights, means, variances = in_order(fitted)
    log_sds = np.log(variances[: 2 if structure == "full" else 1]) / 2
    found = np.array([math.log(weights[0] / weights[1]), *means, *log_sds])
    best = minimize(minus_loglik, found + 0.2, method="BFGS", options={"gtol": 1e-7}).x
    assert minus_loglik(found + 0.2) > minus_loglik(best) + 0.1
    assert_allclose(weights[0], 1 / (1 + math.exp(-best[0])), rtol=1e-5)
    assert_allclose(means, best[1:3], rtol=1e-5, atol=1e-5)
    assert_allclose(variances, np.exp(2 * best[3:]) * np.ones(2), rtol=1e-4)
    assert_allclose(fitted.loglik_, -minus_loglik(best), rtol=1e-10)


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_fine_bins_give_the_fit_of_the_rows(structure):
    x = drawn()
    options = {"covariance_type": structure, "random_state": 0, **EXACT}
    rows, bins = GaussianMixture(2, **options).fit(x), GaussianMixture(2, **options).fit(histogram_of(x, 4000))
    width = (x.max() - x.min()) / 4000
    for a, b in zip(in_order(bins), in_order(rows), strict=True):
        assert_allclose(a, b, atol=width / 2)  # each value is so far from the middle of its bin at most
    # The density integrated over a bin, against that at the row, times the width.
    assert_allclose(bins.loglik_ - len(x) * math.log(width), rows.loglik_, rtol=1e-4)


def test_coarse_bins_cost_no_bias():
    # Bins as wide as a component's deviation: midpoints would add a twelfth of the square of the width.
    x = drawn(200_000)
    _, means, variances = in_order(GaussianMixture(2, random_state=0, **EXACT).fit(histogram_of(x, np.arange(-6, 8))))
    assert_allclose(means, [0, 4], atol=0.02)
    assert_allclose(variances, [1, 0.25], atol=0.02)


def test_the_loglik_is_that_of_the_bins_without_the_multinomial_constant():
    histogram = Histogram(EDGES, COUNTS)
    fitted = GaussianMixture(2, random_state=0, **EXACT).fit(histogram)
    cdf = fitted.cdf(EDGES[1:-1])
    probability = np.diff([0, *cdf, 1])
    assert_allclose(fitted.loglik_, COUNTS @ np.log(probability), rtol=1e-12)
    assert_allclose(fitted.score(histogram), fitted.loglik_ / COUNTS.sum(), rtol=1e-14)
    assert_allclose(fitted.aic(histogram), 2 * 5 - 2 * fitted.loglik_, rtol=1e-14)
    assert_allclose(fitted.bic(histogram), 5 * math.log(COUNTS.sum()) - 2 * fitted.loglik_, rtol=1e-14)


def test_counts_are_weights():
    options = {**START, "init_params": "kmeans", "max_iter": 3, "tol": 0.0, "acceleration": None, "random_state": 0}
    options["reg_covar"] = 0.0  # a prior weighs less beside twice as many values
    with pytest.warns(UserWarning, match="converge"):
        once, twice = (GaussianMixture(2, **options).fit(Histogram(EDGES, c)) for c in (COUNTS, 2 * COUNTS))
    assert_allclose(twice.loglik_, 2 * once.loglik_, rtol=1e-13)
    assert_allclose(twice.means_, once.means_, rtol=1e-12)


def test_an_empty_bin_more_changes_nothing():
    inner, counts = EDGES[1:-1], COUNTS[1:-1]
    padded = Histogram([-20.0, *inner, 30.0], [0.0, *counts, 0.0])
    a, b = (GaussianMixture(2, random_state=0, **EXACT).fit(h) for h in (Histogram(inner, counts), padded))
    for u, v in zip(in_order(a), in_order(b), strict=True):
        assert_allclose(u, v, rtol=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e5, -3e7), (1.0, 1e9)])
def test_units_and_offsets_do_not_matter(scale, shift):
    edges = np.arange(-5, 8, 0.5)
    counts, _ = np.histogram(drawn(), edges)
    plain, moved = (
        GaussianMixture(2, random_state=0, **EXACT).fit(Histogram(e, counts)) for e in (edges, edges * scale + shift)
    )
    (w, m, v), (w2, m2, v2) = in_order(plain), in_order(moved)
    assert_allclose(w2, w, rtol=1e-5)
    assert_allclose((m2 - shift) / scale, m, atol=1e-5)
    assert_allclose(v2 / scale**2, v, rtol=1e-5)
    assert_allclose(moved.loglik_, plain.loglik_, rtol=1e-9)


def test_outliers_in_a_bin_of_their_own():
    x = drawn()
    counts, edges = np.histogram(x, 60)
    far = Histogram([*edges, 1e7, 1e7 + 1], [*counts, 0, 1])
    weights, means, _ = in_order(GaussianMixture(3, random_state=0, **EXACT).fit(far))
    assert_allclose(means[2], 1e7, rtol=1e-6)
    assert_allclose(weights[2], 1 / (len(x) + 1), rtol=1e-6)
    assert_allclose(means[:2], [0, 4], atol=0.1)


# ---------------------------------------------------------------- what a fit can do


def test_acceleration_reaches_what_em_reaches_in_fewer_passes():
    histogram = Histogram(EDGES, COUNTS)
    plain, fast = (
        GaussianMixture(2, **START, random_state=0, acceleration=a, **EXACT).fit(histogram)
        for a in (None, "quasi-newton")
    )
    assert_allclose(fast.loglik_, plain.loglik_, rtol=1e-11)
    assert fast.result_.n_passes < plain.result_.n_passes / 3


def test_predictions_are_those_of_the_mixture(tmp_path):
    fitted = GaussianMixture(2, random_state=0).fit(Histogram(EDGES, COUNTS))
    x = np.linspace(-4, 8, 50)
    weights, means, variances = fitted.weights_, fitted.means_[:, 0], fitted.covariances_[:, 0, 0]
    density = norm.pdf(x[:, None], means, np.sqrt(variances)) @ weights
    assert_allclose(fitted.score_samples(x), np.log(density), rtol=1e-12)
    fitted.save(tmp_path / "model.json")
    again = load(tmp_path / "model.json")
    assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))
    assert (again.loglik_, again.n_features_in_) == (fitted.loglik_, 1)


def test_a_checkpoint_goes_on_with_the_same_bits(tmp_path):
    histogram, path = histogram_of(drawn(), 40), tmp_path / "fit.ckpt"
    options = {"n_components": 2, "random_state": 0, "tol": 1e-12}
    whole = GaussianMixture(**options).fit(histogram)
    GaussianMixture(**options, checkpoint=path, callback=lambda state: state.iteration == 2).fit(histogram)
    resumed = GaussianMixture(**options, checkpoint=path).fit(histogram)
    assert_array_equal(resumed.means_, whole.means_)
    assert_array_equal(resumed.result_.objective, whole.result_.objective)
    with pytest.raises(CheckpointError, match="another fit"):
        GaussianMixture(**options, checkpoint=path).fit(histogram_of(drawn(), 41))


def test_a_warm_start_goes_on_from_rows_and_back():
    x = drawn()
    fitted = GaussianMixture(2, random_state=0, warm_start=True, **EXACT).fit(x)
    assert fitted.fit(histogram_of(x, 50)).n_iter_ < 100
    assert fitted.fit(x).n_iter_ < 100


@pytest.mark.parametrize("threads", [1, 2])
def test_many_bins_have_the_same_bits_on_any_threads(threads):
    histogram = histogram_of(drawn(), 5000)
    options = {"random_state": 0, "max_iter": 3, "tol": 1e-3}
    alone = GaussianMixture(2, **options).fit(histogram)
    assert_array_equal(GaussianMixture(2, n_threads=threads, **options).fit(histogram).means_, alone.means_)


def test_a_histogram_is_a_value():
    edges = EDGES.copy()
    histogram = Histogram(edges, COUNTS.tolist())
    edges[3] = -0.5
    assert histogram.edges[3] == 0.0
    assert as_source(histogram) is histogram
    again = pickle.loads(pickle.dumps(histogram))  # noqa: S301  # our own
    assert again.fingerprint == histogram.fingerprint
    assert repr(histogram) == "Histogram(10 bins from -inf to inf, 144.75 values)"


def test_another_estimator_of_gaussians_takes_it_too():
    histogram = Histogram(EDGES, COUNTS)
    one, other = GaussianMixture(2, random_state=0, reg_covar=0), MixtureModel(Gaussian(Full()), 2, random_state=0)
    assert one.fit(histogram).loglik_ == other.fit(histogram).loglik_


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("edges", "counts", "words"),
    [
        ([0, 2, 1, 3], [1, 1, 1], "edges 1 and 2 .* are 2 and 1, expected increasing"),
        ([0, 1, 1, 3], [1, 1, 1], "edges 1 and 2 .* are 1 and 1, expected increasing"),
        ([0, np.nan, 2], [1, 1], "edge 1 .* is NaN"),
        ([0, np.inf, np.inf], [1, 1], "edges 1 and 2 .* are inf and inf"),
        ([0, -np.inf, 1], [1, 1], "edges 0 and 1 .* are 0 and -inf"),
        ([-np.inf, 0, np.inf], [1, 1], "all bins .* are open"),
        ([-np.inf, np.inf], [1], "all bins .* are open"),
        ([0], [], "1 edges, expected .* at least 2"),
        ([0, 1, 2], [1, 1, 1], "3 edges has 3 counts, expected 2"),
        ([0, 1, 2], [1], "3 edges has 1 counts, expected 2"),
        ([0, 1, 2], [1, -1], "count 1 .* is -1"),
        ([0, 1, 2], [np.nan, 1], "count 0 .* is nan"),
        ([0, 1, 2], [1, np.inf], "count 1 .* is inf"),
        ([0, 1, 2], [0, 0], "all counts .* are 0"),
        ([[0, 1, 2]], [1, 1], r"edges .* shape \(1, 3\), expected a vector"),
        ([0, 1, 2], [[1, 1], [1, 1]], r"counts .* shape \(2, 2\), expected a vector"),
        (["a", "b"], [1], "edges .*: expected numbers"),
    ],
)  # fmt: skip
def test_bad_histograms(edges, counts, words):
    with pytest.raises(ValueError, match=words):
        Histogram(edges, counts)


def test_what_needs_rows_refuses_bins():
    histogram = Histogram(EDGES, COUNTS)
    fitted = GaussianMixture(2, random_state=0).fit(histogram)
    for method in ("predict", "predict_proba", "score_samples", "entropy", "icl", "partial_fit"):
        with pytest.raises(ValueError, match="histogram, which has no rows"):
            getattr(fitted, method)(histogram)


def test_other_refusals():
    histogram = Histogram(EDGES, COUNTS)
    with pytest.raises(ValueError, match="counts are its weights"):
        GaussianMixture(2).fit(histogram, sample_weight=np.ones(10))
    with pytest.raises(ValueError, match="Gaussian components, not by those of family 'poisson'"):
        MixtureModel(Poisson(), 2).fit(Histogram([0, 1, 2], [3, 4]))
    with pytest.raises(ValueError, match="n_components = 3, n_samples = 2"):
        GaussianMixture(3).fit(Histogram([0, 1, 2, 3], [3, 0, 4]))
    with pytest.raises(ValueError, match="features"):
        GaussianMixture(2, random_state=0).fit(np.column_stack([drawn(100), drawn(100)])).score(histogram)
