"""Each family against SciPy's densities, its own samples, its files, and published values."""

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import laws
from cases import CASES, free_directions
from mixtura import MixtureModel, Stats, init, load
from mixtura.blocks import fold_blocks
from mixtura.families import (
    Bernoulli,
    Categorical,
    Exponential,
    Gamma,
    Gaussian,
    LogNormal,
    NegativeBinomial,
    Poisson,
    Product,
    StudentT,
    Tied,
    special,
)
from mixtura.grid import Chunk
from mixtura.models import Mixture
from mixtura.sources import ArraySource
from mixtura.values import same_bits
from textbook_families import LOG_DENSITY

# Their updates are steps of EM on what each row has of its own: they raise the expected log-density, not to its top.
ITERATED = {"negative-binomial", "student-t", "student-t-diag", "student-t-spherical"}


@pytest.fixture(params=LOG_DENSITY)
def name(request):
    return request.param


@pytest.fixture
def case(name):
    return CASES[name]


@pytest.fixture
def fitted(case):
    """Return an estimator after some updates, and its rows."""
    x = case.rows(700)
    options = {"init_params": case.method, "random_state": 0, "max_iter": 8, "tol": 0.0, "acceleration": None}
    with pytest.warns(match="did not converge"):
        return MixtureModel(case.model.family, 3, **options).fit(x), x


def attributes(case, params):
    return case.model.family.attributes(params.components)


def test_the_density_is_that_of_scipy(name, case):
    x = case.rows(300)
    params = case.start(x)
    found = case.model.family.log_density(params.components, x)
    assert_allclose(found, LOG_DENSITY[name](attributes(case, params), x), rtol=1e-11)


def test_the_update_maximizes_the_expected_log_density(name, case):
    x = case.rows(400)
    params = case.start(x)
    weight = np.random.default_rng(0).integers(0, 4, 400).astype(float)
    _, resp = case.model.posterior(params, x)
    updated, events = case.model.m_step(case.model.e_step(params, Chunk(x, weight)), params)
    assert not events

    def expected(moved):
        log_joint = np.log(moved.weights) + LOG_DENSITY[name](attributes(case, moved), x)
        return np.sum(weight[:, None] * resp * log_joint)

    if name in ITERATED:
        assert expected(updated) > expected(params)
    else:
        laws.stationary(expected, updated, free_directions(case.model)(updated, np.random.default_rng(1)))


def test_updating_gives_back_what_is_expected(case):
    params = case.start(case.rows(400))
    again, _ = case.model.m_step(case.model.expected(params), params)
    laws.assert_close(again, params, rtol=1e-11)


def test_samples_have_the_parameters_they_were_drawn_with(case):
    # The squared distance of an estimate from the truth in the metric of the information is chi-squared of q degrees.
    family, n = case.model.family, 30_000
    theta = case.start(case.rows(500)).components
    labels = np.repeat(np.arange(3), n // 3)
    x = family.sample(theta, labels, np.random.default_rng(7))
    assert family.in_support(x).all()
    found, _ = family.update(family.suffstats(theta, x, np.eye(3)[labels]), theta)
    gap = family.free(found) - family.free(theta)
    q = family.n_parameters(theta)
    distance = n * gap @ family.metric(theta, np.full(3, 1 / 3), gap)
    assert q - 5 * np.sqrt(2 * q) < distance < q + 6 * np.sqrt(2 * q)


def test_a_saved_model_comes_back_bit_for_bit(fitted, tmp_path):
    mixture, x = fitted
    mixture.save(tmp_path / "model.json")
    again = load(tmp_path / "model.json")
    assert same_bits(again.params_, mixture.params_)
    assert_array_equal(again.predict_proba(x), mixture.predict_proba(x))
    assert again.model_ == mixture.model_


def test_steps_and_sums_travel(case):
    x = case.rows(300)
    step = partial(fold_blocks, case.model, case.start(x), compiled=False)
    stats = step(Chunk(x)).total()
    again = pickle.loads(pickle.dumps(step))(Chunk(x)).total()  # noqa: S301  # our own
    assert again.to_bytes() == stats.to_bytes()
    assert Stats.from_bytes(stats.to_bytes()).to_bytes() == stats.to_bytes()


def test_an_interrupted_fit_goes_on_bit_for_bit(case, tmp_path):
    x = case.rows(600)
    options = {"init_params": case.method, "random_state": 1, "tol": 1e-6, "max_iter": 400}
    whole = MixtureModel(case.model.family, 3, **options).fit(x)
    assert whole.n_iter_ > 6
    path = tmp_path / "fit.ckpt"
    with pytest.raises(KeyboardInterrupt):
        MixtureModel(case.model.family, 3, checkpoint=path, callback=interrupt, **options).fit(x)
    resumed = MixtureModel(case.model.family, 3, checkpoint=path, **options).fit(x)
    assert same_bits(resumed.params_, whole.params_)
    assert_array_equal(resumed.result_.objective, whole.result_.objective)


def start(model, x, method):
    source = ArraySource(x)
    return init.start(source, model, init.survey(source, model.family), method, np.random.default_rng(0))


def interrupt(state):
    if state.iteration == 5:
        raise KeyboardInterrupt


def test_a_stream_moves_the_parameters(case):
    mixture = MixtureModel(case.model.family, 3, init_params=case.method, random_state=0)
    for seed in range(4):
        mixture.partial_fit(case.rows(800, seed))
    assert mixture.n_batches_ == 4
    held_out = case.rows(2000, 9)
    whole = MixtureModel(case.model.family, 3, init_params=case.method, random_state=0).fit(case.rows(3200))
    assert mixture.score(held_out) == pytest.approx(whole.score(held_out), abs=0.1)


@pytest.mark.parametrize(
    ("family", "values", "message"),
    [
        (Bernoulli(), [0, 1, 2], "row 2, column 0 is 2: a bernoulli component takes 0 and 1 only"),
        (Categorical(3), [0, 2, 3], "row 2, column 0 is 3: a categorical component takes whole numbers from 0 to 2"),
        (Categorical(3), [0.5, 2, 1], "row 0, column 0 is 0.5: a categorical component takes whole numbers"),
        (
            Exponential(),
            [3.0, -1.0, 2.0],
            "row 1, column 0 is -1: a exponential component takes finite numbers",
        ),
        (Gamma(), [3.0, 0.0, 2.0], "row 1, column 0 is 0: a gamma component takes positive numbers only"),
        (LogNormal(), [3.0, 1.0, -2.0], "row 2, column 0 is -2: a log-normal component takes positive numbers only"),
        (NegativeBinomial(), [3, 1.5], "row 1, column 0 is 1.5: a negative binomial component takes whole numbers"),
        (Product([Poisson()]), [1, 2, 0.5], "row 2, column 0 is 0.5: a product component takes column 0 whole numbers"),
    ],
)
def test_a_value_outside_the_support_is_named(family, values, message):
    with pytest.raises(ValueError, match=message):
        MixtureModel(family, 1).fit(values)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_named(case, value):
    x = case.rows(50)
    x[7, 1] = value
    with pytest.raises(ValueError, match=r"row 7, column 1 is (nan|inf)"):
        MixtureModel(case.model.family, 2).fit(x)


@pytest.mark.parametrize(
    "family", [Bernoulli(), Categorical(2), Poisson(), NegativeBinomial(), Product([Bernoulli()])], ids=lambda f: f.name
)
def test_no_start_is_where_em_cannot_leave(family):
    # k-means puts all zeros into one component, to which a 1 would be impossible ever after.
    x = np.arange(40)[:, None] % 2.0
    params = start(Mixture(family, 2), x, "kmeans")
    assert np.isfinite(family.log_density(params.components, np.array([[0.0], [1.0]]))).all()


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


@pytest.mark.parametrize(
    ("family", "fit"),
    [
        (Exponential(), lambda x: stats.expon(*stats.expon.fit(x, floc=0))),
        (Gamma(), lambda x: stats.gamma(*stats.gamma.fit(x, floc=0))),
        (LogNormal(), lambda x: stats.lognorm(*stats.lognorm.fit(x, floc=0))),
        (StudentT(), lambda x: stats.t(*stats.t.fit(x))),
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
