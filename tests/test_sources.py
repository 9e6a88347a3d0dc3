"""Sources: what `as_source` reads, and how rows are drawn."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mixtura import GaussianMixture, as_source
from mixtura.grid import BLOCK_ROWS, CHUNK_ROWS
from mixtura.sources import ArraySource
from mixtura.sources.local import draw_ranks

X = np.random.default_rng(0).standard_normal((200, 3))
WEIGHT = np.random.default_rng(1).integers(0, 3, 200).astype(np.float64)


def test_columns_and_the_weight_of_an_array_go_by_number():
    source = as_source(np.column_stack([X, WEIGHT]), columns=[2, 0], weight=3)
    assert_array_equal(source.x, X[:, [2, 0]])
    assert_array_equal(source.weight, WEIGHT)


def test_the_weight_column_is_no_feature():
    source = as_source(np.column_stack([X, WEIGHT]), weight=3)
    assert_array_equal(source.x, X)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_and_the_weight_of_a_table_go_by_name(library):
    table = pytest.importorskip(library).DataFrame({"a": X[:, 0], "b": X[:, 1], "w": WEIGHT})
    source = as_source(table, weight="w")
    assert source.names == ("a", "b")
    assert_array_equal(source.x, X[:, :2])
    assert_array_equal(source.weight, WEIGHT)
    assert as_source(table, columns=["b"], weight="w").names == ("b",)


@pytest.mark.parametrize("columns", [["a"], [3], [-1]])
def test_an_unknown_column_of_an_array_is_refused(columns):
    with pytest.raises(ValueError, match=r"no column .* columns 0 to 2"):
        as_source(X, columns=columns)


def test_a_source_is_returned_as_it_is_and_fits():
    source = as_source(X, weight=WEIGHT)
    assert as_source(source) is source
    with pytest.raises(ValueError, match=r"as_source\(data, ...\)"):
        as_source(source, weight=WEIGHT)
    from_source = GaussianMixture(2, random_state=0).fit(source)
    from_array = GaussianMixture(2, random_state=0).fit(X, sample_weight=WEIGHT)
    assert_array_equal(from_source.means_, from_array.means_)
    assert from_source.score(source) == from_array.score(X, sample_weight=WEIGHT)


def test_no_row_is_copied_before_it_is_read():
    for x in (X, X.astype(np.float32), np.asfortranarray(X), X[::2, ::-1]):
        assert np.shares_memory(as_source(x).x, x)


@pytest.mark.parametrize("n", [5, 10**7])
def test_a_sample_has_rows_of_positive_weight_in_order(n):
    size = 2 * CHUNK_ROWS + 77
    weight = np.random.default_rng(2).random(size)
    weight[weight < 0.7] = 0.0
    rows, drawn = ArraySource(np.arange(size)[:, None], weight).sample(n, np.random.default_rng(3))
    assert len(rows) == min(n, np.count_nonzero(weight))
    assert (np.diff(rows[:, 0]) > 0).all()
    assert_array_equal(drawn, weight[rows[:, 0].astype(int)])
    assert (drawn > 0).all()


@pytest.mark.parametrize("n", [1, 3, 120, 199, 200, 300])
def test_every_rank_is_drawn_as_often_and_none_twice(n):
    rng, draws = np.random.default_rng(0), 400
    counts = np.zeros(200)
    for _ in range(draws):
        ranks = draw_ranks(200, n, rng)
        assert len(ranks) == min(n, 200)
        assert (np.diff(ranks) > 0).all()
        counts[ranks] += 1
    share = min(n / 200, 1.0)
    assert np.abs(counts / draws - share).max() <= 5 * np.sqrt(share * (1 - share) / draws)


def test_a_sample_of_a_strided_array_is_that_of_a_contiguous_one():
    here, there = (ArraySource(x).sample(50, np.random.default_rng(0))[0] for x in (X, np.asfortranarray(X)))
    assert_array_equal(here, there)


def test_chunks_are_whole_blocks_and_cover_the_rows():
    x = np.arange(5 * BLOCK_ROWS + 3)[:, None]
    chunks = list(ArraySource(x, chunk_rows=BLOCK_ROWS + 1).map_rows(lambda chunk: chunk))
    assert [chunk.first for chunk in chunks] == [0, 2, 4]
    assert_array_equal(np.concatenate([chunk.x for chunk in chunks]), x)
