"""Distribution function and quantiles of a mixture on the line, against the error function, quadrature and laws."""

import math
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixtura import GaussianMixture
from mixtura.models.univariate import Univariate

SHAPES = {
    "one": ([1.0], [3.0], [2.0]),
    "overlap": ([0.3, 0.7], [0.0, 1.5], [1.0, 0.5]),
    "gap": ([0.5, 0.5], [-1e3, 1e3], [1.0, 1.0]),
    "needle": ([0.2, 0.8], [0.1, 0.0], [1e-7, 3.0]),
    "faint": ([1e-12, 1 - 1e-12], [-50.0, 0.0], [1.0, 1.0]),
    "wide": ([0.4, 0.3, 0.3], [0.0, 0.0, 5.0], [1e-3, 1.0, 1e3]),
}
Q = np.concatenate([
    [5e-324, 1e-300, 1e-100, 1e-20, 1e-12], np.linspace(0.001, 0.999, 333), [0.5, np.nextafter(0.5, 1)],
    1 - np.array([1e-6, 1e-12, 2.0**-53]),
])  # fmt: skip


def line(weights, means, sds, structure="full", offset=0.0):
    """Return a mixture of one column with these parameters."""
    precisions = 1 / np.square(sds)
    shape = {"full": (-1, 1, 1), "tied": (1, 1), "diag": (-1, 1), "spherical": (-1,)}[structure]
    mixture = GaussianMixture(
        len(weights),
        covariance_type=structure,
        weights_init=weights,
        means_init=np.reshape(means, (-1, 1)) + offset,
        precisions_init=precisions.reshape(shape),
        max_iter=0,
    )
    return mixture.fit(np.linspace(np.min(means) - np.max(sds), np.max(means) + np.max(sds), 50) + offset)


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


def lower_tail(x, weights, means, sds):
    parts = zip(weights, means, sds, strict=True)
    return math.fsum(w / 2 * math.erfc((m - x) / s / math.sqrt(2)) for w, m, s in parts)


def upper_tail(x, weights, means, sds):
    return lower_tail(-x, weights, [-m for m in means], sds)


def test_both_tails_are_those_of_the_error_function(shape):
    mixture = line(*shape)
    _, means, sds = shape
    x = np.concatenate([m + s * np.linspace(-36, 36, 145) for m, s in zip(means, sds, strict=True)])
    assert_allclose(mixture.cdf(x), [lower_tail(v, *shape) for v in x], rtol=1e-11)
    assert_allclose(mixture.sf(x), [upper_tail(v, *shape) for v in x], rtol=1e-11)
    assert mixture.cdf(x).min() < 1e-250
    assert mixture.sf(x).min() < 1e-250


def test_the_distribution_is_the_integral_of_the_density():
    mixture = line(*SHAPES["overlap"])
    edges = np.linspace(-8, 8, 33)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for a, b in pairwise(edges):
        x = (a + b) / 2 + (b - a) / 2 * nodes
        integral = (b - a) / 2 * weights @ np.exp(mixture.score_samples(x))
        assert_allclose(mixture.cdf(b) - mixture.cdf(a), integral, rtol=0, atol=1e-14)


def test_quantiles_invert_both_tails(shape):
    x = line(*shape).quantile(Q)
    _, means, sds = shape
    # A share is reached to 1e-12, or within the last bits of the value where the density is a needle.
    for q, v in zip(Q, x, strict=True):
        tail, p, away = (lower_tail, q, -1) if q <= 0.5 else (upper_tail, 1 - q, 1)
        slack = 8 * np.spacing(max(abs(v), *np.abs(means)))
        if p > 1e-307:
            assert tail(v + away * slack, *shape) <= p * (1 + 1e-12)
            assert tail(v - away * slack, *shape) >= p * (1 - 1e-12)
        else:
            assert v < np.min(means) - 30 * np.min(sds)


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_distribution_and_quantile_are_inverse(structure):
    weights, means, _ = SHAPES["overlap"]
    sds = [0.8] if structure == "tied" else [1.0, 0.5]
    mixture = line(weights, means, sds, structure)
    assert_allclose(mixture.cdf(mixture.quantile(Q[1:])), Q[1:], rtol=1e-12)
    x = np.linspace(-5, 4, 400)
    assert_allclose(mixture.quantile(mixture.cdf(x)), x, rtol=0, atol=1e-12)


def test_one_component_is_the_textbook_normal():
    mixture, normal = line(*SHAPES["one"]), NormalDist(3, 2)
    q = np.linspace(0.001, 0.999, 50)
    assert_allclose(mixture.quantile(q), [normal.inv_cdf(p) for p in q], rtol=1e-13)
    x = np.linspace(-10, 15, 50)
    assert_allclose(mixture.cdf(x), [normal.cdf(v) for v in x], rtol=0, atol=1e-15)


def test_quantiles_never_fall(shape):
    mixture = line(*shape)
    near_half = 0.5 + np.arange(-200, 200) * 2.0**-54
    rng = np.random.default_rng(0)
    q = np.sort(np.concatenate([Q, near_half, rng.random(2000), 10.0 ** -rng.uniform(0, 300, 500)]))
    assert (np.diff(mixture.quantile(q)) >= 0).all()
    turned = rng.permutation(len(q))
    assert_array_equal(mixture.quantile(q[turned]), mixture.quantile(q)[turned])


def test_steps_are_few_even_between_components(shape, monkeypatch):
    steps = []
    density = Univariate._density
    monkeypatch.setattr(Univariate, "_density", lambda self, z: steps.append(len(z)) or density(self, z))
    line(*shape).quantile(np.concatenate([Q, 0.5 + np.arange(-200, 200) * 2.0**-54]))
    assert len(steps) < 2 * 120  # two tails; bisection alone takes some 50 to 100


def test_an_offset_costs_no_more_than_its_last_bit():
    near, far = line(*SHAPES["overlap"]), line(*SHAPES["overlap"], offset=2.0**27)
    x = np.arange(-64, 64) / 16
    assert_allclose(far.cdf(x + 2.0**27), near.cdf(x), rtol=1e-11)
    assert_allclose(far.quantile(Q) - 2.0**27, near.quantile(Q), rtol=0, atol=2.0**-25)


def test_quantiles_of_a_draw():
    mixture = line(*SHAPES["overlap"])
    x = np.sort(mixture.sample(100_000, random_state=0)[0][:, 0])
    assert np.abs(mixture.cdf(x) - (np.arange(100_000) + 0.5) / 100_000).max() < 1.95 / math.sqrt(100_000)  # 0.1 %


def test_the_ends_are_infinite(shape):
    mixture = line(*shape)
    assert_array_equal(mixture.quantile([0.0, 1.0]), [-np.inf, np.inf])
    assert_array_equal(mixture.cdf([-np.inf, np.inf]), [0, 1])
    assert_array_equal(mixture.sf([-np.inf, np.inf]), [1, 0])
    assert_array_equal(mixture.cdf([-1e300, 1e300]), [0, 1])


def test_a_component_without_weight_counts_for_nothing():
    mixture = line([1.0, 0.0], [0.0, -1e6], [1.0, 1.0])
    assert_allclose(mixture.quantile([1e-9, 0.5]), [NormalDist().inv_cdf(1e-9), 0], atol=1e-9)


def test_shapes_are_kept():
    mixture = line(*SHAPES["overlap"])
    for values in (0.25, [0.25, 0.5], [[0.25], [0.5]], np.full((2, 3, 1), 0.25), np.empty((0, 1))):
        for function in (mixture.cdf, mixture.sf, mixture.quantile):
            got = function(values)
            assert np.shape(got) == np.shape(values)
            assert_array_equal(got, function(np.ravel(values)).reshape(np.shape(values)))


def test_a_column_of_several_is_taken_by_its_marginal():
    mixture = GaussianMixture(2, random_state=0).fit(np.random.default_rng(0).normal(size=(100, 3)))
    part = mixture.marginal(1)
    expected = [lower_tail(v, part.weights_, part.means_[:, 0], np.sqrt(part.covariances_[:, 0, 0])) for v in (0, 1)]
    assert_allclose(part.cdf([0, 1]), expected, rtol=1e-13)
    for use in ("cdf", "sf", "quantile"):
        with pytest.raises(ValueError, match=rf"{use}: this mixture has 3 columns.*marginal\(0\).{use}"):
            getattr(mixture, use)(0.5)


@pytest.mark.parametrize(("use", "value"), [("cdf", np.nan), ("sf", np.nan), ("quantile", np.nan)])
def test_nan_is_refused(use, value):
    with pytest.raises(ValueError, match=f"{use}: .* contains (NaN|nan)"):
        getattr(line(*SHAPES["one"]), use)([0.5, value])


@pytest.mark.parametrize("q", [-0.1, 1.0000001, np.inf])
def test_probabilities_lie_between_0_and_1(q):
    with pytest.raises(ValueError, match="expected probabilities from 0 to 1"):
        line(*SHAPES["one"]).quantile([0.5, q])
