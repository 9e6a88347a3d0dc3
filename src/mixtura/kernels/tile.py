"""What every mixture kernel does with a tile of rows: enter the frame, turn log-densities into shares, hand on sums.

A tile stays in cache. Its last rows are padding where the data end; padding has weight 0 and adds nothing.
Inside the kernels log-densities are to base 4: a power of two then is the square root of a share, which the second
moments want, and no root has to be taken.
"""

from __future__ import annotations

from math import log as natural_log
from math import sqrt
from typing import Any

import numpy as np

from mixtura._types import Array, FloatArray
from mixtura.arena import lined
from mixtura.kernels._jit import inline_jit, jit
from mixtura.kernels.entering import enter
from mixtura.kernels.panel import Shape, deal, flip, store_panel
from mixtura.kernels.simd import (
    LANES,
    bits_above,
    exp2_above_faint,
    fma,
    load,
    load_across,
    log,
    prefetch,
    select,
    splat,
    store,
    vmax,
    vsqrt,
)

# Sizes are numbers of NumPy, not Python: to Numba a literal is a type, for which a function is compiled again.
TILE: Any = np.int64(128)  # rows: fewer cost more calls, more do not stay in L1 and L2; a multiple of four vectors
VECTOR: Any = np.int64(LANES)
ZERO: Any = np.int64(0)
SKEW: Any = VECTOR  # values between columns, where they are read again and again: at TILE, all share a few cache sets
ALL = (1 << LANES) - 1  # lanes, as bits
LOWEST = -1e308  # below every log-density, and finite: -inf - LOWEST is -inf, where -inf - -inf is NaN
SQUARE = Shape(8, 1)
LN4 = natural_log(4.0)
LOG4_E = 1.0 / LN4
ROOT_HALF_LOG4_E = sqrt(LOG4_E / 2)  # a factor times this: -|y|^2 then is a log-density to base 4


# -------------------------------------------------------------------------------- workspace


@jit
def clear(a: FloatArray) -> None:
    """Fill with zeros; a loop compiles sooner than an assignment to a slice, also below."""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            a[i, j] = 0.0


# -------------------------------------------------------------------------------- rows in


@jit
def fill_weights(
    weight: FloatArray,  # IN (n,); or (0,), which stands for ones
    row: int,
    count: int,
    w: FloatArray,  # OUT (TILE,)
) -> bool:
    """Copy the weights of `count` rows from `row` on; padding gets 0. Tell whether all are equal, and not 0."""
    given = weight[row : row + count]
    even = count == TILE
    if not weight.shape[0]:
        for s in range(0, TILE, 8):
            store(w, s, splat(1.0))
    for s in range(given.shape[0]):
        w[s] = given[s]
        even &= given[s] == given[0]
    for s in range(count, TILE):
        w[s] = 0.0
    return bool(even and w[0] > 0.0)


@inline_jit
def fill(
    x: FloatArray,  # IN (n, d)
    row: int,
    count: int,
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    zt: FloatArray,  # OUT (d8, >= TILE)
) -> None:
    """Write z = (x - shift) scale of `count` rows as columns, so that vectors can run over rows.

    Padding repeats the last row, so it is as finite as the data are.
    """
    rows = x[row : row + count]
    if x.shape[1] <= 2 and count == TILE:
        fill_few(rows, shift, scale, zt)
    else:
        fill_many(rows, shift, scale, zt[:0], zt)


@inline_jit
def fill_many(
    rows: FloatArray,  # IN (count, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    zr: FloatArray,  # OUT (d8 / 8 TILE, 8): eight columns of all rows, then the next eight; or (0, ...): not wanted
    zt: FloatArray,  # OUT (d8, >= TILE)
) -> None:
    """Write any number of columns, also as rows, so that vectors can run over either."""
    count, d = rows.shape
    for j in range(0, d // 8 * 8, 8):
        move, by = load(shift, j), load(scale, j)
        for s in range(0, TILE, 8):
            entered = enter(rows, s, j, move, by)
            if zr.shape[0]:
                store_panel(SQUARE, zr, j // 8 * TILE + s, 0, entered)
            store_panel(SQUARE, zt, j, s, flip(entered))
    for j in range(d // 8 * 8, d):
        for s in range(count):
            zt[j, s] = (rows[s, j] - shift[j]) * scale[j]
        for s in range(count, TILE):
            zt[j, s] = zt[j, count - 1]
        if zr.shape[0]:
            for s in range(TILE):
                zr[d // 8 * TILE + s, j % 8] = zt[j, s]


@inline_jit
def fill_few(
    rows: FloatArray,  # IN (TILE, 1 or 2)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    zt: FloatArray,  # OUT (d8, >= TILE)
) -> None:
    """Write one or two columns, of whose rows a vector takes in eight or four."""
    if rows.shape[1] == 1:
        for s in range(0, TILE, 8):
            store(zt, 0, s, (load_across(rows, s) - splat(shift[0])) * splat(scale[0]))
    else:
        for s in range(0, TILE, 8):
            z, other = deal(load_across(rows, s), load_across(rows, s + 4))
            store(zt, 0, s, (z - splat(shift[0])) * splat(scale[0]))
            store(zt, 1, s, (other - splat(shift[1])) * splat(scale[1]))


@jit
def forget(
    w: FloatArray,  # IN (TILE,)
    d: int,
    zt: FloatArray,  # IN OUT (d8, >= TILE)
) -> None:
    """Put rows of weight 0 at 1: wherever they are, they add 0 then, and not 0 times infinity."""
    one, zero = splat(1.0), splat(0.0)
    for s in range(0, TILE, 8):
        weight = load(w, s)
        if bits_above(weight, zero) != ALL:
            for j in range(d):
                store(zt, j, s, select(weight, load(zt, j, s), one))


@inline_jit
def fill_weighted(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    row: int,
    count: int,
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    zt: FloatArray,  # OUT (d8, >= TILE)
    w: FloatArray,  # OUT (TILE,)
) -> bool:
    """Enter rows and their weights, those of weight 0 forgotten; tell whether all weights are equal, and not 0."""
    even = fill_weights(weight, row, count, w)
    fill(x, row, count, shift, scale, zt)
    forget(w, x.shape[1], zt)
    return even


@jit
def forget_rows(
    w: FloatArray,  # IN (TILE,)
    zr: FloatArray,  # IN OUT (d8 / 8 TILE, 8)
) -> None:
    """Do the same where they lie as rows."""
    for s in range(TILE):
        if w[s] == 0.0:
            for i in range(s, zr.shape[0], TILE):
                store(zr, i, 0, splat(1.0))


@inline_jit
def fetch(ahead: FloatArray, at: int, size: int) -> int:
    """Ask for a part of the rows of the next tile, so that they come while another is worked on; return its end."""
    for j in range(at, at + size, 8):
        prefetch(ahead, 0, j)
    return at + size


@inline_jit
def part(ahead: FloatArray, parts: int) -> int:
    """Return how many values to fetch at a time, in so many parts."""
    lines = ahead.size // VECTOR
    size: int = (lines + parts - 1) // parts * VECTOR
    return size


# -------------------------------------------------------------------------------- shares


@inline_jit
def largest(
    joint: FloatArray,  # IN (k, TILE)
    s: int,
) -> Any:
    """Return the largest log-densities of the eight rows from `s` on."""
    top = splat(LOWEST)
    for k in range(joint.shape[0]):
        top = vmax(load(joint, k, s), top)
    return top


@jit
def softmax(
    joint: FloatArray,  # IN log4 pi_k f_k(z), OUT roots of the same over the largest, no logarithm: (k, TILE)
    top: FloatArray,  # OUT (TILE,) the largest
    density: FloatArray,  # OUT (TILE,) the sum of the squared roots
) -> None:
    """Turn log-densities into roots of shares that still are to be divided by their sum (formulas E2, E3).

    A NaN stays; a share below 2^-960 is 0.
    """
    for s in range(0, TILE, 8):
        most, total = largest(joint, s), splat(0.0)
        for k in range(joint.shape[0]):
            root = exp2_above_faint(load(joint, k, s) - most)
            store(joint, k, s, root)
            total = fma(root, root, total)
        store(top, s, most)
        store(density, s, total)


@jit
def log_likelihood(
    top: FloatArray,  # IN (TILE,)
    density: FloatArray,  # IN (TILE,)
    w: FloatArray,  # IN (TILE,)
    even: bool,
) -> Any:
    """Return the vector of sums of w log f (formula E2); a row of weight 0 adds nothing, not even an infinity.

    Where the weights are `even`, one logarithm of a product does for eight: each density is between 1 and k.
    """
    if even:
        tops, product = splat(0.0), splat(1.0)
        for s in range(0, TILE, 8):
            tops = tops + load(top, s)
            product = product * load(density, s)
        return splat(w[0]) * fma(splat(LN4), tops, log(product))
    total, zero = splat(0.0), splat(0.0)
    for s in range(0, TILE, 8):
        weight = load(w, s)
        total = total + select(weight, weight * fma(splat(LN4), load(top, s), log(load(density, s))), zero)
    return total


@inline_jit
def over_density(
    density: FloatArray,  # IN (TILE,), OUT w / density
    w: FloatArray,  # IN (TILE,)
) -> None:
    """Divide the weights by the densities; a row of weight 0 gets 0, even where its density is 0."""
    for s in range(0, TILE, 8):
        weight = load(w, s)
        store(density, s, select(weight, weight / load(density, s), splat(0.0)))


@jit
def normalize(
    joint: FloatArray,  # IN roots of shares, OUT w r: (k, TILE)
    density: FloatArray,  # IN (TILE,), OUT w / density
    w: FloatArray,  # IN (TILE,)
    counts: FloatArray,  # IN OUT (k, 8)
) -> None:
    """Turn roots of shares into weighted responsibilities, and add their sums (formula S1)."""
    over_density(density, w)
    for k in range(joint.shape[0]):
        count = load(counts, k, 0)
        for s in range(0, TILE, 8):
            root = load(joint, k, s)
            r = root * root * load(density, s)
            store(joint, k, s, r)
            count = count + r
        store(counts, k, 0, count)


@jit
def normalize_roots(
    joint: FloatArray,  # IN roots of shares, OUT roots of w r: (k, TILE)
    density: FloatArray,  # IN (TILE,), OUT root of w / density
    w: FloatArray,  # IN (TILE,)
    counts: FloatArray,  # IN OUT (k, 8)
) -> None:
    """Turn roots of shares into those of weighted responsibilities, and add the sums of these (formula S1)."""
    over_density(density, w)
    for s in range(0, TILE, 8):
        store(density, s, vsqrt(load(density, s)))
    for k in range(joint.shape[0]):
        count = load(counts, k, 0)
        for s in range(0, TILE, 8):
            root = load(joint, k, s) * load(density, s)
            store(joint, k, s, root)
            count = fma(root, root, count)
        store(counts, k, 0, count)


# -------------------------------------------------------------------------------- sums out


@jit
def held(blocks: int) -> int:
    """Return how many complete subtrees so many blocks make: one for each binary digit that is 1."""
    count = 0
    while blocks:
        count += blocks & 1
        blocks >>= 1
    return count


@jit
def fold(
    sums: FloatArray,  # IN OUT (levels, size): subtrees in order, and after them the last block
    blocks: int,
) -> None:
    """Join the subtrees that the last of `blocks` blocks completes (formula T1)."""
    last = held(blocks - 1)
    while blocks % 2 == 0:
        for i in range(sums.shape[1]):
            sums[last - 1, i] += sums[last, i]
        last -= 1
        blocks //= 2


@inline_jit
def total(w: FloatArray) -> Any:
    """Return the vector of sums of the weights of a tile."""
    sums = splat(0.0)
    for s in range(0, TILE, 8):
        sums = sums + load(w, s)
    return sums


@jit
def write_row(
    sums: FloatArray,  # IN (>= 1, size)
    out: FloatArray,  # OUT (m, size)
    m: int,
) -> None:
    """Write the first row of sums as the m-th of `out`."""
    for i in range(out.shape[1]):
        out[m, i] = sums[0, i]


# -------------------------------------------------------------------------------- arguments


def constant(array: Array, dtype: Any = np.float64) -> Array:
    """Return an array as kernels take their input: C-contiguous, mostly float64, behind a read-only view.

    A read-only array is another type to the compiler than a writeable one, and a cached function may have one
    signature only; every array can be viewed as read-only.
    """
    view = np.ascontiguousarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def padded(array: FloatArray, *sizes: int) -> FloatArray:
    """Return the array as kernel input, with zeros after its last axes up to `sizes`."""
    lead = array.shape[: array.ndim - len(sizes)]
    wide = lined(*lead, *sizes)
    wide.fill(0.0)
    inside: Any = (..., *map(slice, array.shape[len(lead) :]))
    wide[inside] = array
    return constant(wide)


def up_to(multiple: int, size: int) -> int:
    """Return `size`, raised to a multiple."""
    return -(-size // multiple) * multiple
