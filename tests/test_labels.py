"""Rows whose component is known: labels=."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import naive
from compare import assert_close, assert_same_bits
from mixtura import GaussianMixture, MixtureModel, as_source
from mixtura.blocks import fold_blocks
from mixtura.families import Poisson
from mixtura.sources import ArraySource
from mixtura.sources.labelled import LabelledSource


@pytest.fixture
def problem(structure, make_case):
    """Rows of which a third have a label, row weights, and a mixture at a start."""
    case = make_case(structure, n=150, d=2, separation=1.0)
    rng = np.random.default_rng(1)
    labels = np.where(rng.random(150) < 0.3, rng.integers(0, 3, 150), -1)
    return case, labels, rng.gamma(1.0, size=150)


def joint_given(case, labels):
    """Return log(weight x density) [n][k] by loops, without the components that a row is known not to come from."""
    joint = naive.gaussian_log_joint(case.x, case.weights, case.means, case.covariances, case.structure)
    return [
        [value if label in (-1, j) else -np.inf for j, value in enumerate(row)]
        for row, label in zip(joint, labels, strict=True)
    ]


def test_a_kernel_sums_labels_of_several_blocks():
    x = np.random.default_rng(0).normal(size=(9000, 1))
    labels = np.repeat([-1, 0, 1], 3000)
    fitted = GaussianMixture(2, random_state=0).fit(x[:100])
    source = LabelledSource(ArraySource(x), labels)
    steps = [partial(fold_blocks, fitted.model_, fitted.params_, compiled=fast) for fast in (True, False)]
    compiled, composed = source.fold(steps)
    assert_allclose(compiled.loglik, composed.loglik, rtol=1e-12)
    assert compiled.weight == composed.weight == 9000


def test_an_update_is_that_of_the_loops(problem, path):
    case, labels, weight = problem
    options = {"reg_covar": 0, "acceleration": None, "max_iter": 1, "tol": 0}
    with pytest.warns(match="did not converge"):
        fitted = GaussianMixture(**case.start, **options).fit(case.x, sample_weight=weight, labels=labels)
    joint = joint_given(case, labels)
    assert_allclose(fitted.result_.objective[0], naive.total_loglik(joint, weight), rtol=1e-12)
    wr, counts = naive.weighted_resp(joint, weight)
    means = naive.weighted_means(case.x, wr, counts)
    scatters = [naive.scatter(case.x, [row[j] for row in wr], means[j]) for j in range(3)]
    assert_allclose(fitted.weights_, np.array(counts) / weight.sum(), rtol=1e-10)
    assert_allclose(fitted.means_, means, rtol=1e-10, atol=1e-10)
    expected = naive.structured(scatters, counts, case.structure, 0.0)
    assert_allclose(fitted.covariances_, expected, rtol=1e-9, atol=1e-10)


def test_all_labels_known_is_a_fit_of_each_component(make_case):
    x = make_case("full", n=200, d=2).x
    labels = np.arange(200) % 3
    fitted = GaussianMixture(3, reg_covar=0).fit(x, labels=labels)
    assert fitted.converged_
    for j in range(3):
        mine = x[labels == j]
        assert_allclose(fitted.means_[j], mine.mean(axis=0), rtol=1e-10)
        assert_allclose(fitted.covariances_[j], np.cov(mine.T, bias=True), rtol=1e-8)
    assert_allclose(fitted.weights_, np.bincount(labels) / 200, rtol=1e-12)


def test_the_start_is_what_the_labels_say(make_case):
    x = make_case("full", n=200, d=2).x
    labels = np.random.default_rng(0).integers(0, 3, 200)  # no clusters, so that the nearest centre is another one
    started = GaussianMixture(3, max_iter=0).fit(x, labels=labels)
    assert_allclose(started.means_, [x[labels == j].mean(axis=0) for j in range(3)], rtol=1e-9)
    assert_allclose(started.weights_, np.bincount(labels) / 200, rtol=1e-12)


def test_no_label_known_is_the_fit_without(make_case):
    case = make_case("full", n=200, d=2)
    plain, none = GaussianMixture(**case.start).fit(case.x), GaussianMixture(**case.start)
    assert_close(none.fit(case.x, labels=np.full(200, -1)), plain, rtol=1e-12)


def test_a_weight_is_that_many_copies(problem):
    case, labels, _ = problem
    copies = np.random.default_rng(2).integers(0, 3, 150)
    options = {**case.start, "tol": 1e-12, "max_iter": 300}
    once = GaussianMixture(**options).fit(case.x, sample_weight=copies, labels=labels)
    many = GaussianMixture(**options).fit(np.repeat(case.x, copies, axis=0), labels=np.repeat(labels, copies))
    assert_close(once, many, rtol=1e-5)


def test_the_objective_never_falls_and_components_keep_their_numbers(structure):
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 200)
    x = rng.normal(0, 1, (600, 2)) + np.array([[0, 0], [5, 0], [0, 5]])[truth]
    labels = np.where(np.arange(600) % 20 == 0, truth, -1)
    labels[truth == 2] = -1  # nobody knows a row of this one
    options = {"covariance_type": structure, "acceleration": None, "reg_covar": 0, "random_state": 0}
    fitted = GaussianMixture(3, **options).fit(x, labels=labels)
    assert np.diff(fitted.result_.objective).min() >= -1e-9
    assert (fitted.predict(x) == truth).mean() > 0.97


def test_values_may_be_missing(make_case):
    x = make_case("full", n=300, d=3, separation=4.0).x
    holes = np.where(np.random.default_rng(0).random(x.shape) < 0.1, np.nan, x)
    labels = np.where(np.arange(300) % 3 == 0, GaussianMixture(3, random_state=0).fit_predict(x), -1)
    complete, fitted = (GaussianMixture(3).fit(rows, labels=labels) for rows in (x, holes))
    scale = x.std(axis=0)
    assert (np.abs(fitted.means_ - complete.means_) < 0.15 * scale).all()
    assert fitted.n_missing_ == np.isnan(holes).sum()


def test_threads_change_no_bit_and_a_checkpoint_wants_the_same_labels(tmp_path, problem, kernels):
    case, labels, _ = problem
    x, labels = np.tile(case.x, (30, 1)), np.tile(labels, 30)
    one = GaussianMixture(**case.start, n_threads=1).fit(x, labels=labels)
    three = GaussianMixture(**case.start, n_threads=3, checkpoint=tmp_path / "fit.ckpt")
    assert_same_bits(three.fit(x, labels=labels), one)
    assert_same_bits(three.fit(x, labels=labels), one)
    with pytest.raises(ValueError, match="fingerprint of the data"):
        three.fit(x, labels=np.where(labels == 0, -1, labels))


def test_other_families_take_labels():
    x = np.random.default_rng(0).poisson(np.repeat([2.0, 20.0], 50))
    labels = np.full(100, -1)
    labels[[0, 99]] = [1, 0]
    fitted = MixtureModel(Poisson(), 2).fit(x, labels=labels)
    assert fitted.rates_[1, 0] < fitted.rates_[0, 0]
    assert_array_equal(fitted.predict(x), np.repeat([1, 0], 50))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(59), r"expected one for each of 60 rows, found an array of shape \(59,\)"),
        (np.zeros((60, 1)), r"shape \(60, 1\)"),
        (np.arange(60), "label of row 2 is 2: expected a component from 0 to 1, or -1"),
        (np.full(60, -2), "label of row 0 is -2"),
        (np.full(60, 0.5), r"label of row 0 is 0\.5"),
        (np.full(60, np.nan), "label of row 0 is nan"),
        (np.full(60, "a"), "labels hold <U1, expected numbers of components"),
    ],
    ids=["too few", "two axes", "too large", "below -1", "fractions", "nan", "text"],
)
def test_bad_labels(labels, message, fitted_state):
    x = np.random.default_rng(0).normal(size=(60, 2))
    mixture = GaussianMixture(2, random_state=0).fit(x)
    before = fitted_state(mixture)
    with pytest.raises(ValueError, match=message):
        mixture.fit(x, labels=labels)
    assert all(fitted_state(mixture)[name] is value for name, value in before.items())


def test_what_does_not_go_with_labels():
    x, labels = np.random.default_rng(0).normal(size=(60, 1)), np.zeros(60, int)
    with pytest.raises(ValueError, match="labels want the rows in memory"):
        GaussianMixture(1).fit(as_source([x[:30], x[30:]]), labels=labels)
    with pytest.raises(ValueError, match="compress=True does away"):
        GaussianMixture(1, compress=True).fit(x, labels=labels)
    with pytest.raises(ValueError, match="on_collapse='drop' changes"):
        GaussianMixture(1, on_collapse="drop").fit(x, labels=labels)
