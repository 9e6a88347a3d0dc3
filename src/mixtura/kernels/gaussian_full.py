"""The E-step of Gaussian mixtures with full covariances.

Vectors run over rows of the tile while whitening (formula E4), and over features while taking moments (S1 to S3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.grid import BLOCK_ROWS
from mixtura.kernels._jit import entry_jit, inline_jit, jit
from mixtura.kernels.panel import ROWS, load_panel, outer, spread, squares, store_panel
from mixtura.kernels.simd import fma, hsum, load, splat, store, vsqrt
from mixtura.kernels.threads import launch
from mixtura.kernels.tile import (
    TILE,
    add_counts,
    constant,
    fill_columns,
    fill_weights,
    padded,
    softmax,
    transpose,
    weights_or_ones,
)

STAGGER = 8  # added to the length of a row so that a column does not fall on one cache set


@inline_jit
def squared_norm(
    factor: FloatArray,  # IN (dp, dp) upper triangular: L'
    offset: FloatArray,  # IN (dp,) -L mu
    zt: FloatArray,  # IN (dp, TILE)
    s: int,
) -> Any:
    """Return |L z - L mu|^2 of the 8 rows from column `s` of the tile on."""
    norm = splat(0.0)
    for i in range(0, factor.shape[0], ROWS):
        y = spread(offset, i)
        for j in range(i + ROWS):
            y = outer(factor, j, i, load(zt, j, s), y)
        norm = squares(y, norm)
    return norm


@jit
def log_densities(
    zt: FloatArray,  # IN (dp, TILE)
    factors: FloatArray,  # IN (k, dp, dp)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write peak - |L z - L mu|^2 / 2."""
    for k in range(factors.shape[0]):
        for s in range(0, TILE, 8):
            norm = squared_norm(factors[k], offsets[k], zt, s)
            store(joint, k, s, fma(splat(-0.5), norm, splat(peaks[k])))


@inline_jit
def add_first_moments(
    zr: FloatArray,  # IN (TILE, > d8)
    resp: FloatArray,  # IN (k, TILE)
    pivot: FloatArray,  # IN (k, d8)
    k: int,
    s1: FloatArray,  # IN OUT (k, d8)
) -> None:
    """Add r (z - p) of component `k`."""
    for j in range(0, pivot.shape[1], 8):
        centre = load(pivot, k, j)
        sums = load(s1, k, j)
        for s in range(TILE):
            sums = fma(splat(resp[k, s]), load(zr, s, j) - centre, sums)
        store(s1, k, j, sums)


@jit
def add_products(
    rows: FloatArray,  # IN (TILE, > d8)
    s2: FloatArray,  # IN OUT (d8, d8)
) -> None:
    """Add the lower triangle of rows' rows: a panel of it stays in registers over the tile."""
    for i in range(0, s2.shape[0], ROWS):
        for j in range(0, i + ROWS, 8):
            sums = load_panel(s2, i, j)
            for s in range(TILE):
                sums = outer(rows, s, i, load(rows, s, j), sums)
            store_panel(s2, i, j, sums)


@jit
def add_moments(
    zr: FloatArray,  # IN (TILE, > d8)
    resp: FloatArray,  # IN (k, TILE)
    pivot: FloatArray,  # IN (k, d8)
    root: FloatArray,  # TMP (TILE,)
    rows: FloatArray,  # TMP (TILE, > d8)
    s1: FloatArray,  # IN OUT (k, d8)
    s2: FloatArray,  # IN OUT (k, d8, d8)
) -> None:
    """Add r (z - p) and r (z - p)(z - p)', the latter as products of sqrt(r) (z - p)."""
    for k in range(pivot.shape[0]):
        add_first_moments(zr, resp, pivot, k, s1)
        for s in range(0, TILE, 8):
            store(root, s, vsqrt(load(resp, k, s)))
        for j in range(0, pivot.shape[1], 8):
            centre = load(pivot, k, j)
            for s in range(TILE):
                store(rows, s, j, splat(root[s]) * (load(zr, s, j) - centre))
        add_products(rows, s2[k])


@entry_jit
def e_step(
    begin: int,
    end: int,
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    factors: FloatArray,  # IN (k, dp, dp)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    pivot: FloatArray,  # IN (k, d8)
    loglik: FloatArray,  # OUT (m,)
    total: FloatArray,  # OUT (m,)
    s0: FloatArray,  # OUT (m, k)
    s1: FloatArray,  # OUT (m, k, d)
    s2: FloatArray,  # OUT (m, k, d, d)
) -> None:
    """Write the sums of the blocks from `begin` to before `end`."""
    d = x.shape[1]
    k, d8 = pivot.shape
    zt, zr = np.zeros((factors.shape[1], TILE)), np.zeros((TILE, d8 + STAGGER))
    joint, w, root, rows = np.empty((k, TILE)), np.empty(TILE), np.empty(TILE), np.empty((TILE, d8 + STAGGER))
    c0, c1, c2 = np.empty((k, 8)), np.empty((k, d8)), np.empty((k, d8, d8))
    for b in range(begin, end):
        c0[:] = 0.0
        c1[:] = 0.0
        c2[:] = 0.0
        ll, tw = splat(0.0), splat(0.0)
        stop = min((b + 1) * BLOCK_ROWS, x.shape[0])
        for row in range(b * BLOCK_ROWS, stop, TILE):
            count = min(TILE, stop - row)
            fill_weights(weight, row, count, w)
            fill_columns(x, row, count, shift, scale, zt)
            transpose(zt, d, zr)
            log_densities(zt, factors, offsets, peaks, joint)
            ll = ll + softmax(joint, w)
            add_counts(joint, c0)
            add_moments(zr, joint, pivot, root, rows, c1, c2)
            for s in range(0, TILE, 8):
                tw = tw + load(w, s)
        loglik[b] = hsum(ll)
        total[b] = hsum(tw)
        for i in range(k):
            s0[b, i] = hsum(load(c0, i, 0))
            s1[b, i] = c1[i, :d]
            for j in range(d):
                for h in range(j + 1):
                    s2[b, i, j, h] = c2[i, j, h]
                    s2[b, i, h, j] = c2[i, j, h]


def e_blocks(
    x: FloatArray,
    weight: FloatArray | None,
    shift: FloatArray,
    scale: FloatArray,
    means: FloatArray,
    factors: FloatArray,
    peaks: FloatArray,
    pivot: FloatArray,
) -> tuple[FloatArray, ...]:
    """Return log-likelihoods, weights and moments s0, s1, s2, stacked by block."""
    k, d = means.shape
    dp, d8 = -(-d // ROWS) * ROWS, -(-d // 8) * 8
    m = -(-len(x) // BLOCK_ROWS)
    offsets = -np.einsum("kij,kj->ki", factors, means)
    out = (np.empty(m), np.empty(m), np.empty((m, k)), np.empty((m, k, d)), np.empty((m, k, d, d)))
    launch(
        e_step,
        m,
        constant(x),
        weights_or_ones(weight, len(x)),
        constant(shift),
        constant(scale),
        padded(factors.transpose(0, 2, 1), dp, dp),
        padded(offsets, dp),
        constant(peaks),
        padded(pivot, d8),
        *out,
    )
    return out
