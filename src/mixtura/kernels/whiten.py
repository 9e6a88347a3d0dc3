"""Squared distances by whitening: |L z - L mu|^2 for a triangular factor L of each component (formula E4)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.kernels._jit import inline_jit, jit
from mixtura.kernels.panel import Shape, corner, less_squares, load_strip, outer, spread, spread_strip, store_strip
from mixtura.kernels.tile import LOG4_E, ROOT_HALF_LOG4_E, TILE, ZERO, constant, fetch, padded, part, up_to

QUAD = Shape.of(4)  # for many columns
PAIR = Shape.of(2)  # for few: less of it is padding


@inline_jit
def whitened(
    shape: Any,
    factor: FloatArray,  # IN (height, rows of the shape): see `pack`
    at: int,
    offset: FloatArray,  # IN (dp,) -L mu
    zt: FloatArray,  # IN (>= dp, rows)
    i: int,
    s: int,
) -> Any:
    """Return a panel of L z - L mu: its rows from `i` on, which `factor` has from `at` on, for the data from `s` on."""
    y = spread(shape, offset, i)
    for j in range(i):
        y = outer(factor, at + j, 0, load_strip(shape, zt, j, s), y)
    return corner(shape, factor, at + i, zt, i, s, y)


@jit
def log_densities(
    shape: Any,  # of the panels
    zt: FloatArray,  # IN (>= dp, >= TILE)
    factors: FloatArray,  # IN (k, height, rows of the shape)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    ahead: FloatArray,  # IN rows to be fetched
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write peak - |L z - L mu|^2."""
    fetched, size = ZERO, part(ahead, factors.shape[0] * TILE // shape.width)
    for k in range(factors.shape[0]):
        factor, offset = factors[k], offsets[k]
        for s in range(0, TILE, shape.width):
            y = corner(shape, factor, ZERO, zt, ZERO, s, spread(shape, offset, ZERO))  # nothing is left of it: no loop
            at, left = ZERO + shape.rows, less_squares(y, spread_strip(shape, peaks[k]))
            for i in range(ZERO + shape.rows, offset.shape[0], shape.rows):
                left = less_squares(whitened(shape, factor, at, offset, zt, i, s), left)
                at += i + shape.rows
            fetched = fetch(ahead, fetched, size)
            store_strip(joint, k, s, left)


def pack(
    shape: Shape, shift: FloatArray, scale: FloatArray, means: FloatArray, factors: FloatArray, peaks: FloatArray
) -> tuple[FloatArray, ...]:
    """Return shift, scale, factors, offsets and peaks as kernels take them."""
    offsets = -np.einsum("...ij,...j->...i", factors, means) * ROOT_HALF_LOG4_E
    return (
        constant(shift),
        constant(scale),
        pack_factors(shape.rows, factors * ROOT_HALF_LOG4_E),
        padded(offsets, up_to(shape.rows, means.shape[1])),
        constant(peaks * LOG4_E),
    )


def pack_factors(rows: int, factors: FloatArray) -> FloatArray:
    """Return lower triangular factors (..., d, d) in the order in which they are read: (..., height, rows).

    That is the transpose of the first `rows` rows up to the diagonal, then of the next ones, padded with zeros.
    """
    dp = up_to(rows, factors.shape[-1])
    row, column = _order(rows, dp)
    return constant(padded(factors, dp, dp)[..., row, column])


@cache
def _order(rows: int, dp: int) -> tuple[IntArray, IntArray]:
    """Return row and column of each entry, in that order."""
    begins = range(0, dp, rows)
    row = np.concatenate([np.tile(np.arange(i, i + rows), (i + rows, 1)) for i in begins])
    column = np.concatenate([np.tile(np.arange(i + rows)[:, None], rows) for i in begins])
    return row, column
