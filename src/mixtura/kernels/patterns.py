"""Patterns of missing values (NaN) in rows: which rows have which, and what each means for Gaussian components.

A pattern is an integer whose bit j tells that column j is missing. Formulas N1 and N2.
"""

from __future__ import annotations

from math import log as natural_log
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.grid import BLOCK_ROWS
from mixtura.kernels._jit import jit, maker_jit
from mixtura.kernels.panel import ACCUMULATORS, Shape
from mixtura.kernels.simd import imax, imin
from mixtura.kernels.tile import LOG4_E, ROOT_HALF_LOG4_E, TILE, VECTOR, ZERO, clear

COLUMN = Shape(ACCUMULATORS, 1)  # rows of a whitened vector at a time
WIDEST = 62  # columns whose pattern an integer holds, with a sign to spare
VECTORS: Any = TILE // VECTOR
ONE: Any = np.int64(1)
FREE: Any = np.int64(-1)  # a place of a table that nobody has
PLACES: Any = np.int64(4 * BLOCK_ROWS)  # of a table: a power of two, few of them taken
SCATTER: Any = np.int64(0x9E3779B97F4A7C15 - (1 << 64))  # 2**64 over the golden ratio (Knuth's multiplicative hash)
TABLE_VALUES = 1 << 20  # that all patterns remembered take: 8 MB a thread
LEAST_PATTERNS: Any = np.int64(2 * VECTORS)  # remembered: more than a tile has
LEAST_VARIANCE = float(np.finfo(np.float64).eps)  # share of a variance that the other columns leave, at least


class Components(NamedTuple):
    """Components as they are given: shift, scale (d,), covariances (k, d, d), means (k, d), log weights (k,).

    `unit` (d,) is what each observed column adds to a log-density at the mean.
    """

    shift: FloatArray
    scale: FloatArray
    covariances: FloatArray
    means: FloatArray
    base: FloatArray
    unit: FloatArray


class Block(NamedTuple):
    """Rows of a block in the order of their patterns.

    Those of the p-th pattern are ``order[starts[p]:starts[p + 1]]``. `next` holds pattern and row that come next, how
    many patterns there are, and how many are remembered. `keys` and `numbers` are a table from patterns to numbers,
    `which` (BLOCK_ROWS,) has the number of each row.
    """

    order: IntArray
    starts: IntArray
    patterns: IntArray
    next: IntArray
    keys: IntArray
    numbers: IntArray
    which: IntArray


class Memory(NamedTuple):
    """What is remembered of patterns: `keys` and `slots` lead to the slot; component a has number ``slot k + a`` there.

    `factors` (height, rows of `COLUMN`) are as `whiten.pack_factors` makes them, `offsets` (dp,) are -L mu, and `peaks`
    go with them. `maps` (d, d) have in the row of a missing column the slopes on observed ones and the covariances with
    other missing ones, and `levels` (d,) what is expected there where all that is observed is 0. The rest is scratch.
    """

    keys: IntArray
    slots: IntArray
    factors: FloatArray
    offsets: FloatArray
    peaks: FloatArray
    maps: FloatArray
    levels: FloatArray
    columns: IntArray
    root: FloatArray
    inverse: FloatArray


# -------------------------------------------------------------------------------- rows in order


@jit
def place(
    keys: IntArray,  # IN (PLACES,)
    pattern: int,
) -> int:
    """Return the place of a pattern in a table, or a free one."""
    at = ((pattern * SCATTER) >> 32) & (PLACES - 1)
    while keys[at] != pattern and keys[at] != FREE:
        at = (at + 1) & (PLACES - 1)
    return int(at)


@jit
def pattern_of(row: FloatArray) -> int:
    """Return the pattern of a row (d,)."""
    pattern = ZERO
    for j in range(row.shape[0]):
        if row[j] != row[j]:
            pattern |= ONE << j
    return int(pattern)


@jit
def arrange(
    x: FloatArray,  # IN (m, d) rows
    block: Block,  # OUT
) -> None:
    """Order the rows of a block by their patterns, and these as they come."""
    keys, starts, which, count = block.keys, block.starts, block.which, ZERO
    keys[:] = FREE
    for i in range(x.shape[0]):
        pattern = pattern_of(x[i])
        at = place(keys, pattern)
        if keys[at] == FREE:
            keys[at], block.numbers[at], block.patterns[count] = pattern, count, pattern
            starts[count] = 0
            count += 1
        which[i] = block.numbers[at]
        starts[which[i]] += 1
    end = ZERO
    for p in range(count):
        end += starts[p]
        starts[p] = end
    starts[count] = end
    for i in range(x.shape[0] - 1, -1, -1):
        starts[which[i]] -= 1
        block.order[starts[which[i]]] = i
    block.next[0], block.next[1], block.next[2] = 0, 0, count


# -------------------------------------------------------------------------------- what a pattern means


@jit
def sort_columns(
    pattern: int,
    columns: IntArray,  # OUT (d,) those observed, in order, then the others
) -> int:
    """Sort columns by whether rows of a pattern have them; return how many these have."""
    d, g = columns.shape[0], ZERO
    for j in range(d):
        g += 1 - ((pattern >> j) & 1)
    observed, missing = ZERO, g
    for j in range(d):
        if (pattern >> j) & 1:
            columns[missing] = j
            missing += 1
        else:
            columns[observed] = j
            observed += 1
    return int(g)


@jit
def factorize(
    covariance: FloatArray,  # IN (d, d)
    columns: IntArray,  # IN (d,)
    g: int,
    root: FloatArray,  # OUT (d, d) Cholesky factor in the order of the columns
    inverse: FloatArray,  # OUT (d, d) inverse of its first g rows and columns
) -> None:
    """Factorize a covariance, observed columns first."""
    for i in range(columns.shape[0]):
        variance = covariance[columns[i], columns[i]]
        for j in range(i + 1):
            left = covariance[columns[i], columns[j]]
            for c in range(j):
                left -= root[i, c] * root[j, c]
            if j < i:
                root[i, j] = left / root[j, j]
            else:
                root[i, i] = sqrt(max(left, LEAST_VARIANCE * variance))
    for i in range(g):
        inverse[i, i] = 1.0 / root[i, i]
        for j in range(i):
            left = 0.0
            for c in range(j, i):
                left -= root[i, c] * inverse[c, j]
            inverse[i, j] = left * inverse[i, i]


@jit
def learn(
    pattern: int,
    slot: int,
    components: Components,  # IN
    memory: Memory,  # OUT
) -> None:
    """Work out what a pattern needs (formulas N1, N2)."""
    columns, root, inverse = memory.columns, memory.root, memory.inverse
    g, k = sort_columns(pattern, columns), components.means.shape[0]
    for a in range(k):
        b = slot * k + a
        factorize(components.covariances[a], columns, g, root, inverse)
        learn_density(a, b, g, components, memory)
        learn_regression(a, b, g, components, memory)


@jit
def learn_density(
    a: int,
    b: int,
    g: int,
    components: Components,  # IN
    memory: Memory,  # OUT
) -> None:
    """Write factor, offset and peak of the first g of the sorted columns."""
    columns, inverse, means = memory.columns, memory.inverse, components.means
    factor = memory.factors[b]
    clear(factor)
    for j in range(memory.offsets.shape[1]):
        memory.offsets[b, j] = 0.0
    peak = components.base[a]
    for i in range(g):
        row = columns[i]
        panel = row // COLUMN.rows
        at, offset = COLUMN.rows * (panel * (panel + 1) // 2), 0.0
        for j in range(i + 1):
            factor[at + columns[j], row - panel * COLUMN.rows] = inverse[i, j] * ROOT_HALF_LOG4_E
            offset -= inverse[i, j] * means[a, columns[j]]
        memory.offsets[b, row] = offset * ROOT_HALF_LOG4_E
        peak += natural_log(inverse[i, i]) + components.unit[row]
    memory.peaks[b] = peak * LOG4_E


@jit
def learn_regression(
    a: int,
    b: int,
    g: int,
    components: Components,  # IN
    memory: Memory,  # OUT
) -> None:
    """Write slopes, covariances and levels of the sorted columns after the first g."""
    columns, root, inverse, means = memory.columns, memory.root, memory.inverse, components.means
    slopes = memory.maps[b]
    for i in range(g, columns.shape[0]):
        row = columns[i]
        level = means[a, row]
        for j in range(g):
            slope = 0.0
            for c in range(j, g):
                slope += root[i, c] * inverse[c, j]
            slopes[row, columns[j]] = slope
            level -= slope * means[a, columns[j]]
        memory.levels[b, row] = level
        for j in range(g, i + 1):
            spread = 0.0
            for c in range(g, j + 1):
                spread += root[i, c] * root[j, c]
            slopes[row, columns[j]] = spread


# -------------------------------------------------------------------------------- workspace


@maker_jit
def new_block() -> Block:
    """Return room for the order of a block."""
    return Block(
        np.empty(BLOCK_ROWS, np.int64),
        np.empty(BLOCK_ROWS + 1, np.int64),
        np.empty(BLOCK_ROWS, np.int64),
        np.zeros(4, np.int64),
        np.empty(PLACES, np.int64),
        np.empty(PLACES, np.int64),
        np.empty(BLOCK_ROWS, np.int64),
    )


@maker_jit
def new_memory(k: int, d: int) -> Memory:
    """Return room for patterns, as many as `TABLE_VALUES` allow."""
    panels = (d + COLUMN.rows - 1) // COLUMN.rows
    height, dp = COLUMN.rows * (panels * (panels + 1) // 2), COLUMN.rows * panels
    size = k * (height * COLUMN.rows + dp + d * d + d + 1)
    many = k * imin(imax(TABLE_VALUES // size, LEAST_PATTERNS), PLACES // 4)
    return Memory(
        np.full(PLACES, FREE),
        np.empty(PLACES, np.int64),
        np.zeros((many, height, COLUMN.rows)),
        np.zeros((many, dp)),
        np.zeros(many),
        np.zeros((many, d, d)),
        np.zeros((many, d)),
        np.empty(d, np.int64),
        np.zeros((d, d)),
        np.zeros((d, d)),
    )
