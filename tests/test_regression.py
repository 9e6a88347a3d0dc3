"""Regression from a joint fit, row by row against the condition and the textbook."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixtura import GaussianMixture, as_source
from mixtura.grid import BLOCK_ROWS
from textbook import GIVEN, conditional_by_textbook, dense, moments


@pytest.fixture(params=sorted(GIVEN))
def d(request):
    return request.param


def test_regression_is_the_mean_and_spread_of_the_condition(make_mixture, structure, d, path):
    mixture, x = make_mixture(structure, d)
    given = GIVEN[d]
    mean, cov = mixture.predict_given(x[:, given], given, return_cov=True)
    assert mean.shape == (200, d - len(given))
    assert cov.shape == (200, d - len(given), d - len(given))
    for i in range(0, 200, 20):
        _, *textbook = conditional_by_textbook(mixture, given, x[i, given])
        part = mixture.condition(dict(zip(given, x[i, given], strict=True)))
        for parts in (textbook, dense(part)):
            expected_mean, expected_cov = moments(*parts)
            assert_allclose(mean[i], expected_mean, rtol=1e-11, atol=1e-12)
            assert_allclose(cov[i], expected_cov, rtol=1e-11, atol=1e-12)
    again, std = mixture.predict_given(x[:, given], given, return_std=True)
    assert_array_equal(again, mean)
    assert_array_equal(again, mixture.predict_given(x[:, given], given))
    assert_allclose(std, np.sqrt([np.diagonal(c) for c in cov]), rtol=1e-14)


def test_regression_has_the_same_bits_however_rows_are_handed_out(make_mixture, monkeypatch):
    mixture, _ = make_mixture("full", 6)
    x, _ = mixture.sample(3 * BLOCK_ROWS + 100, random_state=0)
    given = [1, 2, 4]
    whole = mixture.predict_given(x[:, given], given, return_cov=True)
    monkeypatch.setattr("mixtura.estimators.regressing.PIECE_VALUES", 4)
    source = as_source([x[:700, given], x[700:701, given], x[701:, given]])
    for a, b in zip(whole, mixture.predict_given(source, given, return_cov=True), strict=True):
        assert_array_equal(a, b)


def test_a_curve_is_learnt_that_no_line_follows():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 20_000)
    y = np.sin(2 * x) + rng.normal(0, 0.1, len(x))
    mixture = GaussianMixture(12, random_state=0, tol=1e-5, max_iter=500).fit(np.column_stack([x, y]))
    grid = np.linspace(-2.7, 2.7, 100)
    mean, std = mixture.predict_given(grid, 0, return_std=True)
    assert np.abs(mean[:, 0] - np.sin(2 * grid)).max() < 0.15
    assert 0.08 < np.median(std) < 0.2


def test_rows_on_a_cluster_are_regressed_on_and_assigned_there(make_mixture):
    da = pytest.importorskip("dask.array")
    mixture, _ = make_mixture("full", 3)
    x, _ = mixture.sample(3 * BLOCK_ROWS, random_state=0)
    rows = da.from_array(x, chunks=(BLOCK_ROWS, 3))
    mean, cov = mixture.predict_given(rows[:, [2, 0]], [2, 0], return_cov=True)
    expected = mixture.predict_given(x[:, [2, 0]], [2, 0], return_cov=True)
    assert_array_equal(mean, expected[0])
    assert_array_equal(cov, expected[1])
    assert_array_equal(mixture.entropy(rows), mixture.entropy(x))
    assert_allclose(mixture.icl(rows), mixture.icl(x), rtol=1e-13)


def test_columns_go_by_name(make_mixture):
    pd = pytest.importorskip("pandas")
    (mixture, x), (unnamed, _) = make_mixture("full", 3, names=["a", "b", "c"]), make_mixture("full", 3)
    table = pd.DataFrame(x, columns=["a", "b", "c"])
    part = mixture.marginal(["c", "a"])
    assert part.feature_names_in_.tolist() == ["c", "a"]
    assert_array_equal(part.score_samples(table[["c", "a"]]), unnamed.marginal([2, 0]).score_samples(x[:, [2, 0]]))
    assert mixture.marginal("b").feature_names_in_.tolist() == ["b"]
    given = mixture.condition({"c": x[0, 2]})
    assert given.feature_names_in_.tolist() == ["a", "b"]
    assert_array_equal(given.means_, mixture.condition({2: x[0, 2]}).means_)
    mean = mixture.predict_given(table[["c"]], "c")
    assert_allclose(mean[0], moments(*dense(given))[0], rtol=1e-12)
    with pytest.raises(ValueError, match="feature names"):
        mixture.predict_given(table[["b"]], "c")


def test_rows_that_cannot_be_regressed_on(make_mixture, path, monkeypatch):
    mixture, x = make_mixture("full", 3)
    rows = x[:, :2].copy()
    with pytest.raises(ValueError, match="all 3 columns are given"):
        mixture.predict_given(x, [0, 1, 2])
    with pytest.raises(ValueError, match="X has 3 features, but GaussianMixture is expecting 2"):
        mixture.predict_given(x, [0, 1])
    with pytest.raises(ValueError, match="at most one of return_std and return_cov"):
        mixture.predict_given(rows, [0, 1], return_std=True, return_cov=True)
    rows[7, 1] = np.nan
    with pytest.raises(ValueError, match="row 7, column 1 is nan"):
        mixture.predict_given(rows, [0, 1])
    rows[7, 1] = -1e200
    with pytest.raises(ValueError, match="row 7: every component has density 0 there"):
        mixture.predict_given(rows, [0, 1])
    rows[7, 1] = x[7, 1]
    many = np.tile(rows, (20, 1))
    many[3007, 0] = np.inf
    monkeypatch.setattr("mixtura.estimators.regressing.PIECE_VALUES", 4)
    with pytest.raises(ValueError, match="row 3007, column 0 is inf"):
        mixture.predict_given(many, [0, 1])
    many[3007, 0] = 1e200
    with pytest.raises(ValueError, match="row 3007: every component"):
        mixture.predict_given(many, [0, 1])
    rows[7, 1] = 1e9
    assert np.isfinite(mixture.predict_given(rows, [0, 1], return_cov=True)[1]).all()
