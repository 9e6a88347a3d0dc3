"""Gaussian mixtures with full covariances.

Vectors run over rows of the tile while whitening (formula E4), and over features while taking moments (S1 to S3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit, inline_jit, jit
from mixtura.kernels.chosen import append
from mixtura.kernels.panel import (
    ACCUMULATORS,
    CIRCLE,
    FILLED,
    Shape,
    circle,
    load_panel,
    load_strip,
    outer,
    spread,
    store_panel,
)
from mixtura.kernels.posterior import write_posterior
from mixtura.kernels.room import room
from mixtura.kernels.run import map_rows, sum_blocks
from mixtura.kernels.screen import bound, promising, screened_log_densities
from mixtura.kernels.simd import bits_above, count_bits, fma, hsum, imax, imin, load, splat, store, vsqrt, whole
from mixtura.kernels.tile import (
    LOG4_E,
    SKEW,
    SQUARE,
    TILE,
    VECTOR,
    ZERO,
    clear,
    constant,
    fill,
    fill_many,
    fill_weights,
    fold,
    forget,
    forget_rows,
    held,
    log_likelihood,
    normalize_roots,
    padded,
    softmax,
    total,
    up_to,
    write_row,
)
from mixtura.kernels.whiten import QUAD, log_densities, pack
from mixtura.stats import Node

COLUMN = Shape(ACCUMULATORS, 1)  # of a square of eight rows and eight columns, all or half of it
ROOMY = FILLED >= 16  # registers hold the sums of two squares, or of half a square and what makes its rows
HALF_SQUARE = Shape(CIRCLE, 1)
TWO = Shape(2, 1)
WORTHWHILE = 0.5  # share of pairs that look promising, or were completed, from which on a block is not screened
COPY = 3  # columns of a row whose products take as long as it takes to copy the row
APART = 32  # lines between what is read and what is written in step: half a page, lest one seem to be the other


@jit
def repays(
    roots: FloatArray,  # IN (k, TILE) roots of w r
    k: int,
    least: float,  # root of r from which a row matters
    w: FloatArray,  # IN (TILE,) roots of the weights
    d8: int,
) -> bool:
    """Tell whether so few rows of the tile matter to component `k` that it takes less time to copy them first."""
    count = ZERO
    for s in range(0, TILE, 8):
        count += count_bits(bits_above(load(roots, k, s), splat(least) * load(w, s)))
    return bool((TILE - count) * d8 > COPY * TILE)


@jit
def gather(
    zr: FloatArray,  # IN (d8 / 8 TILE, 8)
    roots: FloatArray,  # IN (k, TILE) roots of w r
    k: int,
    least: float,  # root of r from which a row matters
    w: FloatArray,  # IN (TILE,) roots of the weights
    chosen: FloatArray,  # TMP (TILE + 8,)
    root: FloatArray,  # OUT (TILE,) roots of the rows that matter, and 0 after the last
    rows: FloatArray,  # OUT (d8 / 8 TILE, 8) the rows that matter, and zeros after the last
) -> int:
    """Copy the rows that matter to component `k`, in their order; return how many, made even by a row of zeros."""
    count: int = ZERO
    for s in range(0, TILE, 8):
        count = append(bits_above(load(roots, k, s), splat(least) * load(w, s)), s, chosen, count)
    for c in range(count):
        root[c] = roots[k, whole(chosen[c])]
    for block in range(0, rows.shape[0], TILE):
        for c in range(count):
            store(rows, block + c, 0, load(zr, block + whole(chosen[c]), 0))
    if count < TILE:
        root[count] = 0.0
        for block in range(0, rows.shape[0], TILE):
            store(rows, block + count, 0, splat(0.0))
    return count + count % 2


@inline_jit
def centred(
    zr: FloatArray,  # IN (d8 / 8 TILE, 8)
    i: int,
    root: FloatArray,  # IN (TILE,) roots of their responsibilities
    s: int,
    centre: Any,
    rows: FloatArray,  # OUT (d8 / 8 TILE, 8); may be `zr`
) -> Any:
    """Write sqrt(r) (z - p) of the rows s and s + 1 of the block that begins at `i`; return the roots and these."""
    g, h = spread(TWO, root, s)
    y = g * (load(zr, i + s, 0) - centre)
    z = h * (load(zr, i + s + 1, 0) - centre)
    store(rows, i + s, 0, y)
    store(rows, i + s + 1, 0, z)
    return g, h, y, z


@jit
def centre_block(
    zr: FloatArray,  # IN (d8 / 8 TILE, 8)
    i: int,
    root: FloatArray,  # IN (TILE,) roots of their responsibilities
    count: int,
    pivot: FloatArray,  # IN (k, d8)
    k: int,
    rows: FloatArray,  # OUT (d8 / 8 TILE, 8); may be `zr`
    c1: FloatArray,  # IN OUT (k, d8)
    squares: FloatArray,  # IN OUT (k height, 8)
    at: int,
) -> None:
    """Write sqrt(r) (z - p) of eight columns, add r (z - p), and from row `at` on half of the square of the former."""
    j = i // TILE * 8
    centre, even, odd = load(pivot, k, j), load(c1, k, j), splat(0.0)
    if ROOMY:  # in one loop, which multiplies while it waits for memory
        sums = load_panel(HALF_SQUARE, squares, at, 0)
        for s in range(0, count, 2):
            g, h, y, z = centred(zr, i, root, s, centre, rows)
            even, odd = fma(g, y, even), fma(h, z, odd)
            sums = circle(z, circle(y, sums))
    else:
        for s in range(0, count, 2):
            g, h, y, z = centred(zr, i, root, s, centre, rows)
            even, odd = fma(g, y, even), fma(h, z, odd)
        sums = load_panel(HALF_SQUARE, squares, at, 0)
        for s in range(count):
            sums = circle(load(rows, i + s, 0), sums)
    store(c1, k, j, even + odd)
    store_panel(HALF_SQUARE, squares, at, 0, sums)


@jit
def add_square(
    rows: FloatArray,  # IN (d8 / 8 TILE, 8)
    count: int,
    i: int,
    j: int,
    squares: FloatArray,  # IN OUT (k height, 8)
    at: int,
) -> None:
    """Add the products of the eight columns in the block at `i` with those in the block at `j`, from row `at` on."""
    for p in range(0, 8, COLUMN.rows):
        sums = load_panel(COLUMN, squares, at + p, 0)
        for s in range(count):
            sums = outer(rows, i + s, p, load_strip(COLUMN, rows, j + s, 0), sums)
        store_panel(COLUMN, squares, at + p, 0, sums)


@jit
def add_two_squares(
    rows: FloatArray,  # IN (d8 / 8 TILE, 8)
    count: int,
    i: int,
    j: int,
    squares: FloatArray,  # IN OUT (k height, 8)
    at: int,
) -> None:
    """Do the same for the block at `j` and the next one at once: the numbers at `i` are read once for both."""
    a, b = load_panel(SQUARE, squares, at, 0), load_panel(SQUARE, squares, at + 8, 0)
    for s in range(count):
        a = outer(rows, i + s, 0, load_strip(SQUARE, rows, j + s, 0), a)
        b = outer(rows, i + s, 0, load_strip(SQUARE, rows, j + TILE + s, 0), b)
    store_panel(SQUARE, squares, at, 0, a)
    store_panel(SQUARE, squares, at + 8, 0, b)


@jit
def add_products(
    zr: FloatArray,  # IN (d8 / 8 TILE, 8)
    root: FloatArray,  # IN (TILE,) roots of their responsibilities
    count: int,
    pivot: FloatArray,  # IN (k, d8)
    k: int,
    rows: FloatArray,  # TMP (d8 / 8 TILE, 8); may be `zr`
    c1: FloatArray,  # IN OUT (k, d8)
    squares: FloatArray,  # IN OUT (k height, 8)
) -> None:
    """Add the moments of the first `count` rows: the lower triangle eight by eight, and by half on the diagonal."""
    at = k * height(pivot.shape[1])
    for i in range(0, rows.shape[0], TILE):
        diagonal = at + i // TILE * 8
        centre_block(zr, i, root, count, pivot, k, rows, c1, squares, diagonal)
        paired = ZERO
        if ROOMY:
            paired = i - i % (2 * TILE)
            for j in range(0, paired, 2 * TILE):
                add_two_squares(rows, count, i, j, squares, at + j // TILE * 8)
        for j in range(paired, i, TILE):
            add_square(rows, count, i, j, squares, at + j // TILE * 8)
        at = diagonal + CIRCLE


@jit
def add_moments(
    zr: FloatArray,  # IN (d8 / 8 TILE, 8)
    roots: FloatArray,  # IN (k, TILE) roots of w r
    least: FloatArray,  # IN (k,) roots of r from which a row matters
    w: FloatArray,  # IN (TILE,) roots of the weights
    pivot: FloatArray,  # IN (k, d8)
    chosen: FloatArray,  # TMP (TILE + 8,)
    root: FloatArray,  # TMP (TILE,)
    rows: FloatArray,  # TMP (d8 / 8 TILE, 8)
    c1: FloatArray,  # IN OUT (k, d8)
    c2: FloatArray,  # IN OUT (k height, 8)
) -> None:
    """Add r (z - p) and r (z - p)(z - p)', the latter as products of sqrt(r) (z - p), of at least what matters."""
    for k in range(pivot.shape[0]):
        source, own, count = zr, roots[k], TILE
        if repays(roots, k, least[k], w, pivot.shape[1]):
            source, own, count = rows, root, gather(zr, roots, k, least[k], w, chosen, root, rows)
        add_products(source, own, count, pivot, k, rows, c1, c2)


@jit
def height(d8: int) -> int:
    """Return how many rows of eight the squares of a lower triangle have."""
    n = d8 // 8
    return 8 * (n * (n - 1) // 2) + CIRCLE * n


@jit
def write_triangle(
    squares: FloatArray,  # IN (k height, 8)
    row: int,
    d: int,
    out: FloatArray,  # OUT (>= at + d (d + 1) / 2,)
    at: int,
) -> None:
    """Write the lower triangle, whose squares begin at `row`, row after row from `at` on."""
    for i in range(0, d, 8):
        for j in range(0, i, 8):
            for p in range(imin(8, d - i)):
                start = at + (i + p) * (i + p + 1) // 2 + j
                for q in range(8):
                    out[start + q] = squares[row + p, q]
            row += 8
        for t in range(CIRCLE):
            for q in range(8 if t < CIRCLE - 1 else 4):  # the last rotation has each pair twice
                low, high = i + imin(q, (q + t) % 8), i + imax(q, (q + t) % 8)
                if high < d:
                    out[at + high * (high + 1) // 2 + low] = squares[row + t, q]
        row += CIRCLE


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    factors: FloatArray,  # IN (k, height, 4)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    pivot: FloatArray,  # IN (k, d8)
    least: FloatArray,  # IN (k,) roots of r from which a row matters
    far: FloatArray,  # IN (k,) their logarithms, to base 4
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (m, size)
) -> None:
    """Write log-likelihood, weight and moments of each subtree of blocks."""
    d = x.shape[1]
    k, d8 = pivot.shape
    height_z = d8 // 8 * TILE
    both, zt = room(2 * height_z + APART, VECTOR), room(d8, TILE + SKEW)
    zr, rows = both[:height_z], both[height_z + APART :]
    tiles, chosen, unsure = room(2 * k + 4, TILE), room(TILE + VECTOR), room(TILE // VECTOR, np.int64)
    joint, bounds, lines = tiles[:k], tiles[k : 2 * k], tiles[2 * k :]
    top, density, w, root = lines[0], lines[1], lines[2], lines[3]
    zc, c0, c1, c2 = room(d8 + 1, VECTOR), room(k, VECTOR), room(k, d8), room(k * height(d8), VECTOR)
    for m in range(out.shape[0]):
        for b in range(cuts[m], cuts[m + 1]):
            clear(c0)
            clear(c1)
            clear(c2)
            loglik, weights = splat(0.0), splat(0.0)
            screens, most = far[0] > -np.inf, WORTHWHILE * k * TILE
            stop = imin((b + 1) * BLOCK_ROWS, x.shape[0])
            for row in range(b * BLOCK_ROWS, stop, TILE):
                count = imin(TILE, stop - row)
                even = fill_weights(weight, row, count, w)
                fill_many(x[row : row + count], shift, scale, zr, zt)
                forget(w, x.shape[1], zt)
                forget_rows(w, zr)
                ahead = x[row + TILE : row + 2 * TILE]
                if screens:
                    bound(zt, factors, offsets, peaks, ahead, bounds, density)
                    if row == b * BLOCK_ROWS:
                        screens = promising(bounds, density, far) < most
                if screens:  # and in the next tile of the block only if it turns out to be worthwhile
                    done = screened_log_densities(
                        zr, factors, offsets, far, bounds, density, top, chosen, unsure, zc, joint
                    )
                    screens = done < most
                else:
                    log_densities(QUAD, zt, factors, offsets, peaks, ahead, joint)
                softmax(joint, top, density)
                loglik = loglik + log_likelihood(top, density, w, even)
                weights = weights + total(w)
                normalize_roots(joint, density, w, c0)
                for s in range(0, TILE, 8):
                    store(w, s, vsqrt(load(w, s)))
                add_moments(zr, joint, least, w, pivot, chosen, root, rows, c1, c2)
            mine = sums[held(b - cuts[m])]
            mine[0], mine[1] = hsum(loglik), hsum(weights)
            for i in range(k):
                mine[2 + i] = hsum(load(c0, i, 0))
                for j in range(d):
                    mine[2 + k + i * d + j] = c1[i, j]
                write_triangle(c2, i * height(d8), d, mine, 2 + k + k * d + i * (d * (d + 1) // 2))
            fold(sums, b + 1 - cuts[m])
        write_row(sums, out, m)


@entry_jit
def posterior(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    factors: FloatArray,  # IN (k, height, 4)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    loglik: FloatArray,  # OUT (n,) or (0,)
    labels: IntArray,  # OUT (n,)
    resp: FloatArray,  # OUT (n, k) or (0, k)
) -> None:
    """Write labels, log-densities and responsibilities of rows, as far as they are wanted."""
    d8 = (x.shape[1] + 7) // 8 * 8
    zt = room(d8, TILE + SKEW)
    k = factors.shape[0]
    tiles = room(k + 2, TILE)
    joint, lines = tiles[:k], tiles[k:]
    top, density = lines[0], lines[1]
    for row in range(0, x.shape[0], TILE):
        count = imin(TILE, x.shape[0] - row)
        fill(x, row, count, shift, scale, zt)
        ahead = x[row + TILE : row + 2 * TILE]
        log_densities(QUAD, zt, factors, offsets, peaks, ahead, joint)
        write_posterior(joint, top, density, row, count, loglik, labels, resp)


def e_blocks(
    chunk: Chunk, pivot: FloatArray, least: FloatArray, *density: FloatArray
) -> Iterator[tuple[Node, FloatArray]]:
    """Yield log-likelihood, weight and packed moments of the subtrees of a chunk; `density` as for `pack`.

    A row whose responsibility is not above `least` (k,) is left out of the moments.
    """
    k, d = pivot.shape
    size = 2 + k * (1 + d + d * (d + 1) // 2)
    work = k * (2 * d * d + 8 * d + 100)
    arguments = pack(QUAD, *density)
    finite = all(np.isfinite(argument).all() for argument in arguments)  # else a NaN might be screened away
    with np.errstate(divide="ignore"):
        far = np.log(least if finite else 0 * least) * LOG4_E
    return sum_blocks(
        e_step, chunk, size, work, *arguments, padded(pivot, up_to(8, d)), constant(np.sqrt(least)), constant(far)
    )


def posterior_rows(x: Array, *density: FloatArray, wanted: Wanted) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities, labels and responsibilities of rows, as far as wanted; `density` as for `pack`."""
    k, d = density[2].shape
    return map_rows(posterior, x, k, k * (d * d + 8 * d + 100), *pack(QUAD, *density), wanted=wanted)
