"""What is particular to each family: its limits, its options, published values."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from cases import CASES
from mixtura import MixtureModel, init
from mixtura.exceptions import SpuriousWarning
from mixtura.families import (
    Bernoulli,
    Beta,
    Categorical,
    Diag,
    Exponential,
    Full,
    Gamma,
    Gaussian,
    LogNormal,
    Multinomial,
    NegativeBinomial,
    Poisson,
    Product,
    Spherical,
    StudentT,
    Tied,
    VonMises,
    ZeroInflated,
    special,
)
from mixtura.model import EventKind
from mixtura.models import Mixture
from mixtura.sources import ArraySource
from mixtura.survey import survey


def start(model, x, method):
    source = ArraySource(x)
    return init.start(source, model, survey(source, model.family), method, np.random.default_rng(0))


class TestCategories:
    def test_one_that_was_never_seen_is_impossible(self):
        x = np.random.default_rng(0).integers(0, 3, (200, 2))
        mixture = MixtureModel(Categorical(5), 2, random_state=0).fit(x)
        assert (mixture.probs_[:, :, 3:] == 0).all()
        assert_allclose(mixture.probs_.sum(axis=2), 1)
        assert mixture.score_samples([[0, 4]]) == -np.inf
        assert_array_equal(mixture.predict_proba([[0, 4]]), [mixture.weights_])

    @pytest.mark.parametrize("n", [0, 2.5, "3", None])
    def test_their_number_is_checked(self, n):
        with pytest.raises(ValueError, match=r"n_categories is .*, expected a whole number from 1"):
            Categorical(n)


class TestProduct:
    def test_of_equal_parts_is_the_family_itself(self):
        x = CASES["bernoulli"].rows(500)
        options = {"init_params": "kmeans", "random_state": 0, "tol": 1e-9, "max_iter": 1000}
        one = MixtureModel(Bernoulli(), 3, **options).fit(x)
        parts = MixtureModel(Product([Bernoulli()] * 8), 3, **options).fit(x)
        assert parts.loglik_ == pytest.approx(one.loglik_, rel=1e-10)
        assert_allclose(np.hstack([part["probs_"] for part in parts.parts_]), one.probs_, rtol=1e-4)
        assert parts.bic(x) == pytest.approx(one.bic(x), rel=1e-10)

    def test_an_event_names_the_columns(self):
        x = np.column_stack([np.random.default_rng(0).poisson(4, 100), np.zeros(100)])
        with pytest.warns(match="column 1: component 0 is all 0 in column 0 and was raised"):
            MixtureModel(Product([Poisson(), Exponential()])).fit(x)

    def test_rows_are_looked_at_again_for_the_part_that_wants_it(self):
        x = CASES["negative-binomial"].rows(200)[:, :1]
        resp = np.random.default_rng(0).dirichlet([1.0, 1.0], len(x))
        alone, product = Mixture(NegativeBinomial(), 2), Mixture(Product([Poisson(), NegativeBinomial()]), 2)
        frame = alone.family.frame(x[0], x[0], x[0])
        expected, _ = alone.from_resp(alone.family.blank(frame, 2), x, resp)
        wide = np.column_stack([x, x])
        found, _ = product.from_resp(product.family.blank(product.family.frame(*[wide[0]] * 3), 2), wide, resp)
        assert_array_equal(found.components[1].sizes, expected.components.sizes)

    def test_a_part_gets_the_pivot_that_it_asks_for(self):
        model = Mixture(Product([Bernoulli(), Gaussian()]), 1)
        x = np.array([[0.0, 1e9], [1.0, 1e9 + 2]])
        params = start(model, x - [0, 1e9], "random")
        refined = model.refine(model.e_step(params, x), params)
        assert refined.components[0] is params.components[0]
        updated, _ = model.m_step(model.e_step(refined, x), refined)
        assert_allclose(model.family.attributes(updated.components)["parts_"][1]["covariances_"], 1.0)
        with pytest.raises(ValueError, match="different pivots"):
            model.e_step(refined, x) + model.e_step(params, x)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (([],), ValueError, "at least one"),
            (([Poisson()], [1, 2]), ValueError, "widths: expected one for each of 1 families"),
            (([Poisson()], [0]), ValueError, r"widths\[0\] is 0, expected a whole number from 1"),
            (([Poisson(), "poisson"],), TypeError, r"families\[1\] is 'poisson', expected an object"),
            (([Poisson],), TypeError, r"families\[0\]"),
        ],
    )
    def test_options_are_checked(self, arguments, error, message):
        with pytest.raises(error, match=message):
            Product(*arguments)

    def test_columns_must_be_as_many_as_the_parts_have(self):
        with pytest.raises(ValueError, match="X has 3 columns, the families of the product 2: give their widths"):
            MixtureModel(Product([Poisson(), Poisson()])).fit(np.ones((5, 3)))


class TestExponential:
    @pytest.mark.parametrize("unit", [2.0**-400, 2.0**400])
    def test_any_unit_will_do(self, unit):
        x = CASES["exponential"].rows(300)
        options = {"init_params": "kmeans", "random_state": 0, "tol": 1e-12, "max_iter": 1000}
        plain, scaled = (MixtureModel(Exponential(), 3, **options).fit(rows) for rows in (x, x * unit))
        assert_allclose(scaled.rates_ * unit, plain.rates_, rtol=1e-4)
        assert scaled.loglik_ == pytest.approx(plain.loglik_ - x.size * np.log(unit), rel=1e-12)

    def test_a_column_of_zeros_has_the_least_mean(self):
        with pytest.warns(match="component 0 is all 0 in column 0 and was raised to the floor"):
            mixture = MixtureModel(Exponential()).fit(np.zeros(10))
        assert np.isfinite(mixture.loglik_)


class TestGamma:
    def test_a_constant_column_has_the_largest_shape(self):
        x = np.column_stack([np.full(50, 0.7), np.random.default_rng(0).gamma(3, size=50)])
        with pytest.warns(match="component 0 collapsed in column 0 and was raised"):
            mixture = MixtureModel(Gamma()).fit(x)
        assert np.isfinite(mixture.loglik_)
        assert_allclose(mixture.shapes_[0, 0] / mixture.rates_[0, 0], 0.7)

    @pytest.mark.parametrize("spread", [1e-3, 1e-8])
    def test_narrow_values_keep_their_digits(self, spread):
        z = np.random.default_rng(0).normal(size=2000)
        mixture = MixtureModel(Gamma()).fit(7 * (1 + spread * z))
        assert_allclose(mixture.shapes_, 1 / (spread**2 * z.var()), rtol=10 * spread)  # of the coefficient of variation
        with_normal = stats.norm(7 * (1 + spread * z.mean()), 7 * spread * z.std()).logpdf(7 * (1 + spread * z)).sum()
        assert mixture.loglik_ == pytest.approx(with_normal, rel=10 * spread)

    def test_sums_about_a_far_pivot_are_taken_again(self):
        x = 1e6 * (1 + 1e-5 * np.random.default_rng(0).normal(size=(100, 1)))
        model = Mixture(Gamma(), 1)
        far = start(model, x / 1e6, "random")
        near = model.refine(model.e_step(far, x), far)
        assert_allclose(near.components.pivot * near.components.frame.scale**-1, x.mean())
        assert model.refine(model.e_step(near, x), near) is None
        with pytest.raises(ValueError, match="different pivots"):
            model.e_step(near, x) + model.e_step(far, x)

    def test_expected_sums_are_about_the_pivot(self):
        theta = CASES["gamma"].start(CASES["gamma"].rows(300)).components
        moved = replace(theta, pivot=1.5 * theta.pivot)
        found, _ = Gamma().update(Gamma().expected(moved, np.array([1.0, 2.0, 3.0])), moved)
        assert_allclose(found.means, theta.means, rtol=1e-13)
        assert_allclose(found.shapes, theta.shapes, rtol=1e-11)


class TestNegativeBinomial:
    def test_red_mites_on_apple_leaves(self):
        """Bliss & Fisher, Biometrics 9, 1953: mites on 150 leaves; the size by maximum likelihood."""
        options = {"tol": 1e-12, "max_iter": 1000}
        leaves = [70, 38, 17, 10, 9, 3, 2, 1]
        mixture = MixtureModel(NegativeBinomial(), **options).fit(np.arange(8), sample_weight=leaves)
        assert mixture.means_[0, 0] == pytest.approx(172 / 150)
        assert mixture.sizes_[0, 0] == pytest.approx(1.02459, abs=1e-5)

    def test_counts_without_excess_are_poisson(self):
        x = np.random.default_rng(0).binomial(10, 0.4, 500)
        options = {"tol": 1e-12, "max_iter": 5000}
        counts, poisson = (MixtureModel(family, **options).fit(x) for family in (NegativeBinomial(), Poisson()))
        assert counts.sizes_[0, 0] > 1e4
        assert counts.loglik_ == pytest.approx(poisson.loglik_, rel=1e-5)

    def test_a_column_of_zeros_has_mean_0(self):
        x = np.column_stack([np.zeros(100), np.random.default_rng(0).poisson(3, 100)])
        mixture = MixtureModel(NegativeBinomial(), 2, random_state=0).fit(x)
        assert_array_equal(mixture.means_[:, 0], 0)
        assert_array_equal(mixture.score_samples([[1, 3]]), -np.inf)


class TestStudentT:
    def test_outliers_take_no_hold(self):
        rng = np.random.default_rng(1)
        clean = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(8, 1, (300, 2))])
        far = rng.uniform(-300, 300, (9, 2))
        options = {"n_components": 2, "random_state": 0, "tol": 1e-8}
        with_outliers = MixtureModel(StudentT(), **options).fit(np.concatenate([clean, far]))
        assert_allclose(np.sort(with_outliers.locations_[:, 0]), [0, 8], atol=0.3)
        assert with_outliers.dofs_.min() < 5

    def test_normal_rows_have_many_degrees_of_freedom(self):
        x = np.random.default_rng(2).uniform(-1, 1, (500, 2))
        options = {"tol": 1e-10, "max_iter": 5000}
        heavy, normal = (MixtureModel(family, **options).fit(x) for family in (StudentT(), Gaussian()))
        assert heavy.dofs_[0] > 1e3
        assert heavy.loglik_ == pytest.approx(normal.loglik_, rel=1e-4)
        assert_allclose(heavy.scales_, normal.covariances_, rtol=5e-3)

    def test_a_pooled_scale_is_refused(self):
        with pytest.raises(ValueError, match=r"StudentT has no Tied\(\): expected Full\(\), Diag\(\) or Spherical\(\)"):
            StudentT(Tied())
        with pytest.raises(TypeError, match="covariance is 'full', expected an object"):
            StudentT("full")


class TestBeta:
    @pytest.mark.parametrize("value", [1e-9, 0.3, 1 - 1e-9])
    def test_a_constant_column_has_the_largest_shapes(self, value):
        with pytest.warns(match="component 0 collapsed in column 0 and was raised"):
            mixture = MixtureModel(Beta()).fit(np.full(20, value))
        assert np.isfinite(mixture.loglik_)
        assert_allclose(mixture.alphas_ / (mixture.alphas_ + mixture.betas_), value, rtol=1e-6)

    def test_narrow_values_keep_their_digits(self):
        z = np.random.default_rng(0).normal(size=2000)
        x = 0.25 + 1e-3 * z
        mixture = MixtureModel(Beta()).fit(x)
        assert_allclose(mixture.alphas_ + mixture.betas_, 0.25 * 0.75 / x.var(), rtol=0.02)
        assert mixture.loglik_ == pytest.approx(stats.norm(x.mean(), x.std()).logpdf(x).sum(), abs=0.5)


class TestVonMises:
    def test_the_circle_has_no_seam(self):
        x = np.random.default_rng(0).vonmises(0, 3, 300)
        here, there = MixtureModel(VonMises()).fit(x), MixtureModel(VonMises()).fit(x + np.pi + 20 * np.pi)
        assert_allclose(np.abs(there.angles_), np.pi - np.abs(here.angles_), atol=1e-12)
        assert_allclose(there.kappas_, here.kappas_, rtol=1e-12)
        assert there.loglik_ == pytest.approx(here.loglik_, rel=1e-12)

    def test_equal_angles_have_the_largest_concentration(self):
        with pytest.warns(match="component 0 collapsed in column 0 and was raised"):
            mixture = MixtureModel(VonMises()).fit(np.full(10, 2.0))
        assert_allclose(mixture.angles_, 2.0)
        assert np.isfinite(mixture.loglik_)


class TestMultinomial:
    def test_of_two_outcomes_is_binomial(self):
        rng = np.random.default_rng(0)
        totals = rng.integers(5, 20, 400)
        hits = rng.binomial(totals, np.where(np.arange(400) < 150, 0.2, 0.7))
        x = np.column_stack([hits, totals - hits])
        mixture = MixtureModel(Multinomial(), 2, random_state=0).fit(x)
        theirs = stats.binom(totals[:, None], mixture.probs_[:, 0]).pmf(hits[:, None]) @ mixture.weights_
        assert_allclose(np.exp(mixture.score_samples(x)), theirs, rtol=1e-11)
        assert_allclose(np.sort(mixture.probs_[:, 0]), [0.2, 0.7], atol=0.05)

    def test_a_row_of_zeros_tells_nothing(self):
        mixture = MixtureModel(Multinomial(), 2, random_state=0).fit(CASES["multinomial"].rows(200))
        assert_allclose(mixture.predict_proba(np.zeros((1, 5))), [mixture.weights_])
        assert mixture.score_samples(np.zeros((1, 5))) == pytest.approx(0, abs=1e-12)

    def test_rows_of_zeros_alone_leave_the_probabilities(self):
        assert_allclose(MixtureModel(Multinomial()).fit(np.zeros((5, 4))).probs_, 0.25)


class TestZeroInflated:
    def test_counts_solve_the_equations_of_maximum_likelihood(self):
        # Lambert 1992: zeros are as many as observed, and the mean of the others is that of a truncated Poisson.
        x = np.random.default_rng(0).poisson(1.5, 500) * (np.arange(500) % 3 > 0)
        mixture = MixtureModel(ZeroInflated(Poisson()), tol=1e-14, max_iter=2000).fit(x)
        zeros, rate = mixture.zeros_[0], mixture.rates_[0, 0]
        assert_allclose(zeros + (1 - zeros) * np.exp(-rate), (x == 0).mean(), rtol=1e-6)
        assert_allclose(rate / -np.expm1(-rate), x[x > 0].mean(), rtol=1e-6)

    @pytest.mark.parametrize(
        "family", [Gamma(), LogNormal(), Beta(), Product([Gamma(), LogNormal()])], ids=lambda f: f.name
    )
    def test_all_zeros_are_extra_where_numbers_are_positive(self, family):
        d = 2 if family.name == "product" else 1
        rain = np.random.default_rng(0).beta(2, 5, (300, d)) * (np.arange(300)[:, None] % 3 > 0)
        wet = rain[rain[:, 0] > 0]
        every_day, wet_days = MixtureModel(ZeroInflated(family)).fit(rain), MixtureModel(family).fit(wet)
        assert_allclose(every_day.zeros_, 1 / 3)
        n = len(wet)
        expected = wet_days.loglik_ + n * np.log(2 / 3) + (300 - n) * np.log(1 / 3)
        assert every_day.loglik_ == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("family", [Exponential(), Gaussian(), Product([Poisson(), Gaussian()], [1, 2])])
    def test_a_density_at_zero_is_refused(self, family):
        with pytest.raises(ValueError, match="under which 0 has a density and no probability: expected counts"):
            ZeroInflated(family)

    def test_its_pivot_is_that_of_the_family(self):
        model, x = Mixture(ZeroInflated(Gamma()), 2), CASES["gamma"].rows(100)
        a, b = (start(model, rows, "kmeans") for rows in (x, 2 * x))
        with pytest.raises(ValueError, match="different pivots"):
            model.e_step(a, x) + model.e_step(b, x)

    def test_the_family_is_checked(self):
        with pytest.raises(TypeError, match="family is 'poisson', expected an object such as Poisson"):
            ZeroInflated("poisson")


@pytest.mark.parametrize(
    ("kappa", "ratio", "slope"),
    [
        # By mpmath, in 50 digits.
        (0.001, 0.00049999993750001043, 0.49999981250005208),
        (1, 0.44638996589653451, 0.35434603245035625),
        (20, 0.97467050788980713, 0.0012838756553350688),
        (450, 0.99888827022841102, 2.4718884742255516e-6),
        (600, 0.99916631886422845, 1.3900491999055168e-6),
        (1e6, 0.999999499999875, 5.00000250000375e-13),
    ],
)
def test_functions_around_bessel_are_exact(kappa, ratio, slope):
    kappa = np.array([kappa], dtype=float)
    assert_allclose(special.bessel_ratio(kappa), ratio, rtol=1e-14)
    assert_allclose(special.bessel_slope(kappa), slope, rtol=1e-9)  # it only steers steps
    assert_allclose(special.concentration(np.array([ratio])), kappa, rtol=1e-9)


@pytest.mark.parametrize(
    ("family", "fit"),
    [
        (Exponential(), lambda x: stats.expon(*stats.expon.fit(x, floc=0))),
        (Gamma(), lambda x: stats.gamma(*stats.gamma.fit(x, floc=0))),
        (LogNormal(), lambda x: stats.lognorm(*stats.lognorm.fit(x, floc=0))),
        (StudentT(), lambda x: stats.t(*stats.t.fit(x))),
        (VonMises(), lambda x: stats.vonmises(*stats.vonmises.fit(x, fscale=1))),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_one_component_is_the_fit_of_scipy(family, fit):
    x = np.random.default_rng(3).lognormal(size=400)
    mixture = MixtureModel(family, tol=1e-12, max_iter=1000).fit(x)
    theirs = fit(x).logpdf(x)
    assert mixture.loglik_ >= theirs.sum() - 1e-9 * abs(theirs.sum())
    assert_allclose(mixture.score_samples(x), theirs, atol=2e-4)


@pytest.mark.parametrize(
    ("a", "phi", "h", "information"),
    [
        # By mpmath, in 50 digits.
        (0.001, 2.5422704679670945, 993.66781665282814, 0.99900164253319587),
        (0.5, 0.15342640972002735, 1.2703628454614782, 0.73370055013616983),
        (3, 0.027677925684998339, 0.17582795356964255, 0.55440660163403793),
        (15, 0.0055547335519628014, 0.033703539441416364, 0.5111012657288564),
        (17, 0.0049013959484347379, 0.029700015728755712, 0.50979715353617555),
        (50, 0.0016666444469833655, 0.010033332000253862, 0.50333306674281451),
        (1e6, 8.3333333333330556e-8, 5.0000008333333333e-7, 0.50000016666666667),
        (1e12, 8.3333333333333333e-14, 5.0000000000008333e-13, 0.50000000000016667),
    ],
)
def test_functions_around_gamma_are_exact(a, phi, h, information):
    a = np.array([a], dtype=float)
    assert_allclose(special.stirling(a), phi, rtol=1e-12, atol=1e-14)
    assert_allclose(special.log_less_digamma(a), h, rtol=1e-14)
    assert_allclose(special.shape_information(a), information, rtol=2e-14)
    assert_allclose(special.gamma_shape(np.array([h])), a, rtol=1e-14)
    # Gamma(a + 3) / Gamma(a) = a (a + 1) (a + 2)
    assert_allclose(special.log_rising(a, np.array(3.0)), np.log1p(1 / a) + np.log1p(2 / a), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("family", [Bernoulli(), Categorical(2), Product([Bernoulli()] * 3)], ids=lambda f: f.name)
def test_latent_classes_of_pleural_thickening(family):
    """Dayton, Latent Class Scaling Analysis, 1998, table 3.2: three readers of 1692 X-rays; values of LEM."""
    patterns = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
    counts = [1513, 23, 59, 12, 21, 19, 11, 34]
    classes = MixtureModel(family, 2, tol=1e-15, max_iter=5000, random_state=0).fit(patterns, sample_weight=counts)
    healthy, ill = np.argsort(-classes.weights_)
    assert classes.loglik_ == pytest.approx(-891.14280, abs=1e-5)
    assert classes.bic(np.repeat(patterns, counts, axis=0)) == pytest.approx(1834.3213, abs=1e-4)
    assert_allclose(classes.weights_[healthy], 0.9455, atol=5e-5)
    published = [[0.01, 0.0354, 0.0109], [0.749, 0.6434, 0.765]]
    assert_allclose(answers(classes)[[healthy, ill]], published, atol=2e-4)  # LEM stopped at a criterion of 7e-7
    # As many parameters as cells: the fit is exact.
    assert_allclose(1692 * np.exp(classes.score_samples(patterns)), counts, rtol=1e-5)


def answers(classes):
    """Return the probabilities (k, d) of a 1."""
    if hasattr(classes, "parts_"):
        return np.hstack([part["probs_"] for part in classes.parts_])
    return classes.probs_ if classes.probs_.ndim == 2 else classes.probs_[:, :, 1]


@pytest.mark.parametrize("family", [Bernoulli(), Categorical(2), Poisson()], ids=lambda f: f.name)
def test_the_optimum_may_be_at_a_bound(family):
    """Classes of which one never has a 1 in half of the columns: extrapolation gets there, and EM no further."""
    rng = np.random.default_rng(5)
    probs = np.array([[0.5] * 6, [0.7] * 3 + [0.0] * 3])
    x = (rng.random((400, 6)) < probs[rng.integers(0, 2, 400)]).astype(float)
    options = {"init_params": "k-means++", "random_state": 0, "max_iter": 20_000}
    fast = MixtureModel(family, 2, tol=1e-10, **options).fit(x)
    plain = MixtureModel(family, 2, tol=1e-10, acceleration=None, **options).fit(x)
    assert fast.loglik_ >= plain.loglik_ - 1e-5
    assert fast.n_iter_ < plain.n_iter_


def test_two_rates_of_the_death_notices():
    """Hasselblad 1969: notices a day in the Times of London, of women of 80 and more, 1910 to 1912."""
    days = [162, 267, 271, 185, 111, 61, 27, 8, 3, 1]
    options = {"tol": 1e-15, "max_iter": 5000, "random_state": 0}
    mixture = MixtureModel(Poisson(), 2, **options).fit(np.arange(10), sample_weight=days)
    low, high = np.argsort(mixture.rates_[:, 0])
    assert mixture.loglik_ == pytest.approx(-1989.9459, abs=1e-4)
    assert_allclose(mixture.weights_[low], 0.3599, atol=1e-4)
    assert_allclose(mixture.rates_[[low, high], 0], [1.2561, 2.6634], atol=1e-4)


@pytest.mark.parametrize("family", [Gamma(), Beta(), LogNormal(), StudentT(), VonMises()], ids=lambda f: f.name)
@pytest.mark.parametrize(
    ("few", "words"),
    [
        ([0.98, 0.981], "component 1 has the weight of 2 rows, too few for a width of its own"),
        (0.9 + 2e-4 * np.arange(-3, 4), r"component 1 has the weight of 7 rows and a width of .* of that of all"),
        (0.9 + 2e-2 * np.arange(-3, 4), ""),
    ],
    ids=["two", "narrow", "sound"],
)
def test_few_rows_that_lie_close_together_are_suspect(family, few, words):
    x = np.concatenate([np.random.default_rng(0).beta(30, 40, 200), few])
    mixture = MixtureModel(family, 2)
    with pytest.warns(SpuriousWarning, match=words) if words else nullcontext():  # a warning would be an error
        mixture.fit(x, labels=np.repeat([0, 1], [200, len(few)]))
    assert [event.kind for event in mixture.result_.events] == ([EventKind.SPURIOUS] if words else [])


@pytest.mark.parametrize("family", [Gamma(), Beta()])
def test_coordinates_that_underflow_are_no_parameters(family):
    """A step of the acceleration may be as long as that; it then has to be shorter."""
    theta = MixtureModel(family).fit([0.2, 0.3, 0.7]).params_.components
    vector = family.free(theta)
    for j in range(len(vector)):
        far = np.where(np.arange(len(vector)) == j, -800.0, vector)
        assert family.from_free(far, theta) is None


@pytest.mark.parametrize("structure", [Full(), Tied(), Diag(), Spherical()])
@pytest.mark.parametrize("log", [-800.0, 800.0])
def test_a_factor_without_an_inverse_is_no_parameter(structure, log):
    family = Gaussian(structure)
    theta = MixtureModel(family).fit([[0.2, 0.1], [0.3, 0.7], [0.7, 0.4]]).params_.components
    vector = family.free(theta)
    vector[-1] = log  # of the last diagonal entry, whatever the structure
    assert family.from_free(vector, theta) is None
