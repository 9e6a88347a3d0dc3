"""Gaussian mixtures with one covariance shared by all components.

A row is whitened once, and its scatter is taken once, about its posterior mean of the pivots: what that leaves out
is a sum of products of responsibilities (formulas S4, S5, M5). Both are sums of non-negative terms, so nothing cancels.
Vectors run over the rows of a tile throughout.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit, jit
from mixtura.kernels.gaussian_narrow import add_moments as add_scatter
from mixtura.kernels.panel import store_panel
from mixtura.kernels.posterior import write_posterior
from mixtura.kernels.room import room
from mixtura.kernels.run import map_rows, sum_blocks
from mixtura.kernels.simd import fma, fnma, hsum, imin, load, select, splat, store
from mixtura.kernels.tile import (
    TILE,
    VECTOR,
    ZERO,
    clear,
    constant,
    fetch,
    fill,
    fill_weighted,
    fold,
    held,
    log_likelihood,
    normalize,
    padded,
    part,
    softmax,
    total,
    up_to,
    write_row,
)
from mixtura.kernels.whiten import PAIR, pack, whitened
from mixtura.stats import Node


@jit
def log_densities(
    zt: FloatArray,  # IN (>= dp, TILE)
    factor: FloatArray,  # IN (height, 2)
    origin: FloatArray,  # IN (dp,) zeros
    offsets: FloatArray,  # IN (k, dp) -L mu
    peaks: FloatArray,  # IN (k,)
    ahead: FloatArray,  # IN rows to be fetched
    yt: FloatArray,  # TMP (dp, TILE)
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write peak - |L z - L mu|^2, four vectors of rows at a time."""
    at, dp = ZERO, offsets.shape[1]
    for i in range(0, dp, PAIR.rows):
        for s in range(0, TILE, PAIR.width):
            store_panel(PAIR, yt, i, s, whitened(PAIR, factor, at, origin, zt, i, s))
        at += i + PAIR.rows
    at, size = ZERO, part(ahead, offsets.shape[0] * TILE // 32)
    for s in range(0, TILE, 32):
        for k in range(offsets.shape[0]):
            v0 = v1 = v2 = v3 = splat(peaks[k])
            for j in range(dp):
                offset = splat(offsets[k, j])
                y0, y1 = load(yt, j, s) + offset, load(yt, j, s + 8) + offset
                y2, y3 = load(yt, j, s + 16) + offset, load(yt, j, s + 24) + offset
                v0, v1, v2, v3 = fnma(y0, y0, v0), fnma(y1, y1, v1), fnma(y2, y2, v2), fnma(y3, y3, v3)
            at = fetch(ahead, at, size)
            store(joint, k, s, v0)
            store(joint, k, s + 8, v1)
            store(joint, k, s + 16, v2)
            store(joint, k, s + 24, v3)


@jit
def centre(
    zt: FloatArray,  # IN OUT (>= dp, TILE): z, then z - m, where m is the posterior mean of the pivots
    resp: FloatArray,  # IN (k, TILE) w r
    w: FloatArray,  # IN (1, TILE)
    pivot: FloatArray,  # IN (k, dp)
    inverse: FloatArray,  # OUT (TILE,) 1 / w; 0 for a row of weight 0
    c1: FloatArray,  # IN OUT (k dp, 8)
) -> None:
    """Add r (z - p), and centre the rows."""
    one, zero, dp = splat(1.0), splat(0.0), pivot.shape[1]
    for s in range(0, TILE, 8):
        weight = load(w, 0, s)
        store(inverse, s, select(weight, one / weight, zero))
    for j in range(dp):
        for k in range(pivot.shape[0]):
            p, sums = splat(pivot[k, j]), load(c1, k * dp + j, 0)
            for s in range(0, TILE, 8):
                sums = fma(load(resp, k, s), load(zt, j, s) - p, sums)
            store(c1, k * dp + j, 0, sums)
        for s in range(0, TILE, 8):
            mean = zero
            for k in range(pivot.shape[0]):
                mean = fma(load(resp, k, s), splat(pivot[k, j]), mean)
            store(zt, j, s, fnma(mean, load(inverse, s), load(zt, j, s)))


@jit
def add_cross(
    resp: FloatArray,  # IN (k, TILE) w r
    inverse: FloatArray,  # IN (TILE,) 1 / w
    share: FloatArray,  # TMP (TILE,)
    cross: FloatArray,  # IN OUT (k k, 8) lower triangle
) -> None:
    """Add w r_a r_b, lane by lane."""
    n = resp.shape[0]
    for a in range(n):
        for s in range(0, TILE, 8):
            store(share, s, load(resp, a, s) * load(inverse, s))
        for b in range(a + 1):
            sums = load(cross, a * n + b, 0)
            for s in range(0, TILE, 8):
                sums = fma(load(share, s), load(resp, b, s), sums)
            store(cross, a * n + b, 0, sums)


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    factor: FloatArray,  # IN (height, 2)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    pivot: FloatArray,  # IN (k, dp)
    origin: FloatArray,  # IN (1, dp) zeros
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (m, size)
) -> None:
    """Write log-likelihood, weight and pooled moments of each subtree of blocks."""
    d = x.shape[1]
    k, dp = pivot.shape
    d8 = (d + 7) // 8 * 8
    zt, yt = room(d8, TILE), room(dp, TILE)
    tiles = room(k + 5, TILE)
    joint, lines, w = tiles[:k], tiles[k : k + 4], tiles[k + 4 :]
    top, density, inverse, share = lines[0], lines[1], lines[2], lines[3]
    c0, c1, cc = room(k, VECTOR), room(k * dp, VECTOR), room(k * k, VECTOR)
    unused, c2 = room(dp, VECTOR), room(dp * dp, VECTOR)
    for m in range(out.shape[0]):
        for b in range(cuts[m], cuts[m + 1]):
            clear(c0)
            clear(c1)
            clear(c2)
            clear(cc)
            loglik, weights = splat(0.0), splat(0.0)
            stop = imin((b + 1) * BLOCK_ROWS, x.shape[0])
            for row in range(b * BLOCK_ROWS, stop, TILE):
                count = imin(TILE, stop - row)
                even = fill_weighted(x, weight, row, count, shift, scale, zt, w[0])
                ahead = x[row + TILE : row + 2 * TILE]
                log_densities(zt, factor, origin[0], offsets, peaks, ahead, yt, joint)
                softmax(joint, top, density)
                loglik = loglik + log_likelihood(top, density, w[0], even)
                weights = weights + total(w[0])
                normalize(joint, density, w[0], c0)
                centre(zt, joint, w, pivot, inverse, c1)
                add_scatter(zt, w, origin, yt, unused, c2)
                add_cross(joint, inverse, share, cc)
            mine = sums[held(b - cuts[m])]
            mine[0], mine[1] = hsum(loglik), hsum(weights)
            at = 2 + k
            for i in range(k):
                mine[2 + i] = hsum(load(c0, i, 0))
                for j in range(d):
                    mine[at] = hsum(load(c1, i * dp + j, 0))
                    at += 1
            for i in range(d):
                for j in range(i + 1):
                    mine[at] = hsum(load(c2, i * dp + j, 0))
                    at += 1
            for i in range(k):
                for j in range(i + 1):
                    mine[at] = hsum(load(cc, i * k + j, 0))
                    at += 1
            fold(sums, b + 1 - cuts[m])
        write_row(sums, out, m)


@entry_jit
def posterior(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    factor: FloatArray,  # IN (height, 2)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    loglik: FloatArray,  # OUT (n,) or (0,)
    labels: IntArray,  # OUT (n,)
    resp: FloatArray,  # OUT (n, k) or (0, k)
) -> None:
    """Write labels, log-densities and responsibilities of rows, as far as they are wanted."""
    k, dp = offsets.shape
    d8 = (x.shape[1] + 7) // 8 * 8
    zt, yt = room(d8, TILE), room(dp, TILE)
    tiles, origin = room(k + 2, TILE), room(1, dp)
    joint, lines = tiles[:k], tiles[k:]
    top, density = lines[0], lines[1]
    for row in range(0, x.shape[0], TILE):
        count = imin(TILE, x.shape[0] - row)
        fill(x, row, count, shift, scale, zt)
        ahead = x[row + TILE : row + 2 * TILE]
        log_densities(zt, factor, origin[0], offsets, peaks, ahead, yt, joint)
        write_posterior(joint, top, density, row, count, loglik, labels, resp)


def e_blocks(
    chunk: Chunk, pivot: FloatArray, _least: FloatArray, *density: FloatArray
) -> Iterator[tuple[Node, FloatArray]]:
    """Yield log-likelihood, weight and packed pooled moments of the subtrees of a chunk; `density` as for `pack`.

    No row is left out: that would not pay here.
    """
    k, d = pivot.shape
    dp = up_to(PAIR.rows, d)
    size = 2 + k * (1 + d) + d * (d + 1) // 2 + k * (k + 1) // 2
    work = k * (6 * d + k + 100) + 2 * d * d
    return sum_blocks(e_step, chunk, size, work, *pack(PAIR, *density), padded(pivot, dp), constant(np.zeros((1, dp))))


def posterior_rows(x: Array, *density: FloatArray, wanted: Wanted) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities, labels and responsibilities of rows, as far as wanted; `density` as for `pack`."""
    k, d = density[2].shape
    return map_rows(posterior, x, k, k * (3 * d + 100) + d * d, *pack(PAIR, *density), wanted=wanted)
