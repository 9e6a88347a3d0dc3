"""Gaussian mixtures with diagonal covariances, spherical ones and those of one column included.

Vectors run over the rows of a tile throughout. Formulas E1, E5 and S1 to S3 of docs/formulas.md.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    normalize,
    part,
    softmax,
    total,
    write_row,
)
from mixtura.stats import Node


@jit
def log_densities(
    zt: FloatArray,  # IN (d8, TILE + SKEW)
    means: FloatArray,  # IN (k, d)
    factors: FloatArray,  # IN (k, d) one over the standard deviations
    peaks: FloatArray,  # IN (k,) log pi_k + log density at the mean
    ahead: FloatArray,  # IN rows to be fetched
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write peak - |factor (z - mean)|^2, four vectors of rows at a time.

    Each is finished before the next, and as mean - z: so few registers are wanted that all sums stay in one.
    """
    at, size = ZERO, part(ahead, means.shape[0] * TILE // 32)
    for s in range(0, TILE, 32):
        for k in range(means.shape[0]):
            v0 = v1 = v2 = v3 = splat(peaks[k])
            for j in range(means.shape[1]):
                mean, factor = splat(means[k, j]), splat(factors[k, j])
                y = (mean - load(zt, j, s)) * factor
                v0 = fnma(y, y, v0)
                y = (mean - load(zt, j, s + 8)) * factor
                v1 = fnma(y, y, v1)
                y = (mean - load(zt, j, s + 16)) * factor
                v2 = fnma(y, y, v2)
                y = (mean - load(zt, j, s + 24)) * factor
                v3 = fnma(y, y, v3)
            at = fetch(ahead, at, size)
            store(joint, k, s, v0)
            store(joint, k, s + 8, v1)
            store(joint, k, s + 16, v2)
            store(joint, k, s + 24, v3)


@jit
def add_moments(
    zt: FloatArray,  # IN (d8, TILE + SKEW)
    resp: FloatArray,  # IN (k, TILE)
    pivot: FloatArray,  # IN (k, d)
    c1: FloatArray,  # IN OUT (d k, 8)
    c2: FloatArray,  # IN OUT (d k, 8)
) -> None:
    """Add r (z - p) and r (z - p)^2, lane by lane, two vectors of rows at a time; gaps are p - z, as above."""
    n, d = pivot.shape
    for j in range(d):
        for k in range(n):
            at, p = j * n + k, splat(pivot[k, j])
            first, second = load(c1, at, 0), load(c2, at, 0)
            other_first = other_second = splat(0.0)
            for s in range(0, TILE, 16):
                gap = p - load(zt, j, s)
                moved = load(resp, k, s) * gap
                first, second = first - moved, fma(moved, gap, second)
                gap = p - load(zt, j, s + 8)
                moved = load(resp, k, s + 8) * gap
                other_first, other_second = other_first - moved, fma(moved, gap, other_second)
            store(c1, at, 0, first + other_first)
            store(c2, at, 0, second + other_second)


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    means: FloatArray,  # IN (k, d)
    factors: FloatArray,  # IN (k, d)
    peaks: FloatArray,  # IN (k,)
    pivot: FloatArray,  # IN (k, d)
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (m, size)
) -> None:
    """Write log-likelihood, weight and moments of each subtree of blocks."""
    k, d = means.shape
    d8 = (d + 7) // 8 * 8
    zt = room(d8, TILE + SKEW)
    tiles = room(k + 3, TILE)
    joint, lines = tiles[:k], tiles[k:]
    top, density, w = lines[0], lines[1], lines[2]
    c0, c1, c2 = room(k, VECTOR), room(d * k, VECTOR), room(d * k, VECTOR)
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
                log_densities(zt, means, factors, peaks, ahead, joint)
                softmax(joint, top, density)
                loglik = loglik + log_likelihood(top, density, w, even)
                weights = weights + total(w)
                normalize(joint, density, w, c0)
                add_moments(zt, joint, pivot, c1, c2)
            mine = sums[held(b - cuts[m])]
            mine[0], mine[1] = hsum(loglik), hsum(weights)
            first, second = 2 + k, 2 + k + k * d
            for i in range(k):
                mine[2 + i] = hsum(load(c0, i, 0))
                for j in range(d):
                    mine[first + i * d + j] = hsum(load(c1, j * k + i, 0))
                    mine[second + i * d + j] = hsum(load(c2, j * k + i, 0))
            fold(sums, b + 1 - cuts[m])
        write_row(sums, out, m)


@entry_jit
def posterior(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    means: FloatArray,  # IN (k, d)
    factors: FloatArray,  # IN (k, d)
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
        log_densities(zt, means, factors, peaks, ahead, joint)
        write_posterior(joint, top, density, row, count, loglik, labels, resp)


def e_blocks(
    chunk: Chunk, pivot: FloatArray, _least: FloatArray, *density: FloatArray
) -> Iterator[tuple[Node, FloatArray]]:
    """Yield log-likelihood, weight and moments of the subtrees of a chunk; `density` as for `pack`.

    No row is left out: that would not pay here.
    """
    k, d = pivot.shape
    return sum_blocks(e_step, chunk, 2 + k * (1 + 2 * d), k * (12 * d + 100), *pack(*density), constant(pivot))


def posterior_rows(x: Array, *density: FloatArray, wanted: Wanted) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities, labels and responsibilities of rows, as far as wanted; `density` as for `pack`."""
    k, d = density[2].shape
    return map_rows(posterior, x, k, k * (6 * d + 100), *pack(*density), wanted=wanted)


def pack(
    shift: FloatArray, scale: FloatArray, means: FloatArray, factors: FloatArray, peaks: FloatArray
) -> tuple[FloatArray, ...]:
    """Return the parameters of densities as kernels take them."""
    return tuple(constant(a) for a in (shift, scale, means, factors * ROOT_HALF_LOG4_E, peaks * LOG4_E))
