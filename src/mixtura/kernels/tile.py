"""What every mixture kernel does with a tile of rows: enter the frame, turn log-densities into shares, hand on sums.

A tile stays in cache. Its last rows are padding where the data end; padding has weight 0 and adds nothing.
Log-densities are to base 2 inside the kernels: an exponential less work.
"""

from __future__ import annotations

from math import log2, sqrt
from typing import Any

import numpy as np

from mixtura._types import Array, FloatArray, IntArray
from mixtura.kernels._jit import inline_jit, jit
from mixtura.kernels.panel import Shape, flip, load_panel, store_panel
from mixtura.kernels.simd import exp2, fma, hmax, load, log, select, splat, store, vmax, vmin

TILE = 64  # k x TILE shares and d x TILE values stay in L2 together; a multiple of four vectors
LINE = 8  # values in a cache line
LOWEST = -1e308  # below every log-density, and finite: -inf - LOWEST is -inf, where -inf - -inf is NaN
SQUARE = Shape(8, 1)
LN2 = np.log(2.0)
LOG2_E = log2(np.e)
ROOT_HALF_LOG2_E = sqrt(LOG2_E / 2)  # a factor times this: -|y|^2 then is a log-density to base 2


# -------------------------------------------------------------------------------- workspace


@jit
def room(shape: tuple[int, ...]) -> FloatArray:
    """Return zeros that start on a cache line: a vector that lies across two takes twice the time to load."""
    size = 1
    for n in shape:
        size *= n
    flat = np.zeros(size + LINE)
    skip = -(flat.ctypes.data // 8) % LINE
    return flat[skip : skip + size].reshape(shape)


# -------------------------------------------------------------------------------- rows in


@jit
def fill_weights(
    weight: FloatArray,  # IN (n,); or (0,), which stands for ones
    row: int,
    count: int,
    w: FloatArray,  # OUT (TILE,)
) -> None:
    """Copy the weights of `count` rows from `row` on; padding gets 0."""
    if weight.shape[0]:
        w[:count] = weight[row : row + count]
    else:
        w[:count] = 1.0
    w[count:] = 0.0


@jit
def fill(
    x: FloatArray,  # IN (n, d)
    row: int,
    count: int,
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    zr: FloatArray,  # OUT (d8 / 8 TILE, 8): eight columns of all rows, then the next eight; none if d < 8
    zt: FloatArray,  # OUT (d8, TILE)
) -> None:
    """Write z = (x - shift) scale of `count` rows as rows, and as columns, so that vectors can run over either."""
    d = x.shape[1]
    rows = x[row : row + count]
    whole = d // 8 * 8
    if whole == 0:
        for j in range(d):
            for s in range(count):
                zt[j, s] = (rows[s, j] - shift[j]) * scale[j]
            zt[j, count:] = 0.0
        return
    for j in range(0, whole, 8):
        move, by = load(shift, j), load(scale, j)
        for s in range(count):
            store(zr, j // 8 * TILE + s, 0, (load(rows, s, j) - move) * by)
    for j in range(whole, d):
        for s in range(count):
            zr[whole // 8 * TILE + s, j - whole] = (rows[s, j] - shift[j]) * scale[j]
    for j in range(0, zt.shape[0], 8):
        block = j // 8 * TILE
        zr[block + count : block + TILE] = 0.0
        for s in range(0, TILE, 8):
            store_panel(SQUARE, zt, j, s, flip(load_panel(SQUARE, zr, block + s, 0)))


# -------------------------------------------------------------------------------- shares


@jit
def softmax(
    joint: FloatArray,  # IN log2 pi_k f_k(z), OUT the same over the largest, no logarithm: (k, TILE)
    top: FloatArray,  # OUT (TILE,) the largest
    density: FloatArray,  # OUT (TILE,) the sum of the shares
) -> None:
    """Turn log-densities into shares that still are to be divided by their sum (formulas E2, E3). A NaN stays."""
    for s in range(0, TILE, 8):
        largest = splat(LOWEST)
        for k in range(joint.shape[0]):
            largest = vmax(load(joint, k, s), largest)
        total = splat(0.0)
        for k in range(joint.shape[0]):
            share = exp2(load(joint, k, s) - largest)
            store(joint, k, s, share)
            total = total + share
        store(top, s, largest)
        store(density, s, total)


@jit
def log_likelihood(
    top: FloatArray,  # IN (TILE,)
    density: FloatArray,  # IN (TILE,)
    w: FloatArray,  # IN (TILE,)
) -> Any:
    """Return the vector of sums of w log f (formula E2); a row of weight 0 adds nothing, not even an infinity.

    Where all weights are equal, one logarithm of a product does for eight: each density is between 1 and k.
    """
    least, most = load(w, 0), load(w, 0)
    for s in range(8, TILE, 8):
        least, most = vmin(load(w, s), least), vmax(load(w, s), most)
    if w[0] > 0.0 and -hmax(-least) == w[0] and hmax(most) == w[0]:
        tops, product = splat(0.0), splat(1.0)
        for s in range(0, TILE, 8):
            tops = tops + load(top, s)
            product = product * load(density, s)
        return splat(w[0]) * fma(splat(LN2), tops, log(product))
    total, zero = splat(0.0), splat(0.0)
    for s in range(0, TILE, 8):
        weight = load(w, s)
        total = total + select(weight, weight * fma(splat(LN2), load(top, s), log(load(density, s))), zero)
    return total


@jit
def normalize(
    joint: FloatArray,  # IN shares, OUT w r: (k, TILE)
    density: FloatArray,  # IN (TILE,), OUT w / density
    w: FloatArray,  # IN (TILE,)
    counts: FloatArray,  # IN OUT (k, 8)
) -> None:
    """Turn shares into weighted responsibilities, and add their sums (formula S1).

    A row of weight 0 gets responsibilities 0, even where its density is 0 under every component.
    """
    for s in range(0, TILE, 8):
        weight = load(w, s)
        store(density, s, select(weight, weight / load(density, s), splat(0.0)))
    for k in range(joint.shape[0]):
        count = load(counts, k, 0)
        for s in range(0, TILE, 8):
            r = load(joint, k, s) * load(density, s)
            store(joint, k, s, r)
            count = count + r
        store(counts, k, 0, count)


@jit
def write_posterior(
    joint: FloatArray,  # IN shares (k, TILE)
    top: FloatArray,  # IN (TILE,)
    density: FloatArray,  # IN (TILE,)
    row: int,
    count: int,
    loglik: FloatArray,  # OUT (n,)
    labels: IntArray,  # OUT (n,)
    resp: FloatArray,  # OUT (n, k); or (0, k) where nobody asks for them
) -> None:
    """Write log-density, most probable component and responsibilities of `count` rows."""
    for s in range(0, TILE, 8):
        store(top, s, fma(splat(LN2), load(top, s), log(load(density, s))))
    loglik[row : row + count] = top[:count]
    for s in range(count):
        best = 0
        for k in range(1, joint.shape[0]):
            if joint[k, s] > joint[best, s]:
                best = k
        labels[row + s] = best
    if resp.shape[0]:
        rows = resp[row : row + count]
        for s in range(count):
            for k in range(joint.shape[0]):
                rows[s, k] = joint[k, s] / density[s]


# -------------------------------------------------------------------------------- sums out


@jit
def fold(
    sums: FloatArray,  # IN OUT (levels, size): subtrees still to be joined, and in row `depth` the sums of a block
    depth: int,
    blocks: int,
) -> int:
    """Join the subtrees that the last of `blocks` blocks completes (formula T1); return how many are left."""
    depth += 1
    while blocks % 2 == 0:
        for i in range(sums.shape[1]):
            sums[depth - 2, i] += sums[depth - 1, i]
        depth -= 1
        blocks //= 2
    return depth


@jit
def levels(cuts: IntArray) -> int:
    """Return how many subtrees `fold` may hold at once, and one more."""
    most = 2
    longest = 1
    for i in range(cuts.shape[0] - 1):
        longest = max(longest, cuts[i + 1] - cuts[i])
    while longest > 1:
        longest //= 2
        most += 1
    return most


@inline_jit
def total(w: FloatArray) -> Any:
    """Return the vector of sums of the weights of a tile."""
    sums = splat(0.0)
    for s in range(0, TILE, 8):
        sums = sums + load(w, s)
    return sums


# -------------------------------------------------------------------------------- arguments


def constant(array: Array) -> FloatArray:
    """Return an array as kernels take their input: C-contiguous float64 behind a read-only view.

    A read-only array is another type to the compiler than a writeable one, and a cached function may have one
    signature only; every array can be viewed as read-only.
    """
    view = np.ascontiguousarray(array, dtype=np.float64).view()
    view.flags.writeable = False
    return view


def padded(array: FloatArray, *sizes: int) -> FloatArray:
    """Return the array as kernel input, with zeros after its last axes up to `sizes`."""
    lead = array.ndim - len(sizes)
    margins = [(0, 0)] * lead + [(0, size - old) for size, old in zip(sizes, array.shape[lead:], strict=True)]
    return constant(np.pad(array, margins))


def up_to(multiple: int, size: int) -> int:
    """Return `size`, raised to a multiple."""
    return -(-size // multiple) * multiple
