"""The compiled E-step against the composed one, and against the loops-only oracle, bit for bit across threads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import naive
from laws import assert_close
from mixtura.blocks import fold_blocks
from mixtura.families import Diag, Full, Gaussian, Spherical, Tied
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels.threads import using_threads
from mixtura.models import Mixture, MixtureParams
from mixtura.sources import ArraySource
from mixtura.stats import Forest
from mixtura.survey import survey
from mixtura.values import leaves, same_bits
from tests.test_simd import needs_compiler

STRUCTURES = {"full": Full(), "tied": Tied(), "diag": Diag(), "spherical": Spherical()}
every_structure = pytest.mark.parametrize("name", STRUCTURES)
# Dimensions on both sides of every padding (2, 4 and 8) and of both kernels (14), rows on both sides of a tile (128)
# and a block (1024).
SHAPES = [
    (1, 1, 1),
    (1, 3, 127),
    (1, 8, 1025),
    (2, 2, 128),
    (3, 5, 129),
    (4, 3, 200),
    (5, 2, 1100),
    (8, 3, 90),
    (9, 4, 130),
    (14, 3, 300),
    (15, 3, 300),
    (16, 2, 129),
    (17, 2, 70),
]


def _problem(
    name: str, d: int, k: int, n: int, weighted: bool = True
) -> tuple[Mixture[Any], MixtureParams[Any], Chunk]:
    """Return a model, parameters that are no fixed point, and rows at an offset with zeros among the weights."""
    rng = np.random.default_rng([d, k, n])
    x = rng.normal(size=(n, d)) * rng.uniform(0.5, 3.0, d) + 100.0
    weight = rng.gamma(1.0, size=n) if weighted else None
    if weight is not None and n > 1:
        weight[rng.integers(0, n, n // 5)] = 0.0
    model = Mixture(Gaussian(STRUCTURES[name], reg_covar=1e-3), k)
    found = survey(ArraySource(x), model.family)
    blank = model.family.blank(model.family.frame(found.low, found.high, found.centre), k)
    params, _ = model.from_resp(blank, x, rng.dirichlet(np.full(k, 0.3), n))
    # Pivots that are not the means, as after a step of the pivot alone.
    theta = params.components
    components = type(theta)(**{**vars(theta), "pivot": theta.means + rng.normal(size=theta.means.shape) * 0.1})
    return model, MixtureParams(weights=params.weights, components=components), Chunk(x, weight)


def _fold(model: Any, params: Any, chunk: Chunk, compiled: bool) -> Any:
    return fold_blocks(model, params, chunk, compiled=compiled).total()


@every_structure
@pytest.mark.parametrize(("d", "k", "n"), SHAPES)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_the_kernel_is_the_composed_path(name, d, k, n, weighted):
    model, params, chunk = _problem(name, d, k, n, weighted)
    compiled, composed = (_fold(model, params, chunk, way) for way in (True, False))
    np.testing.assert_allclose(compiled.loglik, composed.loglik, rtol=1e-13)
    np.testing.assert_allclose(compiled.weight, composed.weight, rtol=1e-13)
    updated = [model.m_step(stats, params)[0] for stats in (compiled, composed)]
    assert_close(*updated, rtol=1e-11)


@every_structure
@pytest.mark.parametrize(("d", "k", "n"), [(1, 3, 70), (3, 2, 130), (5, 3, 65)])
def test_the_kernel_is_the_oracle(name, d, k, n):
    """One update through the kernel gives what loops over exact sums give."""
    model, params, chunk = _problem(name, d, k, n)
    given = model.family.attributes(params.components)
    stats = _fold(model, params, chunk, compiled=True)
    updated, _ = model.m_step(stats, params)
    loglik = naive.gaussian_loglik(chunk.x, params.weights, given["means_"], given["covariances_"], name, chunk.weight)
    weights, means, covariances = naive.gaussian_update(
        chunk.x, params.weights, given["means_"], given["covariances_"], name, chunk.weight, reg_covar=1e-3
    )
    found = model.family.attributes(updated.components)
    np.testing.assert_allclose(stats.loglik, loglik, rtol=1e-12)
    np.testing.assert_allclose(updated.weights, weights, rtol=1e-11)
    np.testing.assert_allclose(found["means_"], means, rtol=1e-11)
    np.testing.assert_allclose(found["covariances_"], covariances, rtol=1e-9, atol=1e-10)


@every_structure
@pytest.mark.parametrize(
    ("d", "k", "n"), [(1, 1, 1), (3, 7, 1025), (8, 8, 127), (9, 9, 129), (13, 17, 70), (2, 16, 128)]
)
def test_the_posterior_is_the_composed_one(name, d, k, n):
    """Components and rows on both sides of the squares of eight in which responsibilities are written."""
    model, params, chunk = _problem(name, d, k, n, weighted=False)
    loglik, resp = model.posterior(params, chunk.x)
    for wanted in ("labels", "densities", "shares"):
        found = model.posterior_rows(params, chunk, wanted)
        np.testing.assert_array_equal(found.labels, resp.argmax(axis=1))
        np.testing.assert_allclose(found.loglik, loglik[: 0 if wanted == "labels" else n], rtol=1e-12)
        np.testing.assert_allclose(found.resp, resp[: n if wanted == "shares" else 0], rtol=1e-11, atol=1e-300)


@every_structure
def test_a_tie_goes_to_the_first_component(name):
    model, params, chunk = _problem(name, 3, 9, 200, weighted=False)
    blank = model.family.blank(params.components.frame, 9)
    found = model.posterior_rows(MixtureParams(weights=np.full(9, 1 / 9), components=blank), chunk, "labels")
    np.testing.assert_array_equal(found.labels, 0)


@needs_compiler  # threads of plain Python take turns
@every_structure
@pytest.mark.parametrize("d", [1, 3])
def test_threads_and_chunks_change_no_bit(name, d):
    model, params, chunk = _problem(name, d, 3, 5 * BLOCK_ROWS + 100)
    results = []
    for threads, rows in ((1, 10**6), (2, 10**6), (2, BLOCK_ROWS), (1, 2 * BLOCK_ROWS)):
        forest: Forest[Any] = Forest()
        with using_threads(threads):
            for part in chunk.split(rows):
                forest.merge(fold_blocks(model, params, part, compiled=True))
        results.append(forest.total())
    assert all(same_bits(results[0], other) for other in results[1:])


@pytest.mark.parametrize("rows", [10**6, BLOCK_ROWS, 4 * BLOCK_ROWS, 6 * BLOCK_ROWS])
@pytest.mark.parametrize("blocks", [1, 2, 3, 7, *(pytest.param(n, marks=needs_compiler) for n in (8, 13))])
def test_the_last_rows_are_one_subtree_and_change_no_bit(blocks, rows):
    model, params, chunk = _problem("diag", 1, 2, blocks * BLOCK_ROWS - 100)
    forest: Forest[Any] = Forest()
    for part in replace(chunk, last=True).split(rows):
        forest.merge(fold_blocks(model, params, part, compiled=True))
    assert same_bits(forest.total(), _fold(model, params, chunk, compiled=True))
    if rows > len(chunk):
        assert len(list(forest.nodes())) == 1


@every_structure
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("where", ["row", "mean", "factor", "weight"])
def test_no_nan_passes_unseen(name, d, where):
    """One NaN in one row or one parameter makes the log-likelihood NaN, whatever the other components say."""
    model, params, chunk = _problem(name, d, 3, 200, weighted=False)
    theta = vars(params.components).copy()
    weights, x = params.weights.copy(), chunk.x.copy()
    if where == "row":
        x[150, d - 1] = np.nan
    elif where == "weight":
        weights[1] = np.nan
    else:
        poisoned = theta["means" if where == "mean" else "factors"].copy()
        poisoned[(-1,) * poisoned.ndim] = np.nan
        theta["means" if where == "mean" else "factors"] = poisoned
    bad = MixtureParams(weights=weights, components=type(params.components)(**theta))
    for compiled in (True, False):
        with np.errstate(invalid="ignore"):
            stats = _fold(model, bad, Chunk(x), compiled)
        assert np.isnan(stats.loglik)
        assert not stats.is_finite()
    assert np.isnan(model.posterior_rows(bad, Chunk(x), "labels").loglik).any()  # labels have no place for a NaN


@every_structure
@pytest.mark.parametrize("d", [1, 3])
def test_an_empty_component_and_a_hopeless_row_of_no_weight_add_nothing(name, d):
    model, params, chunk = _problem(name, d, 3, 150, weighted=False)
    weights = np.array([0.4, 0.0, 0.6])
    params = MixtureParams(weights=weights, components=params.components)
    x = np.vstack([chunk.x, np.full(d, 1e300)])
    weight = np.append(np.ones(150), 0.0)
    with np.errstate(over="ignore"):
        stats = [_fold(model, params, Chunk(x, weight), compiled) for compiled in (True, False)]
    for found in stats:
        assert found.components.s0[1] == 0.0
        assert all(np.isfinite(leaf).all() for leaf in leaves(found) if leaf.dtype.kind == "f")
    np.testing.assert_allclose(stats[0].loglik, stats[1].loglik, rtol=1e-13)


@pytest.mark.parametrize("about", ["means", "other points"])
@pytest.mark.parametrize("d", [1, 3, 8])
def test_spherical_second_moments_keep_their_digits_where_clusters_are_narrow_and_far_apart(d, about):
    rng = np.random.default_rng(d)
    k, n, sigma = 3, 400, 1e-5
    label = rng.integers(0, k, n)
    x = 1e4 * rng.normal(size=(k, d))[label] + sigma * rng.normal(size=(n, d))
    family = Gaussian(Spherical())
    found = survey(ArraySource(x), family)
    blank = family.blank(family.frame(found.low, found.high, found.centre), k)
    resp = np.eye(k)[label]
    params, _ = Mixture(family, k).from_resp(blank, x, resp)
    theta = params.components
    if about == "other points":
        theta = replace(theta, pivot=theta.means + 0.5 / theta.factors[:, None])
    sums = _fold(Mixture(family, k), replace(params, components=theta), Chunk(x), True).components
    gaps = theta.frame.enter(x).astype(np.longdouble)[:, None, :] - theta.pivot
    expected = (resp[:, :, None] * gaps**2).sum(axis=(0, 2))
    np.testing.assert_allclose(sums.s2.sum(axis=1), expected.astype(float), rtol=1e-14)
