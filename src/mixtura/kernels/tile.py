"""What every mixture kernel does with a tile of rows: enter the frame, and turn log-densities into responsibilities.

A tile stays in cache. Its last rows are padding where the data end; padding has weight 0 and adds nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from mixtura._types import Array, FloatArray
from mixtura.grid import WAVE_ROWS
from mixtura.kernels._jit import inline_jit, jit
from mixtura.kernels.simd import exp, load, log, select, splat, store, vmax

TILE = 64  # k x TILE responsibilities and d x TILE values stay in L2 together; a multiple of 8
LOWEST = -1e308  # below every log-density, and finite: -inf - LOWEST is -inf, where -inf - -inf is NaN


@jit
def fill_weights(
    weight: FloatArray,  # IN (n,)
    row: int,
    count: int,
    w: FloatArray,  # OUT (TILE,)
) -> None:
    """Copy the weights of `count` rows from `row` on; padding gets 0."""
    for s in range(count):
        w[s] = weight[row + s]
    for s in range(count, TILE):
        w[s] = 0.0


@jit
def fill_columns(
    x: FloatArray,  # IN (n, d)
    row: int,
    count: int,
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    zt: FloatArray,  # OUT (>= d, TILE)
) -> None:
    """Write z = (x - shift) scale of `count` rows as columns of the tile, so that vectors run over rows."""
    for j in range(x.shape[1]):
        for s in range(count):
            zt[j, s] = (x[row + s, j] - shift[j]) * scale[j]
        for s in range(count, TILE):
            zt[j, s] = 0.0


@jit
def transpose(
    zt: FloatArray,  # IN (>= d, TILE)
    d: int,
    zr: FloatArray,  # OUT (TILE, > d)
) -> None:
    """Write the tile as rows, so that vectors run over features."""
    for s in range(TILE):
        for j in range(d):
            zr[s, j] = zt[j, s]


@jit
def softmax(
    joint: FloatArray,  # IN log pi_k f_k(z), OUT w r: (k, TILE)
    w: FloatArray,  # IN (TILE,)
) -> Any:
    """Turn log-densities into weighted responsibilities; return the vector of sums of w log f (formulas E2, E3).

    A row of weight 0 gets responsibilities 0, even where its density is 0 under every component. A NaN stays.
    """
    total = splat(0.0)
    zero = splat(0.0)
    for s in range(0, TILE, 8):
        top = splat(LOWEST)
        for k in range(joint.shape[0]):
            top = vmax(load(joint, k, s), top)
        density = splat(0.0)
        for k in range(joint.shape[0]):
            share = exp(load(joint, k, s) - top)
            store(joint, k, s, share)
            density = density + share
        weight = load(w, s)
        total = total + select(weight, weight * (top + log(density)), zero)
        scale = select(weight, weight / density, zero)
        for k in range(joint.shape[0]):
            store(joint, k, s, load(joint, k, s) * scale)
    return total


@inline_jit
def add_counts(
    resp: FloatArray,  # IN (k, TILE)
    c0: FloatArray,  # IN OUT (k, 8)
) -> None:
    """Add the sums of the responsibilities."""
    for k in range(resp.shape[0]):
        sums = load(c0, k, 0)
        for s in range(0, TILE, 8):
            sums = sums + load(resp, k, s)
        store(c0, k, 0, sums)


def constant(array: Array) -> FloatArray:
    """Return an array as kernels take their input: C-contiguous float64 behind a read-only view.

    A read-only array is another type to the compiler than a writeable one, and a cached function may have one
    signature only; every array can be viewed as read-only.
    """
    view = np.ascontiguousarray(array, dtype=np.float64).view()
    view.flags.writeable = False
    return view


def weights_or_ones(weight: FloatArray | None, n: int) -> FloatArray:
    """Return the weights of `n` rows as kernel input."""
    return constant(_ones()[:n] if n <= WAVE_ROWS else np.ones(n)) if weight is None else constant(weight)


@cache
def _ones() -> FloatArray:
    return np.ones(WAVE_ROWS)


def padded(array: FloatArray, *sizes: int) -> FloatArray:
    """Return the array as kernel input, with zeros after its last axes up to `sizes`."""
    lead = array.ndim - len(sizes)
    margins = [(0, 0)] * lead + [(0, size - old) for size, old in zip(sizes, array.shape[lead:], strict=True)]
    return constant(np.pad(array, margins))
