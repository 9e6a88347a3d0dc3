"""Each family against SciPy's densities, its own samples, its files, and bad input."""

import pickle
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import laws
from cases import CASES, free_directions
from mixtura import MixtureModel, Stats, init, load
from mixtura.blocks import fold_blocks
from mixtura.families import (
    Bernoulli,
    Beta,
    Categorical,
    Exponential,
    Gamma,
    LogNormal,
    Multinomial,
    NegativeBinomial,
    Poisson,
    Product,
    ZeroInflated,
)
from mixtura.grid import Chunk
from mixtura.models import Mixture
from mixtura.sources import ArraySource
from mixtura.survey import survey
from mixtura.values import leaves, same_bits
from textbook_families import LOG_DENSITY

# Their updates are steps of EM on what each row has of its own: they raise the expected log-density, not to its top.
ITERATED = {"negative-binomial", "student-t", "student-t-spherical", "zero-inflated"}


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
    sums = family.suffstats(theta, x, np.eye(3)[labels])
    found, _ = family.update(sums, theta)
    gap = family.free(found) - family.free(theta)
    q = family.n_parameters(theta)
    distance = n * gap @ family.metric(theta, np.full(3, 1 / 3), gap)
    assert q - 5 * np.sqrt(2 * q) < distance < q + 6 * np.sqrt(2 * q)
    # So are the sums, which a stream goes on from: a share of the largest is many standard errors of any.
    expected = family.expected(theta, np.full(3, n / 3))
    largest = max(np.abs(part).max() for part in leaves(expected))
    for part, mean in zip(leaves(sums), leaves(expected), strict=True):
        assert_allclose(part, mean, rtol=0.1, atol=0.02 * largest)


def test_a_saved_model_comes_back_bit_for_bit(fitted, tmp_path):
    mixture, x = fitted
    mixture.save(tmp_path / "model.json")
    again = load(tmp_path / "model.json")
    assert same_bits(again.params_, mixture.params_)
    assert_array_equal(again.predict_proba(x), mixture.predict_proba(x))
    assert again.model_ == mixture.model_


def test_threads_change_no_bit(case):
    x = case.rows(2500)
    options = {"init_params": case.method, "random_state": 0, "max_iter": 3, "tol": 0.0, "acceleration": None}
    with pytest.warns(match="did not converge"):
        one, two = (MixtureModel(case.model.family, 3, n_threads=n, **options).fit(x) for n in (1, 2))
    assert same_bits(one.params_, two.params_)


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
    return init.start(source, model, survey(source, model.family), method, np.random.default_rng(0))


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
        (Beta(), [0.5, 1.0], "row 1, column 0 is 1: a beta component takes numbers between 0 and 1 only"),
        (Multinomial(), [[1, 2], [3, -1]], "row 1, column 1 is -1: a multinomial component takes whole numbers from 0"),
        (ZeroInflated(Gamma()), [0.0, -1.0], "row 1, column 0 is -1: .* takes positive numbers, or rows of zeros only"),
        (
            ZeroInflated(Poisson()),
            [0.0, 0.5],
            "row 1, column 0 is 0.5: .* takes whole numbers from 0, or rows of zeros",
        ),
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
