"""Marginals and conditionals of a fitted mixture, against the textbook and laws."""

import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixtura import GaussianMixture, load
from textbook import GIVEN, conditional_by_textbook, dense, moments, others


@pytest.fixture(params=sorted(GIVEN))
def d(request):
    return request.param


# ---------------------------------------------------------------- marginals


def test_a_marginal_is_the_parameters_of_its_columns(make_mixture, structure, d):
    mixture, _ = make_mixture(structure, d)
    columns = GIVEN[d]
    got = dense(part := mixture.marginal(columns))
    weights, means, covariances = dense(mixture)
    assert part.covariance_type == structure
    assert_array_equal(got[0], weights)
    assert_allclose(got[1], means[:, columns], rtol=1e-14)
    assert_allclose(got[2], [c[np.ix_(columns, columns)] for c in covariances], rtol=1e-13)


def test_a_marginal_of_a_marginal_is_a_marginal(make_mixture, structure):
    mixture, x = make_mixture(structure, 6)
    twice, once = mixture.marginal([5, 0, 3, 1]).marginal([2, 0]), mixture.marginal([3, 5])
    assert_allclose(twice.means_, once.means_, rtol=1e-15)
    assert_allclose(twice.score_samples(x[:, [3, 5]]), once.score_samples(x[:, [3, 5]]), rtol=1e-13, atol=1e-13)


def test_all_columns_in_another_order_are_the_same_mixture(make_mixture, structure):
    mixture, x = make_mixture(structure, 3)
    turned = mixture.marginal([2, 0, 1])
    assert_allclose(turned.score_samples(x[:, [2, 0, 1]]), mixture.score_samples(x), rtol=1e-12)
    assert_array_equal(turned.predict(x[:, [2, 0, 1]]), mixture.predict(x))


# ---------------------------------------------------------------- conditionals


def test_a_conditional_is_the_textbook_one(make_mixture, structure, d):
    mixture, x = make_mixture(structure, d)
    given = GIVEN[d]
    for row in x[:5]:
        part = mixture.condition(dict(zip(given, row[given], strict=True)))
        _, weights, means, covariances = conditional_by_textbook(mixture, given, row[given])
        assert part.covariance_type == structure
        assert_allclose(part.weights_, weights, rtol=1e-11)
        assert_allclose(part.means_, means, rtol=1e-11, atol=1e-12)
        assert_allclose(dense(part)[2], covariances, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_the_joint_density_is_marginal_times_conditional(make_mixture, structure, d, offset):
    mixture, x = make_mixture(structure, d, offset=offset)
    given = GIVEN[d]
    rest = others(d, given)
    marginal = mixture.marginal(given)
    for row in x[:10]:
        conditional = mixture.condition(dict(zip(given, row[given], strict=True)))
        product = marginal.score_samples(row[None, given]) + conditional.score_samples(row[None, rest])
        assert_allclose(product, mixture.score_samples(row[None]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("offset", [1e8, -1e10])
def test_an_offset_costs_no_digits(make_mixture, structure, offset):
    near, x = make_mixture(structure, 3)
    x = np.round(x * 1024) / 1024  # so that the offset may be added, and the means may not
    far = GaussianMixture(3, covariance_type=structure, max_iter=3, init_params="kmeans", random_state=0, tol=0)
    with pytest.warns(UserWarning, match="converge"):
        far.fit(x + offset)
    with pytest.warns(UserWarning, match="converge"):
        near = GaussianMixture(**far.get_params()).fit(x)
    a, b = near.condition({1: x[0, 1]}), far.condition({1: x[0, 1] + offset})
    assert_allclose(a.weights_, b.weights_, rtol=1e-11)
    assert_allclose(a.covariances_, b.covariances_, rtol=1e-11)
    assert_allclose(a.means_, b.means_ - offset, atol=4 * np.spacing(abs(offset)))


def test_each_column_keeps_its_own_floor():
    # The first column's floor, 2e-3, is wide beside the second component in the second column.
    sds = np.array([[5.0, 1.0, 0.3], [5.0, 1e-4, 0.3]])
    covariances = np.einsum("ki,kj->kij", sds, sds) * (0.5 + 0.5 * np.eye(3))
    means = np.array([[1e13, 0, 0.5]] * 2)
    rows = means[0] + 3 * np.array([[-1.0, -1, -1], [1, 1, 1]]) * sds[0]
    mixture = GaussianMixture(2, weights_init=[0.5, 0.5], means_init=means, max_iter=0,
                              precisions_init=np.linalg.inv(covariances)).fit(rows)  # fmt: skip
    for given in ([0], [1], [1, 0], [2]):
        part = mixture.condition(dict(zip(given, means[0, given], strict=True)))
        _, _, _, expected = conditional_by_textbook(mixture, given, means[0, given])
        assert_allclose(part.covariances_, expected, rtol=1e-9)


def test_columns_that_almost_determine_each_other(recwarn):
    # The fourth column is 1e4 times the difference of the first two, so the fit keeps covariances at the edge of what
    # numbers carry; in another order of the columns a Cholesky factor of these does not exist.
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3000, 3))
    z[:1500] += 3
    x = np.column_stack([z[:, 0], z[:, 0] + 1e-4 * z[:, 1], z[:, 2] + z[:, 0], z[:, 1]])
    mixture = GaussianMixture(2, reg_covar=0, random_state=0, max_iter=20).fit(x)
    assert mixture.result_.events
    for given in ([0], [1, 3], [3, 2]):
        marginal, rest = mixture.marginal(given), others(4, given)
        for row in x[:10]:
            conditional = mixture.condition(dict(zip(given, row[given], strict=True)))
            product = marginal.score_samples(row[None, given]) + conditional.score_samples(row[None, rest])
            assert_allclose(product, mixture.score_samples(row[None]), rtol=0, atol=1e-6)


def test_to_condition_and_to_take_a_marginal_commute(make_mixture, structure):
    mixture, x = make_mixture(structure, 6)
    a = mixture.condition({1: x[0, 1], 4: x[0, 4]}).marginal([3, 0])  # of columns 0, 2, 3, 5
    b = mixture.marginal([5, 0, 1, 4]).condition({3: x[0, 4], 2: x[0, 1]}).marginal([0, 1])
    assert_allclose(a.weights_, b.weights_, rtol=1e-12)
    assert_allclose(a.means_, b.means_, rtol=1e-12)
    assert_allclose(a.covariances_, b.covariances_, rtol=1e-12)


def test_conditions_one_after_another_are_one_condition(make_mixture, structure):
    mixture, x = make_mixture(structure, 6)
    a = mixture.condition({5: x[0, 5]}).condition({2: x[0, 2], 0: x[0, 0]})
    b = mixture.condition({0: x[0, 0], 2: x[0, 2], 5: x[0, 5]})
    assert_allclose(a.weights_, b.weights_, rtol=1e-11)
    assert_allclose(a.means_, b.means_, rtol=1e-12, atol=1e-12)
    assert_allclose(a.covariances_, b.covariances_, rtol=1e-12)


def test_one_component_is_linear_regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3)) + [1, 2, 3]
    mixture = GaussianMixture(1, reg_covar=0).fit(x)
    design = np.column_stack([np.ones(400), x[:, :2]])
    coefficients, residual, *_ = np.linalg.lstsq(design, x[:, 2])
    mean, std = mixture.predict_given(x[:, :2], [0, 1], return_std=True)
    assert_allclose(mean[:, 0], design @ coefficients, rtol=1e-12, atol=1e-12)
    assert_allclose(std[:, 0], math.sqrt(residual[0] / 400), rtol=1e-12)


def test_values_far_from_everything_keep_finite_weights(make_mixture, structure):
    mixture, _ = make_mixture(structure, 3)
    part = mixture.condition({0: 1e6, 1: -3e7})
    total, weights, _, _ = conditional_by_textbook(mixture, [0, 1], np.array([1e6, -3e7]))
    assert total < -1e10
    assert_allclose(part.weights_.sum(), 1)
    assert_allclose(part.weights_, weights, rtol=1e-3, atol=1e-12)
    assert np.isfinite(part.sample(5)[0]).all()


def test_rows_drawn_given_a_condition_are_distributed_so(make_mixture, structure):
    mixture, x = make_mixture(structure, 3)
    part = mixture.condition({1: x[0, 1]})
    _, weights, means, covariances = conditional_by_textbook(mixture, [1], x[0, [1]])
    mean, covariance = moments(weights, means, covariances)
    n = 100_000
    rows, labels = part.sample(n, random_state=0)
    sd = np.sqrt(np.diagonal(covariance))
    assert (np.abs(rows.mean(axis=0) - mean) < 4 * sd / math.sqrt(n)).all()
    assert_allclose(np.cov(rows.T), covariance, rtol=0.03, atol=0.03 * sd.max() ** 2)
    assert (np.abs(np.bincount(labels, minlength=3) / n - weights) < 4 * np.sqrt(weights / n) + 1e-9).all()


def test_rows_drawn_near_a_value_agree_with_the_condition(make_mixture):
    mixture, _ = make_mixture("full", 2)
    rows, _ = mixture.sample(2_000_000, random_state=1)
    value, width = mixture.means_[:, 0].mean(), 0.01
    near = rows[np.abs(rows[:, 0] - value) < width, 1]
    assert len(near) > 2000
    part = mixture.condition({0: value})
    at = np.quantile(near, [0.1, 0.5, 0.9])
    assert_allclose(part.cdf(at), [0.1, 0.5, 0.9], atol=4 * 0.5 / math.sqrt(len(near)))


# ---------------------------------------------------------------- what is derived is a fitted estimator


def derive(mixture, x):
    return mixture.marginal([2, 0]), mixture.condition({1: x[0, 1]})


def test_a_derived_mixture_can_be_used_saved_and_fitted(make_mixture, structure, tmp_path):
    mixture, x = make_mixture(structure, 3, names=["a", "b", "c"])
    mixture.set_params(checkpoint=tmp_path / "of the joint fit", n_components=7)  # what was fitted counts
    rows = np.ascontiguousarray(x[:, [0, 2]])
    for part in derive(mixture, x):
        del part.feature_names_in_
        part.save(tmp_path / "model.json")
        for other in (load(tmp_path / "model.json"), pickle.loads(pickle.dumps(part))):  # noqa: S301  # our own
            assert_array_equal(other.score_samples(rows), part.score_samples(rows))
            assert_array_equal(other.covariances_, part.covariances_)
            assert not hasattr(other, "result_")
        assert_allclose(part.predict_proba(rows).sum(axis=1), 1)
        assert_allclose(part.to_sklearn().score_samples(rows), part.score_samples(rows), rtol=1e-9)
        assert part.sample(3, random_state=0)[0].shape == (3, 2)
        assert np.isfinite([part.score(rows), part.bic(rows), part.icl(rows)]).all()
        for name in ("result_", "loglik_", "converged_", "n_iter_", "lower_bound_"):
            assert not hasattr(part, name)
        assert part.get_params()["checkpoint"] is None
        assert part.get_params()["means_init"] is None
        part.partial_fit(rows)
        assert part.fit(rows).loglik_ > -np.inf


def test_names_are_saved_with_a_derived_mixture(make_mixture, tmp_path):
    mixture, _ = make_mixture("diag", 3, names=["a", "b", "c"])
    mixture.marginal(["c", "b"]).save(tmp_path / "model.json")
    assert load(tmp_path / "model.json").feature_names_in_.tolist() == ["c", "b"]


def test_a_derived_mixture_shares_nothing_that_can_change(make_mixture):
    mixture, x = make_mixture("spherical", 3)
    for part in derive(mixture, x):
        before = mixture.score(x), mixture.weights_.copy()
        part.weights_[:] = 0
        part.means_[:] = 0
        part.fit(x[:, :2])
        assert mixture.score(x) == before[0]
        assert_array_equal(mixture.weights_, before[1])


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([], "marginal: no column is named"),
        ([3], r"marginal: there is no column 3; columns go by number here, 0 to 2"),
        ([-1], r"there is no column -1"),
        (["z"], r"there is no column 'z'; there are 'a', 'b', 'c'"),
        (["a", 1], r"\['a', 1\] mixes names and numbers of columns"),
        ([0, 0], "column 0 is named twice"),
        ([True, False, True], "True is no column"),
        ([0.0], "0.0 is no column"),
        (None, "None is no column"),
    ],
)
def test_columns_that_cannot_be(make_mixture, columns, message):
    mixture, _ = make_mixture("full", 3, names=["a", "b", "c"])
    with pytest.raises(ValueError, match=message):
        mixture.marginal(columns)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1.0, 2.0], TypeError, "expected a dict of values by column, found list"),
        ({}, ValueError, "condition: no column is named"),
        ({0: 1.0, 1: 1.0, 2: 1.0}, ValueError, "all 3 columns are given"),
        ({5: 1.0}, ValueError, "there is no column 5"),
        ({0: np.nan}, ValueError, "value of column 0 is nan, expected a finite number; leave the column out"),
        ({0: np.inf}, ValueError, "value of column 0 is inf"),
        ({1: "3"}, ValueError, "value of column 1 is '3'"),
        ({1: [3.0]}, ValueError, r"value of column 1 is \[3.0\]"),
        ({0: 1.0, 1: 1e200}, ValueError, r"given 0: 1, 1: 1e\+200, every component has density 0 there"),
    ],
)
def test_conditions_that_cannot_be(make_mixture, structure, given, error, message):
    mixture, _ = make_mixture(structure, 3)
    with pytest.raises(error, match=message):
        mixture.condition(given)


@pytest.mark.parametrize("use", ["marginal", "condition", "predict_given", "cdf", "sf", "quantile", "icl", "entropy"])
def test_nothing_is_used_before_it_is_fitted(use):
    arguments = ([[0.0]], 0) if use == "predict_given" else (0,)
    with pytest.raises(ValueError, match="not fitted"):
        getattr(GaussianMixture(), use)(*arguments)
