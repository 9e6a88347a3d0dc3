"""What a hidden Markov model wants of rows, by vectors that run over states: densities, moments, tallies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.arena import lined
from mixtura.grid import BLOCK_ROWS
from mixtura.kernels._jit import entry_jit, inline_jit, jit
from mixtura.kernels.simd import exp2, fma, fnma, hmax, imax, imin, load, splat, store, vmax
from mixtura.kernels.threads import share_out
from mixtura.kernels.tile import LOWEST, TILE, VECTOR, clear, constant, padded, up_to

LN2 = math.log(2.0)
LOG2_E = 1.0 / LN2
ROOT_HALF_LOG2_E = math.sqrt(LOG2_E / 2)  # a factor times this: -|y|^2 then is a log-density to base 2
WIDEST = 8  # columns from which the kernel of the posterior, whose products are blocked, finds densities sooner
PIECE_BLOCKS = 8
PIECE = PIECE_BLOCKS * BLOCK_ROWS  # rows that repay a thread
ROWS: Any = np.int64(4)  # worked on together: what is loaded or stored for one was half of the time


def widened(values: FloatArray, beyond: float = 0.0) -> FloatArray:
    """Return a copy (n, k8) of numbers (n, k) of each state, and one that makes up whole vectors."""
    n, k = values.shape
    wide = lined(n, up_to(VECTOR, k))
    wide[:, :k], wide[:, k:] = values, beyond
    return wide


def in_pieces(run: Callable[[slice, slice], None], n: int, size: int = PIECE) -> None:
    """Call ``run(pieces, rows)`` for some pieces of n rows at a time, on the threads allowed."""

    def run_some(begin: int, end: int) -> None:
        run(slice(begin, end), slice(begin * size, end * size))

    count = -(-n // size)
    share_out(run_some, count, count)


def over_largest(log_density: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return densities over the largest of a row, (n, k8), of logarithms (n, k), and the logarithm (n,) of that.

    Those of a row that is impossible in all states are 0.
    """
    density, top = widened(log_density, -np.inf), np.empty(len(log_density))
    density *= LOG2_E
    write_over_largest(density, top)
    return density, top


@inline_jit
def enter(
    x: FloatArray,  # IN (n, d)
    rows: Any,
    j: int,
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    origin: FloatArray,  # IN (d, k8)
    s: int,
    z: FloatArray,  # OUT (d, 32)
) -> Any:
    """Write, and return, how far four rows are from the origins of eight states in column j of the frame."""
    here = load(origin, j, s)
    z0 = splat((x[rows[0], j] - shift[j]) * scale[j]) - here
    z1 = splat((x[rows[1], j] - shift[j]) * scale[j]) - here
    z2 = splat((x[rows[2], j] - shift[j]) * scale[j]) - here
    z3 = splat((x[rows[3], j] - shift[j]) * scale[j]) - here
    store(z, j, 0, z0)
    store(z, j, 8, z1)
    store(z, j, 16, z2)
    store(z, j, 24, z3)
    return z0, z1, z2, z3


@jit
def write_joint(
    x: FloatArray,  # IN (n, d)
    begin: int,
    end: int,
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    means: FloatArray,  # IN (d, k8)
    factors: FloatArray,  # IN (d d, k8)
    band: int,
    peaks: FloatArray,  # IN (k8,)
    z: FloatArray,  # TMP (d, 32)
    joint: FloatArray,  # OUT (n, k8)
) -> None:
    """Write the log-densities, to base 2, of some rows in each state (formula E1), of four rows at a time."""
    for s in range(0, peaks.shape[0], 8):
        for t in range(begin, end, ROWS):
            rows = (t, imin(t + 1, end - 1), imin(t + 2, end - 1), imin(t + 3, end - 1))
            j0 = load(peaks, s)
            j1, j2, j3 = j0, j0, j0
            for j in range(x.shape[1]):
                z0, z1, z2, z3 = enter(x, rows, j, shift, scale, means, s, z)
                factor = load(factors, j * x.shape[1] + j, s)
                y0, y1, y2, y3 = factor * z0, factor * z1, factor * z2, factor * z3
                for h in range(imax(0, j - band), j):
                    factor = load(factors, j * x.shape[1] + h, s)
                    y0, y1 = fma(factor, load(z, h, 0), y0), fma(factor, load(z, h, 8), y1)
                    y2, y3 = fma(factor, load(z, h, 16), y2), fma(factor, load(z, h, 24), y3)
                j0, j1, j2, j3 = fnma(y0, y0, j0), fnma(y1, y1, j1), fnma(y2, y2, j2), fnma(y3, y3, j3)
            store(joint, rows[0], s, j0)
            store(joint, rows[1], s, j1)
            store(joint, rows[2], s, j2)
            store(joint, rows[3], s, j3)


@jit
def take_out(
    density: FloatArray,  # IN log-densities to base 2, OUT densities over the largest of a row: (n, k8)
    begin: int,
    end: int,
    top: FloatArray,  # OUT (n,) the natural logarithm of that
) -> None:
    """Turn log-densities of some rows into densities, after the largest was taken out of each."""
    for t in range(begin, end):
        most = vmax(load(density, t, 0), splat(LOWEST))
        for s in range(8, density.shape[1], 8):
            most = vmax(load(density, t, s), most)
        top[t] = hmax(most)
    for s in range(0, density.shape[1], 8):  # the outer loop, also elsewhere: mostly it is of one vector
        for t in range(begin, end):
            store(density, t, s, exp2(load(density, t, s) - splat(top[t])))
    for t in range(begin, end):
        top[t] *= LN2


@entry_jit
def write_over_largest(
    density: FloatArray,  # IN log-densities to base 2, OUT densities over the largest of a row: (n, k8)
    top: FloatArray,  # OUT (n,) the natural logarithm of that
) -> None:
    """Do so with all rows, some at a time, which stay in L1."""
    for begin in range(0, density.shape[0], TILE):
        take_out(density, begin, imin(begin + TILE, density.shape[0]), top)


@entry_jit
def write_densities(
    x: FloatArray,  # IN (n, d)
    shift: FloatArray,  # IN (d,)
    scale: FloatArray,  # IN (d,)
    means: FloatArray,  # IN (d, k8)
    factors: FloatArray,  # IN (d d, k8) times `ROOT_HALF_LOG2_E`, row after row
    band: int,  # how far from the diagonal factors are not 0
    peaks: FloatArray,  # IN (k8,) log2 of densities at the means, -inf for no state
    z: FloatArray,  # TMP (d, 32)
    density: FloatArray,  # OUT (n, k8) over that of the most likely state
    top: FloatArray,  # OUT (n,) the logarithm of that
) -> None:
    """Write the densities of rows in each state: the steps one after another on rows that stay in L1."""
    n = density.shape[0]
    for begin in range(0, n, TILE):
        end = imin(begin + TILE, n)
        write_joint(x, begin, end, shift, scale, means, factors, band, peaks, z, density)
        take_out(density, begin, end, top)


@dataclass(frozen=True)
class Densities:
    """Normal densities of k states, as the kernel takes them: by row of a factor, and state."""

    shift: FloatArray  # (d,)
    scale: FloatArray  # (d,)
    means: FloatArray  # (d, k8)
    factors: FloatArray  # (d d, k8)
    band: int
    peaks: FloatArray  # (k8,)

    @classmethod
    def of(
        cls,
        shift: FloatArray,
        scale: FloatArray,
        means: FloatArray,
        factors: FloatArray,
        band: int,
        peaks: FloatArray,
    ) -> Densities:
        """Arrange parameters.

        Parameters
        ----------
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
        k, d = means.shape
        k8 = up_to(VECTOR, k)
        wide = np.full(k8, -np.inf)
        wide[:k] = peaks * LOG2_E
        columns = padded(np.moveaxis(factors, 0, -1).reshape(d * d, k) * ROOT_HALF_LOG2_E, k8)
        return cls(constant(shift), constant(scale), padded(means.T, k8), columns, band, constant(wide))

    def at(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the densities (n, k8) of rows (n, d) over the largest, and the logarithms (n,) of that."""
        n, d = x.shape
        density, top = lined(n, len(self.peaks)), np.empty(n)

        def run(_: slice, rows: slice) -> None:
            write_densities(
                constant(x[rows]), self.shift, self.scale, self.means, self.factors, self.band, self.peaks,
                lined(d, 8 * ROWS), density[rows], top[rows],
            )  # fmt: skip

        in_pieces(run, n)
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
        last = imin((b + 1) * BLOCK_ROWS, x.shape[0]) - 1
        for t in range(b * BLOCK_ROWS, last + 1, ROWS):
            rows = (t, imin(t + 1, last), imin(t + 2, last), imin(t + 3, last))  # one that is repeated counts once
            for s in range(0, k8, 8):
                r0 = load(resp, t, s)
                r1 = load(resp, rows[1], s) * splat(1.0 if rows[1] > t else 0.0)
                r2 = load(resp, rows[2], s) * splat(1.0 if rows[2] > rows[1] else 0.0)
                r3 = load(resp, rows[3], s) * splat(1.0 if rows[3] > rows[2] else 0.0)
                store(sums, b, 0, s, load(sums, b, 0, s) + ((r0 + r1) + (r2 + r3)))
                for j in range(d):
                    z0, z1, z2, z3 = enter(x, rows, j, shift, scale, pivot, s, z)
                    p0, p1, p2, p3 = r0 * z0, r1 * z1, r2 * z2, r3 * z3
                    store(sums, b, 1 + j, s, load(sums, b, 1 + j, s) + ((p0 + p1) + (p2 + p3)))
                    for h in range(imax(0, j - band), j + 1):
                        at = 1 + d + j * d + h
                        even = fma(p0, load(z, h, 0), load(sums, b, at, s))
                        odd = p1 * load(z, h, 8)
                        even = fma(p2, load(z, h, 16), even)
                        odd = fma(p3, load(z, h, 24), odd)
                        store(sums, b, at, s, even + odd)


@dataclass(frozen=True)
class Moments:
    """Moments of rows about the pivots of k states; products of columns at most `band` apart."""

    shift: FloatArray  # (d,)
    scale: FloatArray  # (d,)
    pivot: FloatArray  # (d, k8)
    band: int

    @classmethod
    def about(cls, shift: FloatArray, scale: FloatArray, pivot: FloatArray, band: int) -> Moments:
        """Arrange a frame, and pivots (k, d) in it."""
        return cls(constant(shift), constant(scale), padded(pivot.T, up_to(VECTOR, len(pivot))), band)

    def over(self, x: FloatArray, resp: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return s0 (k,), s1 (k, d) and s2 (k, d, d) of rows (n, d), in the frame; of s2, what is in the band."""
        (n, d), k = x.shape, resp.shape[1]
        k8 = self.pivot.shape[1]
        sums = lined(-(-n // BLOCK_ROWS), 1 + d + d * d, k8)
        wide = constant(resp) if k == k8 else padded(resp, k8)

        def run(pieces: slice, rows: slice) -> None:
            add_moments(
                constant(x[rows]), self.shift, self.scale, wide[rows], self.pivot, self.band, lined(d, 8 * ROWS),
                sums[pieces.start * PIECE_BLOCKS : pieces.stop * PIECE_BLOCKS],
            )  # fmt: skip

        in_pieces(run, n)
        total = sums.sum(axis=0)[:, :k].T
        lower = total[:, 1 + d :].reshape(k, d, d)
        whole = np.where(np.tri(d, dtype=np.bool_), lower, np.swapaxes(lower, -1, -2))
        return total[:, 0].copy(), total[:, 1 : 1 + d].copy(), whole
