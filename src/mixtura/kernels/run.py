"""Kernels over the rows of a chunk: cut into slices, shared out to threads, their sums put in canonical order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mixtura._types import FloatArray, IntArray, Wanted
from mixtura.arena import lined
from mixtura.grid import BLOCK_ROWS, Chunk, dense
from mixtura.kernels.threads import allowed_threads, share_out
from mixtura.kernels.tile import constant
from mixtura.stats import Node

SUBTREES = 16  # a thread: few enough that they cost nothing to add, enough that the threads end together
SUMS_BYTES = 1 << 25  # most memory for the sums of the subtrees of a chunk
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
    share = max(blocks // (SUBTREES * allowed_threads()), 8 * size * blocks // SUMS_BYTES, 1)
    most = _blocks_a_slice(d, work)
    level = min(share, most).bit_length() - 1
    nodes = _cover(chunk.first, blocks, level)
    starts = [(index << level) - chunk.first for level, index in nodes]
    cuts = np.array([*starts, blocks])
    out = np.empty((len(nodes), size))

    def run(begin: int, end: int) -> None:
        rows = chunk.rows(cuts[begin] * BLOCK_ROWS, cuts[end] * BLOCK_ROWS).packed(dtype)
        sums = np.empty((level + 2, size))  # a subtree of each level, and a block
        weight = NOTHING if rows.weight is None else constant(rows.weight)
        kernel(constant(rows.x, dtype), weight, cuts[begin : end + 1] - cuts[begin], *arguments, sums, out[begin:end])

    share_out(run, len(nodes), most >> level)
    return _fold(nodes, out)


def _fold(nodes: list[Node], sums: FloatArray) -> Iterator[tuple[Node, FloatArray]]:
    """Join siblings, in place, until none is left; the nodes are in the order of their rows."""
    joined: list[tuple[Node, int]] = []
    for row, (level, index) in enumerate(nodes):
        while joined and index % 2 and joined[-1][0] == (level, index - 1):
            left = joined.pop()[1]
            sums[left] += sums[row]
            level, index, row = level + 1, index // 2, left
        joined.append(((level, index), row))
    return ((node, sums[row]) for node, row in joined)


def map_rows(
    kernel: Kernel, x: Any, k: int, work: int, *arguments: Any, wanted: Wanted, dtype: Any = np.float64
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities (n,), labels (n,) and responsibilities (n, k) of rows; n is 0 in what is not wanted."""
    n, d = x.shape
    blocks = -(-n // BLOCK_ROWS)
    piece = BLOCK_ROWS * max(1, min(blocks // (SUBTREES * allowed_threads()), _blocks_a_slice(d, work)))
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


def _cover(first: int, blocks: int, level: int) -> list[Node]:
    """Cut blocks into complete aligned subtrees of at most this level."""
    nodes, end = [], first + blocks
    while first < end:
        highest = min(level, (end - first).bit_length() - 1)
        while first % (1 << highest):
            highest -= 1
        nodes.append((highest, first >> highest))
        first += 1 << highest
    return nodes
