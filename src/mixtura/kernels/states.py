"""What a hidden Markov model wants of rows, by vectors that run over states: densities, moments, tallies."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.arena import lined
from mixtura.grid import BLOCK_ROWS
from mixtura.kernels._jit import entry_jit
from mixtura.kernels.simd import exp2, fma, fnma, hmax, load, splat, store, vmax
from mixtura.kernels.tile import LOWEST, VECTOR, clear, constant, padded, up_to

LN2 = math.log(2.0)
LOG2_E = 1.0 / LN2
ROOT_HALF_LOG2_E = math.sqrt(LOG2_E / 2)  # a factor times this: -|y|^2 then is a log-density to base 2
ROWS_A_VALUE = 8  # so many rows of each possible value repay to look for those that are alike
ROWS: Any = np.int64(4)  # whose products are added to a sum before it is stored: stores were half of the time


def widened(values: FloatArray) -> FloatArray:
    """Return a copy (n, k8) of numbers (n, k) of each state, with zeros up to whole vectors."""
    n, k = values.shape
    wide = lined(n, up_to(VECTOR, k))
    wide[:, :k], wide[:, k:] = values, 0.0
    return wide


def over_largest(log_density: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return densities over the largest of a row, (n, k8), of logarithms (n, k), and the logarithm (n,) of that."""
    top = log_density.max(axis=1)
    with np.errstate(invalid="ignore"):  # a row that is impossible in all states: NaN, which wants logarithms
        return widened(np.exp(log_density - top[:, None])), top


@entry_jit
def write_densities(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    means: FloatArray,  # IN (d, k8)
    factors: FloatArray,  # IN (d d, k8) times `ROOT_HALF_LOG2_E`, row after row
    band: int,  # how far from the diagonal factors are not 0
    peaks: FloatArray,  # IN (k8,) log2 of densities at the means, -inf for no state
    z: FloatArray,  # TMP (d, 8)
    density: FloatArray,  # OUT (n, k8) over that of the most likely state
    top: FloatArray,  # OUT (n,) the logarithm of that
) -> None:
    """Write the densities of rows in each state (formula E1)."""
    (n, d), k8 = x.shape, peaks.shape[0]
    for t in range(n):
        most = splat(LOWEST)
        for s in range(0, k8, 8):
            for j in range(d):
                store(z, j, 0, splat((x[t, j] - shift[j]) * scale[j]) - load(means, j, s))
            joint = load(peaks, s)
            for j in range(d):
                y = splat(0.0)
                for h in range(max(0, j - band), j + 1):
                    y = fma(load(factors, j * d + h, s), load(z, h, 0), y)
                joint = fnma(y, y, joint)
            store(density, t, s, joint)
            most = vmax(joint, most)
        largest = hmax(most)
        for s in range(0, k8, 8):
            store(density, t, s, exp2(load(density, t, s) - splat(largest)))
        top[t] = largest * LN2


def scaled_densities(
    x: FloatArray,
    shift: FloatArray,
    scale: FloatArray,
    means: FloatArray,
    factors: FloatArray,
    band: int,
    peaks: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return densities of rows (n, d) in each of k Gaussian states, (n, k8), and the logarithms (n,) taken out of them.

    Parameters
    ----------
    x : (n, d) array
        Rows.
    shift, scale : (d,) array
        The frame.
    means : (k, d) array
        In the frame, as the factors are.
    factors : (k, d, d) array
        Lower triangles L with ``L' L`` the precision.
    band : int
        How far from their diagonals there are entries.
    peaks : (k,) array
        Log-densities at the means.
    """
    (n, d), k = x.shape, len(means)
    k8 = up_to(VECTOR, k)
    wide = np.full(k8, -np.inf)
    wide[:k] = peaks * LOG2_E
    columns = padded(np.moveaxis(factors, 0, -1).reshape(d * d, k) * ROOT_HALF_LOG2_E, k8)
    density, top = lined(n, k8), np.empty(n)
    frame = constant(shift), constant(scale)
    write_densities(constant(x), *frame, padded(means.T, k8), columns, band, constant(wide), lined(d, 8), density, top)
    return density, top


@entry_jit
def add_moments(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    resp: FloatArray,  # IN (n, k8)
    pivot: FloatArray,  # IN (d, k8)
    band: int,  # how far from the diagonal products of columns are wanted
    z: FloatArray,  # TMP (d, 32)
    sums: FloatArray,  # OUT (blocks, 1 + d + d d, k8): s0, s1 and the lower triangles of s2
) -> None:
    """Write the moments of rows about the pivots (formulas S1 to S3) with given responsibilities, block by block."""
    d, k8 = pivot.shape
    for b in range(sums.shape[0]):
        clear(sums[b])
        last = min((b + 1) * BLOCK_ROWS, x.shape[0]) - 1
        for t in range(b * BLOCK_ROWS, last + 1, ROWS):
            t1, t2, t3 = min(t + 1, last), min(t + 2, last), min(t + 3, last)  # a row that is repeated counts once
            for s in range(0, k8, 8):
                r0 = load(resp, t, s)
                r1 = load(resp, t1, s) * splat(1.0 if t1 > t else 0.0)
                r2 = load(resp, t2, s) * splat(1.0 if t2 > t1 else 0.0)
                r3 = load(resp, t3, s) * splat(1.0 if t3 > t2 else 0.0)
                store(sums, b, 0, s, load(sums, b, 0, s) + ((r0 + r1) + (r2 + r3)))
                for j in range(d):
                    origin = load(pivot, j, s)
                    store(z, j, 0, splat((x[t, j] - shift[j]) * scale[j]) - origin)
                    store(z, j, 8, splat((x[t1, j] - shift[j]) * scale[j]) - origin)
                    store(z, j, 16, splat((x[t2, j] - shift[j]) * scale[j]) - origin)
                    store(z, j, 24, splat((x[t3, j] - shift[j]) * scale[j]) - origin)
                for j in range(d):
                    p0, p1 = r0 * load(z, j, 0), r1 * load(z, j, 8)
                    p2, p3 = r2 * load(z, j, 16), r3 * load(z, j, 24)
                    store(sums, b, 1 + j, s, load(sums, b, 1 + j, s) + ((p0 + p1) + (p2 + p3)))
                    for h in range(max(0, j - band), j + 1):
                        at = 1 + d + j * d + h
                        even = fma(p0, load(z, h, 0), load(sums, b, at, s))
                        odd = p1 * load(z, h, 8)
                        even = fma(p2, load(z, h, 16), even)
                        odd = fma(p3, load(z, h, 24), odd)
                        store(sums, b, at, s, even + odd)


def moments(
    x: FloatArray, shift: FloatArray, scale: FloatArray, resp: FloatArray, pivot: FloatArray, band: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the moments s0 (k,), s1 (k, d) and s2 (k, d, d) of rows (n, d) about pivots (k, d), in the frame.

    Of s2, only what is at most `band` columns from the diagonal is filled in.
    """
    (n, d), k = x.shape, len(pivot)
    k8 = up_to(VECTOR, k)
    sums = lined(-(-n // BLOCK_ROWS), 1 + d + d * d, k8)
    wide = constant(resp) if k == k8 else padded(resp, k8)
    add_moments(constant(x), constant(shift), constant(scale), wide, padded(pivot.T, k8), band, lined(d, 32), sums)
    total = sums.sum(axis=0)[:, :k].T
    lower = total[:, 1 + d :].reshape(k, d, d)
    upper = np.swapaxes(np.tril(lower, -1), -1, -2)
    return total[:, 0].copy(), total[:, 1 : 1 + d].copy(), np.tril(lower) + upper


@entry_jit
def write_codes(
    x: FloatArray,  # IN (n, d)
    sizes: IntArray,  # IN (d,) numbers of values of the columns
    codes: IntArray,  # OUT (n,)
    seen: IntArray,  # OUT (sizes[0] ... sizes[d - 1],) a row of each code, or -1
) -> bool:
    """Write what number the values of each row are the digits of; return whether all are whole numbers from 0."""
    for c in range(seen.shape[0]):
        seen[c] = -1
    for t in range(x.shape[0]):
        code = 0
        for j in range(x.shape[1]):
            digit = int(x[t, j])
            if digit != x[t, j] or digit < 0:
                return False
            code = code * sizes[j] + digit
        codes[t] = code
        seen[code] = t
    return True


class Alike(NamedTuple):
    """Rows of few kinds: that of each, (n,); how many; those that are `present`, (m,), and one row of each of these."""

    codes: IntArray
    n_codes: int
    present: IntArray
    rows: IntArray


def find_alike(x: FloatArray) -> Alike | None:
    """Return which rows are alike, None where values are not whole numbers from 0 or may be too many."""
    n = len(x)
    sizes = x.max(axis=0) + 1.0
    if not 1 <= sizes.min() <= sizes.prod() * ROWS_A_VALUE <= n:
        return None
    codes, seen = np.empty(n, dtype=np.int64), np.empty(int(sizes.prod()), dtype=np.int64)
    if not write_codes(constant(x), sizes.astype(np.int64), codes, seen):
        return None
    present = np.flatnonzero(seen >= 0)
    return Alike(codes, len(seen), present, seen[present])


def look_up(log_density: FloatArray, alike: Alike) -> tuple[FloatArray, FloatArray]:
    """Return the same as `over_largest` of rows, from the log-densities (m, k) of one row of each kind."""
    density, top = over_largest(log_density)
    table, tops = np.zeros((alike.n_codes, density.shape[1])), np.zeros(alike.n_codes)
    table[alike.present], tops[alike.present] = density, top
    out = lined(len(alike.codes), density.shape[1])
    return table.take(alike.codes, axis=0, out=out, mode="clip"), tops.take(alike.codes)


@entry_jit
def add_tallies(
    resp: FloatArray,  # IN (n, k8)
    codes: IntArray,  # IN (n,)
    sums: FloatArray,  # OUT (m, k8)
) -> None:
    """Write the sums of the responsibilities of rows with each code."""
    clear(sums)
    for t in range(codes.shape[0]):
        for s in range(0, sums.shape[1], 8):
            store(sums, codes[t], s, load(sums, codes[t], s) + load(resp, t, s))


def tally(resp: FloatArray, alike: Alike) -> FloatArray:
    """Return the sums (m, k) of the responsibilities (n, k) of the rows of each kind."""
    k = resp.shape[1]
    k8 = up_to(VECTOR, k)
    sums = lined(alike.n_codes, k8)
    add_tallies(constant(resp) if k == k8 else padded(resp, k8), alike.codes, sums)
    return sums[alike.present, :k]
