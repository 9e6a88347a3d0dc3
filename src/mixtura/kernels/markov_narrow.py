"""Forward and backward over a hidden Markov chain of at most eight states: what moves is one vector in a register.

The passes start at both ends and run in one loop, so neither waits for its own last step. Where they have met, each
goes on over what the other has left behind, and there finds the states of the rows and the transitions. Nothing is
divided on the way: a vector that becomes small is multiplied by a power of two, which rounds nothing. Formula H9.
"""

from __future__ import annotations

import math
from typing import Any

from mixtura._types import FloatArray, IntArray
from mixtura.kernels._jit import entry_jit, inline_jit, jit
from mixtura.kernels.panel import load_panel, outer, store_panel
from mixtura.kernels.simd import hsum, load, splat, store
from mixtura.kernels.tile import SQUARE, clear
from mixtura.kernels.turning import turned

SMALL = 2.0**-256  # the sum of a vector below which it is lifted, by 1 / SMALL: its least parts keep their digits
LN_SMALL = math.log(SMALL)
# The probability of a sequence, up to lifts. No entry above 2**-1022 has lost a digit, and no other number that it
# meets is above 1: the lost are less than 2**-62 of this.
LOST = 2.0**-960


@inline_jit
def lift(v: Any) -> Any:
    """Return a vector, multiplied if it was small, and how often it was."""
    if hsum(v) < SMALL:
        return v * splat(1.0 / SMALL), 1
    return v, 0


@jit
def approach(
    emission: FloatArray,  # IN (n, 8)
    begin: int,
    end: int,
    start: FloatArray,  # IN (8,)
    transmat: FloatArray,  # IN (8, 8) diagonals, as of its transpose
    transposed: FloatArray,  # IN (8, 8)
    behind: FloatArray,  # OUT (n, 8) alpha in the first half of the rows, w in the others
) -> int:
    """Run both passes until they meet; return how often alpha was lifted."""
    onward, back = load_panel(SQUARE, transmat, 0, 0), load_panel(SQUARE, transposed, 0, 0)
    alpha, w = load(start, 0) * load(emission, begin, 0), splat(1.0)
    store(behind, begin, 0, alpha)
    t, u, lifts = begin, end, 0
    if (end - begin) % 2 == 0:
        u -= 1
        w = turned(w, back) * load(emission, u, 0)
        store(behind, u, 0, w)
    while u - t > 1:
        t, u = t + 1, u - 1
        alpha, lifted = lift(turned(alpha, onward) * load(emission, t, 0))
        w, _ = lift(turned(w, back) * load(emission, u, 0))
        store(behind, t, 0, alpha)
        store(behind, u, 0, w)
        lifts += lifted
    return lifts


@inline_jit
def settle(
    resp: FloatArray,  # IN OUT (n, 8)
    t: int,
    reached: Any,
    other: Any,
    weight: float,
) -> Any:
    """Write the probabilities of the states of a row, from what both passes say; return what they sum to, and v / g."""
    joint = reached * other
    share = hsum(joint)
    factor = weight / share
    store(resp, t, 0, joint * splat(factor))
    return share, factor


@jit
def depart(
    begin: int,
    end: int,
    weight: float,
    transmat: FloatArray,  # IN (8, 8) diagonals, as of its transpose
    transposed: FloatArray,  # IN (8, 8)
    behind: FloatArray,  # IN (n, 8)
    resp: FloatArray,  # IN emissions (n, 8), OUT weighted probabilities given all rows
    last: FloatArray,  # TMP (1, 8)
    pairs: FloatArray,  # IN OUT (8, 8) sums of transitions, still without the factor a_ij
) -> float:
    """Run both passes from where they met to the ends; return the log of what alpha ends with.

    NaN, and nothing added, where numbers became too small.
    """
    onward, back = load_panel(SQUARE, transmat, 0, 0), load_panel(SQUARE, transposed, 0, 0)
    sums = load_panel(SQUARE, pairs, 0, 0)
    u = begin + (end - begin + 1) // 2
    t, lifts, once = u - 1, 0, 0.0  # of the pair in the middle, the forward pass tells
    alpha, w = load(behind, t, 0), splat(1.0)
    if u < end:
        w = load(behind, u, 0)
    store(last, 0, 0, alpha)
    while t >= begin:
        reached, other, emission = turned(w, back), load(behind, t, 0), load(resp, t, 0)
        before, factor = settle(resp, t, reached, other, weight)
        sums = outer(behind, t, 0, (w * splat(factor * once),), sums)
        w, _ = lift(reached * emission)
        after = before
        if u < end:
            reached, other, emission = turned(alpha, onward), load(behind, u, 0), load(resp, u, 0)
            after, factor = settle(resp, u, reached, other, weight)
            sums = outer(last, 0, 0, (other * splat(factor),), sums)
            alpha, lifted = lift(reached * emission)
            store(last, 0, 0, alpha)
            lifts += lifted
        if not (before > LOST and after > LOST):
            return math.nan
        t, u, once = t - 1, u + 1, 1.0
    store_panel(SQUARE, pairs, 0, 0, sums)
    return math.log(hsum(alpha)) + lifts * LN_SMALL


@entry_jit
def smooth_narrow(
    starts: IntArray,  # IN (m + 1,) first rows of the sequences, and the end
    weight: FloatArray,  # IN (m,)
    start: FloatArray,  # IN (8,)
    transmat: FloatArray,  # IN (8, 8) diagonals, as of its transpose
    transposed: FloatArray,  # IN (8, 8)
    behind: FloatArray,  # TMP (n, 8)
    last: FloatArray,  # TMP (1, 8)
    resp: FloatArray,  # IN emissions (n, 8), OUT weighted probabilities of the states
    loglik: FloatArray,  # OUT (m,): NaN for a sequence that wants logarithms; it is in none of the sums
    pairs: FloatArray,  # OUT (8, 8) sums of transitions, still without the factor a_ij
) -> None:
    """Write log-likelihoods, weighted probabilities of the states of each row, and sums of transitions."""
    clear(pairs)
    for m in range(loglik.shape[0]):
        begin, end = starts[m], starts[m + 1]
        lifts = approach(resp, begin, end, start, transmat, transposed, behind)
        total = depart(begin, end, weight[m], transmat, transposed, behind, resp, last, pairs)
        loglik[m] = total + lifts * LN_SMALL
