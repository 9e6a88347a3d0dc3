"""The E-step of Gaussian mixtures with one covariance shared by all components.

A row is whitened once, and its scatter is taken once, about its posterior mean of the pivots: what that leaves out
is a sum of products of responsibilities (formulas S4, S5, M5). Both are sums of non-negative terms, so nothing cancels.
"""

from __future__ import annotations

import numpy as np

from mixtura._types import FloatArray
from mixtura.grid import BLOCK_ROWS
from mixtura.kernels._jit import entry_jit, inline_jit
from mixtura.kernels.gaussian_full import STAGGER, add_first_moments, add_products
from mixtura.kernels.panel import ROWS, outer, spread, store_panel
from mixtura.kernels.simd import fma, hsum, load, select, splat, store
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


@inline_jit
def whiten(
    zt: FloatArray,  # IN (dp, TILE)
    factor: FloatArray,  # IN (dp, dp) upper triangular: L'
    origin: FloatArray,  # IN (dp,) zeros
    yt: FloatArray,  # OUT (dp, TILE)
) -> None:
    """Write y = L z."""
    for i in range(0, factor.shape[0], ROWS):
        for s in range(0, TILE, 8):
            y = spread(origin, i)
            for j in range(i + ROWS):
                y = outer(factor, j, i, load(zt, j, s), y)
            store_panel(yt, i, s, y)


@inline_jit
def log_densities(
    yt: FloatArray,  # IN (dp, TILE)
    offsets: FloatArray,  # IN (k, dp) L mu
    peaks: FloatArray,  # IN (k,)
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write peak - |y - L mu|^2 / 2."""
    for k in range(offsets.shape[0]):
        for s in range(0, TILE, 8):
            norm = splat(0.0)
            for j in range(offsets.shape[1]):
                gap = load(yt, j, s) - splat(offsets[k, j])
                norm = fma(gap, gap, norm)
            store(joint, k, s, fma(splat(-0.5), norm, splat(peaks[k])))


@inline_jit
def centre_rows(
    zr: FloatArray,  # IN (TILE, > d8)
    resp: FloatArray,  # IN (k, TILE) w r
    w: FloatArray,  # IN (TILE,)
    pivot: FloatArray,  # IN (k, d8)
    rows: FloatArray,  # OUT (TILE, > d8)
) -> None:
    """Write sqrt(w) (z - m), where m is the posterior mean of the pivots; 0 for a row of weight 0."""
    for s in range(TILE):
        root = np.sqrt(w[s])
        share = 1.0 / w[s] if w[s] > 0.0 else 0.0
        for j in range(0, pivot.shape[1], 8):
            gap = load(zr, s, j)
            for k in range(pivot.shape[0]):
                gap = gap - splat(resp[k, s] * share) * load(pivot, k, j)
            store(rows, s, j, splat(root) * gap)


@inline_jit
def add_cross(
    resp: FloatArray,  # IN (k, TILE) w r
    w: FloatArray,  # IN (TILE,)
    cross: FloatArray,  # IN OUT (k, k) lower triangle
) -> None:
    """Add w r_a r_b."""
    for s in range(0, TILE, 8):
        weight = load(w, s)
        share = select(weight, splat(1.0) / weight, splat(0.0))
        for a in range(resp.shape[0]):
            scaled = load(resp, a, s) * share
            for b in range(a + 1):
                cross[a, b] += hsum(scaled * load(resp, b, s))


@entry_jit
def e_step(
    begin: int,
    end: int,
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    factor: FloatArray,  # IN (dp, dp)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    pivot: FloatArray,  # IN (k, d8)
    loglik: FloatArray,  # OUT (m,)
    total: FloatArray,  # OUT (m,)
    s0: FloatArray,  # OUT (m, k)
    s1: FloatArray,  # OUT (m, k, d)
    within: FloatArray,  # OUT (m, d, d)
    cross: FloatArray,  # OUT (m, k, k)
) -> None:
    """Write the sums of the blocks from `begin` to before `end`."""
    d, dp = x.shape[1], factor.shape[0]
    k, d8 = pivot.shape
    zt, yt, zr = np.zeros((dp, TILE)), np.empty((dp, TILE)), np.zeros((TILE, d8 + STAGGER))
    joint, w, rows = np.empty((k, TILE)), np.empty(TILE), np.empty((TILE, d8 + STAGGER))
    origin = np.zeros(dp)
    c0, c1, c2, cc = np.empty((k, 8)), np.empty((k, d8)), np.empty((d8, d8)), np.empty((k, k))
    for b in range(begin, end):
        c0[:] = 0.0
        c1[:] = 0.0
        c2[:] = 0.0
        cc[:] = 0.0
        ll, tw = splat(0.0), splat(0.0)
        stop = min((b + 1) * BLOCK_ROWS, x.shape[0])
        for row in range(b * BLOCK_ROWS, stop, TILE):
            count = min(TILE, stop - row)
            fill_weights(weight, row, count, w)
            fill_columns(x, row, count, shift, scale, zt)
            transpose(zt, d, zr)
            whiten(zt, factor, origin, yt)
            log_densities(yt, offsets, peaks, joint)
            ll = ll + softmax(joint, w)
            add_counts(joint, c0)
            for i in range(k):
                add_first_moments(zr, joint, pivot, i, c1)
            centre_rows(zr, joint, w, pivot, rows)
            add_products(rows, c2)
            add_cross(joint, w, cc)
            for s in range(0, TILE, 8):
                tw = tw + load(w, s)
        loglik[b] = hsum(ll)
        total[b] = hsum(tw)
        for i in range(k):
            s0[b, i] = hsum(load(c0, i, 0))
            s1[b, i] = c1[i, :d]
            for h in range(i + 1):
                cross[b, i, h] = cc[i, h]
                cross[b, h, i] = cc[i, h]
        for i in range(d):
            for h in range(i + 1):
                within[b, i, h] = c2[i, h]
                within[b, h, i] = c2[i, h]


def e_blocks(
    x: FloatArray,
    weight: FloatArray | None,
    shift: FloatArray,
    scale: FloatArray,
    means: FloatArray,
    factor: FloatArray,
    peaks: FloatArray,
    pivot: FloatArray,
) -> tuple[FloatArray, ...]:
    """Return log-likelihoods, weights and pooled moments s0, s1, within, cross, stacked by block."""
    k, d = means.shape
    dp, d8 = -(-d // ROWS) * ROWS, -(-d // 8) * 8
    m = -(-len(x) // BLOCK_ROWS)
    out = (
        np.empty(m),
        np.empty(m),
        np.empty((m, k)),
        np.empty((m, k, d)),
        np.empty((m, d, d)),
        np.empty((m, k, k)),
    )
    launch(
        e_step,
        m,
        constant(x),
        weights_or_ones(weight, len(x)),
        constant(shift),
        constant(scale),
        padded(factor.T, dp, dp),
        padded(means @ factor.T, dp),
        constant(peaks),
        padded(pivot, d8),
        *out,
    )
    return out
