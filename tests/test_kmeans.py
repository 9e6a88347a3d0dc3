"""K-means: plain loops, scikit-learn from the same start, laws, and what bad input is told."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans as Peer
from sklearn.exceptions import ConvergenceWarning

import naive_kmeans
from laws import assert_close, chunks_change_no_bit, objective_never_falls, resuming_changes_no_bit, weights_are_copies
from mixtura import KMeans, draws, load
from mixtura.acceleration import QuasiNewton
from mixtura.blocks import fold_blocks, posterior_rows
from mixtura.em import drive
from mixtura.exceptions import CollapseWarning, ModelFileError
from mixtura.families import Gaussian, Spherical
from mixtura.frame import Frame
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels.threads import using_threads
from mixtura.model import EventKind
from mixtura.models import kmeans as module
from mixtura.models.kmeans import KMeansParams, Lloyd
from mixtura.result import Status
from mixtura.sources import ArraySource
from mixtura.stats import Stats
from mixtura.values import same_bits
from test_simd import run

PATHS = ("composed", "compiled")
SHAPES = [(1, 1, 1), (300, 1, 3), (517, 2, 5), (2100, 8, 4), (1300, 19, 9), (700, 33, 17)]


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Each path of the E-step in turn, whatever the size of the data."""
    compiled = request.param == "compiled"
    if compiled and not Gaussian().fused(2, 2):
        pytest.skip("this machine does not run the kernels")
    monkeypatch.setattr(module, "COMPILED_WORK", 0 if compiled else 1 << 62)
    return request.param


def clouds(n: int, d: int, k: int, seed: int = 0, separation: float = 2.0) -> Any:
    """Return rows of overlapping clouds, and rows to start from."""
    rng = np.random.default_rng(seed)
    x = separation * rng.normal(size=(k, d))[rng.integers(0, k, n)] + rng.normal(size=(n, d)) + 5.0
    return x, x[rng.choice(n, k, replace=False)]


def framed(x: Any, centers: Any) -> KMeansParams:
    frame = Gaussian(Spherical()).frame(x.min(axis=0), x.max(axis=0), np.median(x, axis=0))
    return KMeansParams.start(frame, frame.enter(centers))


def quiet(n_clusters: int, **options: Any) -> KMeans:
    return KMeans(n_clusters, **{"random_state": 0, **options})


# ---------------------------------------------------------------- against plain loops


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "d", "k"), [(40, 1, 3), (150, 2, 4), (90, 9, 5)])
def test_every_update_is_that_of_plain_loops(n, d, k, weighted, path):
    x, start = clouds(n, d, k)
    weight = np.random.default_rng(1).integers(0, 4, n).astype(float) if weighted else np.ones(n)
    for updates in range(4):
        (found,) = drive(
            ArraySource(x, weight if weighted else None), module.KMeans(k), [framed(x, start)], tol=0.0,
            max_iter=updates, ascent=Lloyd(),
        )  # fmt: skip
        if found.n_iter < updates:
            break
        centers, labels, inertia = naive_kmeans.fit(x.tolist(), weight.tolist(), start.tolist(), updates)
        assert_allclose(found.params.frame.leave(found.params.centers), centers, rtol=1e-13)
        assert_allclose(-found.loglik, inertia, rtol=1e-13)
        assert_array_equal(module.squared_distances(x, np.array(centers)).argmin(axis=1), labels)
    assert updates >= 2 or n == 1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("offset", [0.0, 1e8])  # where the centers cannot be had exactly in the units of the rows
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_the_kernel_is_the_composed_path(n, d, k, offset, dtype, weighted):
    x, start = clouds(n, d, k)
    x, start = (x + offset).astype(dtype), start + offset
    weight = np.random.default_rng(1).random(n) * np.random.default_rng(2).integers(0, 2, n) if weighted else None
    model, params, rows = module.KMeans(k), framed(x.astype(float), start), Chunk(x, weight)
    params = replace(params, centers=params.centers + params.frame.scale / 3)
    composed, compiled = (fold_blocks(model, params, rows, compiled=c).total() for c in (False, True))
    assert_close(composed, compiled, rtol=1e-13)
    distances, shares = model.posterior(params, rows.packed().x)
    found = model.posterior_rows(params, rows, "shares")
    assert_allclose(found.loglik, distances, rtol=1e-13, atol=1e-28)
    assert_array_equal(found.labels, shares.argmax(axis=1))
    assert_array_equal(found.resp, shares)


@pytest.mark.parametrize("order", ["C", "F"])
def test_strides_and_dtypes_change_no_bit(order):
    x, start = clouds(3000, 3, 4)
    x = np.round(x * 8)
    params, model = framed(x, np.round(start * 8)), module.KMeans(4)
    expected = fold_blocks(model, params, Chunk(x), compiled=True).total()
    wide = np.zeros((3000, 6), order=order)
    wide[:, ::2] = x
    for rows in (wide[:, ::2], x.astype(np.int16), np.asarray(x, order=order)):
        assert same_bits(fold_blocks(model, params, Chunk(rows), compiled=True).total(), expected)


UNCOMPILED = """
import numpy as np
from mixtura.grid import Chunk
from mixtura.kernels import lloyd

for kind in (np.float64, np.float32):  # a tile that ends with the rows, and one that is cut short
    for rows in (128, 131):
        x = np.random.default_rng(0).normal(size=(rows, 3)).astype(kind)
        known = np.zeros(3), np.ones(3), x[:2].astype(float)
        ((_, sums),) = lloyd.e_blocks(Chunk(x), *known)
        labels = ((x[:, None] - known[2]) ** 2).sum(axis=2).argmin(axis=1)
        print(int((sums[2:4] - np.bincount(labels)).any()))
"""


def test_uncompiled_which_checks_every_index_the_kernel_does_the_same():
    assert run(UNCOMPILED, NUMBA_DISABLE_JIT="1") == ["0"] * 4


# ---------------------------------------------------------------- near ties


def test_rows_between_clusters_that_are_far_from_the_center_of_the_data_are_told_apart(path):
    """By products, ``z c - |c|^2 / 2`` has lost all digits of the distances of 1 here."""
    rng = np.random.default_rng(0)
    far = np.repeat([0.0, 3e8], 2000)[:, None] * np.ones(3)
    x = far + rng.integers(0, 3, (4000, 1)) + rng.integers(-40, 41, (4000, 3)) / 128
    centers = np.concatenate([[[i, i, i]] for i in (0.0, 1.0, 2.0, 3e8, 3e8 + 1, 3e8 + 2)])
    model, params = module.KMeans(6), framed(x, centers)
    stats = model.e_step(params, x)
    labels = module.squared_distances(x, centers).argmin(axis=1)
    assert_array_equal(stats.s0, np.bincount(labels, minlength=6))
    assert_allclose(-stats.loglik, ((x - centers[labels]) ** 2).sum(), rtol=1e-12)


@pytest.mark.parametrize("columns", [slice(0, 3), slice(6, 8), slice(9, 10)])
def test_rows_whose_scores_float32_puts_in_the_wrong_order_are_told_apart(columns, path):
    """Scores are near 1 here, and differ by less than 1e-7 between centers for many rows."""
    rng = np.random.default_rng(0)
    x, centers = np.zeros((4000, 11)), np.zeros((6, 11))
    x[:, columns] = rng.choice([-1.0, 1.0], (4000, 1)) + rng.uniform(0, 2e-3, (4000, 1))
    centers[:, columns] = np.add.outer([-1.0, 1.0], [0.0, 1e-3, 2e-3]).reshape(6, 1)
    model, params = module.KMeans(6), KMeansParams.start(Frame.identity(11), centers)
    labels = module.squared_distances(x, centers).argmin(axis=1)
    found = posterior_rows(model, params, Chunk(x), compiled=path == "compiled", wanted="labels").labels
    assert_array_equal(found, labels)
    single = (x.astype(np.float32) @ centers.T.astype(np.float32)) - (centers**2).sum(axis=1).astype(np.float32) / 2
    assert (single.argmax(axis=1) != labels).sum() > 10


def test_of_equally_near_centers_the_first_gets_the_row(path):
    x = np.arange(-64, 65)[:, None] * np.ones((1, 2))
    centers = np.array([[64.0, 64.0], [-64.0, -64.0], [64.0, 64.0], [0.0, 0.0], [0.0, 0.0]])
    params = KMeansParams.start(Frame.identity(2), centers)
    labels = np.where(np.abs(x[:, 0]) < 32, 3, np.where(x[:, 0] < 0, 1, 0))
    labels[x[:, 0] == -32] = 1
    assert_array_equal(module.KMeans(5).e_step(params, x).s0, np.bincount(labels, minlength=5))


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e140])
def test_the_unit_does_not_matter(scale, path):
    x, start = clouds(700, 3, 4)
    here, there = (quiet(4, init=start * unit).fit(x * unit) for unit in (1.0, scale))
    assert_array_equal(there.labels_, here.labels_)
    assert_allclose(there.cluster_centers_ / scale, here.cluster_centers_, rtol=1e-12)
    assert_array_equal(there.predict(x * scale), here.predict(x))


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1.0, 1e36])
def test_rows_of_float32_are_those_of_float64(scale, path):
    x, _ = clouds(700, 3, 4)
    single = (np.round(x * 16) * scale).astype(np.float32)
    here, there = (quiet(4, init=single[:4]).fit(rows) for rows in (single, single.astype(np.float64)))
    assert here.cluster_centers_.tobytes() == there.cluster_centers_.tobytes()
    assert here.inertia_ == there.inertia_
    assert_array_equal(here.labels_, there.labels_)


@pytest.mark.parametrize(
    ("centers", "rows", "labels"),
    [
        (
            [0.0, 1.0, 1e25, 1e30, 3e45, 4e45],
            [0.2, 0.9, 3e24, 8e29, 3.4e45, 3.6e45, 1e46, -1e200, 0.5],
            [0, 1, 0, 3, 4, 5, 5, 0, 0],
        ),
        ([0.0, 1e-25, 2e-25, 1.0], [0.6e-25, 1.4e-25, 1.6e-25, 0.4e-25, 0.6, -1.0], [1, 1, 2, 0, 3, 0]),
        ([-1e140, 1e140], [1e155, -1e155, 1e139], [1, 0, 1]),
    ],
)
def test_rows_and_centers_that_float32_cannot_hold_are_told_apart(centers, rows, labels, path):
    model, x = module.KMeans(len(centers)), np.array(rows)[:, None]
    params = KMeansParams.start(Frame.identity(1), np.array(centers)[:, None])
    found = posterior_rows(model, params, Chunk(x), compiled=path == "compiled", wanted="labels").labels
    assert found.tolist() == labels
    assert_array_equal(model.e_step(params, x).s0, np.bincount(labels, minlength=len(centers)))


def test_rows_of_float32_far_from_0_are_compared_where_they_are(path):
    """The origin of the frame, 100000.0117, is none that float32 knows."""
    rng = np.random.default_rng(0)
    single = (1e5 + rng.integers(0, 257, (4000, 2)) / 128).astype(np.float32)
    centers = 1e5 + np.array([[0.5, 0.5], [0.503, 1.0], [1.5, 1.5]])
    frame = Frame.from_range(*np.array([[1e5] * 2, [1e5 + 2] * 2, [1e5 + 0.7 / 60] * 2]), isotropic=True)
    model, params = module.KMeans(3), KMeansParams.start(frame, frame.enter(centers))
    labels = module.squared_distances(single.astype(np.float64), centers).argmin(axis=1)
    found = posterior_rows(model, params, Chunk(single), compiled=path == "compiled", wanted="labels").labels
    assert_array_equal(found, labels)


def test_an_offset_takes_no_digits(path):
    x, start = clouds(4000, 3, 4)
    x, start = np.round(x * 64) / 64, np.round(start * 64) / 64  # so that the shifted rows are exactly these
    options = {"tol": 0.0, "max_iter": 12}
    with pytest.warns(ConvergenceWarning):
        here = quiet(4, init=start, **options).fit(x)
    with pytest.warns(ConvergenceWarning):
        there = quiet(4, init=start + 1e8, **options).fit(x + 1e8)
    assert_array_equal(here.labels_, there.labels_)
    assert_allclose(there.inertia_, here.inertia_, rtol=1e-13)
    assert_allclose(there.cluster_centers_ - 1e8, here.cluster_centers_, atol=2e-8)


# ---------------------------------------------------------------- scikit-learn


@pytest.mark.parametrize("tol", [1e-4, 0.0])
@pytest.mark.parametrize(("n", "d", "k"), [(500, 2, 3), (6000, 5, 8), (3000, 16, 10)])
def test_scikit_learn_from_the_same_start_comes_to_the_same(n, d, k, tol, path):
    x, start = clouds(n, d, k)
    mine, peer = (kind(k, init=start, n_init=1, tol=tol).fit(x) for kind in (KMeans, Peer))
    assert mine.converged_
    assert mine.n_iter_ in (peer.n_iter_, peer.n_iter_ - 1)  # it counts an update that changes nothing
    assert mine.n_iter_ > 3
    assert_allclose(mine.inertia_, peer.inertia_, rtol=1e-12)
    assert_array_equal(mine.labels_, peer.labels_)
    assert_allclose(mine.cluster_centers_, peer.cluster_centers_, rtol=1e-12)
    assert_array_equal(mine.predict(x[::-1]), peer.predict(x[::-1]))
    assert_allclose(mine.transform(x), peer.transform(x), rtol=1e-9)
    assert_allclose(mine.score(x), peer.score(x), rtol=1e-12)


def test_the_tolerance_is_that_of_scikit_learn():
    x, start = clouds(4000, 3, 6)
    x *= 100
    for tol in (1e-1, 1e-2, 1e-3):
        mine, peer = (kind(6, init=100 * start, n_init=1, tol=tol).fit(x) for kind in (KMeans, Peer))
        assert mine.n_iter_ == peer.n_iter_
        assert mine.result_.status is Status.CONVERGED


def test_a_known_truth_is_found_from_rows_far_apart():
    rng = np.random.default_rng(3)
    truth = 8.0 * rng.normal(size=(6, 4))
    labels = rng.integers(0, 6, 5000)
    fit = quiet(6, n_init=3).fit(truth[labels] + rng.normal(size=(5000, 4)))
    nearest = module.squared_distances(truth, fit.cluster_centers_).argmin(axis=1)
    assert_allclose(fit.cluster_centers_[nearest], truth, atol=0.15)
    assert (nearest[labels] == fit.labels_).mean() > 0.999
    assert fit.inertia_ == pytest.approx(5000 * 4, rel=0.03)


# ---------------------------------------------------------------- laws


def test_the_inertia_never_rises_and_the_record_is_that_of_the_updates(path):
    x, start = clouds(3000, 3, 5)
    objective_never_falls(module.KMeans(5), framed(x, start), x)
    fit = quiet(5, init=start).fit(x)
    assert (np.diff(fit.result_.objective) > 0).all()
    assert -fit.result_.objective[-1] == fit.inertia_
    assert len(fit.result_.objective) == fit.n_iter_ + 1


@pytest.mark.parametrize("chunk_rows", [BLOCK_ROWS, 3 * BLOCK_ROWS])
def test_chunks_and_threads_change_no_bit(chunk_rows, path):
    x, start = clouds(9 * BLOCK_ROWS + 77, 3, 5)
    weight = np.random.default_rng(0).random(len(x))
    model, params = module.KMeans(5), framed(x, start)
    compiled = path == "compiled"

    def fold(source):
        return source.fold([lambda chunk: fold_blocks(model, params, chunk, compiled=compiled)])[0]

    chunks_change_no_bit(fold, x, weight, chunk_rows)
    with using_threads(1):
        one = fold(ArraySource(x, weight))
    with using_threads(3):
        assert same_bits(fold(ArraySource(x, weight)), one)


def test_weights_are_copies(path):
    x, start = clouds(800, 3, 4)
    counts = np.random.default_rng(0).integers(0, 4, len(x))
    weights_are_copies(module.KMeans(4), framed(x, start), x, counts)
    weighted = quiet(4, init=start).fit(x, sample_weight=counts)
    copied = quiet(4, init=start).fit(np.repeat(x, counts, axis=0))
    assert weighted.n_iter_ == copied.n_iter_
    assert_allclose(weighted.cluster_centers_, copied.cluster_centers_, rtol=1e-12)
    assert_allclose(weighted.inertia_, copied.inertia_, rtol=1e-12)
    assert_array_equal(np.repeat(weighted.labels_, counts), copied.labels_)
    assert_allclose(weighted.score(x, sample_weight=counts), -weighted.inertia_, rtol=1e-12)


def test_statistics_of_parts_add_travel_and_know_their_pivot():
    x, start = clouds(2000, 2, 3)
    model, params = module.KMeans(3), framed(x, start)
    whole = model.e_step(params, x)
    parts = [Stats.from_bytes(model.e_step(params, part).to_bytes()) for part in (x[:700], x[700:])]
    assert_close(parts[0] + parts[1], whole)
    with pytest.raises(ValueError, match="different pivots"):
        whole + model.e_step(framed(x, start + 1), x)
    with pytest.raises(ValueError, match=r"expected \(n, 2\)"):
        model.e_step(params, x[:, :1])


def test_units_and_turns_change_nothing_but_themselves():
    x, start = clouds(3000, 3, 5)
    here = quiet(5, init=start).fit(x)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned = quiet(5, init=1e-3 * start @ turn).fit(1e-3 * x @ turn)
    assert_array_equal(turned.labels_, here.labels_)
    assert_allclose(turned.inertia_, 1e-6 * here.inertia_, rtol=1e-12)
    other = quiet(5, init=start[::-1]).fit(x)
    assert_array_equal(other.cluster_centers_[::-1], here.cluster_centers_)


def test_what_a_fit_starts_from_follows_the_unit():
    x, _ = clouds(3000, 3, 5)
    for method in ("k-means++", "random"):
        here, there = (quiet(5, init=method, n_init=2).fit(x * scale) for scale in (1.0, 1024.0))
        assert_array_equal(here.cluster_centers_ * 1024, there.cluster_centers_)


def test_what_a_fit_starts_from_is_the_same_for_copies_in_any_order():
    x, _ = clouds(300, 3, 6)
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4, len(x))
    weighted = quiet(6).fit(x, sample_weight=counts)
    copied = quiet(6).fit(rng.permutation(np.repeat(x, counts, axis=0)))
    assert_allclose(weighted.cluster_centers_, copied.cluster_centers_, rtol=1e-12)


def test_resuming_changes_no_bit():
    x, start = clouds(3000, 2, 4)
    resuming_changes_no_bit(module.KMeans(4), framed(x, start), x, None)


# ---------------------------------------------------------------- clusters without rows


def test_a_cluster_without_rows_takes_over_half_of_the_widest(path):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (500, 2)), rng.normal([20, 0], [3, 1], (500, 2))])
    start = np.array([[0.0, 0.0], [20.0, 0.0], [1e3, 0.0]])
    with pytest.warns(
        CollapseWarning, match="cluster 2 has no rows and took over one half of cluster 1 in iteration 1"
    ):
        fit = quiet(3, init=start).fit(x)
    assert fit.converged_
    assert (np.bincount(fit.labels_, minlength=3) > 200).all()
    assert fit.inertia_ < 0.7 * KMeans(2, init=start[:2]).fit(x).inertia_


def test_the_halves_have_the_mean_and_the_spread_of_the_whole():
    """Formula K9: each half of a normal distribution of mean squared distance S is sqrt(2 S / pi d) off."""
    centers = np.arange(12.0).reshape(4, 3)
    params = replace(KMeansParams.start(Frame.identity(3), centers), weights=np.array([0.3, 0.0, 0.5, 0.2]))
    after, events = module.reseed(params, np.array([1.0, 0.0, 6.0, 2.0]), np.array([1]))
    assert [(event.kind, event.component) for event in events] == [(EventKind.RESEED, 1)]
    assert_allclose(after.centers[[1, 2]].mean(axis=0), centers[2])
    assert_allclose(np.linalg.norm(after.centers[1] - after.centers[2]), 2 * np.sqrt(2 * 6.0 / (np.pi * 3)))
    assert_array_equal(after.centers[[0, 3]], centers[[0, 3]])
    assert_allclose(after.weights, [0.3, 0.25, 0.25, 0.2])
    assert (after.reseeds, params.reseeds) == (1, 0)


def test_where_rows_are_few_the_outcome_has_a_name(path):
    x = np.repeat([[0.0, 1.0], [2.0, 3.0]], 5, axis=0)
    with pytest.warns(CollapseWarning, match="has no rows and keeps its place"):
        fit = quiet(4).fit(x)
    assert fit.inertia_ == 0
    assert len(np.unique(fit.labels_)) == 2
    assert np.isfinite(fit.cluster_centers_).all()
    assert fit.converged_


def test_reseeding_ends(path):
    x = np.concatenate([np.zeros((50, 1)), np.full((1, 1), 100.0)])
    with pytest.warns(CollapseWarning):
        fit = quiet(5, init=np.array([[0.0], [1e3], [2e3], [3e3], [4e3]])).fit(x)
    assert fit.inertia_ == 0
    assert fit.n_iter_ < 20


def test_rows_that_are_all_the_same_are_one_cluster():
    fit = quiet(1).fit(np.full((10, 2), 3.25))
    assert fit.cluster_centers_.tolist() == [[3.25, 3.25]]
    assert fit.inertia_ == 0
    assert fit.converged_


# ---------------------------------------------------------------- the estimator


def test_files_give_the_bits_of_memory_and_no_labels(tmp_path):
    x, _ = clouds(5 * BLOCK_ROWS + 3, 3, 4)
    np.save(tmp_path / "x.npy", x)
    here, there = quiet(4).fit(x), quiet(4).fit(tmp_path / "x.npy")
    assert there.cluster_centers_.tobytes() == here.cluster_centers_.tobytes()
    assert there.inertia_ == here.inertia_
    assert not hasattr(there, "labels_")
    assert_array_equal(quiet(4).fit_predict(tmp_path / "x.npy"), here.labels_)
    there.predict_to(tmp_path / "x.npy", tmp_path / "labels.npy")
    written = np.load(tmp_path / "labels.npy")
    assert_array_equal(written["label"], here.labels_)
    assert_allclose(written["distance"], here.transform(x).min(axis=1), rtol=1e-12)
    assert_allclose(there.transform(tmp_path / "x.npy"), here.transform(x))


def test_dask_gives_the_same_clusters():
    da = pytest.importorskip("dask.array")
    dask = pytest.importorskip("dask")
    x, start = clouds(5000, 3, 4)
    weight = np.random.default_rng(0).random(5000)
    here = quiet(4, init=start).fit(x, sample_weight=weight)
    with dask.config.set(scheduler="synchronous"):
        rows = da.from_array(x, chunks=(1700, 3))
        there = quiet(4, init=start).fit(rows, sample_weight=da.from_array(weight, chunks=1700))
        assert_array_equal(there.predict(rows), here.labels_)
        assert_allclose(there.transform(rows), here.transform(x))
    assert_allclose(there.inertia_, here.inertia_, rtol=1e-12)


def test_a_vector_is_one_column_and_a_table_has_names():
    pd = pytest.importorskip("pandas")
    assert sorted(quiet(2).fit([1.0, 2.0, 9.0, 10.0]).cluster_centers_.tolist()) == [[1.5], [9.5]]
    table = pd.DataFrame(clouds(100, 2, 3)[0], columns=["a", "b"])
    table["w"] = 1.0
    fit = quiet(3).fit(table, sample_weight="w")
    assert fit.feature_names_in_.tolist() == ["a", "b"]
    assert fit.get_feature_names_out().tolist() == ["kmeans0", "kmeans1", "kmeans2"]
    named = fit.set_output(transform="pandas").transform(table[["a", "b"]])
    assert named.columns.tolist() == ["kmeans0", "kmeans1", "kmeans2"]


def test_starts_are_rows_centers_or_what_a_function_returns():
    x, start = clouds(500, 2, 3)
    given = quiet(3, init=start, max_iter=0).fit(x)
    assert_allclose(given.cluster_centers_, start, rtol=1e-14)
    assert not given.converged_
    seen = []

    def choose(rows, k, random):
        seen.append((rows.shape, k, random.randint(1)))
        return np.sort(rows, axis=0)[:k]

    chosen = quiet(3, init=choose, n_init=2, max_iter=0).fit(x)
    assert seen == [((500, 2), 3, 0)] * 2
    assert_allclose(chosen.cluster_centers_, np.sort(x, axis=0)[:3], rtol=1e-14)
    for method in ("k-means++", "random"):
        drawn = quiet(3, init=method, max_iter=0).fit(x).cluster_centers_
        assert module.squared_distances(drawn, x).min(axis=1).max() < 1e-24
        assert len(np.unique(drawn, axis=0)) == 3
        assert len(np.unique(quiet(20, init=method, n_init=1, max_iter=0).fit(x[:20]).cluster_centers_, axis=0)) == 20


@pytest.mark.parametrize(("d", "k"), [(1, 2), (8, 5), (19, 40)])
def test_rows_far_apart_are_drawn_alike_by_the_kernel(d, k, monkeypatch):
    if not Gaussian().fused(2, 2):
        pytest.skip("this machine does not run the kernels")
    x, _ = clouds(500, d, k)
    x, weight = np.repeat(x, 2, axis=0), np.random.default_rng(1).random(1000)
    drawn = []
    for work in (1 << 62, 0):
        monkeypatch.setattr(draws, "COMPILED_WORK", work)
        drawn.append(draws.spread_out(x, weight, k, [np.random.default_rng(2)])[0])
        assert len(np.unique(drawn[-1], axis=0)) == k  # a copy of a row that was drawn is at 0 from it
    assert_array_equal(*drawn)


def test_a_start_that_is_the_answer_still_learns_the_shares_of_the_clusters():
    fit = quiet(2, init=[[0.0], [10.0]]).fit([0.0, 0.0, 0.0, 10.0])
    assert fit.cluster_centers_.tolist() == [[0.0], [10.0]]
    assert fit.params_.weights.tolist() == [0.75, 0.25]


def test_the_best_restart_is_kept():
    x, _ = clouds(600, 2, 9, separation=6.0)
    alone = [quiet(9, init="random", n_init=1, random_state=seed).fit(x).inertia_ for seed in range(6)]
    best = quiet(9, init="random").fit(x)
    assert best.inertia_ < np.median(alone)
    assert best.result_.objective[-1] == -best.inertia_


def test_the_result_tells_how_many_restarts_came_to_the_least_inertia(tmp_path):
    x, _ = clouds(600, 2, 5, separation=30.0)
    alone = np.array([quiet(5, init="random", n_init=1, random_state=seed).fit(x).inertia_ for seed in range(6)])
    assert len(np.unique(np.round(alone, 3))) > 1  # there are poor ends
    fit = quiet(5, init="random", n_init=40, tol=0.0).fit(x)
    found = fit.result_.agreement
    assert found.n_restarts == 40 > found.n_agreeing > 1
    seeds = np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=40)
    ends = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rows, weight = draws.put_in_order(*ArraySource(x).sample(1 << 14, rng))
        ends.append(quiet(5, init=draws.draw_rows(rows, weight, 5, [rng])[0], tol=0.0).fit(x).inertia_)
    ends = np.sort(ends)
    others = ends[ends > ends[0] * (1 + 1e-9)]
    assert found.n_agreeing == 40 - len(others)
    assert_allclose(found.gap, (others[0] - ends[0]) / len(x), rtol=1e-6)
    fit.save(tmp_path / "fit.json")
    assert load(tmp_path / "fit.json").result_.agreement == found
    easy = quiet(3, n_init=5).fit(clouds(600, 2, 3, separation=30.0)[0])
    assert (easy.result_.agreement.n_agreeing, easy.result_.agreement.gap) == (5, 0.0)


def test_a_saved_fit_is_the_same_fit(tmp_path):
    x, start = clouds(400, 3, 4)
    fit = quiet(4, init=start).fit(x)
    fit.save(tmp_path / "fit.json")
    for copied in (load(tmp_path / "fit.json"), pickle.loads(pickle.dumps(fit))):  # noqa: S301  # our own
        assert copied.cluster_centers_.tobytes() == fit.cluster_centers_.tobytes()
        assert copied.inertia_ == fit.inertia_
        assert copied.result_.status is fit.result_.status
        assert_array_equal(copied.predict(x), fit.labels_)
    unfinished = quiet(4, init=start, max_iter=0).fit(x)
    unfinished.save(tmp_path / "start.json")
    assert same_bits(load(tmp_path / "start.json").params_, unfinished.params_)
    text = (tmp_path / "fit.json").read_text()
    (tmp_path / "fit.json").write_text(text.replace('"n_clusters": 4', '"n_clusters": 5'))
    with pytest.raises(ModelFileError, match=r"centers: expected shape \(5, 3\), found \(4, 3\)"):
        load(tmp_path / "fit.json")
    assert not hasattr(clone(fit), "cluster_centers_")


def test_a_checkpoint_goes_on_with_the_same_bits(tmp_path):
    x, start = clouds(3000, 2, 5)
    options = {"init": start, "tol": 0.0, "checkpoint": tmp_path / "fit.ckpt"}
    stopped = quiet(5, **options, callback=lambda state: state.iteration == 3).fit(x)
    resumed = quiet(5, **options).fit(x)
    whole = quiet(5, init=start, tol=0.0).fit(x)
    assert stopped.n_iter_ == 3 < resumed.n_iter_
    assert resumed.cluster_centers_.tobytes() == whole.cluster_centers_.tobytes()
    assert_array_equal(resumed.result_.objective, whole.result_.objective)


def test_time_callbacks_and_words(capsys):
    x, start = clouds(3000, 2, 5)
    told: list[Any] = []
    fit = quiet(5, init=start, callback=told.append, verbose=1, verbose_interval=1).fit(x)
    assert [state.iteration for state in told] == list(range(fit.n_iter_ + 1))
    assert f"iteration 1 of at most 300: objective {-told[1].objective:.6f}".replace("objective ", "objective -") in (
        capsys.readouterr().out
    )
    with pytest.warns(ConvergenceWarning, match="time limit"):
        late = quiet(5, init=start, max_time=1e-9).fit(x)
    assert late.result_.status is Status.TIME_LIMIT
    stopped = quiet(5, init=start, callback=lambda state: state.iteration == 2).fit(x)
    assert (stopped.n_iter_, stopped.result_.status) == (2, Status.STOPPED)


def test_a_stream_of_batches_is_followed():
    rng = np.random.default_rng(0)
    stream = quiet(2)
    for _ in range(30):
        stream.partial_fit(np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(6, 1, (100, 2))]))
    order = np.argsort(stream.cluster_centers_[:, 0])
    assert_allclose(stream.cluster_centers_[order], [[0, 0], [6, 6]], atol=0.1)
    assert_allclose(stream.params_.weights[order], [0.75, 0.25], atol=0.01)
    assert stream.n_batches_ == 30
    assert not hasattr(stream, "labels_")
    with pytest.raises(ValueError, match="n_clusters=2, not 3"):
        stream.set_params(n_clusters=3).partial_fit(rng.normal(size=(10, 2)))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "x", "message"),
    [
        ({}, [[0.0, 1.0], [np.nan, 1.0]], "row 1, column 0 is nan"),
        ({}, [[0.0, 1.0], [0.0, np.inf]], "row 1, column 1 is inf"),
        ({}, np.empty((0, 2)), r"0 sample\(s\)"),
        ({"n_clusters": 3}, [[0.0], [1.0]], "n_samples=2 should be >= n_clusters=3"),
        ({"init": [[0.0, 1.0]]}, [[0.0, 1.0], [2.0, 3.0]], r"centers of shape \(1, 2\), expected .* \(2, 2\)"),
        ({"init": [[0.0], [1.0]]}, [[0.0, 1.0], [2.0, 3.0]], r"shape \(2, 1\)"),
        ({"init": [[0.0, 1.0], [np.nan, 1.0]]}, [[0.0, 1.0], [2.0, 3.0]], "init: center 1, column 0 is nan"),
        ({"init": lambda x, k, random: x}, [[0.0], [1.0], [2.0]], r"centers of shape \(3, 1\)"),
        ({"init": "far"}, [[0.0], [1.0]], "'init' parameter"),
        ({"n_clusters": 0}, [[0.0], [1.0]], "'n_clusters' parameter"),
        ({"tol": -1.0}, [[0.0], [1.0]], "'tol' parameter"),
        ({"n_init": 0}, [[0.0], [1.0]], "'n_init' parameter"),
    ],
)
def test_bad_input_is_told(options, x, message):
    estimator = quiet(**{"n_clusters": 2, **options})
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=message):
        estimator.fit(x)
    assert vars(estimator) == before


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_rows_that_cannot_be_are_refused_by_name(method, path):
    fit = quiet(2).fit([[0.0, 1.0], [2.0, 3.0], [9.0, 9.0]])
    with pytest.raises(ValueError, match="row 1, column 1 is nan"):
        getattr(fit, method)([[0.0, 1.0], [0.0, np.nan]])
    assert fit.predict([[1e200, 1e200]]).shape == (1,)


def test_k_means_cannot_be_accelerated():
    x, start = clouds(300, 2, 3)
    with pytest.raises(TypeError, match="KMeans has no free coordinates"):
        drive(ArraySource(x), module.KMeans(3), [framed(x, start)], ascent=QuasiNewton())
