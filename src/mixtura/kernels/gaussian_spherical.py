"""Gaussian mixtures with spherical covariances.

A squared distance is found without its scale, which then multiplies it once; and about the means, it is the second
moment too. First moments are taken about the origin, so that nothing has to be subtracted for each component, and moved
to the pivot once a block. Vectors run over the rows of a tile throughout. Formulas E1, E5, S1 to S3 and S7 of
docs/formulas.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit, jit
from mixtura.kernels.posterior import write_posterior
from mixtura.kernels.room import room
from mixtura.kernels.run import map_rows, sum_blocks
from mixtura.kernels.simd import fma, fnma, hsum, imin, load, splat, store
from mixtura.kernels.tile import (
    LOG4_E,
    ROOT_HALF_LOG4_E,
    SKEW,
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
    over_density,
    padded,
    part,
    softmax,
    total,
    up_to,
    write_row,
)
from mixtura.stats import Node

PAIR = 2  # columns, and components, that are added up together


@jit
def squared_distances(
    zt: FloatArray,  # IN (d8, TILE + SKEW)
    points: FloatArray,  # IN (k, >= d)
    d: int,
    ahead: FloatArray,  # IN rows to be fetched
    squares: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write |z - point|^2, four vectors of rows at a time."""
    at, size = ZERO, part(ahead, points.shape[0] * TILE // 32)
    for s in range(0, TILE, 32):
        for k in range(points.shape[0]):
            q0 = q1 = q2 = q3 = splat(0.0)
            for j in range(d):
                point = splat(points[k, j])
                y = point - load(zt, j, s)
                q0 = fma(y, y, q0)
                y = point - load(zt, j, s + 8)
                q1 = fma(y, y, q1)
                y = point - load(zt, j, s + 16)
                q2 = fma(y, y, q2)
                y = point - load(zt, j, s + 24)
                q3 = fma(y, y, q3)
            at = fetch(ahead, at, size)
            store(squares, k, s, q0)
            store(squares, k, s + 8, q1)
            store(squares, k, s + 16, q2)
            store(squares, k, s + 24, q3)


@jit
def log_densities(
    squares: FloatArray,  # IN (k, TILE)
    precisions: FloatArray,  # IN (k,)
    peaks: FloatArray,  # IN (k,)
    joint: FloatArray,  # OUT (k, TILE); may be `squares`
) -> None:
    """Write peak - precision |z - mean|^2."""
    for k in range(squares.shape[0]):
        precision, peak = splat(precisions[k]), splat(peaks[k])
        for s in range(0, TILE, 8):
            store(joint, k, s, fnma(precision, load(squares, k, s), peak))


@jit
def weigh(
    joint: FloatArray,  # IN roots of shares, OUT w r: (k, TILE)
    density: FloatArray,  # IN (TILE,), OUT w / density
    w: FloatArray,  # IN (TILE,)
    squares: FloatArray,  # IN (k, TILE) |z - p|^2
    c0: FloatArray,  # IN OUT (k, 8)
    c2: FloatArray,  # IN OUT (k, 8)
) -> None:
    """Turn roots of shares into weighted responsibilities; add these and r |z - p|^2, lane by lane."""
    over_density(density, w)
    for k in range(joint.shape[0]):
        count, second = load(c0, k, 0), load(c2, k, 0)
        for s in range(0, TILE, 8):
            root = load(joint, k, s)
            r = root * root * load(density, s)
            store(joint, k, s, r)
            count = count + r
            second = fma(r, load(squares, k, s), second)
        store(c0, k, 0, count)
        store(c2, k, 0, second)


@jit
def add_first(
    zt: FloatArray,  # IN (>= dp, TILE + SKEW)
    resp: FloatArray,  # IN (k, TILE)
    dp: int,
    c1: FloatArray,  # IN OUT (k dp, 8)
) -> None:
    """Add r z, lane by lane: two components, a and b, and two columns at a time share what is loaded.

    Where k is odd, the last component is both; each then does the same.
    """
    n = resp.shape[0]
    for j in range(0, dp, PAIR):
        for a in range(0, n, PAIR):
            b = imin(a + 1, n - 1)
            at_a, at_b = a * dp + j, b * dp + j
            a0, a1 = load(c1, at_a, 0), load(c1, at_a + 1, 0)
            b0, b1 = load(c1, at_b, 0), load(c1, at_b + 1, 0)
            for s in range(0, TILE, 8):
                r_a, r_b = load(resp, a, s), load(resp, b, s)
                z = load(zt, j, s)
                a0, b0 = fma(r_a, z, a0), fma(r_b, z, b0)
                z = load(zt, j + 1, s)
                a1, b1 = fma(r_a, z, a1), fma(r_b, z, b1)
            store(c1, at_a, 0, a0)
            store(c1, at_a + 1, 0, a1)
            store(c1, at_b, 0, b0)
            store(c1, at_b + 1, 0, b1)


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    means: FloatArray,  # IN (k, d)
    precisions: FloatArray,  # IN (k,)
    peaks: FloatArray,  # IN (k,)
    pivot: FloatArray,  # IN (k, dp)
    moved: bool,  # whether these are other points than the means
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (m, size)
) -> None:
    """Write log-likelihood, weight and moments of each subtree of blocks."""
    d = x.shape[1]
    k, dp = pivot.shape
    d8 = (d + 7) // 8 * 8
    zt = room(d8, TILE + SKEW)
    tiles = room(2 * k + 3, TILE)
    joint, squares, lines = tiles[:k], tiles[k : 2 * k], tiles[2 * k :]
    top, density, w = lines[0], lines[1], lines[2]
    c0, c1, c2 = room(k, VECTOR), room(dp * k, VECTOR), room(k, VECTOR)
    for m in range(out.shape[0]):
        for b in range(cuts[m], cuts[m + 1]):
            clear(c0)
            clear(c1)
            clear(c2)
            loglik, weights = splat(0.0), splat(0.0)
            stop = imin((b + 1) * BLOCK_ROWS, x.shape[0])
            for row in range(b * BLOCK_ROWS, stop, TILE):
                count = imin(TILE, stop - row)
                even = fill_weighted(x, weight, row, count, shift, scale, zt, w)
                ahead = x[row + TILE : row + 2 * TILE]
                squared_distances(zt, means, d, ahead, squares)
                log_densities(squares, precisions, peaks, joint)
                softmax(joint, top, density)
                loglik = loglik + log_likelihood(top, density, w, even)
                weights = weights + total(w)
                if moved:
                    squared_distances(zt, pivot, d, ahead, squares)
                weigh(joint, density, w, squares, c0, c2)
                add_first(zt, joint, dp, c1)
            mine = sums[held(b - cuts[m])]
            mine[0], mine[1] = hsum(loglik), hsum(weights)
            first, second = 2 + k, 2 + k + k * d
            for i in range(k):
                mine[2 + i] = hsum(load(c0, i, 0))
                mine[second + i] = hsum(load(c2, i, 0))
                for j in range(d):
                    mine[first + i * d + j] = hsum(load(c1, i * dp + j, 0)) - mine[2 + i] * pivot[i, j]
            fold(sums, b + 1 - cuts[m])
        write_row(sums, out, m)


@entry_jit
def posterior(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    means: FloatArray,  # IN (k, d)
    precisions: FloatArray,  # IN (k,)
    peaks: FloatArray,  # IN (k,)
    loglik: FloatArray,  # OUT (n,) or (0,)
    labels: IntArray,  # OUT (n,)
    resp: FloatArray,  # OUT (n, k) or (0, k)
) -> None:
    """Write labels, log-densities and responsibilities of rows, as far as they are wanted."""
    k, d = means.shape
    d8 = (d + 7) // 8 * 8
    zt = room(d8, TILE + SKEW)
    tiles = room(k + 2, TILE)
    joint, lines = tiles[:k], tiles[k:]
    top, density = lines[0], lines[1]
    for row in range(0, x.shape[0], TILE):
        count = imin(TILE, x.shape[0] - row)
        fill(x, row, count, shift, scale, zt)
        ahead = x[row + TILE : row + 2 * TILE]
        squared_distances(zt, means, d, ahead, joint)
        log_densities(joint, precisions, peaks, joint)
        write_posterior(joint, top, density, row, count, loglik, labels, resp)


def e_blocks(
    chunk: Chunk, pivot: FloatArray, _least: FloatArray, *density: FloatArray
) -> Iterator[tuple[Node, FloatArray]]:
    """Yield log-likelihood, weight and moments of the subtrees of a chunk; `density` as for `pack`.

    No row is left out: that would not pay here.
    """
    k, d = pivot.shape
    centre, moved = padded(pivot, up_to(PAIR, d)), not np.array_equal(pivot, density[2])
    return sum_blocks(e_step, chunk, 2 + k * (2 + d), k * (8 * d + 100), *pack(*density), centre, moved)


def posterior_rows(x: Array, *density: FloatArray, wanted: Wanted) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities, labels and responsibilities of rows, as far as wanted; `density` as for `pack`."""
    k, d = density[2].shape
    return map_rows(posterior, x, k, k * (3 * d + 100), *pack(*density), wanted=wanted)


def pack(
    shift: FloatArray, scale: FloatArray, means: FloatArray, factors: FloatArray, peaks: FloatArray
) -> tuple[FloatArray, ...]:
    """Return the parameters of densities as kernels take them; a factor (k,) is one over a standard deviation."""
    return tuple(constant(a) for a in (shift, scale, means, (factors * ROOT_HALF_LOG4_E) ** 2, peaks * LOG4_E))
