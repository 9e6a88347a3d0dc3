"""Log-densities of the pairs of row and component that can matter: the others are told by a few columns.

The first rows of a triangular factor whiten the first columns, so the squares of these bound a log-density from above.
A pair whose bound lies so far below the row's largest log-density that it is negligible is never completed
(formulas E8 and S8).
"""

from __future__ import annotations

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.kernels._jit import jit
from mixtura.kernels.chosen import append
from mixtura.kernels.panel import (
    Shape,
    flip,
    less_squares,
    load_listed,
    load_strip,
    spread_strip,
    store_panel,
    store_strip,
)
from mixtura.kernels.simd import bits_above, count_bits, imax, imin, load, splat, store, whole
from mixtura.kernels.tile import LN4, SQUARE, TILE, ZERO, fetch, largest, part
from mixtura.kernels.whiten import QUAD, whitened

SHARE, FEWEST = 4, 8  # of the columns one in four is whitened for the bounds, but not fewer than eight
SLACK = 1.0 / LN4  # to base 4: twice what a column takes off a log-density on the average
ONE = Shape(QUAD.rows, 1)


@jit
def screened_columns(dp: int) -> int:
    """Return how many columns the bounds take."""
    return imax(dp // SHARE // QUAD.rows * QUAD.rows, FEWEST)


@jit
def bound(
    zt: FloatArray,  # IN (>= dp, >= TILE)
    factors: FloatArray,  # IN (k, height, rows)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    ahead: FloatArray,  # IN rows to be fetched
    bounds: FloatArray,  # OUT (k, TILE)
    top: FloatArray,  # OUT (TILE,)
) -> None:
    """Write upper bounds of the log-densities, and the largest for each row less what the other columns may take."""
    dp = offsets.shape[1]
    columns = screened_columns(dp)
    fetched, size = ZERO, part(ahead, factors.shape[0] * TILE // QUAD.width)
    for k in range(factors.shape[0]):
        factor, offset = factors[k], offsets[k]
        for s in range(0, TILE, QUAD.width):
            at, left = ZERO, spread_strip(QUAD, peaks[k])
            for i in range(0, columns, QUAD.rows):
                left = less_squares(whitened(QUAD, factor, at, offset, zt, i, s), left)
                at += i + QUAD.rows
            fetched = fetch(ahead, fetched, size)
            store_strip(bounds, k, s, left)
    for s in range(0, TILE, 8):
        store(top, s, largest(bounds, s) - splat(SLACK * (dp - columns)))


@jit
def complete(
    zr: FloatArray,  # IN (d8 / 8 TILE, 8)
    factors: FloatArray,  # IN (k, height, rows)
    offsets: FloatArray,  # IN (k, dp)
    bounds: FloatArray,  # IN (k, TILE)
    k: int,
    chosen: FloatArray,  # IN (TILE + 8,) rows of the tile
    count: int,
    zc: FloatArray,  # TMP (d8 + 1, 8)
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write the log-densities of the chosen rows under component `k`, eight at a time, from their bounds."""
    factor, offset, last = factors[k], offsets[k], zc.shape[0] - 1
    begin = screened_columns(offset.shape[0])
    for c in range(0, count, 8):
        for j in range(0, last, 8):
            store_panel(SQUARE, zc, j, 0, flip(load_listed(zr, j // 8 * TILE, chosen, c)))
        for q in range(8):
            zc[last, q] = bounds[k, whole(chosen[c + q])]
        at, left = begin * (begin + ONE.rows) // (2 * ONE.rows), load_strip(ONE, zc, last, 0)
        for i in range(begin, offset.shape[0], ONE.rows):
            left = less_squares(whitened(ONE, factor, at, offset, zc, i, ZERO), left)
            at += i + ONE.rows
        store_strip(zc, last, 0, left)
        for q in range(imin(8, count - c)):
            joint[k, whole(chosen[c + q])] = zc[last, q]


@jit
def promising(
    bounds: FloatArray,  # IN (k, TILE)
    guess: FloatArray,  # IN (TILE,)
    least: FloatArray,  # IN (k,)
) -> int:
    """Return how many pairs matter if the largest log-density of each row is as large as guessed."""
    count = 0
    for k in range(bounds.shape[0]):
        for s in range(0, TILE, 8):
            count += count_bits(bits_above(load(bounds, k, s), load(guess, s) + splat(least[k])))
    return count


@jit
def screened_log_densities(
    zr: FloatArray,  # IN (d8 / 8 TILE, 8)
    factors: FloatArray,  # IN (k, height, rows)
    offsets: FloatArray,  # IN (k, dp)
    least: FloatArray,  # IN (k,) how far below the row's largest a log-density may be and still matter
    bounds: FloatArray,  # IN (k, TILE)
    guess: FloatArray,  # IN (TILE,)
    top: FloatArray,  # TMP (TILE,)
    chosen: FloatArray,  # TMP (TILE + 8,)
    unsure: IntArray,  # TMP (TILE / 8,)
    zc: FloatArray,  # TMP (d8 + 1, 8)
    joint: FloatArray,  # OUT (k, TILE)
) -> int:
    """Write peak - |L z - L mu|^2 where that can matter, else -inf; return how many were written.

    First what matters if the largest log-density of a row is as large as guessed, then, if it is less, what else
    matters now that it is known. A NaN among the bounds is completed, so none is lost.
    """
    done, vectors = ZERO, ZERO
    for s in range(0, TILE, 8):
        unsure[vectors] = s
        vectors += 1
    for known in range(2):
        for k in range(factors.shape[0]):
            count, reach = ZERO, splat(least[k])
            for s in unsure[:vectors]:
                v = load(bounds, k, s)
                bits = bits_above(v, load(guess, s) + reach)
                if known:
                    bits = bits_above(v, load(top, s) + reach) & ~bits
                else:
                    store(joint, k, s, splat(-np.inf))
                count = append(bits, s, chosen, count)
            if count:
                complete(zr, factors, offsets, bounds, k, chosen, count, zc, joint)
            done += count
        vectors = ZERO
        for s in range(0, TILE, 8):
            store(top, s, largest(joint, s))
            if bits_above(load(guess, s), load(top, s)):
                unsure[vectors] = s
                vectors += 1
    return int(done)
