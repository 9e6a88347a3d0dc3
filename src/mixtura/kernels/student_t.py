"""The E-step of mixtures of multivariate t distributions, with scale matrices of any structure.

Vectors run over the rows of a tile. Formulas E4, D16 and D17 of docs/formulas.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit, jit
from mixtura.kernels.posterior import write_posterior
from mixtura.kernels.room import room
from mixtura.kernels.run import map_rows, sum_blocks
from mixtura.kernels.simd import fma, fnma, hsum, imax, imin, load, log, splat, store
from mixtura.kernels.tile import (
    LOG4_E,
    TILE,
    VECTOR,
    ZERO,
    clear,
    constant,
    fill,
    fill_weighted,
    fold,
    held,
    log_likelihood,
    normalize,
    softmax,
    total,
    write_row,
)
from mixtura.stats import Node


@jit
def write_gaps(
    zt: FloatArray,  # IN (d8, TILE)
    origins: FloatArray,  # IN (k, d)
    k: int,
    gaps: FloatArray,  # OUT (d, TILE)
) -> None:
    """Write how far rows are from the origin of a component."""
    for j in range(gaps.shape[0]):
        origin = splat(origins[k, j])
        for s in range(0, TILE, 8):
            store(gaps, j, s, load(zt, j, s) - origin)


@jit
def squared_distances(
    zt: FloatArray,  # IN (d8, TILE)
    means: FloatArray,  # IN (k, d)
    factors: FloatArray,  # IN (k d, d) row after row
    band: int,  # how far from the diagonal factors are not 0
    gaps: FloatArray,  # TMP (d, TILE)
    distance: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write |factor (z - mean)|^2, four vectors of rows at a time."""
    d = means.shape[1]
    for k in range(means.shape[0]):
        write_gaps(zt, means, k, gaps)
        for s in range(0, TILE, 32):
            q0 = q1 = q2 = q3 = splat(0.0)
            for j in range(d):
                y0 = y1 = y2 = y3 = splat(0.0)
                for h in range(imax(0, j - band), j + 1):
                    factor = splat(factors[k * d + j, h])
                    y0, y1 = fma(factor, load(gaps, h, s), y0), fma(factor, load(gaps, h, s + 8), y1)
                    y2, y3 = fma(factor, load(gaps, h, s + 16), y2), fma(factor, load(gaps, h, s + 24), y3)
                q0, q1, q2, q3 = fma(y0, y0, q0), fma(y1, y1, q1), fma(y2, y2, q2), fma(y3, y3, q3)
            store(distance, k, s, q0)
            store(distance, k, s + 8, q1)
            store(distance, k, s + 16, q2)
            store(distance, k, s + 24, q3)


@jit
def log_densities(
    d: int,
    dofs: FloatArray,  # IN (k,)
    peaks: FloatArray,  # IN (k,)
    log_most: FloatArray,  # IN (k,) logarithms of the largest precisions, which are those at the means
    joint: FloatArray,  # IN squared distances q, OUT peak - (dof + d) / 2 log(1 + q / dof): (k, TILE)
    precision: FloatArray,  # OUT (k, TILE) (dof + d) / (dof + q)
    logs: FloatArray,  # OUT (k, TILE) their logarithms
) -> None:
    """Write log-densities, and the expected precisions of rows in each component."""
    one = splat(1.0)
    for k in range(dofs.shape[0]):
        inverse, peak, slope = splat(1.0 / dofs[k]), splat(peaks[k]), splat((dofs[k] + d) / 2 * LOG4_E)
        most, log_of_most = splat((dofs[k] + d) / dofs[k]), splat(log_most[k])
        for s in range(0, TILE, 8):
            y = load(joint, k, s) * inverse
            u = one + y
            share = one / u
            fall = fma(y - (u - one), share, log(u))  # log(1 + y), with the digits of y that 1 + y has lost
            store(joint, k, s, fnma(slope, fall, peak))
            store(precision, k, s, most * share)
            store(logs, k, s, log_of_most - fall)


@jit
def add_precisions(
    precision: FloatArray,  # IN (k, TILE)
    logs: FloatArray,  # IN (k, TILE)
    resp: FloatArray,  # IN r, OUT r u: (k, TILE)
    sums: FloatArray,  # IN OUT (2 k, 8)
) -> None:
    """Multiply responsibilities r with the precisions u; add r log u and r u."""
    n = resp.shape[0]
    for k in range(n):
        log_sum, weight = load(sums, k, 0), load(sums, n + k, 0)
        for s in range(0, TILE, 8):
            r = load(resp, k, s)
            log_sum, r = fma(r, load(logs, k, s), log_sum), r * load(precision, k, s)
            weight = weight + r
            store(resp, k, s, r)
        store(sums, k, 0, log_sum)
        store(sums, n + k, 0, weight)


@jit
def add_moments(
    zt: FloatArray,  # IN (d8, TILE)
    resp: FloatArray,  # IN (k, TILE)
    pivot: FloatArray,  # IN (k, d)
    band: int,  # how far from the diagonal products of columns are wanted
    gaps: FloatArray,  # TMP (d, TILE)
    moved: FloatArray,  # TMP (TILE,)
    c1: FloatArray,  # IN OUT (k d, 8)
    c2: FloatArray,  # IN OUT (k entries, 8) row after row of lower triangles
) -> None:
    """Add r (z - p) and r (z - p)(z - p)', lane by lane."""
    n, d = pivot.shape
    at = ZERO
    for k in range(n):
        write_gaps(zt, pivot, k, gaps)
        for j in range(d):
            first = load(c1, k * d + j, 0)
            for s in range(0, TILE, 8):
                product = load(resp, k, s) * load(gaps, j, s)
                store(moved, s, product)
                first = first + product
            store(c1, k * d + j, 0, first)
            for h in range(imax(0, j - band), j + 1):
                second = load(c2, at, 0)
                for s in range(0, TILE, 8):
                    second = fma(load(moved, s), load(gaps, h, s), second)
                store(c2, at, 0, second)
                at += 1


@jit
def write_sums(
    c: FloatArray,  # IN (size, 8)
    at: int,
    out: FloatArray,  # OUT (>= at + size,)
) -> int:
    """Write the sums of the lanes from `at` on; return where they end."""
    for i in range(c.shape[0]):
        out[at + i] = hsum(load(c, i, 0))
    end: int = at + c.shape[0]
    return end


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    means: FloatArray,  # IN (k, d)
    factors: FloatArray,  # IN (k d, d)
    band: int,
    dofs: FloatArray,  # IN (k,)
    peaks: FloatArray,  # IN (k,)
    log_most: FloatArray,  # IN (k,)
    pivot: FloatArray,  # IN (k, d)
    entries: int,  # of a second moment
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (m, size)
) -> None:
    """Write log-likelihood, weight, counts, sums of precisions and moments of each subtree of blocks."""
    k, d = means.shape
    zt, gaps = room((d + 7) // 8 * 8, TILE), room(d, TILE)
    tiles = room(3 * k + 4, TILE)
    joint, precision, logs, lines = tiles[:k], tiles[k : 2 * k], tiles[2 * k : 3 * k], tiles[3 * k :]
    top, density, w, moved = lines[0], lines[1], lines[2], lines[3]
    c0, cu, c1, c2 = room(k, VECTOR), room(2 * k, VECTOR), room(k * d, VECTOR), room(k * entries, VECTOR)
    for m in range(out.shape[0]):
        for b in range(cuts[m], cuts[m + 1]):
            clear(c0)
            clear(cu)
            clear(c1)
            clear(c2)
            loglik, weights = splat(0.0), splat(0.0)
            stop = imin((b + 1) * BLOCK_ROWS, x.shape[0])
            for row in range(b * BLOCK_ROWS, stop, TILE):
                count = imin(TILE, stop - row)
                even = fill_weighted(x, weight, row, count, shift, scale, zt, w)
                squared_distances(zt, means, factors, band, gaps, joint)
                log_densities(d, dofs, peaks, log_most, joint, precision, logs)
                softmax(joint, top, density)
                loglik = loglik + log_likelihood(top, density, w, even)
                weights = weights + total(w)
                normalize(joint, density, w, c0)
                add_precisions(precision, logs, joint, cu)
                add_moments(zt, joint, pivot, band, gaps, moved, c1, c2)
            mine = sums[held(b - cuts[m])]
            mine[0], mine[1] = hsum(loglik), hsum(weights)
            at = write_sums(c0, 2, mine)
            at = write_sums(cu, at, mine)
            at = write_sums(c1, at, mine)
            write_sums(c2, at, mine)
            fold(sums, b + 1 - cuts[m])
        write_row(sums, out, m)


@entry_jit
def posterior(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    means: FloatArray,  # IN (k, d)
    factors: FloatArray,  # IN (k d, d)
    band: int,
    dofs: FloatArray,  # IN (k,)
    peaks: FloatArray,  # IN (k,)
    log_most: FloatArray,  # IN (k,)
    loglik: FloatArray,  # OUT (n,) or (0,)
    labels: IntArray,  # OUT (n,)
    resp: FloatArray,  # OUT (n, k) or (0, k)
) -> None:
    """Write labels, log-densities and responsibilities of rows, as far as they are wanted."""
    k, d = means.shape
    zt, gaps = room((d + 7) // 8 * 8, TILE), room(d, TILE)
    tiles = room(3 * k + 2, TILE)
    joint, precision, logs, lines = tiles[:k], tiles[k : 2 * k], tiles[2 * k : 3 * k], tiles[3 * k :]
    top, density = lines[0], lines[1]
    for row in range(0, x.shape[0], TILE):
        count = imin(TILE, x.shape[0] - row)
        fill(x, row, count, shift, scale, zt)
        squared_distances(zt, means, factors, band, gaps, joint)
        log_densities(d, dofs, peaks, log_most, joint, precision, logs)
        write_posterior(joint, top, density, row, count, loglik, labels, resp)


def e_blocks(chunk: Chunk, pivot: FloatArray, *density: Any) -> Iterator[tuple[Node, FloatArray]]:
    """Yield log-likelihood, weight, counts, sums of r log u and r u, and moments weighted by r u of the subtrees.

    Of second moments these are the lower triangles, or the diagonals where `band` is 0; `density` as for `pack`.
    """
    k, d = pivot.shape
    arguments, entries = pack(*density), d * (d + 1) // 2 if density[4] else d
    return sum_blocks(e_step, chunk, 2 + k * (3 + d + entries), _work(k, d), *arguments, constant(pivot), entries)


def posterior_rows(x: Array, *density: Any, wanted: Wanted) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities, labels and responsibilities of rows, as far as wanted; `density` as for `pack`."""
    k, d = density[2].shape
    return map_rows(posterior, x, k, _work(k, d), *pack(*density), wanted=wanted)


def _work(k: int, d: int) -> int:
    """Return the operations a row."""
    return k * (2 * d * d + 8 * d + 200)


def pack(
    shift: FloatArray,
    scale: FloatArray,
    means: FloatArray,
    factors: FloatArray,
    band: int,
    dofs: FloatArray,
    peaks: FloatArray,
) -> tuple[Any, ...]:
    """Return the parameters of densities as kernels take them.

    Parameters
    ----------
    shift, scale : (d,) array
        The frame.
    means : (k, d) array
        In the frame, as the factors are.
    factors : (k, d, d) array
        Lower triangles.
    band : int
        How far from their diagonals there are entries: 0, or d.
    dofs : (k,) array
        Degrees of freedom.
    peaks : (k,) array
        Log-densities at the means.
    """
    d = means.shape[1]
    places = constant(shift), constant(scale), constant(means), constant(factors.reshape(-1, d))
    return *places, band, constant(dofs), constant(peaks * LOG4_E), constant(np.log1p(d / dofs))
