"""Forward and backward over a hidden Markov chain of at most eight states: what moves is one vector in a register.

The passes start at both ends and run in one loop, so neither waits for its own last step. Where they have met, each
goes on over what the other has left behind, and there finds the states of the rows and the transitions. Nothing is
divided on the way: a vector that becomes small is multiplied by a power of two, which rounds nothing. Formula H9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.arena import fresh, lined
from mixtura.kernels._jit import entry_jit, inline_jit, jit
from mixtura.kernels.panel import ACCUMULATORS, Shape, load_panel, load_strip, outer, store_panel
from mixtura.kernels.segments import Bounds, Segments
from mixtura.kernels.simd import bits_above, hsum, imin, load, splat, store
from mixtura.kernels.threads import share_out
from mixtura.kernels.tile import SQUARE, VECTOR, clear, constant, padded
from mixtura.kernels.turning import diagonals, turned

SMALL = 2.0**-256  # a vector none of which is above it is lifted, by 1 / SMALL: its least parts keep their digits
LN_SMALL = math.log(SMALL)
# The probability of a sequence, up to lifts. No entry above 2**-1022 has lost a digit, and no other number that it
# meets is above 1: the lost are less than 2**-62 of this.
LOST = 2.0**-960
MARGIN: Any = np.int64(256)  # rows on either side of a cut that have to tell where the chain is, without the others
ALIKE = 2.0**-43  # relative difference of what is the same but for some roundings; a chain forgets the older ones
CHECKED = 16  # rows between looks at whether it has
STEPS: Any = np.int64(32)  # after which transitions are added up: in registers, and from L1
PRODUCTS = Shape(ACCUMULATORS, 1)


@inline_jit
def lift(v: Any) -> Any:
    """Return a vector, multiplied if it was small, and how often it was."""
    if not bits_above(v, splat(SMALL)):
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
    final: FloatArray,  # IN (8,) w after the last row
    behind: FloatArray,  # OUT (n, 8) alpha in the first half of the rows, w in the others
) -> int:
    """Run both passes until they meet; return how often alpha was lifted."""
    onward, back = load_panel(SQUARE, transmat, 0, 0), load_panel(SQUARE, transposed, 0, 0)
    alpha, w = load(start, 0) * load(emission, begin, 0), load(final, 0)
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
    final: FloatArray,  # IN (8,)
    behind: FloatArray,  # IN (n, 8)
    resp: FloatArray,  # IN emissions (n, 8), OUT weighted probabilities given all rows
    work: FloatArray,  # TMP (2 STEPS, 8): what either pass comes with to each row, times v / g of the row
    sums: FloatArray,  # OUT (8, 8) sums of transitions, still without the factor a_ij
) -> float:
    """Run both passes from where they met to the ends; return the log of what alpha ends with.

    NaN where numbers became too small.
    """
    onward, back = load_panel(SQUARE, transmat, 0, 0), load_panel(SQUARE, transposed, 0, 0)
    clear(sums)
    u = begin + (end - begin + 1) // 2
    t, lifts, once = u - 1, 0, 0.0  # of the pair in the middle, the forward pass tells
    alpha, w = load(behind, t, 0), load(final, 0)
    if u < end:
        w = load(behind, u, 0)
    while t >= begin:
        steps = imin(STEPS, t - begin + 1)
        onwards = imin(steps, end - u)
        for s in range(steps):
            reached, other, emission = turned(w, back), load(behind, t - s, 0), load(resp, t - s, 0)
            before, factor = settle(resp, t - s, reached, other, weight)
            store(work, s, 0, w * splat(factor * once))
            w, _ = lift(reached * emission)
            after = before
            if s < onwards:
                reached, other, emission = turned(alpha, onward), load(behind, u + s, 0), load(resp, u + s, 0)
                after, factor = settle(resp, u + s, reached, other, weight)
                store(work, STEPS + s, 0, alpha * splat(factor))
                alpha, lifted = lift(reached * emission)
                lifts += lifted
            if not (before > LOST and after > LOST):
                return math.nan
            once = 1.0
        add_products(behind, t, -1, work, 0, steps, sums)
        add_products(work, STEPS, 1, behind, u, onwards, sums)
        t, u = t - steps, u + steps
    return math.log(hsum(alpha)) + lifts * LN_SMALL


@jit
def add_products(
    left: FloatArray,  # IN (n, 8)
    i: int,
    step: int,
    right: FloatArray,  # IN (m, 8)
    j: int,
    count: int,
    sums: FloatArray,  # IN OUT (8, 8)
) -> None:
    """Add the outer products of rows i, i + step, ... and rows j, j + 1, ...: some sums at a time, in registers."""
    for a in range(0, 8, PRODUCTS.rows):
        panel = load_panel(PRODUCTS, sums, a, 0)
        for s in range(count):
            panel = outer(left, i + s * step, a, load_strip(PRODUCTS, right, j + s, 0), panel)
        store_panel(PRODUCTS, sums, a, 0, panel)


@entry_jit
def smooth_narrow(
    bounds: IntArray,  # IN (m + 1,) first rows of the segments, and the end
    weight: FloatArray,  # IN (m,)
    initial: FloatArray,  # IN (m, 8) probabilities of the states of their first rows, given what is before
    final: FloatArray,  # IN (m, 8) w after the last rows: ones, but where a sequence goes on
    transmat: FloatArray,  # IN (8, 8) diagonals, as of its transpose
    transposed: FloatArray,  # IN (8, 8)
    behind: FloatArray,  # TMP (n, 8)
    work: FloatArray,  # TMP (2 STEPS, 8)
    sums: FloatArray,  # TMP (8, 8)
    top: FloatArray,  # IN (n,) logarithms to be added
    resp: FloatArray,  # IN emissions (n, 8), OUT weighted probabilities of the states
    loglik: FloatArray,  # OUT (m,): NaN for a segment that wants logarithms; it is in none of the sums
    pairs: FloatArray,  # OUT (8, 8) sums of transitions, still without the factor a_ij
) -> None:
    """Write log-likelihoods, weighted probabilities of the states of each row, and sums of transitions."""
    clear(pairs)
    for m in range(loglik.shape[0]):
        begin, end = bounds[m], bounds[m + 1]
        lifts = approach(resp, begin, end, initial[m], transmat, transposed, final[m], behind)
        total = depart(begin, end, weight[m], transmat, transposed, final[m], behind, resp, work, sums)
        if not math.isnan(total):
            for i in range(8):
                store(pairs, i, 0, load(pairs, i, 0) + load(sums, i, 0))
        loglik[m] = total + lifts * LN_SMALL + sum_of(top, begin, end)


@jit
def sum_of(values: FloatArray, begin: int, end: int) -> float:
    """Return the sum of some numbers, in eight sums that do not wait and lose fewer digits."""
    sums, t = splat(0.0), begin
    while t + VECTOR <= end:
        sums = sums + load(values, t)
        t += VECTOR
    total = hsum(sums)
    while t < end:
        total += values[t]
        t += 1
    return total


@jit
def forget(
    emission: FloatArray,  # IN (n, 8)
    row: int,
    step: int,
    count: int,
    matrix: FloatArray,  # IN (8, 8) diagonals
    k: int,
    ends: FloatArray,  # OUT (8, 8) what the pass comes to, from each state, over its sum
) -> bool:
    """Run one pass over `count` rows from each state alone; tell whether it comes to the same (formula H10).

    It is normalized at each step, so what is lost below 2**-1022 is as little as in the pass that has these rows.
    """
    panel = load_panel(SQUARE, matrix, 0, 0)
    for i in range(k):
        for j in range(8):
            ends[i, j] = 1.0 if i == j else 0.0
    paths = k
    for s in range(count):
        emitted = load(emission, row + s * step, 0)
        for i in range(paths):
            v = turned(load(ends, i, 0), panel) * emitted
            store(ends, i, 0, v * splat(1.0 / hsum(v)))
        if s % CHECKED == CHECKED - 1 and paths > 1 and are_alike(ends, k):
            paths = 1
    return paths == 1


@jit
def are_alike(ends: FloatArray, k: int) -> bool:
    """Tell whether rows are the same but for rounding; one with NaN, of a state that cannot be there, is not."""
    low, high = load(ends, 0, 0) * splat(1.0 - ALIKE), load(ends, 0, 0) * splat(1.0 + ALIKE)
    apart = 0
    for i in range(k):
        apart |= bits_above(load(ends, i, 0), high) | bits_above(low, load(ends, i, 0))
    return apart == 0


@entry_jit
def find_cuts(
    emission: FloatArray,  # IN (n, 8)
    cuts: IntArray,  # IN (c,) rows, far from where their sequences begin and end
    k: int,
    transmat: FloatArray,  # IN (8, 8) diagonals, as of its transpose
    transposed: FloatArray,  # IN (8, 8)
    ends: FloatArray,  # TMP (8, 8)
    alpha: FloatArray,  # OUT (c, 8) of the row before, over its sum
    initial: FloatArray,  # OUT (c, 8) what it makes of the state in the row
    final: FloatArray,  # OUT (c, 8) w of the row, over its sum
    known: IntArray,  # OUT (c,) whether these are known without the rows that are further than `MARGIN` away
) -> None:
    """Find where sequences can be cut: what one side has to know of the other is known."""
    panel = load_panel(SQUARE, transmat, 0, 0)
    for c in range(cuts.shape[0]):
        known[c] = forget(emission, cuts[c] - MARGIN, 1, MARGIN, transmat, k, ends)
        store(alpha, c, 0, load(ends, 0, 0))
        store(initial, c, 0, turned(load(ends, 0, 0), panel))
        known[c] &= forget(emission, cuts[c] + MARGIN - 1, -1, MARGIN, transposed, k, ends)
        store(final, c, 0, load(ends, 0, 0))


@dataclass(frozen=True)
class NarrowChain:
    """A chain of at most eight states, as the kernels take it."""

    transmat: FloatArray  # (k, k)
    start: FloatArray  # (8,)
    ahead: FloatArray  # (8, 8) diagonals
    back: FloatArray  # (8, 8)

    @classmethod
    def of(cls, startprob: FloatArray, transmat: FloatArray) -> NarrowChain:
        """Arrange the probabilities of the first state (k,) and of the next one (k, k)."""
        wide = padded(transmat, VECTOR, VECTOR)
        return cls(transmat, padded(startprob, VECTOR), constant(diagonals(wide)), constant(diagonals(wide.T)))

    def smooth(
        self, emission: FloatArray, top: FloatArray, bounds: Bounds, weight: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return what `markov.prepare` promises; long sequences are cut, and segments shared out to threads."""
        k, resp = len(self.transmat), emission
        cuts, known = self._find_cuts(emission, bounds.tried)
        segments = bounds.segments(known)
        m, cuts = len(segments.of), cuts.where(known)
        initial, final = np.empty((m, VECTOR)), np.ones((m, VECTOR))
        initial[:] = self.start
        initial[segments.begun], final[segments.begun - 1] = cuts.initial, cuts.final
        found, pairs = self._run(resp, constant(top), segments, weight[segments.of], initial, final)
        loglik = np.add.reduceat(found, segments.first)
        lost = np.isnan(loglik)[segments.of] & segments.cut  # of a sequence that is cut and wants logarithms
        total = pairs[~lost[segments.groups[:-1]]].sum(axis=0) + cuts.where(~lost[segments.begun]).pairs(resp)
        return loglik, resp[:, :k], total[:k, :k] * self.transmat

    def _run(
        self, resp: FloatArray, top: FloatArray, segments: Segments, *by_segment: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Run the passes over groups of segments; return log-likelihoods (m,) of segments and pairs (g, 8, 8)."""
        bounds, groups = segments.bounds, segments.groups
        loglik, pairs = np.empty(len(segments.of)), lined(len(groups) - 1, VECTOR, VECTOR)
        behind = lined(*resp.shape)

        def run(begin: int, end: int) -> None:
            work, sums = fresh(2 * STEPS * VECTOR).reshape(-1, VECTOR), fresh(VECTOR * VECTOR).reshape(-1, VECTOR)
            for g in range(begin, end):
                a, b = groups[g], groups[g + 1]
                weight, initial, final = (constant(values[a:b]) for values in by_segment)
                smooth_narrow(
                    bounds[a : b + 1], weight, initial, final, self.ahead, self.back,
                    behind, work, sums, top, resp, loglik[a:b], pairs[g],
                )  # fmt: skip

        share_out(run, len(pairs), 1)
        return loglik, pairs

    def _find_cuts(self, emission: FloatArray, rows: IntArray) -> tuple[Cuts, BoolArray]:
        """Return the cuts before these rows, and whether they can be made."""
        found, known = lined(3, len(rows), VECTOR), np.empty(len(rows), dtype=np.int64)
        k = len(self.transmat)
        alpha, initial, final = found
        find_cuts(
            constant(emission), rows, k, self.ahead, self.back, lined(VECTOR, VECTOR), alpha, initial, final, known
        )
        return Cuts(rows, alpha, initial, final), known > 0


class Cuts(NamedTuple):
    """Where sequences are cut, (c,), and as `find_cuts` writes it, (c, 8), what both sides have to know."""

    rows: IntArray
    alpha: FloatArray
    initial: FloatArray
    final: FloatArray

    def where(self, chosen: BoolArray) -> Cuts:
        """Return some of the cuts."""
        return Cuts(self.rows[chosen], self.alpha[chosen], self.initial[chosen], self.final[chosen])

    def pairs(self, resp: FloatArray) -> FloatArray:
        """Return the sums (8, 8) of transitions across the cuts, without the factor a_ij."""
        share = np.divide(resp[self.rows], self.initial, out=np.zeros_like(self.initial), where=self.initial > 0)
        pairs: FloatArray = (self.alpha[:, :, None] * share[:, None, :]).sum(axis=0)
        return pairs
