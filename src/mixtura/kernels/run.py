"""Kernels over the rows of a chunk: cut into slices, shared out to threads, their sums put in canonical order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from mixtura._types import FloatArray, IntArray, Wanted
from mixtura.arena import lined
from mixtura.grid import BLOCK_ROWS, Chunk, dense
from mixtura.kernels.threads import SHARES, allowed_threads, share_out
from mixtura.kernels.tile import constant
from mixtura.stats import Node

PIECES = 16  # a thread: few enough that they cost nothing, enough that the threads end together
SUMS_BYTES = 1 << 25  # about the most memory for the sums of the subtrees of a chunk
LEAST_WORK = 1 << 23  # operations of one call: fewer take no longer than to share them out
SLICE_VALUES = 1 << 20  # rows times columns of one call: what another dtype or layout is copied to
SLICE_WORK = 1 << 32  # operations of one call: it stays under 0.3 s, so that Ctrl-C is heard

NOTHING = np.empty(0)
NOTHING.flags.writeable = False  # as all input: see `tile.constant`

Kernel = Callable[..., None]


def sum_blocks(
    kernel: Kernel, chunk: Chunk, size: int, work: int, *arguments: Any, dtype: Any = np.float64
) -> Iterator[tuple[Node, FloatArray]]:
    """Yield the complete subtrees of the canonical sum over the blocks of a chunk.

    Parameters
    ----------
    kernel : callable
        Called with rows, weights, cuts between subtrees, `arguments`, an array to fold sums in, and that for the sums
        of each subtree.
    chunk : Chunk
        The rows.
    size : int
        How many sums there are.
    work : int
        Operations a row.
    dtype : type
        Of the rows that the kernel takes.
    """
    n, d = chunk.x.shape
    blocks = -(-n // BLOCK_ROWS)
    least = max(LEAST_WORK // (work * BLOCK_ROWS), 8 * size * blocks // SUMS_BYTES, 1)
    cut = _cut(chunk.first, blocks, allowed_threads(), least, _blocks_a_slice(d, work), last=chunk.last)
    cuts, out = cut.starts, np.empty((len(cut.starts) - 1, size))

    def run(begin: int, end: int) -> None:
        rows = slice(cuts[begin] * BLOCK_ROWS, cuts[end] * BLOCK_ROWS)
        sums = np.empty((cut.levels + 1, size))  # a subtree of each level, and a block
        weight = NOTHING if chunk.weight is None else constant(chunk.weight[rows])
        x = constant(dense(chunk.x[rows], dtype), dtype)
        kernel(x, weight, cuts[begin : end + 1] - cuts[begin], *arguments, sums, out[begin:end])

    share_out(run, len(out), 1)
    for left, right in cut.joins:
        into = out[left]  # a view: `out[left] += ...` would write the sums once more
        into += out[right]
    return ((node, out[row]) for node, row in cut.joined)


@dataclass(frozen=True)
class _Cut:
    """Blocks cut into complete aligned subtrees, and how these are joined: the same in every pass.

    Attributes
    ----------
    starts : (m + 1,) array
        The first block of each subtree, and the end.
    levels : int
        How many levels the highest of them has.
    joins : list of pairs of slices
        Which subtrees take in which, in order; many at once, since NumPy's calls take longer than the sums.
    joined : list of (node, number)
        What is left then, and in the place of which subtree.
    """

    starts: IntArray
    levels: int
    joins: list[tuple[slice, slice]]
    joined: list[tuple[Node, int]]


@lru_cache(maxsize=64)
def _cut(first: int, blocks: int, threads: int, least: int, most: int, *, last: bool) -> _Cut:
    """Cut blocks into subtrees of about `least` to `most` blocks, which are joined to one if these are the `last`.

    They grow smaller as fewer blocks are left: so they are few, and the threads that take them in turns end at once.
    """
    starts: list[int] = []
    joins: dict[int, list[tuple[int, int]]] = defaultdict(list)
    joined: list[tuple[Node, int]] = []
    at, end = first, first + blocks
    while at < end:
        wanted = min(max((end - at) // (SHARES * threads), least), most)
        height = min(wanted, end - at).bit_length() - 1
        while at % (1 << height):
            height -= 1
        number, index = len(starts), at >> height
        starts.append(at - first)
        at += 1 << height
        while joined and index % 2 and joined[-1][0] == (height, index - 1):
            left = joined.pop()[1]
            joins[height].append((left, number))
            height, index, number = height + 1, index // 2, left
        joined.append(((height, index), number))
    runs = [run for height in sorted(joins) for run in _runs(joins[height])]
    top = (blocks - 1).bit_length()
    if last and first % (1 << top) == 0:
        numbers = [number for _, number in joined]  # from the right, as a tree is folded that is not full
        runs += [run for pair in reversed(list(pairwise(numbers))) for run in _runs([pair])]
        joined = [((top, first >> top), numbers[0])]
    bounds = np.array([*starts, blocks])
    return _Cut(bounds, int(np.diff(bounds).max()).bit_length(), runs, joined)


def _runs(pairs: list[tuple[int, int]]) -> Iterator[tuple[slice, slice]]:
    """Yield pairs of numbers, all as far apart, as slices of those that follow each other at one distance."""
    while pairs:
        (left, right), count = pairs[0], 1
        step = pairs[1][0] - left if len(pairs) > 1 else 1
        while count < len(pairs) and pairs[count] == (left + count * step, right + count * step):
            count += 1
        last = (count - 1) * step + 1
        yield slice(left, left + last, step), slice(right, right + last, step)
        pairs = pairs[count:]


def map_rows(
    kernel: Kernel, x: Any, k: int, work: int, *arguments: Any, wanted: Wanted, dtype: Any = np.float64
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities (n,), labels (n,) and responsibilities (n, k) of rows; n is 0 in what is not wanted."""
    n, d = x.shape
    blocks = -(-n // BLOCK_ROWS)
    piece = BLOCK_ROWS * max(1, min(blocks // (PIECES * allowed_threads()), _blocks_a_slice(d, work)))
    labels = np.empty(n, dtype=np.int64)
    loglik, resp = lined(0 if wanted == "labels" else n), lined(n if wanted == "shares" else 0, k)

    def run(begin: int, end: int) -> None:
        rows = slice(begin * piece, end * piece)
        kernel(constant(dense(x[rows], dtype), dtype), *arguments, loglik[rows], labels[rows], resp[rows])

    share_out(run, -(-n // piece), max(1, _blocks_a_slice(d, work) * BLOCK_ROWS // piece))
    return loglik, labels, resp


def fill_rows(kernel: Kernel, x: Any, work: int, *arguments: Any) -> FloatArray:
    """Return rows (n, d) that a kernel makes of rows."""
    n, d = x.shape
    filled = np.empty((n, d))

    def run(begin: int, end: int) -> None:
        rows = slice(begin * BLOCK_ROWS, end * BLOCK_ROWS)
        kernel(constant(x[rows]), *arguments, filled[rows])

    share_out(run, -(-n // BLOCK_ROWS), _blocks_a_slice(d, work))
    return filled


def _blocks_a_slice(d: int, work: int) -> int:
    return max(1, min(SLICE_VALUES // d, SLICE_WORK // work) // BLOCK_ROWS)
