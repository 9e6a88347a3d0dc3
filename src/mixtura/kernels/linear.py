"""The E-step of mixtures whose log-densities are linear in features of the values: peak + coefficients . t(x) + h(x).

A feature is a column in its unit, or tells whether a column has a certain value. Vectors run over the rows of a tile
throughout. Formulas E2, E3 and D25 of docs/formulas.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import floor, lgamma

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit, jit
from mixtura.kernels.layout import CATEGORY, COUNT, POSITIVE, Layout
from mixtura.kernels.posterior import write_posterior
from mixtura.kernels.room import room
from mixtura.kernels.run import map_rows, sum_blocks
from mixtura.kernels.simd import fma, hsum, imin, load, select, splat, store, vsqrt, whole
from mixtura.kernels.tile import (
    LOG4_E,
    TILE,
    VECTOR,
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

IMPOSSIBLE = -1e308  # stands for -inf, which times a feature of 0 is NaN; a log-density with it is -inf once doubled
TABLE = 4096  # counts whose log-factorials are looked up


@jit
def log_factorial(count: float, table: FloatArray) -> float:
    """Return log x! of a whole number from 0; NaN for anything else."""
    if not (count >= 0.0 and floor(count) == count):
        return np.nan
    return table[whole(count)] if count < table.shape[0] else lgamma(count + 1.0)


@jit
def fill_features(
    zt: FloatArray,  # IN (d8, TILE)
    columns: FloatArray,  # IN (m,)
    values: FloatArray,  # IN (m,)
    features: FloatArray,  # OUT (m, TILE)
) -> None:
    """Write t(x): columns, or 1.0 where a column has a certain value and 0.0 elsewhere."""
    one, zero = splat(1.0), splat(0.0)
    for i in range(columns.shape[0]):
        j, value = whole(columns[i]), splat(values[i])
        if values[i] == values[i]:
            for s in range(0, TILE, 8):
                store(features, i, s, select(load(zt, j, s) - value, zero, one))
        else:
            for s in range(0, TILE, 8):
                store(features, i, s, load(zt, j, s))


@jit
def fill_base(
    zt: FloatArray,  # IN (d8, TILE)
    features: FloatArray,  # IN (m, TILE)
    values: FloatArray,  # IN (m,)
    kinds: FloatArray,  # IN (d,)
    totals: FloatArray,  # IN (d,)
    table: FloatArray,  # IN log-factorials
    base: FloatArray,  # OUT (TILE,)
) -> None:
    """Write half of h(x) of each row, to base 4; NaN where a value is impossible in its column."""
    find_impossible(zt, features, values, kinds, base)
    for j in range(kinds.shape[0]):
        if kinds[j] == COUNT:
            for s in range(TILE):
                base[s] -= log_factorial(zt[j, s], table)
    for group in range(1, count_groups(totals) + 1):
        for s in range(TILE):
            drawn = 0.0
            for j in range(kinds.shape[0]):
                drawn += zt[j, s] if totals[j] == group else 0.0
            base[s] += log_factorial(drawn, table)
    for s in range(TILE):
        base[s] *= LOG4_E / 2


@jit
def count_groups(totals: FloatArray) -> int:
    """Return how many totals are given."""
    count = 0
    for j in range(totals.shape[0]):
        if totals[j] > count:
            count = whole(totals[j])
    return count


@jit
def find_impossible(
    zt: FloatArray,  # IN (d8, TILE)
    features: FloatArray,  # IN (m, TILE)
    values: FloatArray,  # IN (m,)
    kinds: FloatArray,  # IN (d,)
    base: FloatArray,  # OUT (TILE,)
) -> None:
    """Write NaN where a number cannot be, or a category is none of those that features tell; 0 elsewhere."""
    nan, zero, one = splat(np.nan), splat(0.0), splat(1.0)
    for s in range(0, TILE, 8):
        missed, found = zero, zero
        for j in range(kinds.shape[0]):
            if kinds[j] == CATEGORY:
                missed = missed + one
            elif kinds[j] == POSITIVE:
                found = fma(zero, vsqrt(load(zt, j, s)), found)
        for i in range(values.shape[0]):
            if values[i] == values[i]:
                missed = missed - load(features, i, s)
        store(base, s, select(missed, nan, found))


@jit
def log_densities(
    features: FloatArray,  # IN (m, TILE)
    base: FloatArray,  # IN (TILE,)
    coefficients: FloatArray,  # IN (k, m)
    peaks: FloatArray,  # IN (k,)
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write the log-densities, four vectors of rows at a time; all that is read is half of what it stands for."""
    for s in range(0, TILE, 32):
        for k in range(coefficients.shape[0]):
            peak = splat(peaks[k])
            v0, v1 = peak + load(base, s), peak + load(base, s + 8)
            v2, v3 = peak + load(base, s + 16), peak + load(base, s + 24)
            for i in range(coefficients.shape[1]):
                c = splat(coefficients[k, i])
                v0, v1 = fma(c, load(features, i, s), v0), fma(c, load(features, i, s + 8), v1)
                v2, v3 = fma(c, load(features, i, s + 16), v2), fma(c, load(features, i, s + 24), v3)
            store(joint, k, s, v0 + v0)
            store(joint, k, s + 8, v1 + v1)
            store(joint, k, s + 16, v2 + v2)
            store(joint, k, s + 24, v3 + v3)


@jit
def add_sums(
    features: FloatArray,  # IN (m, TILE)
    resp: FloatArray,  # IN (k, TILE)
    c1: FloatArray,  # IN OUT (m k, 8)
) -> None:
    """Add r t(x), lane by lane; four components at a time share the features."""
    n = resp.shape[0]
    whole = n // 4 * 4
    for i in range(features.shape[0]):
        for k in range(0, whole, 4):
            at = i * n + k
            a, b, c, e = load(c1, at, 0), load(c1, at + 1, 0), load(c1, at + 2, 0), load(c1, at + 3, 0)
            for s in range(0, TILE, 8):
                t = load(features, i, s)
                a, b = fma(load(resp, k, s), t, a), fma(load(resp, k + 1, s), t, b)
                c, e = fma(load(resp, k + 2, s), t, c), fma(load(resp, k + 3, s), t, e)
            store(c1, at, 0, a)
            store(c1, at + 1, 0, b)
            store(c1, at + 2, 0, c)
            store(c1, at + 3, 0, e)
        for k in range(whole, n):
            a = load(c1, i * n + k, 0)
            for s in range(0, TILE, 8):
                a = fma(load(resp, k, s), load(features, i, s), a)
            store(c1, i * n + k, 0, a)


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    scale: FloatArray,  # IN (d,)
    columns: FloatArray,  # IN (m,) as the following, see `Layout`
    values: FloatArray,  # IN (m,)
    kinds: FloatArray,  # IN (d,)
    totals: FloatArray,  # IN (d,)
    table: FloatArray,  # IN log-factorials
    coefficients: FloatArray,  # IN (k, m)
    peaks: FloatArray,  # IN (k,)
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (subtrees, size)
) -> None:
    """Write log-likelihood, weight, counts and sums of features of each subtree of blocks."""
    k, m = coefficients.shape
    d = x.shape[1]
    zt, shift = room((d + 7) // 8 * 8, TILE), room(d)
    features, tiles = room(m, TILE), room(k + 4, TILE)
    joint, lines = tiles[:k], tiles[k:]
    top, density, w, base = lines[0], lines[1], lines[2], lines[3]
    c0, c1 = room(k, VECTOR), room(m * k, VECTOR)
    for node in range(out.shape[0]):
        for b in range(cuts[node], cuts[node + 1]):
            clear(c0)
            clear(c1)
            loglik, weights = splat(0.0), splat(0.0)
            stop = imin((b + 1) * BLOCK_ROWS, x.shape[0])
            for row in range(b * BLOCK_ROWS, stop, TILE):
                count = imin(TILE, stop - row)
                even = fill_weighted(x, weight, row, count, shift, scale, zt, w)
                fill_features(zt, columns, values, features)
                fill_base(zt, features, values, kinds, totals, table, base)
                log_densities(features, base, coefficients, peaks, joint)
                softmax(joint, top, density)
                loglik = loglik + log_likelihood(top, density, w, even)
                weights = weights + total(w)
                normalize(joint, density, w, c0)
                add_sums(features, joint, c1)
            mine = sums[held(b - cuts[node])]
            mine[0], mine[1] = hsum(loglik), hsum(weights)
            for a in range(k):
                mine[2 + a] = hsum(load(c0, a, 0))
                for i in range(m):
                    mine[2 + k + a * m + i] = hsum(load(c1, i * k + a, 0))
            fold(sums, b + 1 - cuts[node])
        write_row(sums, out, node)


@entry_jit
def posterior(
    x: FloatArray,  # IN (n, d)
    scale: FloatArray,  # IN (d,)
    columns: FloatArray,  # IN (m,) as the following, see `Layout`
    values: FloatArray,  # IN (m,)
    kinds: FloatArray,  # IN (d,)
    totals: FloatArray,  # IN (d,)
    table: FloatArray,  # IN log-factorials
    coefficients: FloatArray,  # IN (k, m)
    peaks: FloatArray,  # IN (k,)
    loglik: FloatArray,  # OUT (n,) or (0,)
    labels: IntArray,  # OUT (n,)
    resp: FloatArray,  # OUT (n, k) or (0, k)
) -> None:
    """Write labels, log-densities and responsibilities of rows, as far as they are wanted."""
    k, m = coefficients.shape
    d = x.shape[1]
    zt, shift = room((d + 7) // 8 * 8, TILE), room(d)
    features, tiles = room(m, TILE), room(k + 3, TILE)
    joint, lines = tiles[:k], tiles[k:]
    top, density, base = lines[0], lines[1], lines[2]
    for row in range(0, x.shape[0], TILE):
        count = imin(TILE, x.shape[0] - row)
        fill(x, row, count, shift, scale, zt)
        fill_features(zt, columns, values, features)
        fill_base(zt, features, values, kinds, totals, table, base)
        log_densities(features, base, coefficients, peaks, joint)
        write_posterior(joint, top, density, row, count, loglik, labels, resp)


def e_blocks(
    chunk: Chunk, scale: FloatArray, layout: Layout, coefficients: FloatArray, peaks: FloatArray
) -> Iterator[tuple[Node, FloatArray]]:
    """Yield log-likelihood, weight, counts (k,) and sums of features (k, m) of the subtrees of a chunk."""
    k, m = coefficients.shape
    arguments = pack(scale, layout, coefficients, peaks)
    return sum_blocks(e_step, chunk, 2 + k * (1 + m), _work(k, m), *arguments)


def posterior_rows(
    x: Array, scale: FloatArray, layout: Layout, coefficients: FloatArray, peaks: FloatArray, *, wanted: Wanted
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities, labels and responsibilities of rows, as far as wanted."""
    k, m = coefficients.shape
    return map_rows(posterior, x, k, _work(k, m), *pack(scale, layout, coefficients, peaks), wanted=wanted)


def _work(k: int, m: int) -> int:
    """Return the operations a row."""
    return k * (4 * m + 100) + 10 * m


def pack(scale: FloatArray, layout: Layout, coefficients: FloatArray, peaks: FloatArray) -> tuple[FloatArray, ...]:
    """Return the parameters of densities as kernels take them: half of log-densities to base 4."""
    halves = np.maximum(coefficients * (LOG4_E / 2), IMPOSSIBLE)  # a NaN stays
    density = constant(halves), constant(peaks * (LOG4_E / 2))
    return constant(scale), *map(constant, layout), _log_factorials(), *density


@cache
def _log_factorials() -> FloatArray:
    """Return log x! of 0, 1, ...; as `lgamma` gives them, so that nothing changes where the table ends."""
    return constant(np.array([lgamma(count + 1.0) for count in range(TABLE)]))
