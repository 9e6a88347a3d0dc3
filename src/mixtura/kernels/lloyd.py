"""The sums of k-means over the rows that are nearest to each center. Formula K8 of docs/formulas.md.

They are of float64, whatever the rows are. What there is about a center lies side by side, so that one address does
for a row.
"""

from __future__ import annotations

from collections.abc import Iterator

from mixtura._types import Array, FloatArray, IntArray
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit, inline_jit, jit
from mixtura.kernels.nearest import Known, copy, is_whole, kept, name_rows, pack, workspace
from mixtura.kernels.room import room
from mixtura.kernels.run import sum_blocks
from mixtura.kernels.simd import fma, hsum, imax, imin, load, prefetch, select, splat, store, whole, widen
from mixtura.kernels.tile import TILE, VECTOR, fill_weights, fold, held, write_row
from mixtura.stats import Node

ONE, TWO = VECTOR, 2 * VECTOR  # columns of few enough vectors that the compiler is told how many


@jit
def place(
    known: Known,
    d: int,
    account: FloatArray,  # OUT (k, 2 d8 + 16) pivot, and sums of w y (d8), w y^2 (8) and w (1): all 0
    rest: FloatArray,  # OUT (k, d8)
) -> None:
    """Write where the centers are in the units of the rows, and what rounding takes from that, in the frame."""
    for k in range(account.shape[0]):
        for j in range(account.shape[1]):
            account[k, j] = 0.0
        for j in range(d):
            shift, by = known.frame[0, j], known.frame[1, j]
            step = known.centers[k, j] / by
            pivot = shift + step
            made = pivot - shift
            account[k, j], rest[k, j] = pivot, ((shift - (pivot - made)) + (step - made)) * by


@inline_jit
def add_rows(
    tile: Array,  # IN (TILE d + 8,)
    names: Array,  # IN (TILE,) float32
    w: FloatArray,  # IN (TILE,)
    count: int,
    ahead: Array,  # IN (at most TILE, d) rows to be fetched, here the second half: memory has time for a few at once
    d: int,
    d8: int,
    scale: FloatArray,  # IN (d8,); 0 after the last column
    account: FloatArray,  # IN OUT (k, 2 d8 + 16)
) -> None:
    """Add w y, w y^2 and w, y being z less the pivot, to the sums of the nearest center, for a NaN of the first.

    Where w is 0, y is 0 too: it might be infinite.
    """
    for s in range(count):
        k, weight, square, zero = imax(whole(names[s]), 0), splat(w[s]), splat(0.0), splat(0.0)
        for j in range(0, d8, 8):
            prefetch(ahead, (TILE + s) // 2, j)
            y = select(weight, (widen(load(tile, s * d + j)) - load(account, k, j)) * load(scale, j), zero)
            store(account, k, d8 + j, fma(weight, y, load(account, k, d8 + j)))
            square = fma(y, y, square)
        store(account, k, 2 * d8, fma(weight, square, load(account, k, 2 * d8)))
        account[k, 2 * d8 + VECTOR] += w[s]


@jit
def add_tile(
    tile: Array, names: Array, w: FloatArray, count: int, ahead: Array, d: int, scale: FloatArray, account: FloatArray
) -> None:
    """Do so by a loop over columns that is unrolled where they are few: it would take more than the sums do."""
    if scale.shape[0] == ONE:
        add_rows(tile, names, w, count, ahead, d, ONE, scale, account)
    elif scale.shape[0] == TWO:
        add_rows(tile, names, w, count, ahead, d, TWO, scale, account)
    else:
        add_rows(tile, names, w, count, ahead, d, scale.shape[0], scale, account)


@jit
def settle_accounts(
    account: FloatArray,  # IN (k, 2 d8 + 16)
    rest: FloatArray,  # IN (k, d8)
    d: int,
    sums: FloatArray,  # OUT (2 + k (d + 2),) inertia, weight, counts, sums and squares
) -> None:
    """Write the sums about the centers, which are by `rest` beside the pivots."""
    k, d8 = rest.shape
    first, second = 2 + k, 2 + k + k * d
    sums[0] = sums[1] = 0.0
    for i in range(k):
        count, square = account[i, 2 * d8 + VECTOR], hsum(load(account, i, 2 * d8))
        for j in range(d):
            off = count * rest[i, j]
            square -= (2.0 * account[i, d8 + j] - off) * rest[i, j]
            sums[first + i * d + j] = account[i, d8 + j] - off
        sums[2 + i], sums[second + i] = count, square
        sums[0] += square
        sums[1] += count


@entry_jit
def e_step(
    x: Array,  # IN (n, d) float64 or float32
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    near: Array,  # IN this and what follows: see `Known`
    frame: FloatArray,
    centers: FloatArray,
    products: Array,
    offsets: Array,
    nobody: Array,
    names: Array,
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (m, size)
) -> None:
    """Write inertia, weight, counts, sums and squares of each subtree of blocks."""
    (n, d), (k, d8) = x.shape, centers.shape
    known = Known(near, frame, centers, products, offsets, nobody, names)
    work, w, scale = workspace(known), room(TILE), frame[1]
    numbers, last = x.reshape(n * d), room(TILE * d + VECTOR, x.dtype)
    account, rest = room(k, 2 * d8 + 2 * VECTOR), room(k, d8)
    for m in range(out.shape[0]):
        for b in range(cuts[m], cuts[m + 1]):
            place(known, d, account, rest)
            stop = imin((b + 1) * BLOCK_ROWS, n)
            for row in range(b * BLOCK_ROWS, stop, TILE):
                count, start = imin(TILE, stop - row), row * d
                fill_weights(weight, row, count, w)
                ahead = x[row + TILE : row + 2 * TILE]
                if is_whole(start, d, n * d):
                    tile = numbers[start : start + last.shape[0]]
                    name_rows(tile, known, d, ahead, work)
                    add_tile(tile, work.places[2], w, count, ahead, d, scale, account)
                else:
                    copy(numbers[start : start + count * d], d, last)
                    name_rows(last, known, d, ahead, work)
                    add_tile(last, work.places[2], w, count, ahead, d, scale, account)
            settle_accounts(account, rest, d, sums[held(b - cuts[m])])
            fold(sums, b + 1 - cuts[m])
        write_row(sums, out, m)


def e_blocks(chunk: Chunk, *params: FloatArray) -> Iterator[tuple[Node, FloatArray]]:
    """Yield inertia, weight, and for the centers counts (k,), sums (k, d) and squares (k,), of the subtrees of a chunk.

    `params` as for `pack`.
    """
    k, d = params[-1].shape
    kind, size, work = kept(chunk.x), 2 + k * (2 + d), k * (2 * d + 10)
    return sum_blocks(e_step, chunk, size, work, *pack(kind, *params), dtype=kind)
