"""Fits of one column by cells: the same fit as by all rows, in a few passes."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from benchmarks.compress import largest_error, make_rows
from mixtura import GaussianMixture, Histogram, as_source
from mixtura.acceleration import QuasiNewton
from mixtura.cells import BUCKETS, STEP, Cells, compress, widths
from mixtura.compression import Compressed
from mixtura.em import evaluate, observe
from mixtura.exceptions import CollapseWarning
from mixtura.families import Full, Gaussian
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.init import Starts, start
from mixtura.kernels.simd import has_fma
from mixtura.kernels.threads import using_threads
from mixtura.models import Mixture
from mixtura.sources import ArraySource
from mixtura.survey import survey

has_kernel = pytest.mark.skipif(not has_fma(), reason="this processor has no fused multiply-add")


def drawn(n, seed=0, means=(0.0, 3.0, 7.0), sds=(1.0, 0.5, 1.5)):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(means), n)
    return np.array(means)[labels] + np.array(sds)[labels] * rng.normal(size=n)


def cells_of(x, sds=0.5, most_weight=None):
    low, high = float(x.min()), float(x.max())
    widest = widths(low, high, np.array([np.median(x)]), np.array([sds]))
    return Cells.over(low, high, widest, most_weight or float(len(x)))


def in_order(mixture):
    order = np.argsort(mixture.means_[:, 0])
    variances = np.broadcast_to(np.ravel(mixture.covariances_), len(order))
    return mixture.weights_[order], mixture.means_[order, 0], variances[order]


def pair(k, x, sample_weight=None, updates=40, **options):
    """Return the fit by cells, and the maximum by all rows that is near it, found from beside it."""
    options = {"random_state": 0, "reg_covar": 0.0, **options}
    by_cells = GaussianMixture(k, compress=True, **options).fit(x, sample_weight=sample_weight)
    beside = {
        "weights_init": by_cells.weights_,
        "means_init": by_cells.means_ + 0.01 * np.sqrt(in_order(by_cells)[2].min()),
        "precisions_init": 1.02 * by_cells.precisions_,
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Best performing")
        rows = GaussianMixture(k, **{**options, **beside, "tol": 0.0, "max_iter": updates})
        by_rows = rows.fit(x, sample_weight=sample_weight)
    assert by_rows.lower_bounds_[0] < by_rows.lower_bound_ - 1e-6
    return by_cells, by_rows


def assert_same_fit(by_cells, by_rows, rtol=1e-6):
    (w, m, v), (w2, m2, v2) = in_order(by_cells), in_order(by_rows)
    assert_allclose(w, w2, rtol=rtol)
    assert_allclose(m, m2, rtol=rtol, atol=rtol * np.sqrt(v2.max()))
    assert_allclose(v, v2, rtol=rtol)
    assert_allclose(by_cells.loglik_, by_rows.loglik_, rtol=1e-11)


# ---------------------------------------------------------------- the sums of cells


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_those_of_loops(weighted):
    x = drawn(300)
    w = np.random.default_rng(1).gamma(1.0, size=300) if weighted else np.ones(300)
    cells = cells_of(x, most_weight=300 * w.max())
    expected = np.zeros((len(cells), 4))
    for value, weight in zip(x, w, strict=True):
        place = (value - cells.low) * cells.scale
        bucket = min(int(place), BUCKETS - 1)
        first, parts = cells.buckets[bucket]
        part = min(int((place - bucket) * parts), int(parts) - 1)
        u = 2 * ((place - bucket) * parts - part) - 1
        expected[int(first) + part] += weight * u ** np.arange(4)
    found = cells.tally(Chunk(x[:, None], w if weighted else None), compiled=False)
    assert_allclose(found, expected, atol=300 * w.max() * 2.0**-50 * 300)


@has_kernel
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_kernel_has_the_bits_of_the_composed_sums(dtype, weighted):
    x = drawn(3 * BLOCK_ROWS + 5).astype(dtype)
    x[7], x[-1] = np.nan, x.max() if weighted else x[-1]
    w = np.random.default_rng(1).gamma(1.0, size=len(x)) * (np.arange(len(x)) % 5 > 0) if weighted else None
    cells = cells_of(x[np.isfinite(x)].astype(np.float64), most_weight=len(x) * (1.0 if w is None else w.max()))
    chunk = Chunk(x[:, None], w)
    assert_array_equal(cells.tally(chunk, compiled=True), cells.tally(chunk, compiled=False))


@has_kernel
@pytest.mark.parametrize("weighted", [False, True])
def test_no_order_no_cut_and_no_thread_changes_a_bit(weighted):
    x = drawn(40 * BLOCK_ROWS + 77)[:, None]
    w = np.random.default_rng(1).gamma(1.0, size=len(x)) if weighted else None
    cells = cells_of(x, most_weight=len(x) * (1.0 if w is None else w.max()))
    whole = cells.tally(Chunk(x, w), compiled=True)
    for threads in (1, 3):
        with using_threads(threads):
            assert_array_equal(cells.tally(Chunk(x, w), compiled=True), whole)
    order = np.random.default_rng(2).permutation(len(x))
    assert_array_equal(cells.tally(Chunk(x[order], None if w is None else w[order]), compiled=True), whole)
    values = [
        compress(ArraySource(x, w, chunk_rows=rows), cells, compiled=compiled).x
        for rows, compiled in ((BLOCK_ROWS, True), (9 * BLOCK_ROWS, False), (1 << 20, True))
    ]
    assert_array_equal(values[0], values[1])
    assert_array_equal(values[0], values[2])


def test_the_values_have_the_moments_of_the_rows():
    x = drawn(20_000)
    cells = cells_of(x)
    source = compress(ArraySource(x[:, None]), cells, compiled=False)
    values, weight = source.x[:, 0], source.weight
    for power in range(4):
        assert_allclose(weight @ values**power, (x**power).sum(), rtol=1e-9)
    # And in each cell: the distribution function differs by one cell at most.
    assert values.min() >= x.min()
    assert values.max() <= x.max()
    width = cells.widths().max()
    at = np.linspace(-3, 9, 50)
    below = np.array([weight[values <= t].sum() for t in at])
    assert (below <= [(x <= t + width).sum() + 1e-6 for t in at]).all()
    assert (below >= [(x <= t - width).sum() - 1e-6 for t in at]).all()


def test_two_values_in_a_cell_are_kept_as_they_are():
    x = np.repeat([0.0, 0.3, 1.0], [2, 5, 1])
    cells = Cells.over(0.0, 1.0, np.full(2, 1.0), 8.0)
    source = compress(ArraySource(x[:, None]), cells, compiled=False)
    order = np.argsort(source.x[:, 0])
    assert_allclose(source.x[order, 0], [0, 0.3, 1, 1], atol=1e-12)
    assert_allclose(source.weight[order], [2, 5, 0.5, 0.5])


def test_cells_are_narrow_where_a_narrow_component_reaches():
    widest = widths(0.0, 1.0, np.array([0.5, 0.25]), np.array([0.3, 1e-5]))
    wide = Cells.over(0.0, 1.0, widest, 1.0).widths()
    edges = np.linspace(0, 1, BUCKETS + 1)
    near = (edges[1:] > 0.25 - 1e-4) & (edges[:-1] < 0.25 + 1e-4)
    assert (wide[near] <= STEP * 1e-5).all()
    assert (wide <= STEP * 0.3).all()
    assert near.sum() < 4
    assert_allclose(wide[~near], 1 / BUCKETS)


# ---------------------------------------------------------------- the fit


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_the_fit_is_that_of_all_rows(structure):
    by_cells, by_rows = pair(3, drawn(10_000), covariance_type=structure)
    assert_same_fit(by_cells, by_rows)
    assert by_cells.converged_
    assert by_cells.result_.n_passes <= 3


def test_weights_count():
    x = drawn(6000)
    w = np.random.default_rng(3).integers(0, 4, 6000)
    by_cells, by_rows = pair(3, x, sample_weight=w)
    assert_same_fit(by_cells, by_rows)
    copies = GaussianMixture(3, compress=True, random_state=0, reg_covar=0.0).fit(np.repeat(x, w))
    assert_same_fit(by_cells, copies)


@pytest.mark.parametrize(("scale", "shift"), [(1e-9, 0.0), (1e6, 1e9)])
def test_units_and_offsets_do_not_matter(scale, shift):
    by_cells, by_rows = pair(3, drawn(10_000) * scale + shift)
    assert_same_fit(by_cells, by_rows)


def test_the_default_regularisation_is_that_of_all_rows():
    assert_same_fit(*pair(3, drawn(10_000), reg_covar="auto"))


def test_missing_values_are_passed_over():
    x = drawn(8000)
    x[::3] = np.nan
    by_cells, by_rows = pair(3, x)
    assert_same_fit(by_cells, by_rows)
    assert by_cells.n_empty_ == len(x[::3])


@has_kernel
def test_by_the_kernel():
    by_cells, by_rows = pair(4, drawn(1 << 18, means=(0, 3, 6, 9.5), sds=(1, 0.5, 1.5, 0.7)))
    assert_same_fit(by_cells, by_rows)


def test_far_outliers_do_not_ruin_it():
    x = np.concatenate([drawn(8000), np.random.default_rng(5).standard_cauchy(300) * 100, [3e6, -1e7]])
    by_cells, by_rows = pair(5, x)
    assert_same_fit(by_cells, by_rows, rtol=1e-5)


def test_a_narrow_cluster_among_wide_ones():
    x = np.concatenate([drawn(8000), np.random.default_rng(5).normal(5.0, 1e-4, 800)])
    by_cells, by_rows = pair(4, x)
    assert_same_fit(by_cells, by_rows)


def test_cells_are_cut_anew_where_a_component_became_narrow(monkeypatch):
    import mixtura.compression as module

    made = []
    over = module.Cells.over
    monkeypatch.setattr(module.Cells, "over", lambda *args: made.append(over(*args)) or made[-1])
    # Too few for the sample's k-means to see them, and for these starts the narrowest component of all.
    x = np.concatenate([drawn(50_000), np.random.default_rng(5).normal(20.0, 1e-3, 10)])
    begin = {"weights_init": [0.3, 0.3, 0.39, 0.01], "means_init": [[0.0], [3.0], [7.0], [20.0]]}
    by_cells, by_rows = pair(4, x, precisions_init=[[[1.0]], [[4.0]], [[0.5]], [[1e4]]], **begin)
    assert_same_fit(by_cells, by_rows)
    assert len(made) in (1, 2)
    assert made[-1].widths().min() <= 4 * STEP * 1e-3


def test_whole_numbers_and_constant_values():
    x = np.random.default_rng(0).poisson(np.repeat([4.0, 30.0], 5000)).astype(np.int16)
    assert_same_fit(*pair(2, x))
    with pytest.warns(CollapseWarning):
        constant = GaussianMixture(1, compress=True, reg_covar=0.0).fit(np.full(50, 3.5))
    assert constant.means_[0, 0] == 3.5


def test_the_last_passes_are_over_the_rows():
    x = drawn(20_000)
    told = []
    with observe(lambda state: told.append(state.loglik)):
        fitted = GaussianMixture(3, compress=True, random_state=0).fit(x)
    assert told[-1] == fitted.loglik_
    assert len(told) == fitted.result_.n_passes
    assert_allclose(fitted.loglik_, fitted.score_samples(x).sum(), rtol=1e-12)
    one = GaussianMixture(3, compress=True, random_state=0, max_iter=0).fit(x)
    assert one.result_.n_passes == 1
    assert_allclose(one.means_, fitted.means_, rtol=1e-6, atol=1e-6)


def test_one_pass_over_the_rows_tells_that_nothing_is_left_to_gain():
    x = make_rows(100_000)
    fitted = GaussianMixture(5, compress=True, reg_covar=0, random_state=0, tol=1e-12).fit(x)
    assert fitted.converged_
    assert fitted.result_.n_passes == 1
    assert largest_error(fitted, x) < 1e-6


def test_where_values_stand_badly_for_the_rows_the_first_pass_finds_it_out(monkeypatch):
    """With every value moved by a tenth, the rows are to take the means back; what was learnt must not hide that."""
    import mixtura.compression as module

    def moved(*args, **options):
        values = compress(*args, **options)
        return ArraySource(values.x + 0.1, values.weight)

    monkeypatch.setattr(module, "compress", moved)
    by_cells, by_rows = pair(3, drawn(20_000), tol=1e-12, max_iter=200)
    assert by_cells.result_.n_passes > 3
    assert_same_fit(by_cells, by_rows, rtol=1e-4)


def test_what_comes_out_is_the_maximum_by_all_rows_whatever_the_tolerance():
    """By the Newton step that is left, on components so much alike that fits by rows stop far from it."""
    x = make_rows(100_000)
    fitted = GaussianMixture(5, compress=True, reg_covar=0, random_state=0).fit(x)
    assert largest_error(fitted, x) < 1e-6


def test_the_best_end_goes_on():
    source = ArraySource(drawn(4000, means=(0, 30, 60, 90), sds=(1, 1, 1, 1))[:, None])  # EM crosses no such gap
    model = Mixture(Gaussian(Full()), 4)
    found = survey(source, model.family)
    compressed = Compressed.of(source, model, found)
    draws = [np.random.default_rng(seed) for seed in range(6)]
    starts = [start(source, model, found, "random_from_data", rng) for rng in draws]

    def loglik(params):
        return evaluate(source, model, params).loglik

    ends = [loglik(compressed.advance(Starts([begin]), 1e-3, QuasiNewton()).params) for begin in starts]
    assert max(ends) - min(ends) > 1, "the starts must not lead to one optimum"
    best = compressed.advance(Starts(starts), 1e-3, QuasiNewton())
    assert_allclose(loglik(best.params), max(ends), rtol=1e-12)
    near = np.array(ends) > max(ends) - 1e-3 * 4000
    below = (max(ends) - max(np.array(ends)[~near])) / 4000
    assert (best.agreement.n_restarts, best.agreement.n_agreeing) == (6, near.sum())
    assert_allclose(best.agreement.gap, below, rtol=1e-3)  # of rows and of what stands for them


def test_what_happens_to_components_on_the_cells_is_told():
    x = np.concatenate([drawn(4000), np.full(40, 12.0)])
    with pytest.warns(CollapseWarning, match="dropped"):
        fitted = GaussianMixture(5, compress=True, random_state=0, reg_covar=0.0, on_collapse="drop").fit(x)
    assert len(fitted.weights_) < 5
    assert fitted.result_.n_passes <= 3
    assert_allclose(fitted.loglik_, fitted.score_samples(x).sum(), rtol=1e-12)


def test_a_survey_finds_the_largest_weight():
    x, w = drawn(3000)[:, None], np.ones(3000)
    w[2500] = 7.5
    assert survey(ArraySource(x, w, chunk_rows=BLOCK_ROWS), Gaussian()).heaviest == 7.5
    assert survey(ArraySource(x), Gaussian()).heaviest == 1.0


def test_bins_are_fitted_to_their_own_maximum():
    counts, edges = np.histogram(drawn(20_000), np.arange(-6.0, 14.0, 1.5))
    bins = Histogram(edges, counts)
    begun, plain = (GaussianMixture(3, compress=by, random_state=0, tol=1e-10).fit(bins) for by in (True, False))
    assert_allclose(begun.loglik_, plain.loglik_, atol=1e-4)
    # What was learnt on values that stand for the bins says nothing of theirs.
    assert GaussianMixture(3, compress=True, random_state=0, tol=0.5).fit(bins).result_.n_passes == 2


def test_restarts_and_warm_starts():
    x = drawn(20_000)
    fitted = GaussianMixture(3, compress=True, random_state=0, n_init=3, init_params="random_from_data").fit(x)
    assert fitted.result_.n_passes <= 3
    again = fitted.set_params(warm_start=True).fit(x)
    assert again.result_.n_passes <= 3
    assert_allclose(np.sort(again.means_[:, 0]), [0, 3, 7], atol=0.1)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_files_change_no_bit(threads, tmp_path):
    x = drawn(50_000)
    np.save(tmp_path / "x.npy", x[:, None])
    options = {"compress": True, "random_state": 0}
    whole = GaussianMixture(3, **options).fit(x)
    other = GaussianMixture(3, n_threads=threads, **options).fit(tmp_path / "x.npy")
    assert_array_equal(other.means_, whole.means_)
    pieces = GaussianMixture(3, n_threads=threads, **options).fit(lambda: iter(np.array_split(x[:, None], 7)))
    assert_array_equal(pieces.covariances_, whole.covariances_)


def test_a_cluster_counts_too():
    da = pytest.importorskip("dask.array")
    x = drawn(30_000)[:, None]
    options = {"compress": True, "random_state": 0, "reg_covar": 0.0}
    there = GaussianMixture(3, **options).fit(as_source(da.from_array(x, chunks=(7000, 1))))
    assert_same_fit(there, GaussianMixture(3, **options).fit(x))


def test_a_checkpoint_goes_on_with_the_same_bits(tmp_path):
    x, path = drawn(20_000), tmp_path / "fit.ckpt"
    options = {"n_components": 3, "compress": True, "random_state": 0, "tol": 1e-14}
    whole = GaussianMixture(**options).fit(x)
    GaussianMixture(**options, checkpoint=path, callback=lambda state: True).fit(x)
    resumed = GaussianMixture(**options, checkpoint=path).fit(x)
    assert_array_equal(resumed.means_, whole.means_)
    assert_array_equal(resumed.result_.objective, whole.result_.objective)


def test_several_columns_are_refused():
    with pytest.raises(ValueError, match="compress=True is for one column, X has 3: fit without it"):
        GaussianMixture(2, compress=True).fit(np.random.default_rng(0).normal(size=(50, 3)))
    with pytest.raises(ValueError, match="row 3, column 0 is inf"):
        GaussianMixture(1, compress=True).fit([0.0, 1.0, 2.0, np.inf])
    with pytest.raises(ValueError, match="'compress' parameter"):
        GaussianMixture(1, compress="yes").fit([0.0, 1.0, 2.0])
