"""Rows of few kinds, found once: densities are worked out for one row of each, and responsibilities are tallied."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.arena import lined
from mixtura.kernels._jit import entry_jit
from mixtura.kernels.simd import imin, load, store, whole
from mixtura.kernels.states import PIECE, in_pieces, over_largest
from mixtura.kernels.tile import VECTOR, clear, constant, padded, up_to

ROWS_A_VALUE = 8  # so many rows of each possible value repay to look for those that are alike


@entry_jit
def write_codes(
    x: FloatArray,  # IN (n, d)
    sizes: IntArray,  # IN (d,) numbers of values of the columns
    codes: IntArray,  # OUT (n,)
    seen: IntArray,  # OUT (sizes[0] ... sizes[d - 1],) a row of each code, or -1
) -> bool:
    """Write what number the values of each row are the digits of; return whether all are whole numbers from 0."""
    for c in range(seen.shape[0]):
        seen[c] = -1
    for t in range(x.shape[0]):
        code = 0
        for j in range(x.shape[1]):
            digit = whole(x[t, j])
            if digit != x[t, j] or digit < 0:
                return False
            code = code * sizes[j] + digit
        codes[t] = code
        seen[code] = t
    return True


class Alike(NamedTuple):
    """Rows of few kinds: that of each, (n,); how many; those that are `present`, (m,), and the rows (m, d) of these."""

    codes: IntArray
    n_codes: int
    present: IntArray
    values: FloatArray


def find_alike(x: FloatArray) -> Alike | None:
    """Return which rows are alike, None where values are not whole numbers from 0 or may be too many."""
    n = len(x)
    sizes = x.max(axis=0) + 1.0
    if not 1 <= sizes.min() <= sizes.prod() * ROWS_A_VALUE <= n:
        return None
    codes, seen = np.empty(n, dtype=np.int64), np.empty(int(sizes.prod()), dtype=np.int64)
    if not write_codes(constant(x), sizes.astype(np.int64), codes, seen):
        return None
    present = np.flatnonzero(seen >= 0)
    return Alike(codes, len(seen), present, x[seen[present]])


@entry_jit
def write_looked_up(
    codes: IntArray,  # IN (n,)
    table: FloatArray,  # IN (m, k8)
    tops: FloatArray,  # IN (m,)
    density: FloatArray,  # OUT (n, k8)
    top: FloatArray,  # OUT (n,)
) -> None:
    """Write what the table has at each code."""
    for t in range(codes.shape[0]):
        top[t] = tops[codes[t]]
        for s in range(0, table.shape[1], 8):
            store(density, t, s, load(table, codes[t], s))


def look_up(log_density: FloatArray, alike: Alike) -> tuple[FloatArray, FloatArray]:
    """Return the same as `over_largest` of rows, from the log-densities (m, k) of one row of each kind."""
    density, top = over_largest(log_density)
    table, tops = np.zeros((alike.n_codes, density.shape[1])), np.zeros(alike.n_codes)
    table[alike.present], tops[alike.present] = density, top
    n = len(alike.codes)
    found, heights = lined(n, table.shape[1]), lined(n)

    def run(_: slice, rows: slice) -> None:
        write_looked_up(alike.codes[rows], constant(table), constant(tops), found[rows], heights[rows])

    in_pieces(run, n)
    return found, heights


@entry_jit
def add_tallies(
    resp: FloatArray,  # IN (n, k8)
    codes: IntArray,  # IN (n,)
    size: int,  # rows of a piece
    sums: FloatArray,  # OUT (pieces, m, k8)
) -> None:
    """Write the sums of the responsibilities of rows with each code, piece by piece."""
    for p in range(sums.shape[0]):
        clear(sums[p])
        for t in range(p * size, imin((p + 1) * size, codes.shape[0])):
            for s in range(0, sums.shape[2], 8):
                store(sums, p, codes[t], s, load(sums, p, codes[t], s) + load(resp, t, s))


def tally(resp: FloatArray, alike: Alike) -> FloatArray:
    """Return the sums (m, k) of the responsibilities (n, k) of the rows of each kind."""
    n, k = resp.shape
    k8, size = up_to(VECTOR, k), max(PIECE, ROWS_A_VALUE * alike.n_codes)
    wide = constant(resp) if k == k8 else padded(resp, k8)
    sums = lined(-(-n // size), alike.n_codes, k8)
    in_pieces(lambda pieces, rows: add_tallies(wide[rows], alike.codes[rows], size, sums[pieces]), n, size)
    total: FloatArray = sums.sum(axis=0)[alike.present, :k]
    return total
