"""Leaving out what is negligible changes nothing: the same fits with it and without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mixtura.blocks import fold_blocks
from mixtura.em import drive
from mixtura.families import Full, Gaussian
from mixtura.grid import Chunk
from mixtura.kernels import gaussian_narrow
from mixtura.models import Mixture, MixtureParams
from mixtura.models import mixture as mixture_module
from mixtura.sources import ArraySource
from mixtura.values import same_bits

UPDATES = 50
K, N = 6, 6000
PROBLEMS = ("separated", "overlapping", "far start", "narrow start", "tiny weights", "unequal determinants")


def clusters(d: int, separation: float, spread: Any = 1.0, seed: int = 0) -> tuple[Any, Any]:
    """Return rows of clusters of these standard deviations, and the means."""
    rng = np.random.default_rng([d, seed])
    means = separation * rng.standard_normal((K, d))
    labels = rng.integers(0, K, N)
    return means[labels] + rng.standard_normal((N, d)) * np.broadcast_to(spread, K)[labels, None], means


def problem(name: str, d: int) -> tuple[Any, Any, Any]:
    """Return rows, weights, and means to start from."""
    rng = np.random.default_rng(d)
    if name == "separated":
        x, means = clusters(d, 4.0)
        return x, None, means + 0.3 * rng.standard_normal(means.shape)
    if name == "overlapping":
        x, means = clusters(d, 0.3)
        return x, None, means + 0.3 * rng.standard_normal(means.shape)
    if name == "far start":
        x, means = clusters(d, 1.0)
        start = means + 0.1 * rng.standard_normal(means.shape)
        start[0] += 17.0 / np.sqrt(d)  # beyond what is negligible for every row, but not beyond all numbers
        return x, None, start
    if name == "narrow start":
        x, means = clusters(d, 0.5)
        return 7.0 * x, None, 7.0 * means  # the unit covariances of the start are too narrow: bounds say little
    if name == "tiny weights":
        x, means = clusters(d, 3.0)
        return x, np.where(rng.random(N) < 0.5, 1e-12, 1.0), means
    x, means = clusters(d, 2.0, spread=[0.03, 0.1, 0.3, 1.0, 3.0, 10.0])  # determinants down to 1e-93 of the largest
    return x, None, means


def fit(model: Any, x: Any, weight: Any, means: Any) -> Any:
    blank = model.family.blank(model.family.frame(x.min(axis=0), x.max(axis=0), np.median(x, axis=0)), K)
    theta = model.family.with_means(blank, means)
    theta = model.family.with_precisions(theta, np.tile(np.eye(x.shape[1]), (K, 1, 1)))
    start = MixtureParams(weights=np.full(K, 1 / K), components=theta)
    (result,) = drive(ArraySource(x, weight), model, [start], tol=0.0, max_iter=UPDATES)
    return result


@pytest.mark.parametrize("d", [16, 37])
@pytest.mark.parametrize(
    "name", ["separated", "overlapping", "far start", "narrow start", "tiny weights", "unequal determinants"]
)
def test_fits_are_the_same_with_and_without(name, d, kernels, monkeypatch):
    assert d > gaussian_narrow.WIDEST  # else nothing is left out
    x, weight, means = problem(name, d)
    model = Mixture(Gaussian(Full(), reg_covar=1e-9), K)
    found = fit(model, x, weight, means)
    monkeypatch.setattr(mixture_module, "NEGLIGIBLE", 0.0)
    expected = fit(model, x, weight, means)
    assert found.n_iter == expected.n_iter
    np.testing.assert_allclose(found.loglik, expected.loglik, rtol=1e-12)
    np.testing.assert_allclose(found.params.weights, expected.params.weights, rtol=1e-12, atol=1e-300)
    for field in ("means", "covariances"):
        one, other = (getattr(result.params.components, field) for result in (found, expected))
        scale = np.abs(other).max(axis=tuple(range(1, other.ndim)), keepdims=True)
        np.testing.assert_allclose(one / scale, other / scale, rtol=0, atol=1e-12)
    if name == "far start":
        assert found.n_passes > expected.n_passes  # the pass in which the component had next to nothing was repeated


def test_pairs_are_left_out_indeed(kernels):
    """Separated clusters: one pass that may leave out, and one that may not, differ, but in nothing that counts."""
    x, _, means = problem("separated", 24)
    model = Mixture(Gaussian(Full()), K)
    params = fit(model, x, None, means).params
    sparse, dense = (
        fold_blocks(model, MixtureParams(params.weights, params.components, way), Chunk(x), compiled=True).total()
        for way in (True, False)
    )
    assert (sparse.negligible, dense.negligible) == (mixture_module.NEGLIGIBLE, 0.0)
    assert not same_bits(sparse.components, dense.components)
    np.testing.assert_allclose(sparse.components.s0, dense.components.s0, rtol=1e-15)


@pytest.mark.parametrize("where", ["row", "mean", "factor"])
def test_no_nan_is_left_out(where, kernels):
    """A NaN in the last column, which the bounds do not see, of a component that no row is near to."""
    x, _, means = problem("separated", 24)
    model = Mixture(Gaussian(Full()), K)
    params = fit(model, x, None, means).params
    theta, x = vars(params.components).copy(), x.copy()
    if where == "row":
        x[4321, -1] = np.nan
    else:
        name = "means" if where == "mean" else "factors"
        theta[name] = theta[name].copy()
        theta[name][(-1,) * theta[name].ndim] = np.nan
    poisoned = MixtureParams(params.weights, type(params.components)(**theta))
    assert np.isnan(fold_blocks(model, poisoned, Chunk(x), compiled=True).total().loglik)
