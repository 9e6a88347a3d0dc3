"""The nearest of k centers for each row. Formulas K6 and K7 of docs/formulas.md.

All distances are compared by products, ``z c - |c|^2 / 2``, as fast as a matrix product, in float32; where the two best
come nearer to each other than these may err, the row's distances are taken again in float64 by differences, which do
not cancel. Rows of float32 are read as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.kernels._jit import entry_jit, inline_jit, jit, maker_jit
from mixtura.kernels.chosen import append
from mixtura.kernels.contest import STANDING, contest
from mixtura.kernels.panel import ACCUMULATORS, Shape, flip, load_strip, outer, spread, store_panel
from mixtura.kernels.room import room
from mixtura.kernels.run import map_rows
from mixtura.kernels.simd import (
    LANES,
    bits_above,
    fma,
    fnma,
    hsum,
    imax,
    imin,
    load,
    narrow,
    prefetch,
    splat,
    store,
    vmax,
    vmin,
    whole,
    widen,
)
from mixtura.kernels.tile import (
    SQUARE,
    TILE,
    VECTOR,
    ZERO,
    constant,
    padded,
    up_to,
)

SINGLE = np.float32
GROUP = Shape(4, ACCUMULATORS // 4, 2 * LANES)  # centers by rows
PLACES, PLACE = Shape(STANDING, GROUP.vectors, GROUP.lanes), Shape(STANDING, 1)
NOBODY = -1.0  # the name of the center of a row in which there is a NaN
APART: Any = np.int64(2)  # rows of a tile between what is read and what is written, lest one seem to be the other
SKEW = 2 * VECTOR  # by so many numbers longer than a tile, columns do not fall on one set of the cache
DOUBT = SINGLE(8 * np.finfo(SINGLE).eps)  # times d + 6: what two scores may err together, of |z|^2 - score (formula K7)
TINY = SINGLE(1e-33)  # what they may err where numbers are too small for float32
HORIZON = 1e150  # as in `Frame`: squares of this still are numbers


class Known(NamedTuple):
    """Frame and centers, as kernels take them."""

    near: Array  # (2, d8) shift and scale of the frame, of the type of the rows; zeros after the last column
    frame: FloatArray  # (2, d8) the same as float64
    centers: FloatArray  # (k, d8)
    products: Array  # (kp / 4 d, 4) float32, the centers about the origin that `near` has, four abreast
    offsets: Array  # (kp,) float32, -|c|^2 / 2; -inf after the last center
    nobody: Array  # (3,) float32, the standing before the first center
    names: Array  # (kp,) float32, 0, 1, 2, ...


class Work(NamedTuple):
    """What is known of the rows of a tile, and room for it."""

    columns: Array  # (d8, TILE + SKEW) float32
    squares: Array  # (TILE,) float32, of the norm of each row
    places: Array  # (3, TILE) float32, the largest and the second largest score of each row, and whose the largest is
    chosen: FloatArray  # (TILE + 8,) rows, and anything after them
    few: FloatArray  # (d8, 8) columns of eight rows
    found: FloatArray  # (3, 8) their places
    nobody: FloatArray  # (3,)
    names: FloatArray  # (kp,)
    origin: FloatArray  # (d8,)


@maker_jit
def workspace(known: Known) -> Work:
    """Return room for the work on a tile."""
    d8 = known.centers.shape[1]
    nobody, names = room(known.nobody.shape[0]), room(known.names.shape[0])
    nobody[:] = known.nobody
    names[:] = known.names
    return Work(
        room(d8, TILE + SKEW, np.float32),
        room(TILE, np.float32),
        room(APART + STANDING, TILE, np.float32)[APART:],
        room(TILE + VECTOR),
        room(d8, VECTOR),
        room(STANDING, VECTOR),
        nobody,
        names,
        room(d8),
    )


@inline_jit
def gap(tile: Array, at: int, frame: FloatArray, center: FloatArray, j: int) -> Any:
    """Return eight columns of a row in the frame, less those of a center; 0 after the last column."""
    return fma(widen(load(tile, at + j)) - load(frame, 0, j), load(frame, 1, j), -load(center, j))


@jit
def fill(
    tile: Array,  # IN (TILE d + 8,) rows, one after another
    near: Array,  # IN (2, d8) of the type of `tile`
    d: int,
    ahead: Array,  # IN (at most TILE, d) rows to be fetched, here the first half
    columns: Array,  # OUT (d8, TILE + SKEW) float32
    squares: Array,  # OUT (TILE,) float32
) -> None:
    """Write the rows as columns in the frame, and |z|^2; what eight numbers hold beyond the last column is 0."""
    for s in range(0, TILE, 8):
        square = splat(SINGLE(0.0))
        for j in range(0, near.shape[1], 8):
            for q in range(s // 2, s // 2 + 4):
                prefetch(ahead, q, j)
            move, by, at = load(near, 0, j), load(near, 1, j), s * d + j
            rows = (
                narrow((load(tile, at) - move) * by),
                narrow((load(tile, at + d) - move) * by),
                narrow((load(tile, at + 2 * d) - move) * by),
                narrow((load(tile, at + 3 * d) - move) * by),
                narrow((load(tile, at + 4 * d) - move) * by),
                narrow((load(tile, at + 5 * d) - move) * by),
                narrow((load(tile, at + 6 * d) - move) * by),
                narrow((load(tile, at + 7 * d) - move) * by),
            )
            z0, z1, z2, z3, z4, z5, z6, z7 = flip(rows)
            store_panel(SQUARE, columns, j, s, (z0, z1, z2, z3, z4, z5, z6, z7))
            lower, upper = fma(z2, z2, fma(z1, z1, z0 * z0)), fma(z5, z5, fma(z4, z4, z3 * z3))
            square = square + (lower + fma(z7, z7, fma(z6, z6, upper)))
        store(squares, s, square)


@jit
def compare(columns: Array, known: Known, d: int, places: Array) -> None:
    """Write the largest and the second largest of z c - |c|^2 / 2, and whose the largest is."""
    products, offsets, names, nobody = known.products, known.offsets, known.names, known.nobody
    for s in range(0, TILE, GROUP.width):
        standing = spread(PLACES, nobody, 0)
        for i in range(0, offsets.shape[0], GROUP.rows):
            at, score = i // GROUP.rows * d, spread(GROUP, offsets, i)
            for j in range(d):
                score = outer(products, at + j, 0, load_strip(GROUP, columns, j, s), score)
            standing = contest(score, names, i, standing)
        store_panel(PLACES, places, 0, s, standing)


@jit
def choose_doubtful(squares: Array, places: Array, d: int, chosen: FloatArray) -> int:
    """Write which rows' two best are not told apart; return how many."""
    count: int = ZERO
    doubt, tiny = splat(DOUBT * SINGLE(d + 6)), splat(TINY)
    for s in range(0, TILE, 8):
        best, second = load(places, 0, s), load(places, 1, s)
        bits = bits_above(fma(doubt, load(squares, s) - best, tiny), best - second)
        count = append(bits, s, chosen, count)
    return count


@jit
def settle(tile: Array, known: Known, d: int, count: int, work: Work) -> None:
    """Name the nearest center of the chosen rows by differences, eight rows at a time."""
    frame, centers, chosen, few, found = known.frame, known.centers, work.chosen, work.few, work.found
    far, origin, last = splat(HORIZON), work.origin, centers.shape[0] - 1
    for c in range(0, count, 8):
        for j in range(0, centers.shape[1], 8):
            rows = (
                gap(tile, whole(chosen[c]) * d, frame, origin, j),
                gap(tile, whole(chosen[c + 1]) * d, frame, origin, j),
                gap(tile, whole(chosen[c + 2]) * d, frame, origin, j),
                gap(tile, whole(chosen[c + 3]) * d, frame, origin, j),
                gap(tile, whole(chosen[c + 4]) * d, frame, origin, j),
                gap(tile, whole(chosen[c + 5]) * d, frame, origin, j),
                gap(tile, whole(chosen[c + 6]) * d, frame, origin, j),
                gap(tile, whole(chosen[c + 7]) * d, frame, origin, j),
            )
            store_panel(SQUARE, few, j, 0, flip(rows))
        for j in range(d):
            store(few, j, 0, vmax(-far, vmin(far, load(few, j, 0))))
        standing = spread(PLACE, work.nobody, 0)
        for k in range(0, centers.shape[0], GROUP.rows):  # four sums at a time; of the last center again is no harm
            k1, k2, k3 = imin(k + 1, last), imin(k + 2, last), imin(k + 3, last)
            v0 = v1 = v2 = v3 = splat(0.0)
            for j in range(d):
                z = load(few, j, 0)
                y0, y1 = z - splat(centers[k, j]), z - splat(centers[k1, j])
                y2, y3 = z - splat(centers[k2, j]), z - splat(centers[k3, j])
                v0, v1, v2, v3 = fnma(y0, y0, v0), fnma(y1, y1, v1), fnma(y2, y2, v2), fnma(y3, y3, v3)
            standing = contest((v0, v1, v2, v3), work.names, k, standing)
        store_panel(PLACE, found, 0, 0, standing)
        for q in range(imin(8, count - c)):
            work.places[2, whole(chosen[c + q])] = found[2, q]


@jit
def name_rows(tile: Array, known: Known, d: int, ahead: Array, work: Work) -> None:
    """Write the name of the nearest center of each row of a tile as the last of its places."""
    fill(tile, known.near, d, ahead, work.columns, work.squares)
    compare(work.columns, known, d, work.places)
    count = choose_doubtful(work.squares, work.places, d, work.chosen)
    if count:
        settle(tile, known, d, count, work)


@inline_jit
def is_whole(start: int, d: int, size: int) -> bool:
    """Tell whether a tile from this number on, of all numbers, can be read where it is."""
    return bool(start + TILE * d + VECTOR <= size)


@jit
def copy(numbers: Array, d: int, tile: Array) -> None:
    """Write some rows, and the last of them again as padding."""
    for i in range(numbers.shape[0]):
        tile[i] = numbers[i]
    for i in range(numbers.shape[0], TILE * d):
        tile[i] = tile[i - d]


@entry_jit
def assign(
    x: Array,  # IN (n, d) float64 or float32
    near: Array,  # IN this and what follows: see `Known`
    frame: FloatArray,
    centers: FloatArray,
    products: Array,
    offsets: Array,
    nobody: Array,
    names: Array,
    distances: FloatArray,  # OUT (n,) squared; or (0,)
    labels: IntArray,  # OUT (n,)
    _shares: FloatArray,  # OUT (0, k)
) -> None:
    """Write the nearest center of each row, `NOBODY` where there is a NaN, and the square of its distance if wanted."""
    n, d = x.shape
    known = Known(near, frame, centers, products, offsets, nobody, names)
    work, numbers, last = workspace(known), x.reshape(n * d), room(TILE * d + VECTOR, x.dtype)
    for row in range(0, n, TILE):
        count, start = imin(TILE, n - row), row * d
        ahead = x[row + TILE : row + 2 * TILE]
        if is_whole(start, d, n * d):
            tile = numbers[start : start + last.shape[0]]
            name_rows(tile, known, d, ahead, work)
            write_rows(tile, known, d, work.places[2], row, count, distances, labels)
        else:
            copy(numbers[start : start + count * d], d, last)
            name_rows(last, known, d, ahead, work)
            write_rows(last, known, d, work.places[2], row, count, distances, labels)


@jit
def write_rows(
    tile: Array, known: Known, d: int, names: Array, row: int, count: int, distances: FloatArray, labels: IntArray
) -> None:
    """Write the labels of the rows of a tile, and the squares of their distances if wanted."""
    for s in range(count):
        labels[row + s] = whole(names[s])
        if distances.shape[0]:
            center, total = known.centers[imax(whole(names[s]), 0)], splat(0.0)
            for j in range(0, center.shape[0], 8):
                y = gap(tile, s * d, known.frame, center, j)
                total = fma(y, y, total)
            distances[row + s] = hsum(total)


def assign_rows(x: Array, *params: FloatArray, wanted: Wanted) -> tuple[FloatArray, IntArray]:
    """Return squared distances (n,), or (0,) where only labels are wanted, and the nearest centers (n,) of rows."""
    k, d = params[-1].shape
    kind, work = kept(x), k * (2 * d + 10)
    some: Wanted = "labels" if wanted == "labels" else "densities"
    distances, labels, _ = map_rows(assign, x, k, work, *pack(kind, *params), wanted=some, dtype=kind)
    return distances, labels


def kept(x: Array) -> Any:
    """Return the type in which rows are read: their own if that is float32."""
    return SINGLE if x.dtype == SINGLE else np.float64


@np.errstate(over="ignore")  # what float32 cannot hold is settled in float64
def pack(kind: Any, shift: FloatArray, scale: FloatArray, centers: FloatArray) -> Known:
    """Return frame and centers (k, d) as kernels take them for rows of this type.

    Products are about the frame's origin as that type can tell it, and the centers in them lie where rows then do.
    """
    k, d = centers.shape
    frame = np.stack([shift, scale])
    near = frame.astype(kind)
    moved = np.zeros((up_to(GROUP.rows, k), d))
    moved[:k] = centers + (shift - near[0]) * scale
    offsets = np.einsum("kd,kd->k", moved, moved) / -2
    offsets[k:] = -np.inf
    return Known(
        near=constant(padded(near, up_to(LANES, d)), kind),
        frame=padded(frame, up_to(LANES, d)),
        centers=padded(centers, up_to(LANES, d)),
        products=constant(moved.reshape(-1, GROUP.rows, d).transpose(0, 2, 1).reshape(-1, GROUP.rows), SINGLE),
        offsets=constant(offsets, SINGLE),
        nobody=constant(np.array([-np.inf, -np.inf, NOBODY]), SINGLE),
        names=constant(np.arange(len(moved)), SINGLE),
    )
