"""Blocks cut into subtrees for threads: whichever they are, the sum is the canonical one."""

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels import run
from mixtura.kernels.threads import using_threads
from mixtura.stats import Forest


def sum_in_python(x, weight, cuts, sums, out):
    """Stand for a kernel: the sum of each block is its first row."""
    assert len(weight) == 0
    for m in range(len(out)):
        forest: Forest[Any] = Forest()
        for block in range(cuts[m], cuts[m + 1]):
            forest.insert(0, block - cuts[m], x[block * BLOCK_ROWS].copy())
        assert len(list(forest.nodes())) == 1  # a complete subtree
        assert len(sums) >= int(cuts[m + 1] - cuts[m]).bit_length() + 1
        out[m] = forest.total()


def folded(forest):
    """Return the sum of subtrees that need not begin at block 0, from the right, as `Forest.total` does."""
    nodes = sorted(forest.nodes(), key=lambda item: item[0][1] << item[0][0])
    return reduce(lambda total, node: node + total, (sums.item() for _, sums in reversed(nodes)))


@given(
    first=st.integers(0, 40),
    blocks=st.integers(1, 70),
    threads=st.integers(1, 9),
    work=st.sampled_from([1, 100, 1000, 10**9]),
    last=st.booleans(),
)
def test_any_cut_gives_the_canonical_sum(first, blocks, threads, work, last):
    x = np.zeros((blocks * BLOCK_ROWS, 1))
    x[::BLOCK_ROWS, 0] = np.random.default_rng(blocks).standard_normal(blocks)
    expected: Forest[Any] = Forest()
    found: Forest[Any] = Forest()
    for block in range(blocks):
        expected.insert(0, first + block, x[block * BLOCK_ROWS])
    with using_threads(threads):
        for node, sums in run.sum_blocks(sum_in_python, Chunk(x, first=first, last=last), 1, work):
            found.insert(*node, sums)
    assert folded(found) == folded(expected)
    assert len(list(found.nodes())) <= len(list(expected.nodes()))
    if last and first == 0:
        assert len(list(found.nodes())) == 1


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_subtrees_are_few_and_the_last_ones_small(threads):
    cut = run._cut(0, 977, threads, 1, 1024, last=True)
    sizes = np.diff(cut.starts)
    assert sizes.sum() == 977
    assert len(sizes) <= 16 * threads + 8
    assert sizes[0] >= 977 / (8 * threads)
    assert (sizes[-threads:] == 1).all()
    assert cut.levels == int(sizes.max()).bit_length()


def test_sums_that_are_large_take_bounded_memory():
    whole = np.diff(run._cut(0, 977, 2, 1, 1024, last=True).starts)
    bounded = np.diff(run._cut(0, 977, 2, 100, 1024, last=True).starts)
    assert len(bounded) < len(whole)
    assert len(bounded) <= 977 / 64 + 10  # the tail is not a power of two
