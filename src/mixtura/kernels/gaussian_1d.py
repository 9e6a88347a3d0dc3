"""The E-step of Gaussian mixtures of one column, whatever the covariance structure.

Vectors run over rows. Formulas E1 and S1 to S3 of docs/formulas.md.
"""

from __future__ import annotations

import numpy as np

from mixtura._types import FloatArray
from mixtura.grid import BLOCK_ROWS
from mixtura.kernels._jit import entry_jit, inline_jit
from mixtura.kernels.simd import fma, hsum, load, splat, store
from mixtura.kernels.threads import launch
from mixtura.kernels.tile import TILE, constant, fill_weights, softmax, weights_or_ones


@inline_jit
def fill(
    x: FloatArray,  # IN (n,)
    row: int,
    count: int,
    shift: float,
    scale: float,
    z: FloatArray,  # OUT (TILE,)
) -> None:
    """Write z = (x - shift) scale of `count` rows."""
    for s in range(count):
        z[s] = (x[row + s] - shift) * scale
    for s in range(count, TILE):
        z[s] = 0.0


@inline_jit
def log_densities(
    z: FloatArray,  # IN (TILE,)
    means: FloatArray,  # IN (k,)
    factors: FloatArray,  # IN (k,) one over the standard deviations
    peaks: FloatArray,  # IN (k,) log pi_k + log density at the mean
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write peak - (factor (z - mean))^2 / 2."""
    for k in range(means.shape[0]):
        mean, factor, peak = splat(means[k]), splat(factors[k]), splat(peaks[k])
        for s in range(0, TILE, 8):
            y = (load(z, s) - mean) * factor
            store(joint, k, s, fma(splat(-0.5) * y, y, peak))


@inline_jit
def add_moments(
    z: FloatArray,  # IN (TILE,)
    resp: FloatArray,  # IN (k, TILE)
    pivot: FloatArray,  # IN (k,)
    c: FloatArray,  # IN OUT (k, 3, 8)
) -> None:
    """Add r, r (z - p) and r (z - p)^2, lane by lane."""
    for k in range(pivot.shape[0]):
        counts, first, second = load(c, k, 0, 0), load(c, k, 1, 0), load(c, k, 2, 0)
        centre = splat(pivot[k])
        for s in range(0, TILE, 8):
            r = load(resp, k, s)
            gap = load(z, s) - centre
            moved = r * gap
            counts = counts + r
            first = first + moved
            second = fma(moved, gap, second)
        store(c, k, 0, 0, counts)
        store(c, k, 1, 0, first)
        store(c, k, 2, 0, second)


@entry_jit
def e_step(
    begin: int,
    end: int,
    x: FloatArray,  # IN (n,)
    weight: FloatArray,  # IN (n,)
    shift: float,
    scale: float,
    means: FloatArray,  # IN (k,)
    factors: FloatArray,  # IN (k,)
    peaks: FloatArray,  # IN (k,)
    pivot: FloatArray,  # IN (k,)
    loglik: FloatArray,  # OUT (m,)
    total: FloatArray,  # OUT (m,)
    s0: FloatArray,  # OUT (m, k)
    s1: FloatArray,  # OUT (m, k)
    s2: FloatArray,  # OUT (m, k)
) -> None:
    """Write the sums of the blocks from `begin` to before `end`."""
    k = means.shape[0]
    z, joint, w, c = np.empty(TILE), np.empty((k, TILE)), np.empty(TILE), np.empty((k, 3, 8))
    for b in range(begin, end):
        c[:] = 0.0
        ll, tw = splat(0.0), splat(0.0)
        stop = min((b + 1) * BLOCK_ROWS, x.shape[0])
        for row in range(b * BLOCK_ROWS, stop, TILE):
            count = min(TILE, stop - row)
            fill_weights(weight, row, count, w)
            fill(x, row, count, shift, scale, z)
            log_densities(z, means, factors, peaks, joint)
            ll = ll + softmax(joint, w)
            add_moments(z, joint, pivot, c)
            for s in range(0, TILE, 8):
                tw = tw + load(w, s)
        loglik[b] = hsum(ll)
        total[b] = hsum(tw)
        for i in range(k):
            s0[b, i] = hsum(load(c, i, 0, 0))
            s1[b, i] = hsum(load(c, i, 1, 0))
            s2[b, i] = hsum(load(c, i, 2, 0))


def e_blocks(
    x: FloatArray,
    weight: FloatArray | None,
    shift: float,
    scale: float,
    means: FloatArray,
    factors: FloatArray,
    peaks: FloatArray,
    pivot: FloatArray,
) -> tuple[FloatArray, ...]:
    """Return log-likelihoods, weights and moments s0, s1, s2 of values `x` (n,), stacked by block."""
    k = len(means)
    m = -(-len(x) // BLOCK_ROWS)
    out = (np.empty(m), np.empty(m), np.empty((m, k)), np.empty((m, k)), np.empty((m, k)))
    inputs = (constant(a) for a in (means, factors, peaks, pivot))
    launch(e_step, m, constant(x), weights_or_ones(weight, len(x)), float(shift), float(scale), *inputs, *out)
    return out
