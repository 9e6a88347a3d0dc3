"""Statistics that travel and add, and learning from a stream of batches."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cases import CASES
from laws import assert_close
from mixtura import GaussianMixture, MixtureModel, Stats, as_source, load
from mixtura.em import Status, evaluate, settle
from mixtura.families import Poisson
from mixtura.grid import Chunk
from mixtura.model import EventKind
from mixtura.stats import Sums
from mixtura.values import same_bits

STRUCTURES = ("full", "tied", "diag", "spherical")
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every_case
def test_statistics_travel_as_bytes(case):
    x = case.rows(500)
    stats = case.model.e_step(case.start(x), x)
    data = stats.to_bytes()
    back = Stats.from_bytes(data)
    assert type(back) is type(stats)
    assert same_bits(back, stats)
    assert type(back.components) is type(stats.components)
    assert same_bits(back + stats, stats * 2.0)
    with pytest.raises(ValueError, match="damaged"):
        Stats.from_bytes(data[:-20] + b"x" + data[-19:])
    with pytest.raises(ValueError, match="no statistics: not written by this library"):
        Stats.from_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="MixtureStats, expected"):
        type(stats.components).from_bytes(data)


def test_bytes_of_a_class_that_nobody_knows_are_refused():
    class Strange(Sums):
        pass

    data = Strange().to_bytes()
    del Sums._kinds["Strange"]
    with pytest.raises(ValueError, match="'Strange' is no kind of statistics"):
        Sums.from_bytes(data)


@every_case
def test_an_update_by_hand_is_that_of_the_loop(case):
    x = case.rows(5000)
    params = case.start(x)
    parts = [case.model.e_step(params, part) for part in np.array_split(x, 7)]
    total = sum(parts[1:], start=parts[0])
    by_hand, _ = case.model.m_step(total, params)
    in_one, _ = case.model.m_step(evaluate(as_source(x), case.model, params), params)
    assert_close(by_hand, in_one, rtol=1e-10)


@pytest.mark.parametrize("rows", [50, 5000])
def test_an_e_step_by_hand_leaves_nothing_out(rows, kernels):
    model, x = CASES["gaussian-full"].model, CASES["gaussian-full"].rows(rows)
    params = CASES["gaussian-full"].start(x)
    assert model.e_step(params, x).negligible == 0.0
    assert_close(model.e_step(params, x), model.e_block(params, Chunk(x)))
    assert_close(model.e_step(params, Chunk(x, np.full(rows, 2.0))), model.e_block(params, Chunk(x)) * 2.0)


@every_case
def test_rows_of_other_columns_are_refused_by_an_e_step(case, kernels):
    x = case.rows(5000)
    params = case.start(x)
    d = x.shape[1]
    for rows in (np.zeros((9, d + 1)), np.zeros((2, 2, 2)), Chunk(np.zeros((5000, d + 1)))):
        with pytest.raises(ValueError, match=rf"rows of shape .*, expected \(n, {d}\)"):
            case.model.e_step(params, rows)


@every_case
def test_the_m_step_of_what_parameters_expect_is_the_parameters(case):
    x = case.rows(500)
    params, _ = case.model.m_step(case.model.e_step(case.start(x), x), case.start(x))
    again, events = case.model.m_step(case.model.expected(params, 500.0), params)
    assert not events
    assert_close(again, params, rtol=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_parameters_expect_adds_to_statistics_about_another_pivot(structure):
    # A start far from the data gets another pivot: the old part has to be taken about it as well.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 2))
    fitted = GaussianMixture(2, covariance_type=structure, random_state=0).fit(x)
    x += 4000.0
    params, stats = settle(as_source(x), fitted.model_, fitted.params_)
    assert not same_bits(params.components.pivot, params.components.means), "the pivot did not move"
    old, _ = fitted.model_.m_step(fitted.model_.expected(params), params)
    assert_allclose(old.components.means, fitted.params_.components.means, atol=1e-12)
    lost = 16 * np.finfo(float).eps * 4000.0**2  # a variance about a pivot t sigma away has lost eps t^2
    assert_allclose(old.components.covariances, fitted.params_.components.covariances, rtol=lost)
    assert (stats + fitted.model_.expected(params) * 0.0).pivot == stats.pivot


@pytest.mark.parametrize("structure", STRUCTURES)
def test_partial_fit_finds_the_truth_from_a_poor_start(structure):
    rng = np.random.default_rng(1)
    means = np.array([[0.0, 0.0], [5.0, 1.0], [-2.0, 5.0]])
    shares = [0.5, 0.3, 0.2]

    def batch(n=2000):
        labels = rng.choice(3, n, p=shares)
        return rng.normal(size=(n, 2)) + means[labels]

    mixture = GaussianMixture(3, covariance_type=structure, random_state=0)
    begun = mixture.partial_fit(batch(40)).means_
    assert max(np.abs(begun - m).sum(axis=1).min() for m in means) > 0.3, "the start is already the truth"
    for _ in range(300):
        mixture.partial_fit(batch())
    order = np.argsort(-mixture.weights_)
    assert_allclose(mixture.weights_[order], shares, atol=0.02)
    assert_allclose(mixture.means_[order], means, atol=0.08)
    assert mixture.n_batches_ == 301
    assert (mixture.result_.status, mixture.converged_) == (Status.STREAM, False)


def test_a_step_is_that_of_the_formula():
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(400, 1)), rng.normal(size=(300, 1)) + 0.3
    mixture = GaussianMixture(1, reg_covar=0.0).partial_fit(first)
    mixture.partial_fit(second, sample_weight=np.full(300, 5.0))
    step = 2**-0.6
    mean = (1 - step) * first.mean() + step * second.mean()
    square = (1 - step) * (first**2).mean() + step * (second**2).mean()
    assert_allclose(mixture.means_[0, 0], mean, rtol=1e-12)
    assert_allclose(mixture.covariances_[0, 0, 0], square - mean**2, rtol=1e-12)


def test_regularization_is_not_added_again_in_every_step():
    x = np.random.default_rng(3).normal(size=(500, 2))
    mixture = GaussianMixture(1, reg_covar=0.5)
    for _ in range(50):
        mixture.partial_fit(x)
    assert_allclose(mixture.covariances_, GaussianMixture(1, reg_covar=0.5).fit(x).covariances_, rtol=1e-10)


def test_a_stream_goes_on_from_a_fit_and_from_a_file(tmp_path):
    rng = np.random.default_rng(4)
    x, batch = rng.normal(size=(900, 2)) + np.repeat([[0, 0], [6, 0], [0, 6]], 300, axis=0), rng.normal(size=(90, 2))
    fitted = GaussianMixture(3, random_state=0).fit(x)
    fitted.save(tmp_path / "m.json")
    other = load(tmp_path / "m.json").partial_fit(batch)
    assert_array_equal(fitted.partial_fit(batch).means_, other.means_)
    assert fitted.n_batches_ == 2


def test_a_batch_that_cannot_be_changes_nothing(fitted_state):
    mixture = GaussianMixture(2, random_state=0).fit(np.random.default_rng(5).normal(size=(300, 2)))
    before = fitted_state(mixture)
    for batch, message in (([[np.inf, 0.0]], "infinity: row 0, column 0"), (np.zeros((3, 4)), "4 features")):
        with pytest.raises(ValueError, match=message):
            mixture.partial_fit(batch)
    with pytest.raises(ValueError, match="partial_fit goes on from a fit with n_components=2, not 5"):
        mixture.set_params(n_components=5).partial_fit(np.zeros((3, 2)))
    assert all(fitted_state(mixture)[name] is value for name, value in before.items())


def test_a_stream_of_counts():
    rng = np.random.default_rng(6)
    mixture = MixtureModel(Poisson(), 2, random_state=0)
    for _ in range(100):
        mixture.partial_fit(rng.poisson(np.repeat([2.0, 11.0], 500)))
    assert_allclose(np.sort(mixture.rates_[:, 0]), [2.0, 11.0], rtol=0.03)


def test_a_component_that_a_batch_lacks_is_kept():
    rng = np.random.default_rng(7)
    both = np.concatenate([rng.normal(0, 1, 400), rng.normal(50, 1, 400)])
    mixture = GaussianMixture(2, random_state=0).fit(both)
    for _ in range(3):
        mixture.partial_fit(rng.normal(0, 1, 400))
    assert_allclose(np.sort(mixture.means_[:, 0]), [0, 50], atol=0.3)
    assert mixture.weights_.min() > 0.04
    assert not [e for e in mixture.result_.events if e.kind is EventKind.EMPTY]
