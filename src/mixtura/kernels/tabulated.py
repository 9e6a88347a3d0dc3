"""The E-step of mixtures whose columns are counts, independent in a component: log-densities and statistics in tables.

What depends on a count and a component alone is worked out beforehand for each distinct count of a column. A row's
log-density then is a sum of entries, and what it adds to a sum is a product with an entry. Vectors run over components
where entries are looked up, over rows of a tile elsewhere. Formula D26 of docs/formulas.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.grid import BLOCK_ROWS, Chunk, dense
from mixtura.kernels._jit import entry_jit, jit
from mixtura.kernels.levels import NEVER, VOID, ZERO_COUNT, Levels, Tables
from mixtura.kernels.panel import flip, load_panel, store_panel
from mixtura.kernels.posterior import write_posterior
from mixtura.kernels.room import room
from mixtura.kernels.run import SLICE_VALUES, map_rows, sum_blocks
from mixtura.kernels.simd import fma, hsum, imax, imin, load, splat, store, whole
from mixtura.kernels.threads import share_out
from mixtura.kernels.tile import (
    LOG4_E,
    SQUARE,
    TILE,
    VECTOR,
    clear,
    constant,
    fill_weights,
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
from mixtura.stats import Node

Tabulate = Callable[[Levels], Tables]

THREE: Any = np.int64(3)  # as other sizes: see `tile`
SPAN, SPANS = 1 << 16, 1 << 22  # counts below the first are looked up; all columns together up to the second
MOST_ENTRIES = 1 << 20  # of a table: of more, tables are made for half of the rows at a time


@entry_jit
def mark(
    x: FloatArray,  # IN (n, d)
    seen: Array,  # IN OUT (d, span)
) -> bool:
    """Mark which counts each column has; tell whether there are numbers beyond.

    What is marked is not written again: threads then do not take the lines of the cache from one another.
    """
    beyond, span = False, seen.shape[1]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            count = x[i, j]
            if not 0.0 <= count < span:
                beyond = True
            elif not seen[j, whole(count)]:
                seen[j, whole(count)] = True
    return beyond


@jit
def find(
    count: float,
    counts: FloatArray,  # IN (v,)
    start: int,
    stop: int,
) -> int:
    """Return where a column has a count, by bisection."""
    low, high = start + ZERO_COUNT, stop
    while high - low > 1:
        middle = (low + high) // 2
        if counts[middle] <= count:
            low = middle
        else:
            high = middle
    return low if counts[low] == count else start + NEVER


@jit
def fill_places(
    x: FloatArray,  # IN (n, d)
    row: int,
    count: int,
    places: Array,  # IN (d, span) places of small counts
    counts: FloatArray,  # IN (v,)
    starts: IntArray,  # IN (d + 1,)
    at: IntArray,  # OUT (d, TILE)
) -> None:
    """Write where the counts of `count` rows are; padding repeats the last row."""
    rows, span = x[row : row + count], places.shape[1]
    for j in range(at.shape[0]):
        for s in range(count):
            value = rows[s, j]
            if 0.0 <= value < span and float(whole(value)) == value:
                at[j, s] = places[j, whole(value)]
            else:
                at[j, s] = find(value, counts, starts[j], starts[j + 1])
        for s in range(count, TILE):
            at[j, s] = at[j, count - 1]


@jit
def find_voids(
    groups: IntArray,  # IN (d,)
    starts: IntArray,  # IN (d + 1,)
    at: IntArray,  # IN OUT (d, TILE)
    filled: IntArray,  # TMP (TILE,)
) -> None:
    """Replace the places of zeros where all columns of a group have them."""
    last = 0
    for j in range(groups.shape[0]):
        last = imax(last, groups[j])
    for group in range(1, last + 1):
        for s in range(TILE):
            filled[s] = 0
        for j in range(groups.shape[0]):
            zero, places = starts[j] + ZERO_COUNT, at[j]
            if groups[j] == group:
                for s in range(TILE):
                    filled[s] |= places[s] ^ zero
        for j in range(groups.shape[0]):
            void, places = starts[j] + VOID, at[j]
            if groups[j] == group:
                for s in range(TILE):
                    places[s] = places[s] if filled[s] else void


@jit
def log_densities(
    at: IntArray,  # IN (d, TILE)
    tables: FloatArray,  # IN (>= v, k8)
    peaks: FloatArray,  # IN (k8,)
    rows: FloatArray,  # TMP (TILE, k8)
    joint: FloatArray,  # OUT (k8, TILE)
) -> None:
    """Write the sums of entries, to base 4."""
    for i in range(0, peaks.shape[0], 8):
        for s in range(TILE):
            value = load(peaks, i)
            for j in range(at.shape[0]):
                value = value + load(tables, at[j, s], i)
            store(rows, s, i, value)
        for s in range(0, TILE, 8):
            store_panel(SQUARE, joint, i, s, flip(load_panel(SQUARE, rows, s, i)))


@jit
def add_sums(
    at: IntArray,  # IN (d, TILE)
    tables: FloatArray,  # IN (l v, k8)
    columns: IntArray,  # IN (m,)
    begins: IntArray,  # IN (m,)
    resp: FloatArray,  # IN (k8, TILE)
    rows: FloatArray,  # TMP (TILE, k8)
    c1: FloatArray,  # IN OUT (m, k8)
) -> None:
    """Add r t(x), by rows of components."""
    for i in range(0, c1.shape[1], 8):
        for s in range(0, TILE, 8):
            store_panel(SQUARE, rows, s, i, flip(load_panel(SQUARE, resp, i, s)))
        for q in range(columns.shape[0]):
            j, begin = columns[q], begins[q]
            a, b, c, e = load(c1, q, i), splat(0.0), splat(0.0), splat(0.0)
            for s in range(0, TILE, 4):
                a = fma(load(rows, s, i), load(tables, begin + at[j, s], i), a)
                b = fma(load(rows, s + 1, i), load(tables, begin + at[j, s + 1], i), b)
                c = fma(load(rows, s + 2, i), load(tables, begin + at[j, s + 2], i), c)
                e = fma(load(rows, s + 3, i), load(tables, begin + at[j, s + 3], i), e)
            store(c1, q, i, (a + b) + (c + e))


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    places: Array,  # IN (d, span) places of small counts
    counts: FloatArray,  # IN (v,)
    starts: IntArray,  # IN (d + 1,)
    groups: IntArray,  # IN (d,)
    tables: FloatArray,  # IN (l v, k8) of densities, to base 4, and of statistics
    peaks: FloatArray,  # IN (k8,)
    k: int,
    columns: IntArray,  # IN (m,) of which statistics are summed
    begins: IntArray,  # IN (m,) where the tables of these are
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (subtrees, size)
) -> None:
    """Write log-likelihood, weight, counts and sums of statistics of each subtree of blocks."""
    d, k8, m = x.shape[1], peaks.shape[0], columns.shape[0]
    at, filled, rows = room(d, TILE, np.int64), room(TILE, np.int64), room(TILE, k8)
    tiles, lines = room(k8, TILE), room(THREE, TILE)
    joint, top, density, w = tiles[:k], lines[0], lines[1], lines[2]
    c0, c1 = room(k, VECTOR), room(m, k8)
    for node in range(out.shape[0]):
        for b in range(cuts[node], cuts[node + 1]):
            clear(c0)
            clear(c1)
            loglik, weights = splat(0.0), splat(0.0)
            stop = imin((b + 1) * BLOCK_ROWS, x.shape[0])
            for row in range(b * BLOCK_ROWS, stop, TILE):
                count = imin(TILE, stop - row)
                even = fill_weights(weight, row, count, w)
                fill_places(x, row, count, places, counts, starts, at)
                find_voids(groups, starts, at, filled)
                log_densities(at, tables, peaks, rows, tiles)
                softmax(joint, top, density)
                loglik = loglik + log_likelihood(top, density, w, even)
                weights = weights + total(w)
                normalize(joint, density, w, c0)
                add_sums(at, tables, columns, begins, tiles, rows, c1)
            mine = sums[held(b - cuts[node])]
            mine[0], mine[1] = hsum(loglik), hsum(weights)
            for a in range(k):
                mine[2 + a] = hsum(load(c0, a, 0))
                for q in range(m):
                    mine[2 + k + a * m + q] = c1[q, a]
            fold(sums, b + 1 - cuts[node])
        write_row(sums, out, node)


@entry_jit
def posterior(
    x: FloatArray,  # IN (n, d)
    places: Array,  # IN (d, span) places of small counts
    counts: FloatArray,  # IN (v,)
    starts: IntArray,  # IN (d + 1,)
    groups: IntArray,  # IN (d,)
    tables: FloatArray,  # IN (>= v, k8) of densities, to base 4
    peaks: FloatArray,  # IN (k8,)
    loglik: FloatArray,  # OUT (n,) or (0,)
    labels: IntArray,  # OUT (n,)
    resp: FloatArray,  # OUT (n, k) or (0, k)
) -> None:
    """Write labels, log-densities and responsibilities of rows, as far as they are wanted."""
    d, k8 = x.shape[1], peaks.shape[0]
    at, filled, rows = room(d, TILE, np.int64), room(TILE, np.int64), room(TILE, k8)
    tiles, lines = room(k8, TILE), room(THREE, TILE)
    joint, top, density = tiles[: resp.shape[1]], lines[0], lines[1]
    for row in range(0, x.shape[0], TILE):
        count = imin(TILE, x.shape[0] - row)
        fill_places(x, row, count, places, counts, starts, at)
        find_voids(groups, starts, at, filled)
        log_densities(at, tables, peaks, rows, tiles)
        write_posterior(joint, top, density, row, count, loglik, labels, resp)


def e_blocks(chunk: Chunk, log_weights: FloatArray, tabulate: Tabulate) -> Iterator[tuple[Node, FloatArray]]:
    """Yield log-likelihood, weight, counts (k,) and sums (k, m) of one statistic after another of the subtrees."""
    k = len(log_weights)
    for part, found in _in_parts(chunk, k):
        packed, columns, begins = pack(found, log_weights, tabulate(found.levels))
        m = len(columns)
        yield from sum_blocks(e_step, part, 2 + k * (1 + m), _work(k, m), *packed, k, columns, begins)


def posterior_rows(
    x: Array, log_weights: FloatArray, tabulate: Tabulate, *, wanted: Wanted
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities, labels and responsibilities of rows, as far as wanted."""
    k, parts = len(log_weights), []
    for part, found in _in_parts(Chunk(x), k):
        packed, columns, _ = pack(found, log_weights, tabulate(found.levels))
        parts.append(map_rows(posterior, part.x, k, _work(k, len(columns)), *packed, wanted=wanted))
    loglik, labels, resp = zip(*parts, strict=True)
    return np.concatenate(loglik), np.concatenate(labels), np.concatenate(resp)


def _work(k: int, m: int) -> int:
    """Return the operations a row."""
    return k * (4 * m + 100)


class Found(NamedTuple):
    """The levels of some rows, and where those of small counts are, (d, span)."""

    levels: Levels
    places: Array


def _in_parts(chunk: Chunk, k: int) -> Iterator[tuple[Chunk, Found]]:
    """Yield parts of a chunk, the whole as a rule, and their levels, few enough for tables of k components."""
    found = find_levels(chunk.x)
    if len(found.levels.counts) * up_to(8, k) <= MOST_ENTRIES or len(chunk) <= BLOCK_ROWS:
        yield chunk, found
        return
    for half in chunk.split(-(-len(chunk) // 2)):
        yield from _in_parts(half, k)


def find_levels(x: Array) -> Found:
    """Return the distinct counts of each column, 0 among them."""
    n, d = x.shape
    span = min(SPAN, SPANS // d)
    seen, beyond = np.zeros((d, span), dtype=np.bool_), [np.zeros(0)] * d
    seen[:, 0] = True

    def run(begin: int, end: int) -> None:
        part = constant(dense(x[begin * BLOCK_ROWS : end * BLOCK_ROWS]))
        if mark(part, seen):
            found = [
                np.unique(column[(column >= span) & (column < np.inf) & (column == np.floor(column))])
                for column in part.T
            ]
            with lock:
                beyond[:] = [np.union1d(a, b) for a, b in zip(beyond, found, strict=True)]

    lock = Lock()
    share_out(run, -(-n // BLOCK_ROWS), max(1, SLICE_VALUES // d // BLOCK_ROWS))
    near = [np.flatnonzero(column) for column in seen]
    levels = Levels.of([np.concatenate(parts) for parts in zip(near, beyond, strict=True)])
    places = np.zeros((d, max(int(counts[-1]) for counts in near) + 1), dtype=np.int32)
    for j, (start, counts) in enumerate(zip(levels.starts, near, strict=False)):
        places[j] = start + NEVER
        places[j, counts] = start + ZERO_COUNT + np.arange(len(counts))
    return Found(levels, constant(places, np.int32))


def pack(found: Found, log_weights: FloatArray, tables: Tables) -> tuple[tuple[Array, ...], IntArray, IntArray]:
    """Return the tables as kernels take them, and of each sum which column it is of and where its table begins."""
    levels, k8 = found.levels, up_to(8, len(log_weights))
    densities = tables.densities * LOG4_E
    densities[:, levels.starts[:-1] + NEVER] = np.nan
    stacked = np.hstack([densities, *(statistic.values for statistic in tables.statistics)]).T
    columns = [statistic.columns for statistic in tables.statistics]
    begins = [np.full(len(c), (1 + i) * len(levels.counts)) for i, c in enumerate(columns)]
    return (
        (
            found.places,
            constant(levels.counts),
            constant(levels.starts, np.int64),
            constant(tables.groups, np.int64),
            padded(stacked, k8),
            padded(log_weights * LOG4_E, k8),
        ),
        constant(np.concatenate(columns), np.int64),
        constant(np.concatenate(begins), np.int64),
    )
