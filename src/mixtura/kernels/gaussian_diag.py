"""The E-step of Gaussian mixtures with diagonal covariances, spherical ones included.

Vectors run over the rows of a tile throughout. Formulas E1, E5 and S1 to S3 of docs/formulas.md.
"""

from __future__ import annotations

import numpy as np

from mixtura._types import FloatArray
from mixtura.grid import BLOCK_ROWS
from mixtura.kernels._jit import entry_jit, inline_jit
from mixtura.kernels.simd import fma, hsum, load, splat, store
from mixtura.kernels.threads import launch
from mixtura.kernels.tile import TILE, add_counts, constant, fill_columns, fill_weights, softmax, weights_or_ones


@inline_jit
def log_densities(
    zt: FloatArray,  # IN (d, TILE)
    means: FloatArray,  # IN (k, d)
    factors: FloatArray,  # IN (k, d) one over the standard deviations
    peaks: FloatArray,  # IN (k,) log pi_k + log density at the mean
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write peak - |factor (z - mean)|^2 / 2."""
    for k in range(means.shape[0]):
        for s in range(0, TILE, 8):
            distance = splat(0.0)
            for j in range(means.shape[1]):
                y = (load(zt, j, s) - splat(means[k, j])) * splat(factors[k, j])
                distance = fma(y, y, distance)
            store(joint, k, s, fma(splat(-0.5), distance, splat(peaks[k])))


@inline_jit
def add_moments(
    zt: FloatArray,  # IN (d, TILE)
    resp: FloatArray,  # IN (k, TILE)
    pivot: FloatArray,  # IN (k, d)
    c1: FloatArray,  # IN OUT (k, d, 8)
    c2: FloatArray,  # IN OUT (k, d, 8)
) -> None:
    """Add r (z - p) and r (z - p)^2, lane by lane."""
    for k in range(pivot.shape[0]):
        for j in range(pivot.shape[1]):
            first, second = load(c1, k, j, 0), load(c2, k, j, 0)
            for s in range(0, TILE, 8):
                gap = load(zt, j, s) - splat(pivot[k, j])
                moved = load(resp, k, s) * gap
                first = first + moved
                second = fma(moved, gap, second)
            store(c1, k, j, 0, first)
            store(c2, k, j, 0, second)


@entry_jit
def e_step(
    begin: int,
    end: int,
    x: FloatArray,  # IN (n, d)
    weight: FloatArray,  # IN (n,)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    means: FloatArray,  # IN (k, d)
    factors: FloatArray,  # IN (k, d)
    peaks: FloatArray,  # IN (k,)
    pivot: FloatArray,  # IN (k, d)
    loglik: FloatArray,  # OUT (m,)
    total: FloatArray,  # OUT (m,)
    s0: FloatArray,  # OUT (m, k)
    s1: FloatArray,  # OUT (m, k, d)
    s2: FloatArray,  # OUT (m, k, d)
) -> None:
    """Write the sums of the blocks from `begin` to before `end`."""
    k, d = means.shape
    zt, joint, w = np.empty((d, TILE)), np.empty((k, TILE)), np.empty(TILE)
    c0, c1, c2 = np.empty((k, 8)), np.empty((k, d, 8)), np.empty((k, d, 8))
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
            log_densities(zt, means, factors, peaks, joint)
            ll = ll + softmax(joint, w)
            add_counts(joint, c0)
            add_moments(zt, joint, pivot, c1, c2)
            for s in range(0, TILE, 8):
                tw = tw + load(w, s)
        loglik[b] = hsum(ll)
        total[b] = hsum(tw)
        for i in range(k):
            s0[b, i] = hsum(load(c0, i, 0))
            for j in range(d):
                s1[b, i, j] = hsum(load(c1, i, j, 0))
                s2[b, i, j] = hsum(load(c2, i, j, 0))


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
    m = -(-len(x) // BLOCK_ROWS)
    out = (np.empty(m), np.empty(m), np.empty((m, k)), np.empty((m, k, d)), np.empty((m, k, d)))
    inputs = (constant(a) for a in (shift, scale, means, factors, peaks, pivot))
    launch(e_step, m, constant(x), weights_or_ones(weight, len(x)), *inputs, *out)
    return out
