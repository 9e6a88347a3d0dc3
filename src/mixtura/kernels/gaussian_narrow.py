"""The E-step of Gaussian mixtures with full covariances of few columns.

Vectors run over the rows of a tile throughout, so that nothing is padded. Formulas E4 and S1 to S3 of docs/formulas.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from mixtura._types import FloatArray, IntArray
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit, inline_jit, jit
from mixtura.kernels.gaussian_full import posterior_rows
from mixtura.kernels.room import room
from mixtura.kernels.run import sum_blocks
from mixtura.kernels.simd import fma, hsum, imin, load, splat, store
from mixtura.kernels.tile import (
    TILE,
    VECTOR,
    clear,
    fill_weighted,
    fold,
    held,
    log_likelihood,
    normalize,
    padded,
    softmax,
    total,
    up_to,
    write_row,
)
from mixtura.kernels.whiten import PAIR, log_densities, pack
from mixtura.stats import Node

__all__ = ["WIDEST", "add_moments", "e_blocks", "posterior_rows"]  # that of wide mixtures does as well

RUN = 64  # rows of an inner loop: few enough for LLVM to unroll it, which makes it a third faster
WIDEST = 14  # columns from which vectors had better run over features: benchmarks/fit.py


@jit
def add_moments(
    zt: FloatArray,  # IN (>= dp, TILE)
    resp: FloatArray,  # IN (k, TILE)
    pivot: FloatArray,  # IN (k, dp)
    moved: FloatArray,  # TMP (>= 2, TILE)
    c1: FloatArray,  # IN OUT (k dp, 8)
    c2: FloatArray,  # IN OUT (k dp dp, 8)
) -> None:
    """Add r (z - p) and r (z - p)(z - p)', lane by lane: in squares of two columns by two, which stay in registers."""
    for k in range(pivot.shape[0]):
        add_first_pair(zt, resp, pivot, k, c1, c2)
        for i in range(2, pivot.shape[1], 2):
            add_pair(zt, resp, pivot, k, i, moved, c1, c2)
            for j in range(0, i, 2):
                add_products(zt, moved, pivot, k, i, j, c2)


@inline_jit
def add_first_pair(
    zt: FloatArray,  # IN (>= dp, TILE)
    resp: FloatArray,  # IN (k, TILE)
    pivot: FloatArray,  # IN (k, dp)
    k: int,
    c1: FloatArray,  # IN OUT (k dp, 8)
    c2: FloatArray,  # IN OUT (k dp dp, 8)
) -> None:
    """Add the moments of the first two columns: no other pair reads what is moved of them, so it is not written."""
    row = k * pivot.shape[1]
    upper, lower = row * pivot.shape[1], (row + 1) * pivot.shape[1]
    p0, p1 = splat(pivot[k, 0]), splat(pivot[k, 1])
    m0, m1 = load(c1, row, 0), load(c1, row + 1, 0)
    a, b, c = load(c2, upper, 0), load(c2, lower, 0), load(c2, lower + 1, 0)
    for begin in range(0, TILE, RUN):
        for s in range(begin, begin + RUN, 8):
            r = load(resp, k, s)
            z0, z1 = p0 - load(zt, 0, s), p1 - load(zt, 1, s)
            r0, r1 = r * z0, r * z1
            m0, m1 = m0 - r0, m1 - r1
            a, b, c = fma(r0, z0, a), fma(r1, z0, b), fma(r1, z1, c)
    store(c1, row, 0, m0)
    store(c1, row + 1, 0, m1)
    store(c2, upper, 0, a)
    store(c2, lower, 0, b)
    store(c2, lower + 1, 0, c)


@inline_jit
def add_pair(
    zt: FloatArray,  # IN (>= dp, TILE)
    resp: FloatArray,  # IN (k, TILE)
    pivot: FloatArray,  # IN (k, dp)
    k: int,
    i: int,
    moved: FloatArray,  # OUT (2, TILE) r (p - z)
    c1: FloatArray,  # IN OUT (k dp, 8)
    c2: FloatArray,  # IN OUT (k dp dp, 8)
) -> None:
    """Add the moments of columns i and i + 1 alone: the first ones afterwards, lest some sum leaves its register."""
    row = k * pivot.shape[1] + i
    upper, lower = row * pivot.shape[1] + i, (row + 1) * pivot.shape[1] + i
    p0, p1 = splat(pivot[k, i]), splat(pivot[k, i + 1])
    a, b, c = load(c2, upper, 0), load(c2, lower, 0), load(c2, lower + 1, 0)
    for begin in range(0, TILE, RUN):
        for s in range(begin, begin + RUN, 8):
            r = load(resp, k, s)
            z0, z1 = p0 - load(zt, i, s), p1 - load(zt, i + 1, s)
            r0, r1 = r * z0, r * z1
            store(moved, 0, s, r0)
            store(moved, 1, s, r1)
            a, b, c = fma(r0, z0, a), fma(r1, z0, b), fma(r1, z1, c)
    store(c2, upper, 0, a)
    store(c2, lower, 0, b)
    store(c2, lower + 1, 0, c)
    m0, m1 = load(c1, row, 0), load(c1, row + 1, 0)
    for s in range(0, TILE, 8):
        m0, m1 = m0 - load(moved, 0, s), m1 - load(moved, 1, s)
    store(c1, row, 0, m0)
    store(c1, row + 1, 0, m1)


@inline_jit
def add_products(
    zt: FloatArray,  # IN (>= dp, TILE)
    moved: FloatArray,  # IN (2, TILE) r (p - z) of columns i and i + 1
    pivot: FloatArray,  # IN (k, dp)
    k: int,
    i: int,
    j: int,
    c2: FloatArray,  # IN OUT (k dp dp, 8)
) -> None:
    """Add the products of columns i and i + 1 with columns j and j + 1."""
    p0, p1 = splat(pivot[k, j]), splat(pivot[k, j + 1])
    upper = (k * pivot.shape[1] + i) * pivot.shape[1] + j
    lower = upper + pivot.shape[1]
    a, b, c, e = load(c2, upper, 0), load(c2, upper + 1, 0), load(c2, lower, 0), load(c2, lower + 1, 0)
    for begin in range(0, TILE, RUN):
        for s in range(begin, begin + RUN, 8):
            r0, r1 = load(moved, 0, s), load(moved, 1, s)
            z0, z1 = p0 - load(zt, j, s), p1 - load(zt, j + 1, s)
            a, b, c, e = fma(r0, z0, a), fma(r0, z1, b), fma(r1, z0, c), fma(r1, z1, e)
    store(c2, upper, 0, a)
    store(c2, upper + 1, 0, b)
    store(c2, lower, 0, c)
    store(c2, lower + 1, 0, e)


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    factors: FloatArray,  # IN (k, height, 2)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    pivot: FloatArray,  # IN (k, dp)
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (m, size)
) -> None:
    """Write log-likelihood, weight and moments of each subtree of blocks."""
    d = x.shape[1]
    k, dp = pivot.shape
    d8 = (d + 7) // 8 * 8
    zt = room(d8, TILE)
    tiles = room(k + 5, TILE)
    joint, lines, moved = tiles[:k], tiles[k : k + 3], tiles[k + 3 :]
    top, density, w = lines[0], lines[1], lines[2]
    c0, c1, c2 = room(k, VECTOR), room(k * dp, VECTOR), room(k * dp * dp, VECTOR)
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
                log_densities(PAIR, zt, factors, offsets, peaks, ahead, joint)
                softmax(joint, top, density)
                loglik = loglik + log_likelihood(top, density, w, even)
                weights = weights + total(w)
                normalize(joint, density, w, c0)
                add_moments(zt, joint, pivot, moved, c1, c2)
            mine = sums[held(b - cuts[m])]
            mine[0], mine[1] = hsum(loglik), hsum(weights)
            first, second = 2 + k, 2 + k + k * d
            for i in range(k):
                mine[2 + i] = hsum(load(c0, i, 0))
                for j in range(d):
                    mine[first] = hsum(load(c1, i * dp + j, 0))
                    first += 1
                    for h in range(j + 1):
                        mine[second] = hsum(load(c2, (i * dp + j) * dp + h, 0))
                        second += 1
            fold(sums, b + 1 - cuts[m])
        write_row(sums, out, m)


def e_blocks(
    chunk: Chunk, pivot: FloatArray, _least: FloatArray, *density: FloatArray
) -> Iterator[tuple[Node, FloatArray]]:
    """Yield log-likelihood, weight and packed moments of the subtrees of a chunk; `density` as for `pack`.

    No row is left out: that would not pay here.
    """
    k, d = pivot.shape
    size = 2 + k * (1 + d + d * (d + 1) // 2)
    work = k * (2 * d * d + 8 * d + 100)
    return sum_blocks(e_step, chunk, size, work, *pack(PAIR, *density), padded(pivot, up_to(PAIR.rows, d)))
