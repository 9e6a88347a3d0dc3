"""What is told of each row of a tile: its most probable component, its log-density, its responsibilities."""

from __future__ import annotations

from mixtura._types import FloatArray, IntArray
from mixtura.kernels._jit import jit
from mixtura.kernels.panel import flip, load_panel, store_panel
from mixtura.kernels.simd import fma, load, log, select, splat, store, vmax, whole
from mixtura.kernels.tile import LN4, LOWEST, SQUARE, TILE, softmax

NOBODY = -1.0  # the label of a row that has density 0 under every component, or in which there is a NaN


@jit
def write_posterior(
    joint: FloatArray,  # IN log4 pi_k f_k(z): (k, TILE), TMP
    top: FloatArray,  # TMP (TILE,)
    density: FloatArray,  # TMP (TILE,)
    row: int,
    count: int,
    loglik: FloatArray,  # OUT (n,); or (0,) where nobody asks for more than labels
    labels: IntArray,  # OUT (n,)
    resp: FloatArray,  # OUT (n, k); or (0, k) where nobody asks for them
) -> None:
    """Write labels, log-densities and responsibilities of `count` rows, as far as they are wanted."""
    find_labels(joint, top)
    best = labels[row : row + count]  # LLVM vectorizes over slices only, here and below
    for s in range(count):
        best[s] = whole(top[s])
    if loglik.shape[0] == 0:
        return
    softmax(joint, top, density)
    for s in range(0, TILE, 8):
        store(top, s, fma(splat(LN4), load(top, s), log(load(density, s))))
    densities = loglik[row : row + count]
    for s in range(count):
        densities[s] = top[s]
    if resp.shape[0]:
        write_responsibilities(joint, density, resp[row : row + count])


@jit
def find_labels(
    joint: FloatArray,  # IN (k, TILE)
    labels: FloatArray,  # OUT (TILE,)
) -> None:
    """Write the first component of the largest log-density, or `NOBODY`."""
    one, lowest, zero = splat(1.0), splat(LOWEST), splat(0.0)
    for s in range(0, TILE, 8):
        most, label, this, poison = lowest, splat(NOBODY), zero, zero
        for k in range(joint.shape[0]):
            v = load(joint, k, s)
            higher = vmax(v, most)
            label = select(higher - most, this, label)
            most, this, poison = higher, this + one, poison + v  # a NaN stays in a sum
        store(labels, s, vmax(fma(zero, vmax(lowest, poison), label), splat(NOBODY)))  # -inf makes no NaN


@jit
def write_responsibilities(
    joint: FloatArray,  # IN roots of shares (k, TILE), OUT responsibilities
    density: FloatArray,  # IN (TILE,)
    rows: FloatArray,  # OUT (count, k)
) -> None:
    """Write the responsibilities of a tile, in squares of eight rows and components as far as these go."""
    (count, k), one = rows.shape, splat(1.0)
    for s in range(0, TILE, 8):
        share = one / load(density, s)
        for i in range(k):
            root = load(joint, i, s)
            store(joint, i, s, root * root * share)
    whole = k // 8 * 8
    for s in range(0, count // 8 * 8, 8):
        for i in range(0, whole, 8):
            store_panel(SQUARE, rows, s, i, flip(load_panel(SQUARE, joint, i, s)))
    for s in range(count):
        for i in range(whole if s < count // 8 * 8 else 0, k):
            rows[s, i] = joint[i, s]
