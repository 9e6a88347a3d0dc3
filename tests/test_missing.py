"""Rows that lack values: exact EM on what was observed, for every structure of the covariances."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, stats

import laws
import naive
from compare import assert_close, assert_same_bits
from mixtura import GaussianMixture, MixtureModel, as_source, load
from mixtura.blocks import fold_blocks, posterior_rows
from mixtura.families import Gaussian, Poisson
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels.threads import using_threads
from mixtura.values import same_bits

PLAIN = {"init_params": "kmeans", "acceleration": None}


def without(x, share, seed=0):
    """Return a copy of rows (n, d) that lacks a share of its values, and all of row 3."""
    holes = x.copy()
    holes[np.random.default_rng(seed).random(x.shape) < share] = np.nan
    holes[3] = np.nan
    return holes


@pytest.fixture
def problem(structure, make_case):
    """Rows that lack a fifth of their values, row weights, zeros among them, and a mixture at a start."""
    case = make_case(structure, n=120, d=3, separation=2.0)
    x = without(case.x, 0.2)
    weight = np.random.default_rng(1).gamma(1.0, size=len(x)) * (np.arange(len(x)) % 7 > 0)
    return case, x, weight


@pytest.fixture
def model_at(make_case):
    """Return a model for rows that lack values, its start, and the rows: `model_at(structure, n=, d=, share=)`."""

    def build(structure, n=700, d=4, share=0.25, k=3):
        case = make_case(structure, n=n, d=d, k=k, separation=2.0)
        x = without(case.x, share)
        start = GaussianMixture(**case.start, max_iter=0, reg_covar=0.0).fit(x)
        return start.model_.for_missing(), start.params_, x

    return build


# ---------------------------------------------------------------- against loops, SciPy and complete data


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_an_update_is_that_of_the_loops(problem, weighted, path):
    case, x, weight = problem
    weight = weight if weighted else None
    start = (case.weights, case.means, case.covariances, case.structure)
    fitted = GaussianMixture(**case.start, max_iter=1, tol=0, reg_covar=0, acceleration=None)
    with pytest.warns(match="did not converge"):
        fitted.fit(x, sample_weight=weight)
    weights, means, covariances = naive.missing_update(x, *start, row_weights=weight)
    assert_allclose(fitted.weights_, weights, rtol=1e-10)
    assert_allclose(fitted.means_, means, rtol=1e-10, atol=1e-10)
    assert_allclose(fitted.covariances_, covariances, rtol=1e-9, atol=1e-10)
    loglik = naive.total_loglik(naive.missing_log_joint(x, *start), weight)
    assert_allclose(fitted.result_.objective[0], loglik, rtol=1e-12)


def test_posteriors_are_those_of_the_loops(problem, path):
    case, x, _ = problem
    mixture = GaussianMixture(**case.start, max_iter=0).fit(x)
    joint = naive.missing_log_joint(x, case.weights, case.means, case.covariances, case.structure)
    expected = np.array([naive.log_sum_exp(row) for row in joint])
    assert_allclose(mixture.score_samples(x), expected, rtol=1e-10, atol=1e-10)
    resp = np.array(naive.posterior(joint))
    assert_allclose(mixture.predict_proba(x), resp, rtol=1e-9, atol=1e-12)
    assert_array_equal(mixture.predict(x), resp.argmax(axis=1))
    assert_allclose(mixture.score(x), expected.mean(), rtol=1e-11)
    assert_allclose(mixture.entropy(x), stats.entropy(resp, axis=1), rtol=1e-7, atol=1e-9)
    assert np.isfinite([mixture.bic(x), mixture.aic(x), mixture.icl(x)]).all()


def test_a_row_without_values_says_nothing(problem):
    case, x, _ = problem
    mixture = GaussianMixture(**case.start, max_iter=0).fit(x)
    assert mixture.score_samples(x)[3] == 0.0
    assert_allclose(mixture.predict_proba(x)[3], mixture.weights_, rtol=1e-14)
    assert mixture.n_empty_ == np.isnan(x).all(axis=1).sum() > 0
    assert mixture.n_missing_ == np.isnan(x).sum()
    assert mixture.result_.weight == len(x)


def test_one_component_is_the_maximum_of_the_likelihood_of_what_was_observed():
    """scipy.optimize climbs the same likelihood by gradients that it finds itself."""
    rng = np.random.default_rng(3)
    x = without(rng.multivariate_normal([1.0, -2.0, 0.5], [[1, 0.8, 0], [0.8, 2, 0.5], [0, 0.5, 1]], 80), 0.3)
    kinds, which = np.unique(~np.isnan(x), axis=0, return_inverse=True)
    row, column = np.tril_indices(3)

    def unpack(vector):
        root = np.zeros((3, 3))
        root[row, column] = vector[3:]
        return vector[:3], root @ root.T

    def loss(vector):
        mean, covariance = unpack(vector)
        total = 0.0
        for i, seen in enumerate(kinds):
            gap, part = x[which.ravel() == i][:, seen] - mean[seen], covariance[np.ix_(seen, seen)]
            peak = np.linalg.slogdet(2 * np.pi * part)[1]
            total += (np.einsum("ni,ij,nj->n", gap, np.linalg.inv(part), gap) + peak).sum() / 2
        return total

    begin = np.concatenate([np.nanmean(x, axis=0), np.diag(np.nanstd(x, axis=0))[row, column]])
    found = optimize.minimize(loss, begin, method="BFGS", options={"gtol": 1e-4})
    mean, covariance = unpack(found.x)
    fitted = GaussianMixture(1, reg_covar=0, tol=1e-13, max_iter=500).fit(x)
    assert_allclose(fitted.loglik_, -found.fun, rtol=1e-9)
    assert_allclose(fitted.means_[0], mean, atol=1e-4)
    assert_allclose(fitted.covariances_[0], covariance, atol=1e-3)


def test_a_column_that_is_missing_throughout_a_component_changes_nothing_else(structure, make_case):
    """The density of the others is that of a mixture without the column, and so are their updates."""
    if structure == "spherical":
        pytest.skip("the columns share a variance")
    case = make_case(structure, n=400, d=3, separation=2.0)
    x = case.x.copy()
    x[:-1, 2] = np.nan  # one value is left, of a row of weight 0 but for the look at the columns
    weight = np.ones(400)
    weight[-1] = 1e-12
    start = GaussianMixture(**case.start, max_iter=0, reg_covar=0).fit(case.x)
    narrow = start.marginal([0, 1])
    wide = start.score_samples(x)[:-1]
    assert_allclose(wide, narrow.score_samples(case.x[:-1, :2]), rtol=1e-10)


def test_a_fit_finds_what_it_would_find_without_holes(structure, make_case):
    x = make_case(structure, n=500, d=3, k=2, separation=4.0).x
    options = {"covariance_type": structure, "init_params": "kmeans", "tol": 1e-6, "random_state": 0}
    fitted, complete = (GaussianMixture(2, **options).fit(rows) for rows in (without(x, 0.2), x))
    holes, whole = np.argsort(fitted.means_[:, 0]), np.argsort(complete.means_[:, 0])
    gap = (fitted.means_[holes] - complete.means_[whole]) / x.std(axis=0)
    assert np.abs(gap).max() < 0.1
    assert_allclose(fitted.weights_[holes], complete.weights_[whole], atol=0.02)


# ---------------------------------------------------------------- the kernel


@pytest.mark.parametrize(
    ("d", "n", "share"),
    [(1, 300, 0.3), (3, 1300, 0.3), (8, 400, 0.1), (13, 200, 0.3), (20, 500, 0.5)],
    ids=["1 column", "2 blocks", "8 columns", "13 columns", "more patterns than are remembered"],
)
def test_the_kernel_is_the_composed_path(structure, d, n, share, model_at, kernels):
    model, params, x = model_at(structure, n=n, d=d, share=share, k=4)
    theta = params.components
    params = replace(params, components=replace(theta, pivot=theta.pivot + 0.1))
    weight = np.random.default_rng(5).gamma(1.0, size=n) * (np.arange(n) % 5 > 0)
    rows = Chunk(np.asfortranarray(x), weight)
    compiled, composed = (fold_blocks(model, params, rows, compiled=fast).total() for fast in (True, False))
    assert_allclose(compiled.loglik, composed.loglik, rtol=1e-12)
    updates = [model.m_step(sums, params)[0].components for sums in (compiled, composed)]
    for name in ("means", "covariances"):
        laws.assert_close(*(getattr(update, name) for update in updates), rtol=1e-9)
    fast, slow = (posterior_rows(model, params, rows, compiled=fast, wanted="shares") for fast in (True, False))
    assert_allclose(fast.loglik, slow.loglik, rtol=1e-9, atol=1e-9)
    assert_allclose(fast.resp, slow.resp, rtol=1e-7, atol=1e-9)
    assert_array_equal(fast.labels, slow.labels)


def test_a_pattern_is_not_forgotten_while_a_tile_needs_it(make_case, kernels):
    """All patterns that fit in memory; in the next block the first of them, and in the same tile one too many."""
    from mixtura.kernels.patterns import COLUMN, TABLE_VALUES

    d, k = 20, 4
    panels = -(-d // COLUMN.rows)
    height = COLUMN.rows * (panels * (panels + 1) // 2)
    capacity = TABLE_VALUES // (k * (height * COLUMN.rows + COLUMN.rows * panels + d * d + d + 1))
    assert 32 < capacity < BLOCK_ROWS
    codes = np.random.default_rng(0).choice(1 << d, capacity + 8, replace=False)
    codes = np.concatenate([codes[:capacity], np.resize(codes[:1], BLOCK_ROWS - capacity), codes[:8], codes[capacity:]])
    case = make_case("full", n=len(codes), d=d, k=k, separation=2.0)
    x = np.where(codes[:, None] >> np.arange(d) & 1, np.nan, case.x)
    start = GaussianMixture(**case.start, max_iter=0, reg_covar=0).fit(case.x)
    step = [partial(fold_blocks, start.model_.for_missing(), start.params_, compiled=fast) for fast in (True, False)]
    with using_threads(1):  # one call of the kernel has both blocks
        compiled, composed = (fold(Chunk(x)).total() for fold in step)
    laws.assert_close(compiled.components, composed.components, rtol=1e-9)


def test_threads_and_chunks_change_no_bit(structure, model_at, kernels):
    model, params, x = model_at(structure, n=5 * BLOCK_ROWS + 17, d=3, share=0.2)
    step = partial(fold_blocks, model, params, compiled=True)
    with using_threads(1):
        expected = step(Chunk(x)).total()
    with using_threads(3):
        assert same_bits(step(Chunk(x)).total(), expected)
    for rows in (1, 2 * BLOCK_ROWS, 3 * BLOCK_ROWS):
        laws.chunks_change_no_bit(lambda source: source.fold([step])[0], x, None, rows)
    options = {"compiled": True, "wanted": "shares"}
    parts = [posterior_rows(model, params, part, **options) for part in Chunk(x).split(2 * BLOCK_ROWS)]
    assert same_bits(type(parts[0]).join(parts), posterior_rows(model, params, Chunk(x), **options))


def test_more_columns_than_the_kernel_takes_are_composed():
    model = GaussianMixture(1)._make_model().for_missing()
    assert model.compiles(10**6, 62) == Gaussian().fused(1, 62)
    assert not model.compiles(10**6, 63)


# ---------------------------------------------------------------- laws


def test_the_objective_never_falls(structure, model_at):
    model, params, x = model_at(structure)
    weight = np.random.default_rng(5).gamma(1.0, size=len(x))
    laws.objective_never_falls(model, params, x, weight, updates=15)


def test_stats_of_parts_add_to_those_of_the_whole(structure, model_at):
    model, params, x = model_at(structure)
    laws.stats_add(model, params, x, np.random.default_rng(5).gamma(1.0, size=len(x)), [0, 5, 300])
    laws.row_order_is_rounding(model, params, x, None, np.random.default_rng(2).permutation(len(x)))
    laws.weights_are_copies(model, params, x, np.random.default_rng(3).integers(0, 4, len(x)))


@settings(max_examples=5, deadline=None)
@given(chunk_rows=st.integers(1, 3 * BLOCK_ROWS))
def test_chunks_change_no_bit(chunk_rows):
    rng = np.random.default_rng(0)
    x = without(rng.normal(size=(3 * BLOCK_ROWS + 13, 3)) @ rng.normal(size=(3, 3)), 0.2)
    start = GaussianMixture(2, max_iter=0, init_params="random_from_data", random_state=0).fit(x[:200])
    step = partial(fold_blocks, start.model_.for_missing(), start.params_, compiled=False)
    laws.chunks_change_no_bit(lambda source: source.fold([step])[0], x, None, chunk_rows)


def test_resuming_changes_no_bit(structure, model_at):
    model, params, x = model_at(structure)
    laws.resuming_changes_no_bit(model, params, x, None)


def test_a_pivot_far_away_changes_no_digit(structure, model_at):
    """What the offset of a completion is for: parameters whose moments are not taken about the means."""
    model, params, x = model_at(structure)
    theta = params.components
    moved = replace(params, components=replace(theta, pivot=theta.pivot + 0.3))
    expected, _ = model.m_step(model.e_step(params, x), params)
    found, _ = model.m_step(model.e_step(moved, x), moved)
    laws.assert_close(found.components.means, expected.components.means, rtol=1e-11)
    laws.assert_close(found.components.covariances, expected.components.covariances, rtol=1e-10)


def test_fits_commute_with_affine_maps(structure, make_case):
    case = make_case(structure, n=300, d=3, separation=2.0)
    x = without(case.x, 0.2)
    scale, shift = (np.full(3, 40.0) if structure == "spherical" else np.array([1e-3, 40.0, 3e5])), [5.0, -1e4, 1e8]
    options = {"covariance_type": structure, "reg_covar": 0, "tol": 1e-14, "max_iter": 300}
    plain = GaussianMixture(1, **options).fit(x)
    moved = GaussianMixture(1, **options).fit(x * scale + shift)
    assert_allclose((moved.means_ - shift) / scale, plain.means_, rtol=1e-6, atol=1e-6)
    assert_allclose(moved.loglik_, plain.loglik_ - (~np.isnan(x)).sum(axis=0) @ np.log(scale), rtol=1e-8)


def test_complete_rows_are_fitted_as_ever(structure, make_case):
    """The model for rows that lack values gives the same sums where none does, and such rows have the same bits."""
    case = make_case(structure, n=300, d=3)
    fitted = GaussianMixture(**case.start, max_iter=0).fit(case.x)
    assert fitted.n_missing_ == fitted.n_empty_ == 0
    model = fitted.model_.for_missing()
    laws.assert_close(model.e_step(fitted.params_, case.x), fitted.model_.e_step(fitted.params_, case.x))
    holes = without(case.x, 0.1)
    complete = ~np.isnan(holes).any(axis=1)
    assert_array_equal(fitted.predict_proba(holes)[complete], fitted.predict_proba(case.x)[complete])


# ---------------------------------------------------------------- what else a fit does


def test_a_fit_goes_on_from_a_checkpoint_with_the_same_bits(tmp_path, structure, make_case):
    x = without(make_case(structure, n=300, d=2, separation=1.0).x, 0.2)
    options = {"covariance_type": structure, "n_components": 2, "random_state": 0, "tol": 1e-6, "init_params": "kmeans"}
    whole = GaussianMixture(**options).fit(x)
    path = tmp_path / "fit.ckpt"
    with pytest.warns(match="did not converge"):
        GaussianMixture(**options, checkpoint=path, max_time=1e-9).fit(x)
    resumed = GaussianMixture(**options, checkpoint=path).fit(x)
    assert_same_bits(resumed, whole)
    assert resumed.n_missing_ == whole.n_missing_


def test_a_saved_mixture_predicts_with_the_same_bits(tmp_path, structure, make_case):
    x = without(make_case(structure, n=300, d=3).x, 0.2)
    fitted = GaussianMixture(3, covariance_type=structure, init_params="kmeans", random_state=0).fit(x)
    fitted.save(tmp_path / "model.json")
    loaded = load(tmp_path / "model.json")
    assert_array_equal(loaded.predict_proba(x), fitted.predict_proba(x))
    assert_array_equal(loaded.score_samples(x), fitted.score_samples(x))
    assert loaded.score(x) == fitted.score(x)
    assert (loaded.n_missing_, loaded.n_empty_) == (fitted.n_missing_, fitted.n_empty_) != (0, 0)


def test_batches_may_lack_values(make_case):
    rng = np.random.default_rng(0)
    stream = GaussianMixture(2, random_state=0)
    for _ in range(12):
        batch = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(8, 1, (300, 2))])
        stream.partial_fit(without(batch, 0.2, seed=rng))
    assert_allclose(np.sort(stream.means_, axis=0), [[0, 0], [8, 8]], atol=0.2)
    assert stream.n_missing_ > 200


def test_a_vector_may_lack_values():
    x = np.array([1.0, 2.0, np.nan, 4.0, 5.0])
    fitted = GaussianMixture(1, reg_covar=0, tol=1e-14).fit(x)
    assert_allclose([fitted.means_[0, 0], fitted.covariances_[0, 0, 0]], [3.0, 2.5], rtol=1e-6)
    assert (fitted.n_missing_, fitted.n_empty_) == (1, 1)


def test_weights_of_zero_hide_nothing(make_case):
    """A row of weight 0 that lacks values does not count, and makes no NaN."""
    x = make_case("full", n=200, d=3).x
    holes, weight = x.copy(), np.ones(200)
    holes[7, 1], weight[7] = np.nan, 0.0
    fitted = GaussianMixture(2, random_state=0, **PLAIN).fit(holes, sample_weight=weight)
    assert_close(fitted, GaussianMixture(2, random_state=0, **PLAIN).fit(np.delete(x, 7, axis=0)))


def test_tables_with_nulls(make_case):
    pd = pytest.importorskip("pandas")
    x = without(make_case("full", n=200, d=2).x, 0.2)
    table = pd.DataFrame(x, columns=["a", "b"])
    fitted = GaussianMixture(2, random_state=0).fit(table)
    assert_same_bits(fitted, GaussianMixture(2, random_state=0).fit(x))
    assert_array_equal(fitted.predict(table.convert_dtypes()), fitted.predict(table))


# ---------------------------------------------------------------- imputation


def test_imputed_are_the_means_of_the_loops(problem, path):
    case, x, _ = problem
    mixture = GaussianMixture(**case.start, max_iter=0).fit(x)
    resp = naive.posterior(naive.missing_log_joint(x, case.weights, case.means, case.covariances, case.structure))
    expected = np.zeros_like(x)
    for j, mean in enumerate(case.means):
        matrix = naive.covariance_matrix(case.covariances, case.structure, j, 3)
        for i, row in enumerate(x):
            expected[i] += resp[i][j] * np.array(naive.missing_completion(row, mean, matrix)[0])
    filled = mixture.impute(x)
    assert_allclose(filled, expected, rtol=1e-9, atol=1e-9)
    assert_array_equal(filled[~np.isnan(x)], x[~np.isnan(x)])
    assert_allclose(filled[3], mixture.weights_ @ mixture.means_, rtol=1e-10)


def test_draws_have_the_conditional_mean_and_covariance(structure, make_mixture):
    mixture, x = make_mixture(structure, 3, k=2)
    row = x[:1].copy()
    row[0, 1:] = np.nan
    draws = mixture.impute(np.repeat(row, 2000, axis=0), draws=2, random_state=1)
    assert draws.shape == (2, 2000, 3)
    assert (draws[..., 0] == row[0, 0]).all()
    values = draws.reshape(-1, 3)[:, 1:]
    mean, covariance = mixture.predict_given(row[:, :1], 0, return_cov=True)
    spread = np.sqrt(np.diag(covariance[0]))
    assert (np.abs(values.mean(axis=0) - mean[0]) < 4 * spread / np.sqrt(4000)).all()
    unit = np.outer(spread, spread)
    assert_allclose(np.cov(values.T) / unit, covariance[0] / unit, atol=0.1)  # four standard errors
    assert_allclose(mixture.impute(row)[:, 1:], mean, rtol=1e-9)


def test_draws_are_decided_by_the_random_state_alone(make_mixture):
    mixture, x = make_mixture("full", 3)
    x = without(np.repeat(x, 8, axis=0), 0.3)
    once, again, other = (mixture.impute(x, draws=1, random_state=seed) for seed in (0, 0, 1))
    assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    pieces = as_source([x[:1024], x[1024:]])
    assert_array_equal(mixture.impute(pieces, draws=1, random_state=0), once)
    assert_array_equal(mixture.impute(pieces), mixture.impute(x))
    with pytest.raises(ValueError, match="draws is 0, expected a whole number from 1"):
        mixture.impute(x, draws=0)
    x[5, 0] = np.inf
    with pytest.raises(ValueError, match="infinity: row 5, column 0"):
        mixture.impute(x)


# ---------------------------------------------------------------- bad input


def test_a_column_without_values_is_named(fitted_state):
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"all values of column 1 are missing"):
        GaussianMixture(2).fit(x)
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=r"all values of column 'mass' are missing.*leave it out"):
        GaussianMixture(2).fit(pd.DataFrame(x, columns=["height", "mass", "age"]))
    x[4, 1] = 1.0
    with pytest.raises(ValueError, match="column 1"):
        GaussianMixture(2).fit(x, sample_weight=np.arange(50) != 4)


def test_infinity_is_an_error_beside_missing_values():
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[2, 0], x[7, 1] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"infinity: row 7, column 1"):
        GaussianMixture(2).fit(x)
    fitted = GaussianMixture(2, random_state=0).fit(np.delete(x, 7, axis=0))
    for rows in (x, np.nan_to_num(x, nan=0.0, posinf=np.inf)):
        with pytest.raises(ValueError, match=r"infinity: row 7, column 1"):
            fitted.bic(rows)
    with pytest.raises(ValueError, match=r"infinity: row 7, column 1"):
        fitted.predict(x)
    with pytest.raises(ValueError, match=r"infinity: row 7, column 1"):
        fitted.score(x)


def test_families_that_have_no_use_for_such_rows_refuse_them():
    x = np.random.default_rng(0).poisson(3.0, (50, 2)).astype(float)
    x[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN: row 7, column 1"):
        MixtureModel(Poisson(), 2).fit(x)


def test_a_gaussian_of_mixture_model_takes_them():
    x = without(np.random.default_rng(0).normal(size=(100, 2)), 0.2)
    fitted = MixtureModel(Gaussian(), 1).fit(x)
    assert_allclose(fitted.means_, GaussianMixture(1, reg_covar=0).fit(x).means_, rtol=1e-12)


def test_stats_of_rows_that_lack_values_can_be_taken_by_hand(model_at):
    model, params, x = model_at("full")
    whole = model.e_step(params, Chunk(x))
    assert_allclose(float(whole.loglik), model.posterior(params, x)[0].sum(), rtol=1e-12)
