"""The kernels of families other than the Gaussian, against the composed path and SciPy."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.special import logsumexp

import textbook_families as textbook
from cases import CASES
from laws import assert_close
from mixtura import MixtureModel
from mixtura.blocks import fold_blocks
from mixtura.families import (
    Bernoulli,
    Beta,
    Categorical,
    Diag,
    Exponential,
    Gamma,
    Gaussian,
    LogNormal,
    Multinomial,
    NegativeBinomial,
    Poisson,
    Product,
    Spherical,
    StudentT,
    Tied,
    VonMises,
    ZeroInflated,
)
from mixtura.families.gamma import GammaParams
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels import layout
from mixtura.kernels.linear import TABLE
from mixtura.kernels.threads import using_threads
from mixtura.models import Mixture, MixtureParams
from mixtura.stats import Forest
from mixtura.values import leaves, same_bits

pytestmark = pytest.mark.usefixtures("kernels")

PARTS = {
    "categorical": 5, "multinomial": 5, "exponential": 4, "poisson": 2, "bernoulli": 8, "beta": 2, "von-mises": 2
}  # fmt: skip
OTHERS = {
    "gamma": Gamma(),
    "log-normal": LogNormal(),
    "log-normal tied": LogNormal(Tied()),
    "log-normal diag": LogNormal(Diag()),
    "student-t": StudentT(),
    "student-t diag": StudentT(Diag()),
    "student-t spherical": StudentT(Spherical()),
    "negative-binomial": NegativeBinomial(),
    "zero-inflated": ZeroInflated(Poisson()),
    "zero-inflated negative-binomial": ZeroInflated(NegativeBinomial()),
}
ALONE = [*PARTS, *OTHERS]
FAMILIES = [*ALONE, "product"]
every_family = pytest.mark.parametrize("name", FAMILIES)
# Rows on both sides of a tile (128) and of a block (1024), components on both sides of four.
SHAPES = [(1, 1), (3, 127), (4, 129), (5, 1025)]


def family_of(name):
    if name != "product":
        return OTHERS[name] if name in OTHERS else CASES[name].model.family
    multinomials = [Multinomial(), Product([Multinomial()], [2])]  # each with a total of its own
    return Product([*(CASES[part].model.family for part in PARTS), *multinomials], [*PARTS.values(), 3, 2])


def rows_of(name, n, rng):
    if name != "product":
        return CASES[name.split(" ")[0]].draw(rng, n)
    more = rng.multinomial(rng.poisson(5, n), [0.2, 0.3, 0.5]), rng.multinomial(rng.poisson(9, n), [0.6, 0.4])
    return np.hstack([*(CASES[part].draw(rng, n) for part in PARTS), *more]).astype(float)


def problem(name, k, n, *, weighted=False):
    """Return a model, parameters that are no fixed point, and rows with zeros among the weights."""
    rng = np.random.default_rng([k, n])
    x, model = rows_of(name, n, rng), Mixture(family_of(name), k)
    weight = rng.gamma(1.0, size=n) if weighted else None
    if weight is not None and n > 1:
        weight[rng.integers(0, n, n // 5)] = 0.0
    blank = model.family.blank(model.family.frame(x.min(axis=0), x.max(axis=0), np.median(x, axis=0)), k)
    some = rows_of(name, 50, rng)
    params, _ = model.from_resp(blank, some, rng.dirichlet(np.full(k, 0.5), len(some)))
    return model, params, Chunk(x, weight)


def fold(model, params, chunk, compiled):
    return fold_blocks(model, params, chunk, compiled=compiled).total()


@every_family
@pytest.mark.parametrize(("k", "n"), SHAPES)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_the_kernel_is_the_composed_path(name, k, n, weighted):
    model, params, chunk = problem(name, k, n, weighted=weighted)
    compiled, composed = (fold(model, params, chunk, way) for way in (True, False))
    np.testing.assert_allclose(compiled.loglik, composed.loglik, rtol=1e-13)
    np.testing.assert_allclose(compiled.weight, composed.weight, rtol=1e-13)
    assert_close(compiled.components, composed.components, rtol=1e-11)


@pytest.mark.parametrize("name", ALONE)
def test_the_log_likelihood_is_that_of_scipy(name):
    model, params, chunk = problem(name, 3, 200)
    found = model.family.attributes(params.components)
    if name == "log-normal tied":
        found["covariances_"] = [found["covariances_"]] * 3
    own = {"zero-inflated negative-binomial": partial(textbook.zero_inflated, of=textbook.negative_binomial)}
    density = (own | textbook.LOG_DENSITY).get(name, textbook.LOG_DENSITY.get(name.split(" ")[0], textbook.poisson))
    expected = logsumexp(density(found, chunk.x) + np.log(params.weights), axis=1)
    np.testing.assert_allclose(model.posterior_rows(params, chunk, "densities").loglik, expected, rtol=1e-11)


@every_family
@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_the_posterior_is_the_composed_one(name, k, n):
    model, params, chunk = problem(name, k, n)
    loglik, resp = model.posterior(params, chunk.x)
    for wanted in ("labels", "densities", "shares"):
        found = model.posterior_rows(params, chunk, wanted)
        np.testing.assert_array_equal(found.labels, resp.argmax(axis=1))
        np.testing.assert_allclose(found.loglik, loglik[: 0 if wanted == "labels" else n], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.resp, resp[: n if wanted == "shares" else 0], rtol=1e-10, atol=1e-14)


@every_family
def test_threads_and_chunks_change_no_bit(name):
    model, params, chunk = problem(name, 3, 5 * BLOCK_ROWS + 100)
    results = []
    for threads, rows in ((1, 10**6), (2, 10**6), (2, BLOCK_ROWS), (1, 2 * BLOCK_ROWS)):
        forest = Forest()
        with using_threads(threads):
            for part in chunk.split(rows):
                forest.merge(fold_blocks(model, params, part, compiled=True))
        results.append(forest.total())
    assert all(same_bits(results[0], other) for other in results[1:])


IMPOSSIBLE = {
    "poisson": (-1.0, 1.5, np.nan),
    "multinomial": (-1.0, 0.5, np.nan),
    "bernoulli": (2.0, -1.0, 0.5, np.nan),
    "categorical": (4.0, -1.0, 1.5, np.nan),
    "exponential": (-0.25, np.inf, np.nan),
    "beta": (0.0, 1.0, -0.5, 1.5, np.inf, np.nan),
    "von-mises": (np.inf, np.nan),
    "gamma": (0.0, -1.0, np.inf, np.nan),
    "log-normal": (0.0, -1.0, np.nan),
    "negative-binomial": (-1.0, 0.5, 1e5 + 0.5, np.inf, -np.inf, np.nan),
    "zero-inflated": (-1.0, 0.5, np.inf, np.nan),
    "student-t": (np.nan,),
    "student-t diag": (np.nan,),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in IMPOSSIBLE.items() for value in values])
def test_no_impossible_value_passes_unseen(name, value):
    model, params, chunk = problem(name, 3, 200)
    x = chunk.x.copy()
    x[150, -1] = value
    assert not np.isfinite(fold(model, params, Chunk(x), compiled=True).loglik)
    fitted = MixtureModel(model.family, 3, max_iter=3, init_params="random_from_data", tol=1e9, random_state=0).fit(
        chunk.x
    )
    for judge in (fitted.predict, fitted.score, fitted.score_samples):
        with pytest.raises(ValueError, match=f"row 150, column {x.shape[1] - 1}"):
            judge(x)


@every_family
def test_no_nan_of_a_parameter_passes_unseen(name):
    model, params, chunk = problem(name, 3, 200)
    weights = params.weights.copy()
    weights[1] = np.nan
    assert np.isnan(fold(model, replace(params, weights=weights), chunk, compiled=True).loglik)
    if name.split(" ")[0] not in ("product", "student-t", "zero-inflated"):
        first = next(f for f, v in vars(params.components).items() if isinstance(v, np.ndarray) and v.ndim > 1)
        poisoned = getattr(params.components, first).copy()
        poisoned[(-1,) * poisoned.ndim] = np.nan
        bad = replace(params, components=replace(params.components, **{first: poisoned}))
        assert np.isnan(fold(model, bad, chunk, compiled=True).loglik)


@pytest.mark.parametrize(
    "family", [Bernoulli(), Categorical(2), Poisson(), Multinomial(), NegativeBinomial()], ids=lambda f: f.name
)
def test_a_probability_of_zero_allows_nothing_and_spoils_nothing(family):
    """The second component never has the second column; the third row has both columns, the last only that."""
    x = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    shapes = {
        "bernoulli": {"probs": np.array([[0.5, 0.25], [1.0, 0.0]])},
        "categorical": {"probs": np.array([[[0.5, 0.5], [0.75, 0.25]], [[0.0, 1.0], [1.0, 0.0]]])},
        "poisson": {"rates": np.array([[0.5, 0.25], [1.0, 0.0]])},
        "multinomial": {"probs": np.array([[0.5, 0.5], [1.0, 0.0]])},
        "negative binomial": {"means": np.array([[0.5, 0.25], [1.0, 0.0]])},
    }
    blank = family.blank(family.frame(x.min(axis=0), x.max(axis=0), x[0]), 2)
    params = MixtureParams(weights=np.array([0.5, 0.5]), components=replace(blank, **shapes[family.name]))
    model = Mixture(family, 2)
    stats = [fold(model, params, Chunk(x), compiled) for compiled in (True, False)]
    assert_close(*(found.components for found in stats), rtol=1e-12)
    assert stats[0].loglik == pytest.approx(stats[1].loglik, rel=1e-12)
    np.testing.assert_array_equal(model.posterior_rows(params, Chunk(x), "shares").resp[2:], [[1, 0], [1, 0]])
    certain = replace(params, weights=np.array([0.0, 1.0]))
    found = model.posterior_rows(certain, Chunk(x), "shares")
    np.testing.assert_array_equal(np.isneginf(found.loglik), np.isneginf(model.posterior(certain, x)[0]))
    np.testing.assert_array_equal(found.resp, [[0, 1]] * 4)
    weights = np.array([1.0, 1.0, 0.0, 0.0]) if family.in_support(9 * x).all() else np.eye(4)[0]  # of possible rows
    weighted = Chunk(x, weights)
    stats = fold(model, certain, weighted, compiled=True)
    assert all(np.isfinite(leaf).all() for leaf in leaves(stats) if leaf.dtype.kind == "f")


def test_large_counts_go_on_where_the_table_ends():
    x = np.array([TABLE - 2, TABLE - 1, TABLE, TABLE + 1, 1e6, 1e15])[:, None].astype(float)
    model = Mixture(Poisson(), 1)
    params = MixtureParams(
        weights=np.ones(1), components=replace(Poisson().blank(Poisson().frame(*x[:3]), 1), rates=x[:1])
    )
    loglik = model.posterior_rows(params, Chunk(x), "densities").loglik
    # at the rate itself the terms cancel: what is left is their rounding
    np.testing.assert_allclose(loglik, model.posterior(params, x)[0], rtol=1e-11)


def test_what_has_the_kernel(monkeypatch):
    narrow = [Poisson(), Bernoulli(), Categorical(3), Multinomial(), Exponential(), Beta(), VonMises()]
    assert all(family.fused(3, 2) for family in [*narrow, Product(narrow), Product([Product(narrow)], [7])])
    assert all(family.fused(3, 2) for family in OTHERS.values())
    assert not any(family.fused(3, 2) for family in (ZeroInflated(Gamma()), Product([Poisson(), Gamma()])))
    assert Multinomial().fused(3, layout.WIDEST)
    assert not Multinomial().fused(3, layout.WIDEST + 1)
    assert not Product([Multinomial(), Poisson()], [layout.WIDEST, 1]).fused(3, layout.WIDEST + 1)


@pytest.mark.parametrize("name", ["gamma", "log-normal", "student-t", "student-t diag"])
def test_sums_are_about_the_pivot_which_need_not_be_the_mean(name):
    model, params, chunk = problem(name, 3, 200)
    vector = model.free(params)
    elsewhere = model.from_free(vector + 0.1, params).components
    normal = getattr(elsewhere, "normal", None)
    pivot = getattr(params.components, "normal", params.components).pivot
    if normal is None:
        moved = replace(elsewhere, pivot=pivot)
    else:
        moved = replace(elsewhere, normal=replace(normal, pivot=pivot))
    params = replace(params, components=moved)
    compiled, composed = (fold(model, params, chunk, way) for way in (True, False))
    assert_close(compiled.components, composed.components, rtol=1e-11)


@pytest.mark.parametrize("name", ["student-t", "student-t diag"])
def test_a_t_of_many_degrees_of_freedom_is_normal(name):
    model, params, chunk = problem(name, 3, 200)
    normal = Mixture(Gaussian(model.family.covariance), 3)
    of_normals = replace(params, components=params.components.normal)
    params = replace(params, components=replace(params.components, dofs=np.full(3, 2.0**30)))
    some = Chunk(chunk.x[np.abs(chunk.x).max(axis=1) < 20])  # far ones have q**2 / dof less
    loglik = model.posterior_rows(params, some, "densities").loglik
    expected = normal.posterior_rows(of_normals, some, "densities").loglik
    np.testing.assert_allclose(loglik, expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(loglik, model.posterior(params, some.x)[0], rtol=1e-13)


@pytest.mark.parametrize("name", ["gamma", "log-normal", "beta", "von-mises"])
def test_narrow_components_keep_their_digits(name):
    """Against the composed path, whose differences are taken before anything is multiplied."""
    rng = np.random.default_rng(0)
    draw = {
        "gamma": lambda mean: rng.gamma(1e10, mean / 1e10, (500, 2)),
        "log-normal": lambda mean: mean * np.exp(1e-5 * rng.normal(size=(500, 2))),
        "beta": lambda mean: rng.beta(1e6 * mean, 1e6 * (1 - mean), (500, 2)),
        "von-mises": lambda mean: rng.vonmises(mean, 1e6, (500, 2)),
    }[name]
    x, model = np.concatenate([draw(0.2), draw(0.7)]), Mixture(family_of(name), 2)
    blank = model.family.blank(model.family.frame(x.min(axis=0), x.max(axis=0), np.median(x, axis=0)), 2)
    params, _ = model.from_resp(blank, x, np.repeat(np.eye(2), 500, axis=0))
    found = model.posterior_rows(params, Chunk(x), "densities").loglik
    np.testing.assert_allclose(found, model.posterior(params, x)[0], rtol=0, atol=2e-9)


def test_gamma_components_with_shapes_small_and_large_in_one_mixture():
    """Whose logarithms are differences, and are not: the kernel takes each component's in its own way."""
    rng, model = np.random.default_rng(0), Mixture(Gamma(), 3)
    shapes, means = np.array([[0.3, 64.0], [64.1, 2.0], [1e6, 1e8]]), np.array([[1.0, 1e-3], [0.5, 2.0], [0.2, 5.0]])
    x = np.concatenate([rng.gamma(shape, mean / shape, (400, 2)) for shape, mean in zip(shapes, means, strict=True)])
    frame = Gamma().frame(x.min(axis=0), x.max(axis=0), np.median(x, axis=0))
    inside = means * frame.scale
    params = MixtureParams(np.full(3, 1 / 3), GammaParams(frame, means=inside, shapes=shapes, pivot=inside))
    compiled, composed = (fold(model, params, Chunk(x), way) for way in (True, False))
    np.testing.assert_allclose(compiled.components.gap, composed.components.gap, rtol=1e-10)  # each, however small
    found = model.posterior_rows(params, Chunk(x), "densities").loglik
    np.testing.assert_allclose(found, model.posterior(params, x)[0], rtol=0, atol=1e-7)


def test_values_far_below_a_mean_are_no_infinity():
    x = np.array([[1e-280], [1e-10], [1.0], [2.0], [1e20]])
    model = Mixture(Gamma(), 2)
    params, _ = model.from_resp(Gamma().blank(Gamma().frame(x[0], x[-1], x[2]), 2), x, np.eye(2)[[0, 1, 0, 1, 1]])
    means = np.array([[1.0], [1e200]])
    params = replace(params, components=replace(params.components, means=means, pivot=means))
    loglik = model.posterior_rows(params, Chunk(x), "densities").loglik
    np.testing.assert_allclose(loglik, model.posterior(params, x)[0], rtol=1e-12)
