"""Hard input that must fit: constant and duplicate data, extreme offsets and scales, as many components as rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixtura import GaussianMixture
from mixtura.exceptions import CollapseWarning
from mixtura.families import Gaussian
from mixtura.sources import ArraySource
from mixtura.survey import LOOK_VALUES, survey

GOOD = np.random.default_rng(0).standard_normal((60, 3))

fits = pytest.mark.filterwarnings(  # a floor or an early stop is reported, and right
    "ignore::mixtura.exceptions.CollapseWarning", "ignore::sklearn.exceptions.ConvergenceWarning"
)


def assert_finite(model, x):
    """Find every parameter and every prediction finite, and the weights summing to 1."""
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert np.isfinite(getattr(model, name)).all(), name
    assert model.weights_.sum() == pytest.approx(1.0)
    assert np.isfinite(model.loglik_)
    assert np.isfinite(model.score_samples(x)).all()
    assert np.isfinite(model.predict_proba(x)).all()
    assert np.linalg.norm(model.predict_proba(x).sum(axis=1) - 1) < 1e-9


def clumps(d=3):
    """Return 200 rows in two clumps 10 sigma apart, and which clump each row is in."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 100)
    return rng.standard_normal((200, d)) + 10.0 * labels[:, None], labels


HARD = {
    "constant column": np.column_stack([GOOD, np.full(60, 3.25)]),
    "constant column at 1e8": np.column_stack([GOOD, np.full(60, 1e8 + 0.1)]),
    "all columns constant": np.full((60, 3), 0.1),
    "all zero": np.zeros((60, 3)),
    "two columns the same": np.column_stack([GOOD, GOOD[:, 0]]),
    "few distinct rows": np.repeat(GOOD[:3], 20, axis=0),
    "half the rows the same": np.concatenate([GOOD[:30], np.repeat(GOOD[:1], 30, axis=0)]),
    "as many rows as components": GOOD[:2],
    "two identical rows": np.repeat(GOOD[:1], 2, axis=0),
    "fewer rows than columns": np.random.default_rng(2).standard_normal((4, 9)),
    "integers": np.random.default_rng(3).integers(-3, 4, size=(60, 2)),
    "booleans": np.random.default_rng(4).integers(0, 2, size=(60, 2)).astype(bool),
    "offset 1e8": GOOD + 1e8,
    "offset 1e15": GOOD + 1e15,
    "scale 1e-150": GOOD * 1e-150,
    "scale 1e150": GOOD * 1e150,
    "one column 1e150, another 1e-150": GOOD * [1e150, 1.0, 1e-150],
    "near the smallest normal": GOOD * 1e-305,
    "float32 at its largest": (GOOD * 1e37).astype(np.float32),
    "float32 at its smallest": (GOOD * 1e-37).astype(np.float32),
}


# So few rows take the composed path: from the default start, a search. Kernels bear such rows from one start as well.
START_OF_PATH = {"composed": "auto", "compiled": "kmeans"}


@fits
@pytest.mark.parametrize("reg_covar", [1e-6, 0.0])
@pytest.mark.parametrize("what", HARD)
def test_hard_data_fit(what, structure, path, reg_covar):
    assert_fits(what, START_OF_PATH[path], covariance_type=structure, reg_covar=reg_covar)


@fits
@pytest.mark.parametrize("what", HARD)
def test_hard_data_fit_where_the_search_has_the_kernel(what, kernels):
    assert_fits(what, "auto", reg_covar=0.0)


def assert_fits(what, init_params, **options):
    x = HARD[what]
    model = GaussianMixture(2, init_params=init_params, random_state=0, **options).fit(x)
    if what != "near the smallest normal":  # there a precision exceeds the largest number: only some hold
        assert_finite(model, x)
    assert np.isfinite(model.means_).all()
    assert not np.isnan(model.predict_proba(x)).any()


@fits
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
@pytest.mark.parametrize("what", ["few distinct rows", "all zero", "as many rows as components"])
def test_hard_data_fit_from_every_start(what, init_params, structure):
    x = HARD[what]
    model = GaussianMixture(2, covariance_type=structure, init_params=init_params, random_state=0).fit(x)
    assert_finite(model, x)


@fits
@pytest.mark.parametrize("reg_covar", [1e-6, 0.0])
def test_more_components_than_distinct_rows(structure, path, reg_covar):
    x = np.repeat([[0.0, 1.0], [1.0, 0.0]], 10, axis=0)
    model = GaussianMixture(5, covariance_type=structure, reg_covar=reg_covar, random_state=0).fit(x)
    assert_finite(model, x)


@fits
@pytest.mark.parametrize("k", [1, 2, 7])
def test_as_many_components_as_rows(structure, k):
    x = GOOD[: max(k, 2)]
    assert_finite(GaussianMixture(k, covariance_type=structure, random_state=0).fit(x), x)


@fits
@pytest.mark.parametrize(
    "x",
    [np.where(np.arange(60)[:, None] == 7, 1e300, GOOD), GOOD * 1e-310, GOOD * 1e200],
    ids=["1e300", "subnormal", "1e200"],
)
def test_the_impossible_fits_or_is_refused_in_words(x, structure, path, fitted_state):
    model = GaussianMixture(2, covariance_type=structure, random_state=0)
    try:
        model.fit(x)
    except ValueError as error:
        assert "column" in str(error).lower()
        assert fitted_state(model) == {}
    else:
        assert np.isfinite(model.means_).all()
        assert not np.isnan(model.covariances_).any()
        assert not np.isnan(model.predict_proba(x)).any()


def test_a_floor_is_reported_by_component_and_iteration():
    x = np.concatenate([GOOD[:30], np.full((30, 3), 50.0)])
    with pytest.warns(CollapseWarning, match=r"(?s)component \d.*iteration \d"):
        model = GaussianMixture(2, reg_covar=0, init_params="kmeans", random_state=0).fit(x)
    assert model.result_.events
    assert_finite(model, x)


def test_a_constant_column_changes_nothing_else(structure):
    if structure == "spherical":
        pytest.skip("one variance for all columns: a constant column counts in it")
    x, labels = clumps(2)
    wide = np.column_stack([x, np.full(200, 5.0)])
    plain = GaussianMixture(2, covariance_type=structure, random_state=0).fit(x)
    model = GaussianMixture(2, covariance_type=structure, random_state=0).fit(wide)
    order = np.argsort(model.means_[:, 0]), np.argsort(plain.means_[:, 0])
    assert_allclose(model.means_[order[0], :2], plain.means_[order[1]], rtol=1e-6)
    assert_allclose(model.means_[:, 2], 5.0, rtol=1e-15)
    agreement = np.mean(model.predict(wide) == labels)
    assert max(agreement, 1 - agreement) == 1.0


@fits
@pytest.mark.parametrize("exponent", [-498, 498])
def test_a_power_of_two_scales_every_parameter_exactly(structure, path, exponent):
    x, _ = clumps()
    options = {"covariance_type": structure, "reg_covar": 0, "random_state": 0}
    plain = GaussianMixture(2, **options).fit(x)
    scaled = GaussianMixture(2, **options).fit(np.ldexp(x, exponent))
    order = np.argsort(scaled.means_[:, 0]), np.argsort(plain.means_[:, 0])
    assert_allclose(np.ldexp(scaled.means_, -exponent)[order[0]], plain.means_[order[1]], rtol=1e-12)
    covariances = scaled.covariances_ if structure == "tied" else scaled.covariances_[order[0]]
    expected = plain.covariances_ if structure == "tied" else plain.covariances_[order[1]]
    assert_allclose(np.ldexp(np.ldexp(covariances, -exponent), -exponent), expected, rtol=1e-10, atol=1e-14)


# ---------------------------------------------------------------- offsets


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("offset", "dtype"), [(1.7e9, np.float64), (1e4, np.float32), (1e8, np.float64)])
def test_unit_variance_at_an_offset(structure, path, d, offset, dtype):
    n = 5_000
    x = (offset + np.random.default_rng(6).standard_normal((n, d))).astype(dtype)
    model = GaussianMixture(1, covariance_type=structure, reg_covar=0).fit(x)
    exact = np.cov((x.astype(np.float64) - offset).T, bias=True).reshape(d, d)
    variances = np.diag(exact)
    got = np.asarray(model.covariances_).reshape(-1)
    expected = {"full": exact, "tied": exact, "diag": variances, "spherical": variances.mean()}[structure]
    assert_allclose(got, np.ravel(expected), rtol=1e-9, atol=1e-9)  # all digits of the rounded data ...
    assert np.abs(variances - 1).max() < 5 * np.sqrt(2 / n)  # ... whose variance is 1 within sampling error
    assert_allclose(model.means_.ravel(), x.mean(axis=0, dtype=np.float64), rtol=1e-14)


@pytest.mark.parametrize(("offset", "dtype"), [(1.7e9, np.float64), (1e4, np.float32)])
def test_two_clumps_of_unit_variance_at_an_offset(structure, path, offset, dtype):
    rng = np.random.default_rng(7)
    n = 5_000
    labels = np.arange(n) % 2
    x = (offset + 12.0 * labels[:, None] + rng.standard_normal((n, 2))).astype(dtype)
    model = GaussianMixture(2, covariance_type=structure, random_state=0).fit(x)
    variances = (
        np.diagonal(model.covariances_, axis1=-2, axis2=-1) if structure in ("full", "tied") else model.covariances_
    )
    assert np.abs(variances - 1).max() < 5 * np.sqrt(2 / (n / 2))
    assert_allclose(np.sort(model.means_[:, 0]) - offset, [0, 12], atol=5 / np.sqrt(n / 2))
    assert_allclose(model.weights_, 0.5, atol=1e-6)


@pytest.mark.parametrize("chunk_rows", [1 << 10, 1 << 17], ids=["of many chunks", "of many looks at one"])
def test_a_bad_value_is_named_far_from_the_first_row(chunk_rows):
    x = np.random.default_rng(0).normal(size=(2 * LOOK_VALUES, 2))
    x[-5, 1] = np.nan
    with pytest.raises(ValueError, match=f"row {len(x) - 5}, column 1 is nan"):
        survey(ArraySource(x, chunk_rows=chunk_rows), Gaussian())
