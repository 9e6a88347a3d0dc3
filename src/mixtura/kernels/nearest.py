"""The nearest of k centres for each row, and the sums of k-means. Formulas K6 to K8 of docs/formulas.md.

All distances are compared by products, ``z c - |c|^2 / 2``, as fast as a matrix product; where the two best come nearer
to each other than these may err, the row's distances are taken again by differences, which do not cancel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit, inline_jit, jit
from mixtura.kernels.contest import STANDING, contest
from mixtura.kernels.panel import Shape, load_strip, outer, spread, store_panel
from mixtura.kernels.run import map_rows, sum_blocks
from mixtura.kernels.simd import LANES, bits_above, fma, hsum, load, lowest_bit, splat, store
from mixtura.kernels.tile import (
    TILE,
    VECTOR,
    ZERO,
    clear,
    constant,
    fetch,
    fill,
    fill_weights,
    fold,
    held,
    padded,
    part,
    room,
    up_to,
    write_row,
)
from mixtura.stats import Node

GROUP = Shape.of(4)  # centres by rows
PLACES = Shape(STANDING, GROUP.vectors)
NOBODY = -1.0  # the name of the centre of a row in which there is a NaN
NOBODY_YET = constant(np.array([-np.inf, -np.inf, NOBODY]))
SKEW = VECTOR  # by so many numbers longer than a tile, columns do not fall on one set of the cache
DOUBT = 8.0 * float(np.finfo(np.float64).eps)  # times d + 2: what two scores may err together, of |z|^2 - score


@jit
def compare(
    zt: FloatArray,  # IN (d8, TILE + SKEW)
    products: FloatArray,  # IN (kp / 4 d, 4) the centres, four abreast
    offsets: FloatArray,  # IN (kp,) -|c|^2 / 2; -inf after the last centre
    names: FloatArray,  # IN (kp,) 0, 1, 2, ...
    nobody: FloatArray,  # IN (3,)
    d: int,
    ahead: FloatArray,  # IN rows to be fetched
    places: FloatArray,  # OUT (3, TILE)
) -> None:
    """Write the largest and the second largest of z c - |c|^2 / 2, and whose the largest is."""
    fetched, size = ZERO, part(ahead, TILE // GROUP.width)
    for s in range(0, TILE, GROUP.width):
        standing = spread(PLACES, nobody, 0)
        for i in range(0, offsets.shape[0], GROUP.rows):
            at, score = i // GROUP.rows * d, spread(GROUP, offsets, i)
            for j in range(d):
                score = outer(products, at + j, 0, load_strip(GROUP, zt, j, s), score)
            standing = contest(score, names, i, standing)
        fetched = fetch(ahead, fetched, size)
        store_panel(PLACES, places, 0, s, standing)


@jit
def settle(
    zr: FloatArray,  # IN (d8 / 8 TILE, 8)
    zt: FloatArray,  # IN (d8, TILE + SKEW)
    centres: FloatArray,  # IN (k, d8)
    d: int,
    places: FloatArray,  # IN OUT (3, TILE)
) -> None:
    """Name the nearest centre again by differences where rounding may have told the two best apart."""
    doubt = splat(DOUBT * (d + 2))
    for s in range(0, TILE, 8):
        norm = splat(0.0)
        for j in range(d):
            z = load(zt, j, s)
            norm = fma(z, z, norm)
        best = load(places, 0, s)
        bits = bits_above(doubt * (norm - best), best - load(places, 1, s))
        while bits:
            row = s + lowest_bit(bits)
            places[2, row] = nearest(zr, row, centres, places[2, row])
            bits &= bits - 1


@jit
def nearest(zr: FloatArray, row: int, centres: FloatArray, name: float) -> float:
    """Return the first of the centres that are nearest to a row; `name` if no distance is a number."""
    least = np.inf
    for k in range(centres.shape[0]):
        distance = hsum(squares(zr, row, centres, k))
        if distance < least:
            least, name = distance, float(k)
    return name


@inline_jit
def squares(zr: FloatArray, row: int, centres: FloatArray, k: int) -> FloatArray:
    """Return the squares of the differences between a row and a centre, added up over every eighth column."""
    total = splat(0.0)
    for j in range(0, centres.shape[1], 8):
        gap = load(zr, j // 8 * TILE + row, 0) - load(centres, k, j)
        total = fma(gap, gap, total)
    return total


@jit
def add_rows(
    zr: FloatArray,  # IN (d8 / 8 TILE, 8)
    name: FloatArray,  # IN (TILE,)
    w: FloatArray,  # IN (TILE,)
    count: int,
    centres: FloatArray,  # IN (k, d8)
    c0: FloatArray,  # IN OUT (k,)
    c1: FloatArray,  # IN OUT (k, d8)
    c2: FloatArray,  # IN OUT (k, d8)
) -> None:
    """Add w, w (z - c) and w (z - c)^2 to the sums of the nearest centre; a NaN goes to those of the first."""
    for s in range(count):
        k, weight = max(int(name[s]), 0), splat(w[s])
        c0[k] += w[s]
        for j in range(0, centres.shape[1], 8):
            gap = load(zr, j // 8 * TILE + s, 0) - load(centres, k, j)
            moved = weight * gap
            store(c1, k, j, load(c1, k, j) + moved)
            store(c2, k, j, fma(moved, gap, load(c2, k, j)))


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    centres: FloatArray,  # IN (k, d8)
    products: FloatArray,  # IN (kp / 4 d, 4)
    offsets: FloatArray,  # IN (kp,)
    names: FloatArray,  # IN (kp,)
    nobody: FloatArray,  # IN (3,)
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (m, size)
) -> None:
    """Write inertia, weight, counts and moments of each subtree of blocks."""
    d, (k, d8) = x.shape[1], centres.shape
    zr, zt = room(d8 // 8 * TILE, VECTOR), room(d8, TILE + SKEW)
    places, w = room(STANDING, TILE), room(1, TILE)[0]
    c0, c1, c2 = room(1, k), room(k, d8), room(k, d8)
    for m in range(out.shape[0]):
        for b in range(cuts[m], cuts[m + 1]):
            clear(c0)
            clear(c1)
            clear(c2)
            stop = min((b + 1) * BLOCK_ROWS, x.shape[0])
            for row in range(b * BLOCK_ROWS, stop, TILE):
                count = min(TILE, stop - row)
                fill_weights(weight, row, count, w)
                fill(x, row, count, shift, scale, zr, zt)
                ahead = x[row + TILE : row + 2 * TILE]
                compare(zt, products, offsets, names, nobody, d, ahead, places)
                settle(zr, zt, centres, d, places)
                add_rows(zr, places[2], w, count, centres, c0[0], c1, c2)
            mine = sums[held(b - cuts[m])]
            mine[0] = mine[1] = 0.0
            first, second = 2 + k, 2 + k + k * d
            for i in range(k):
                mine[1] += c0[0, i]
                mine[2 + i] = c0[0, i]
                for j in range(d):
                    mine[0] += c2[i, j]
                    mine[first + i * d + j] = c1[i, j]
                    mine[second + i * d + j] = c2[i, j]
            fold(sums, b + 1 - cuts[m])
        write_row(sums, out, m)


@entry_jit
def assign(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    centres: FloatArray,  # IN (k, d8)
    products: FloatArray,  # IN (kp / 4 d, 4)
    offsets: FloatArray,  # IN (kp,)
    names: FloatArray,  # IN (kp,)
    nobody: FloatArray,  # IN (3,)
    distance: FloatArray,  # OUT (n,) squared; or (0,)
    labels: IntArray,  # OUT (n,)
    _shares: FloatArray,  # OUT (0, k)
) -> None:
    """Write the nearest centre of each row, `NOBODY` where there is a NaN, and the square of its distance if wanted."""
    d, d8 = x.shape[1], centres.shape[1]
    zr, zt, places = room(d8 // 8 * TILE, VECTOR), room(d8, TILE + SKEW), room(STANDING, TILE)
    for row in range(0, x.shape[0], TILE):
        count = min(TILE, x.shape[0] - row)
        fill(x, row, count, shift, scale, zr, zt)
        ahead = x[row + TILE : row + 2 * TILE]
        compare(zt, products, offsets, names, nobody, d, ahead, places)
        settle(zr, zt, centres, d, places)
        for s in range(count):
            labels[row + s] = int(places[2, s])
        if distance.shape[0]:
            for s in range(count):
                distance[row + s] = hsum(squares(zr, s, centres, max(int(places[2, s]), 0)))


def e_blocks(chunk: Chunk, *params: FloatArray) -> Iterator[tuple[Node, FloatArray]]:
    """Yield inertia, weight, counts (k,), and sums and squares (k, d) about the centres, of the subtrees of a chunk.

    `params` as for `pack`.
    """
    k, d = params[-1].shape
    return sum_blocks(e_step, chunk, 2 + k * (1 + 2 * d), k * (2 * d + 10), *pack(*params))


def assign_rows(x: Array, *params: FloatArray, wanted: Wanted) -> tuple[FloatArray, IntArray]:
    """Return squared distances (n,), or (0,) where only labels are wanted, and the nearest centres (n,) of rows."""
    k, d = params[-1].shape
    distance, labels, _ = map_rows(assign, x, k, k * (2 * d + 10), *pack(*params), wanted=wanted)
    return distance, labels


def pack(shift: FloatArray, scale: FloatArray, centres: FloatArray) -> tuple[FloatArray, ...]:
    """Return frame and centres (k, d) as kernels take them."""
    k, d = centres.shape
    kp = up_to(GROUP.rows, k)
    groups = np.zeros((kp, d))
    groups[:k] = centres
    offsets = np.full(kp, -np.inf)
    offsets[:k] = np.einsum("kd,kd->k", centres, centres) / -2
    return (
        constant(shift),
        constant(scale),
        padded(centres, up_to(LANES, d)),
        constant(groups.reshape(-1, GROUP.rows, d).transpose(0, 2, 1).reshape(-1, GROUP.rows)),
        constant(offsets),
        constant(np.arange(kp)),
        NOBODY_YET,
    )
