"""Gaussian mixtures of rows that lack values (NaN), with covariances of any structure written out as matrices.

The rows of a block are ordered by their pattern, so that each vector of eight rows has one. What the density of a
pattern and its regressions are is worked out when it is met, and remembered. Then the missing columns of a vector are
filled, component by component, and moments are taken as of complete rows. Formulas N1 to N3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit, jit, maker_jit
from mixtura.kernels.gaussian_diag import add_moments as add_variances
from mixtura.kernels.gaussian_narrow import add_moments
from mixtura.kernels.panel import less_squares, spread_strip, store_strip
from mixtura.kernels.patterns import (
    COLUMN,
    FREE,
    VECTORS,
    WIDEST,
    Block,
    Components,
    Memory,
    arrange,
    learn,
    new_block,
    new_memory,
    place,
)
from mixtura.kernels.posterior import write_posterior
from mixtura.kernels.room import room
from mixtura.kernels.run import fill_rows, map_rows, sum_blocks
from mixtura.kernels.simd import fma, hsum, imax, imin, load, splat, store
from mixtura.kernels.tile import (
    TILE,
    VECTOR,
    ZERO,
    clear,
    constant,
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
from mixtura.kernels.whiten import whitened
from mixtura.stats import Node

__all__ = ["WIDEST", "e_blocks", "impute_rows", "posterior_rows"]


class Tile(NamedTuple):
    """Vectors of rows: columns `zt` (d8, TILE), weights `w` (TILE,), and of each vector its pattern and where that is.

    `begins` is where the rows of each begin in the order of the block.
    """

    zt: FloatArray
    w: FloatArray
    patterns: IntArray
    slots: IntArray
    begins: IntArray


@jit
def gather(
    x: FloatArray,  # IN (m, d) rows of a block
    weight: FloatArray,  # IN (m,); or (0,), which stands for ones
    block: Block,  # IN
    begin: int,
    end: int,
    components: Components,  # IN
    s: int,
    tile: Tile,  # OUT
) -> None:
    """Write z of eight rows, 0 for what is missing or in a row of weight 0, as those after the end are."""
    for q in range(VECTOR):
        row = block.order[imin(begin + q, end - 1)]
        given = weight[row : row + 1]
        tile.w[s + q] = 1.0
        for one in given:
            tile.w[s + q] = one
        if begin + q >= end:
            tile.w[s + q] = 0.0
        for j in range(x.shape[1]):
            z = (x[row, j] - components.shift[j]) * components.scale[j]
            tile.zt[j, s + q] = z if z == z and tile.w[s + q] > 0.0 else 0.0


@jit
def fill_tile(
    x: FloatArray,  # IN (m, d) rows of a block
    weight: FloatArray,  # IN (m,) or (0,)
    block: Block,  # IN OUT
    components: Components,  # IN
    memory: Memory,  # IN OUT
    tile: Tile,  # OUT
) -> int:
    """Take in the next vectors of a block, as far as the tile or the memory goes; return how many."""
    number, begin, count, known = block.next[0], block.next[1], block.next[2], block.next[3]
    v: int = ZERO
    keys, k = memory.keys, components.means.shape[0]
    while v < VECTORS and number < count:
        pattern = block.patterns[number]
        at = place(keys, pattern)
        if keys[at] == FREE and (known + 1) * k > memory.peaks.shape[0]:
            if v > 0:
                break  # what this tile needs must not be forgotten
            keys[:] = FREE
            known, at = ZERO, place(keys, pattern)
        if keys[at] == FREE:
            keys[at], memory.slots[at] = pattern, known
            learn(pattern, known, components, memory)
            known += 1
        tile.patterns[v], tile.slots[v], tile.begins[v] = pattern, memory.slots[at], begin
        end = block.starts[number + 1]
        gather(x, weight, block, begin, end, components, v * VECTOR, tile)
        begin += VECTOR
        if begin >= end:
            number, begin = number + 1, end
        v += 1
    block.next[0], block.next[1], block.next[3] = number, begin, known
    for u in range(v, VECTORS):  # what was there before is finite, and now of weight 0
        tile.patterns[u], tile.slots[u] = 0, tile.slots[0]
        store(tile.w, u * VECTOR, splat(0.0))
    return v


@jit
def log_densities(
    tile: Tile,  # IN
    memory: Memory,  # IN
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write peak - |L z - L mu|^2, of each vector with the factors of its pattern."""
    k = joint.shape[0]
    for v in range(VECTORS):
        for a in range(k):
            b = tile.slots[v] * k + a
            factor, offset = memory.factors[b], memory.offsets[b]
            at, left = ZERO, spread_strip(COLUMN, memory.peaks[b])
            for i in range(0, offset.shape[0], COLUMN.rows):
                left = less_squares(whitened(COLUMN, factor, at, offset, tile.zt, i, v * VECTOR), left)
                at += i + COLUMN.rows
            store_strip(joint, a, v * VECTOR, left)


@jit
def complete(
    a: int,
    memory: Memory,  # IN
    joint: FloatArray,  # IN (k, TILE) w r
    tile: Tile,  # IN OUT
    row: int,  # from one row and one column of second moments to the next
    step: int,
    c2: FloatArray,  # IN OUT second moments of component a
) -> None:
    """Fill what is missing with its mean in component `a`, and add its covariances about that (formulas N2, N3)."""
    k, d = joint.shape[0], memory.levels.shape[1]
    for v in range(VECTORS):
        pattern, b, s = tile.patterns[v], tile.slots[v] * k + a, v * VECTOR
        if pattern == 0:
            continue
        count = hsum(load(joint, a, s))
        for j in range(d):
            if not (pattern >> j) & 1:
                continue
            value = splat(memory.levels[b, j])
            for h in range(d):
                slope = memory.maps[b, j, h]
                if not (pattern >> h) & 1:
                    value = fma(splat(slope), load(tile.zt, h, s), value)
                elif h <= j:
                    c2[j * row + h * step, 0] += count * slope
            store(tile.zt, j, s, value)


@maker_jit
def new_tile(d: int) -> Tile:
    """Return room for a tile."""
    return Tile(
        room((d + 7) // 8 * 8, TILE),
        np.zeros(TILE),
        np.zeros(VECTORS, np.int64),
        np.zeros(VECTORS, np.int64),
        np.zeros(VECTORS, np.int64),
    )


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    covariances: FloatArray,  # IN (k, d, d)
    means: FloatArray,  # IN (k, d)
    base: FloatArray,  # IN (k,)
    unit: FloatArray,  # IN (d,)
    matrices: int,  # of second moments: k, 1 for the sum over the components, or 0 for diagonals only
    pivot: FloatArray,  # IN (k, dp)
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (m, size)
) -> None:
    """Write log-likelihood, weight and expected moments of each subtree of blocks."""
    d, (k, dp) = x.shape[1], pivot.shape
    components = Components(shift, scale, covariances, means, base, unit)
    block, memory, tile = new_block(), new_memory(k, d), new_tile(d)
    tiles = room(k + 4, TILE)
    joint, top, density, moved = tiles[:k], tiles[k], tiles[k + 1], tiles[k + 2 :]
    c0, c1, c2 = room(k, VECTOR), room(k * dp, VECTOR), room(imax(matrices * dp, k) * dp, VECTOR)
    for m in range(out.shape[0]):
        for b in range(cuts[m], cuts[m + 1]):
            clear(c0)
            clear(c1)
            clear(c2)
            loglik, weights = splat(0.0), splat(0.0)
            rows = x[b * BLOCK_ROWS : (b + 1) * BLOCK_ROWS]
            given = weight[b * BLOCK_ROWS : (b + 1) * BLOCK_ROWS]
            arrange(rows, block)
            while fill_tile(rows, given, block, components, memory, tile) > 0:
                log_densities(tile, memory, joint)
                softmax(joint, top, density)
                loglik = loglik + log_likelihood(top, density, tile.w, False)
                weights = weights + total(tile.w)
                normalize(joint, density, tile.w, c0)
                for a in range(k):
                    resp, about, first = joint[a : a + 1], pivot[a : a + 1], c1[a * dp : (a + 1) * dp]
                    if matrices > 0:
                        second = c2[imin(a, matrices - 1) * dp * dp :]
                        complete(a, memory, joint, tile, dp, 1, second)
                        add_moments(tile.zt, resp, about, moved, first, second)
                    else:
                        second = c2[a * dp :]
                        complete(a, memory, joint, tile, 1, 0, second)
                        add_variances(tile.zt, resp, about, first, second)
            mine = sums[held(b - cuts[m])]
            mine[0], mine[1] = hsum(loglik), hsum(weights)
            write_moments(c0, c1, c2, d, matrices, mine)
            fold(sums, b + 1 - cuts[m])
        write_row(sums, out, m)


@jit
def write_moments(
    c0: FloatArray,  # IN (k, 8)
    c1: FloatArray,  # IN (k dp, 8)
    c2: FloatArray,  # IN (matrices dp dp, 8) or (k dp, 8)
    d: int,
    matrices: int,
    out: FloatArray,  # OUT (size,)
) -> None:
    """Write counts, first moments, and lower triangles or diagonals of second ones, after log-likelihood and weight."""
    k, dp = c0.shape[0], (d + 1) // 2 * 2
    at = 2 + k
    for a in range(k):
        out[2 + a] = hsum(load(c0, a, 0))
        for j in range(d):
            out[at] = hsum(load(c1, a * dp + j, 0))
            at += 1
    for a in range(matrices if matrices > 0 else k):
        for j in range(d):
            if matrices == 0:
                out[at] = hsum(load(c2, a * dp + j, 0))
                at += 1
                continue
            for h in range(j + 1):
                out[at] = hsum(load(c2, (a * dp + j) * dp + h, 0))
                at += 1


@entry_jit
def posterior(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    covariances: FloatArray,  # IN (k, d, d)
    means: FloatArray,  # IN (k, d)
    base: FloatArray,  # IN (k,)
    unit: FloatArray,  # IN (d,)
    loglik: FloatArray,  # OUT (n,) or (0,)
    labels: IntArray,  # OUT (n,)
    resp: FloatArray,  # OUT (n, k) or (0, k)
) -> None:
    """Write labels, log-densities and responsibilities of rows, as far as they are wanted."""
    (n, d), k = x.shape, means.shape[0]
    components = Components(shift, scale, covariances, means, base, unit)
    block, memory, tile = new_block(), new_memory(k, d), new_tile(d)
    tiles, nothing = room(k + 2, TILE), np.empty(0)
    joint, top, density = tiles[:k], tiles[k], tiles[k + 1]
    densities = np.empty(TILE if loglik.shape[0] else ZERO)
    best, shares = np.empty(TILE, np.int64), np.empty((TILE if resp.shape[0] else ZERO, k))
    for row in range(0, n, BLOCK_ROWS):
        rows = x[row : row + BLOCK_ROWS]
        arrange(rows, block)
        vectors = fill_tile(rows, nothing, block, components, memory, tile)
        while vectors > 0:
            log_densities(tile, memory, joint)
            write_posterior(joint, top, density, ZERO, TILE, densities, best, shares)
            for s in range(vectors * VECTOR):
                if tile.w[s] == 0.0:
                    continue
                i = row + block.order[tile.begins[s // VECTOR] + s % VECTOR]
                labels[i] = best[s]
                if loglik.shape[0]:
                    loglik[i] = densities[s]
                if resp.shape[0]:
                    for a in range(k):
                        resp[i, a] = shares[s, a]
            vectors = fill_tile(rows, nothing, block, components, memory, tile)


@entry_jit
def impute(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    covariances: FloatArray,  # IN (k, d, d)
    means: FloatArray,  # IN (k, d)
    base: FloatArray,  # IN (k,)
    unit: FloatArray,  # IN (d,)
    filled: FloatArray,  # OUT (n, d)
) -> None:
    """Write rows with the means of what is missing given what is not (formula N5)."""
    (n, d), k = x.shape, means.shape[0]
    components = Components(shift, scale, covariances, means, base, unit)
    block, memory, tile = new_block(), new_memory(k, d), new_tile(d)
    tiles, nothing, mixed = room(k + 2, TILE), np.empty(0), room(d, TILE)
    joint, top, density = tiles[:k], tiles[k], tiles[k + 1]
    unused, spreads = room(k, VECTOR), room(d, VECTOR)
    for row in range(0, n, BLOCK_ROWS):
        rows = x[row : row + BLOCK_ROWS]
        arrange(rows, block)
        vectors = fill_tile(rows, nothing, block, components, memory, tile)
        while vectors > 0:
            log_densities(tile, memory, joint)
            softmax(joint, top, density)
            normalize(joint, density, tile.w, unused)
            clear(mixed)
            for a in range(k):
                complete(a, memory, joint, tile, 1, 0, spreads)
                for j in range(d):
                    for s in range(0, TILE, 8):
                        store(mixed, j, s, fma(load(joint, a, s), load(tile.zt, j, s), load(mixed, j, s)))
            for s in range(vectors * VECTOR):
                if tile.w[s] == 0.0:
                    continue
                i = row + block.order[tile.begins[s // VECTOR] + s % VECTOR]
                for j in range(d):
                    there = x[i, j] == x[i, j]
                    filled[i, j] = x[i, j] if there else mixed[j, s] / scale[j] + shift[j]
            vectors = fill_tile(rows, nothing, block, components, memory, tile)


def e_blocks(
    chunk: Chunk, pivot: FloatArray, matrices: int, *components: FloatArray
) -> Iterator[tuple[Node, FloatArray]]:
    """Yield log-likelihood, weight and packed moments of the subtrees of a chunk; `components` as `Components`.

    Second moments are k matrices, with 1 for `matrices` their sum, and with 0 their diagonals.
    """
    k, d = pivot.shape
    size = 2 + k * (1 + d) + (matrices * d * (d + 1) // 2 if matrices else k * d)
    work = k * (6 * d * d + 16 * d + 200)
    return sum_blocks(e_step, chunk, size, work, *map(constant, components), matrices, padded(pivot, up_to(2, d)))


def posterior_rows(x: Array, *components: FloatArray, wanted: Wanted) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities, labels and responsibilities of rows, as far as wanted; `components` as `Components`."""
    k, d = components[3].shape
    return map_rows(posterior, x, k, k * (3 * d * d + 8 * d + 200), *map(constant, components), wanted=wanted)


def impute_rows(x: Array, *components: FloatArray) -> FloatArray:
    """Return rows with the means of what is missing given what is not; `components` as `Components`."""
    k, d = components[3].shape
    return fill_rows(impute, x, k * (3 * d * d + 8 * d + 200), *map(constant, components))
