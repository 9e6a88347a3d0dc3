"""The kernel of counts by tables: what is in them changes no bit, and rows of zeros have entries of their own."""

import numpy as np
import pytest

from cases import CASES
from laws import assert_close
from mixtura.blocks import fold_blocks
from mixtura.families import NegativeBinomial, Poisson, ZeroInflated
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels import tabulated
from mixtura.kernels.levels import NEVER, VOID, ZERO_COUNT
from mixtura.kernels.threads import using_threads
from mixtura.models import Mixture, MixtureParams
from mixtura.values import same_bits

pytestmark = pytest.mark.usefixtures("kernels")

FAMILIES = [NegativeBinomial(), ZeroInflated(Poisson()), ZeroInflated(NegativeBinomial())]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=["nb", "zip", "zinb"])


def problem(family, n, k=3):
    """Return a model, parameters, and rows of many zeros and of some counts that are large."""
    rng = np.random.default_rng(n)
    x = CASES["negative-binomial"].draw(rng, n) * (rng.random((n, 1)) < 0.7) * (rng.random((n, 2)) < 0.9)
    x[rng.integers(0, n, n // 50), 0] = np.floor(10.0 ** rng.uniform(3, 6, n // 50))
    model = Mixture(family, k)
    blank = family.blank(family.frame(x.min(axis=0), x.max(axis=0), np.median(x, axis=0)), k)
    params, _ = model.from_resp(blank, x, rng.dirichlet(np.full(k, 0.5), n))
    return model, params, Chunk(x)


def fold(model, params, chunk, *, compiled=True):
    return fold_blocks(model, params, chunk, compiled=compiled).total()


@every_family
def test_large_counts_are_as_in_the_composed_path(family):
    model, params, chunk = problem(family, 1500)
    compiled, composed = (fold(model, params, chunk, compiled=way) for way in (True, False))
    np.testing.assert_allclose(compiled.loglik, composed.loglik, rtol=1e-12)
    assert_close(compiled.components, composed.components, rtol=1e-11)


@every_family
@pytest.mark.parametrize(
    ("name", "value"),
    [("SPAN", 16), ("SPAN", 1 << 20), ("SLICE_VALUES", 1), ("MOST_ENTRIES", 8 * 64), ("MOST_ENTRIES", 8 * 300)],
)
def test_how_counts_are_found_and_how_many_at_a_time_changes_no_bit(family, name, value, monkeypatch):
    model, params, chunk = problem(family, 5 * BLOCK_ROWS + 100)
    expected, rows = fold(model, params, chunk), model.posterior_rows(params, chunk, "shares")
    monkeypatch.setattr(tabulated, name, value)
    with using_threads(2):
        assert same_bits(expected, fold(model, params, chunk))
        assert same_bits(rows, model.posterior_rows(params, chunk, "shares"))


@every_family
def test_other_counts_in_the_tables_change_no_bit(family):
    """As those of the rest of the rows, which another cut of the data has elsewhere."""
    model, params, chunk = problem(family, BLOCK_ROWS)
    more = np.vstack([chunk.x, np.arange(2 * BLOCK_ROWS).reshape(-1, 2)])
    alone, among = (model.posterior_rows(params, Chunk(x), "shares") for x in (chunk.x, more))
    np.testing.assert_array_equal(among.loglik[:BLOCK_ROWS], alone.loglik)
    np.testing.assert_array_equal(among.resp[:BLOCK_ROWS], alone.resp)


def test_levels_are_the_distinct_counts():
    x = np.array([[0.0, 7.0], [2.0, 7.0], [1e6, 3.0], [2.0, np.nan], [1e9, 0.5], [-1.0, np.inf]])
    levels, places = tabulated.find_levels(x)
    first, second = np.split(levels.counts, levels.starts[1:-1])
    np.testing.assert_array_equal(first[ZERO_COUNT:], [0, 2, 1e6, 1e9])
    assert set(second[ZERO_COUNT:]) >= {0, 3, 7}
    np.testing.assert_array_equal(levels.voids, levels.starts[:-1] + VOID)
    assert places[1, 7] == levels.starts[1] + ZERO_COUNT + list(second[ZERO_COUNT:]).index(7)
    assert places[1, 4] == levels.starts[1] + NEVER
    np.testing.assert_array_equal(levels.columns, np.repeat([0, 1], np.diff(levels.starts)))


def test_only_rows_that_are_all_zeros_may_be_extra_ones():
    family = ZeroInflated(Poisson())
    model = Mixture(family, 1)
    x = np.array([[0.0, 0.0], [0.0, 2.0], [3.0, 0.0], [1.0, 1.0]])
    theta = family.blank(family.frame(x[0], x[-1], x[1]), 1)
    stats = fold(model, MixtureParams(weights=np.ones(1), components=theta), Chunk(x))
    extra = 1 / (1 + np.exp(-2.0))  # chances are even, and rates 1
    np.testing.assert_allclose(stats.components.zeros, [extra], rtol=1e-14)
    np.testing.assert_allclose(stats.components.rest.s0, [4 - extra], rtol=1e-14)
    np.testing.assert_allclose(stats.components.rest.s1, [[4, 3]], rtol=1e-14)


@pytest.mark.parametrize("zeros", [0.0, 1.0])
def test_no_extra_zeros_and_nothing_but_extra_zeros(zeros):
    model, params, chunk = problem(ZeroInflated(NegativeBinomial()), 300)
    params.components[0].zeros[1] = zeros
    compiled, composed = (fold(model, params, chunk, compiled=way) for way in (True, False))
    assert_close(compiled.components, composed.components, rtol=1e-11)
    np.testing.assert_allclose(compiled.loglik, composed.loglik, rtol=1e-12)
