"""The E-step of mixtures of gamma distributions.

Vectors run over the rows of a tile. Formulas D11 and D12 of docs/formulas.md. The logarithm is taken of each value once
and, less that of the pivot, serves all components whose shapes are small. Where they are large, ``log x - log mean``
has lost the digits that count, and it is taken of each value over the pivot. The gaps ``v - 1 - log v`` serve densities
and sums. The pivot is the mean, as a rule; if not, the densities of that pass have the digits of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log as natural_log
from typing import NamedTuple

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit, jit
from mixtura.kernels.posterior import write_posterior
from mixtura.kernels.room import room
from mixtura.kernels.run import map_rows, sum_blocks
from mixtura.kernels.simd import fma, fnma, hsum, imin, load, log, splat, store, vmax, vmin
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

# Up to this shape, a difference of logarithms loses six bits of a gap, which is 1 / (2 shape) on the average.
PLAIN = 64.0
LEAST = float(np.finfo(np.float64).tiny)  # a value over a mean that underflowed counts as this
MOST = -natural_log(LEAST)


class Known(NamedTuple):
    """The components, as kernels take them."""

    scale: FloatArray  # (d,)
    inverses: FloatArray  # (k, d) of the pivots
    pivots: FloatArray  # (k, d) logarithms of the pivots
    shapes: FloatArray  # (k, d) to base 4, as peaks are
    tilts: FloatArray  # (k, d) shape (pivot / mean - 1)
    peaks: FloatArray  # (k,)
    plain: FloatArray  # (k,) 1 where no shape is large


@jit
def take_logs(
    zt: FloatArray,  # IN (d8, TILE)
    logs: FloatArray,  # OUT (d, TILE)
    base: FloatArray,  # OUT (TILE,)
) -> None:
    """Write log z, and minus the sum over the columns, to base 4."""
    for s in range(0, TILE, 8):
        total = splat(0.0)
        for j in range(logs.shape[0]):
            value = log(load(zt, j, s))
            store(logs, j, s, value)
            total = total + value
        store(base, s, splat(-LOG4_E) * total)


@jit
def log_densities(
    zt: FloatArray,  # IN (d8, TILE)
    known: Known,
    logs: FloatArray,  # TMP (d, TILE)
    base: FloatArray,  # TMP (TILE,)
    gaps: FloatArray,  # OUT (k d, TILE)
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write v - 1 - log v, v = z / pivot, and peak - sum of log z - sum of shape (v - 1 - log v) + tilt v."""
    (n, d), shapes, tilts = known.shapes.shape, known.shapes, known.tilts
    one, least, most = splat(1.0), splat(LEAST), splat(MOST)
    take_logs(zt, logs, base)
    for k in range(n):
        for j in range(d):
            inverse, pivot = splat(known.inverses[k, j]), splat(known.pivots[k, j])
            if known.plain[k]:
                for s in range(0, TILE, 8):
                    minus_log = vmin(most, pivot - load(logs, j, s))  # a NaN stays, also below
                    store(gaps, k * d + j, s, fma(load(zt, j, s), inverse, -one) + minus_log)
            else:
                for s in range(0, TILE, 8):
                    v = load(zt, j, s) * inverse
                    store(gaps, k * d + j, s, v - one - log(vmax(least, v)))
        for s in range(0, TILE, 8):
            value = splat(known.peaks[k]) + load(base, s)
            for j in range(d):
                v = load(zt, j, s) * splat(known.inverses[k, j])
                value = fnma(splat(shapes[k, j]), load(gaps, k * d + j, s), fnma(splat(tilts[k, j]), v, value))
            store(joint, k, s, value)


@jit
def add_sums(
    zt: FloatArray,  # IN (d8, TILE)
    gaps: FloatArray,  # IN (k d, TILE)
    resp: FloatArray,  # IN (k, TILE)
    inverses: FloatArray,  # IN (k, d) of the pivots
    c1: FloatArray,  # IN OUT (k d, 8)
    c2: FloatArray,  # IN OUT (k d, 8)
) -> None:
    """Add r v and r (v - 1 - log v), lane by lane."""
    n, d = inverses.shape
    for k in range(n):
        for j in range(d):
            at, inverse = k * d + j, splat(inverses[k, j])
            first, second = load(c1, at, 0), load(c2, at, 0)
            for s in range(0, TILE, 8):
                r = load(resp, k, s)
                first = fma(r, load(zt, j, s) * inverse, first)
                second = fma(r, load(gaps, at, s), second)
            store(c1, at, 0, first)
            store(c2, at, 0, second)


@entry_jit
def e_step(
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,) or (0,)
    cuts: IntArray,  # IN (m + 1,) blocks between which the subtrees lie
    scale: FloatArray,  # IN this and what follows: see `Known`
    inverses: FloatArray,
    pivots: FloatArray,
    shapes: FloatArray,
    tilts: FloatArray,
    peaks: FloatArray,
    plain: FloatArray,
    sums: FloatArray,  # TMP (levels, size): see `fold`
    out: FloatArray,  # OUT (m, size)
) -> None:
    """Write log-likelihood, weight, counts and both sums of each subtree of blocks."""
    (k, d), known = shapes.shape, Known(scale, inverses, pivots, shapes, tilts, peaks, plain)
    zt, shift = room((d + 7) // 8 * 8, TILE), room(d)
    tiles, gaps, logs = room(k + 4, TILE), room(k * d, TILE), room(d, TILE)
    joint, lines = tiles[:k], tiles[k:]
    top, density, w, base = lines[0], lines[1], lines[2], lines[3]
    c0, c1, c2 = room(k, VECTOR), room(k * d, VECTOR), room(k * d, VECTOR)
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
                log_densities(zt, known, logs, base, gaps, joint)
                softmax(joint, top, density)
                loglik = loglik + log_likelihood(top, density, w, even)
                weights = weights + total(w)
                normalize(joint, density, w, c0)
                add_sums(zt, gaps, joint, inverses, c1, c2)
            mine = sums[held(b - cuts[m])]
            mine[0], mine[1] = hsum(loglik), hsum(weights)
            for i in range(k):
                mine[2 + i] = hsum(load(c0, i, 0))
            for i in range(k * d):
                mine[2 + k + i] = hsum(load(c1, i, 0))
                mine[2 + k + k * d + i] = hsum(load(c2, i, 0))
            fold(sums, b + 1 - cuts[m])
        write_row(sums, out, m)


@entry_jit
def posterior(
    x: FloatArray,  # IN (n, d)
    scale: FloatArray,  # IN this and what follows: see `Known`
    inverses: FloatArray,
    pivots: FloatArray,
    shapes: FloatArray,
    tilts: FloatArray,
    peaks: FloatArray,
    plain: FloatArray,
    loglik: FloatArray,  # OUT (n,) or (0,)
    labels: IntArray,  # OUT (n,)
    resp: FloatArray,  # OUT (n, k) or (0, k)
) -> None:
    """Write labels, log-densities and responsibilities of rows, as far as they are wanted."""
    (k, d), known = shapes.shape, Known(scale, inverses, pivots, shapes, tilts, peaks, plain)
    zt, shift = room((d + 7) // 8 * 8, TILE), room(d)
    tiles, gaps, logs = room(k + 3, TILE), room(k * d, TILE), room(d, TILE)
    joint, lines = tiles[:k], tiles[k:]
    top, density, base = lines[0], lines[1], lines[2]
    for row in range(0, x.shape[0], TILE):
        count = imin(TILE, x.shape[0] - row)
        fill(x, row, count, shift, scale, zt)
        log_densities(zt, known, logs, base, gaps, joint)
        write_posterior(joint, top, density, row, count, loglik, labels, resp)


def e_blocks(chunk: Chunk, *density: FloatArray) -> Iterator[tuple[Node, FloatArray]]:
    """Yield log-likelihood, weight, counts and both sums of the subtrees of a chunk; `density` as for `pack`."""
    k, d = density[1].shape
    return sum_blocks(e_step, chunk, 2 + k * (1 + 2 * d), _work(k, d), *pack(*density))


def posterior_rows(x: Array, *density: FloatArray, wanted: Wanted) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return log-densities, labels and responsibilities of rows, as far as wanted; `density` as for `pack`."""
    k, d = density[1].shape
    return map_rows(posterior, x, k, _work(k, d), *pack(*density), wanted=wanted)


def _work(k: int, d: int) -> int:
    """Return the operations a row."""
    return k * (60 * d + 100)


def pack(scale: FloatArray, pivot: FloatArray, means: FloatArray, shapes: FloatArray, peaks: FloatArray) -> Known:
    """Return the components as kernels take them.

    With v = z / pivot and m = pivot / mean it is ``m v - 1 - log(m v) = (v - 1 - log v) + (m - 1) v - log m``.
    """
    peaks = peaks + (shapes * np.log(pivot / means)).sum(axis=1)
    return Known(
        scale=constant(scale),
        inverses=constant(1 / pivot),
        pivots=constant(np.log(pivot)),
        shapes=constant(shapes * LOG4_E),
        tilts=constant(shapes * ((pivot - means) / means) * LOG4_E),
        peaks=constant(peaks * LOG4_E),
        plain=constant(np.where(shapes.max(axis=1) <= PLAIN, 1.0, 0.0)),
    )
