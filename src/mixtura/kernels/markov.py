"""Forward and backward over sequences of a hidden Markov chain, scaled at each step, and the most probable path.

Vectors run over states. Of a sequence nothing is kept but two numbers a step and state. Transitions are summed as they
are found. Chains of few states are in `markov_narrow`. Formulas H2 to H6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.arena import lined
from mixtura.kernels._jit import entry_jit, inline_jit, jit
from mixtura.kernels.markov_narrow import NarrowChain
from mixtura.kernels.segments import Bounds
from mixtura.kernels.simd import fma, hsum, load, splat, store
from mixtura.kernels.tile import VECTOR, clear, constant, padded, up_to

TOO_SMALL = 1e-200  # a step of less probability has lost digits, or soon will: such a sequence wants logarithms
FOLD = 1e-100  # a product of probabilities is taken the logarithm of before it is less than this times `TOO_SMALL`


@inline_jit
def spread(
    rows: FloatArray,  # IN (n, k8)
    t: int,
    matrix: FloatArray,  # IN (k8, k8)
    k: int,
    s: int,
) -> FloatArray:
    """Return eight entries, from the s-th on, of row t times the matrix, in two sums that do not wait."""
    even, odd = splat(0.0), splat(0.0)
    for i in range(0, k - 1, 2):
        even = fma(splat(rows[t, i]), load(matrix, i, s), even)
        odd = fma(splat(rows[t, i + 1]), load(matrix, i + 1, s), odd)
    if k % 2:
        even = fma(splat(rows[t, k - 1]), load(matrix, k - 1, s), even)
    return even + odd


@jit
def forward(
    emission: FloatArray,  # IN (n, k8)
    begin: int,
    end: int,
    k: int,
    start: FloatArray,  # IN (k8,)
    transmat: FloatArray,  # IN (k8, k8)
    resp: FloatArray,  # OUT (n, k8) probabilities of the states given the rows so far
) -> float:
    """Return the log-likelihood of a sequence; NaN where its numbers become too small (formula H2)."""
    k8 = start.shape[0]
    loglik, product = 0.0, 1.0
    for t in range(begin, end):
        total = splat(0.0)
        for s in range(0, k8, 8):
            reached = load(start, s) if t == begin else spread(resp, t - 1, transmat, k, s)
            joint = reached * load(emission, t, s)
            store(resp, t, s, joint)
            total = total + joint
        share = hsum(total)
        if not share > TOO_SMALL:
            return math.nan
        inverse = splat(1.0 / share)
        for s in range(0, k8, 8):
            store(resp, t, s, load(resp, t, s) * inverse)
        if product < FOLD:
            loglik += math.log(product)
            product = 1.0
        product *= share
    return loglik + math.log(product)


@jit
def backward(
    emission: FloatArray,  # IN (n, k8)
    begin: int,
    end: int,
    weight: float,
    k: int,
    transposed: FloatArray,  # IN (k8, k8)
    resp: FloatArray,  # IN as `forward` left it, OUT (n, k8) weighted probabilities given all rows
    work: FloatArray,  # TMP (2, k8): what is behind, and its product with the emission
    pairs: FloatArray,  # IN OUT (k8, k8) sums of transitions, still without the factor a_ij
) -> None:
    """Turn forward probabilities into those given all rows, and add up transitions (formulas H3, H4).

    Each step is normalized by what the pairs of states sum to, so errors do not grow with the length.
    """
    k8 = work.shape[1]
    w = splat(weight)
    for s in range(0, k8, 8):
        store(work, 0, s, splat(1.0))
    for t in range(end - 1, begin, -1):
        for s in range(0, k8, 8):
            later = load(work, 0, s)
            store(resp, t, s, load(resp, t, s) * later * w)
            store(work, 1, s, load(emission, t, s) * later)
        total = splat(0.0)
        for s in range(0, k8, 8):
            earlier = spread(work, 1, transposed, k, s)
            store(work, 0, s, earlier)
            total = fma(load(resp, t - 1, s), earlier, total)
        share = 1.0 / hsum(total)
        inverse, counted = splat(share), splat(weight * share)
        for s in range(0, k8, 8):
            store(work, 0, s, load(work, 0, s) * inverse)
            column = load(work, 1, s) * counted
            for i in range(k):
                store(pairs, i, s, fma(splat(resp[t - 1, i]), column, load(pairs, i, s)))
    for s in range(0, k8, 8):
        store(resp, begin, s, load(resp, begin, s) * load(work, 0, s) * w)


@entry_jit
def smooth_wide(
    emission: FloatArray,  # IN (n, k8)
    starts: IntArray,  # IN (m + 1,) first rows of the sequences, and the end
    weight: FloatArray,  # IN (m,)
    k: int,
    start: FloatArray,  # IN (k8,)
    transmat: FloatArray,  # IN (k8, k8)
    transposed: FloatArray,  # IN (k8, k8)
    work: FloatArray,  # TMP (2, k8)
    resp: FloatArray,  # OUT (n, k8)
    loglik: FloatArray,  # OUT (m,): NaN for a sequence that wants logarithms; it is in none of the sums
    pairs: FloatArray,  # OUT (k8, k8) sums of transitions, still without the factor a_ij
) -> None:
    """Write log-likelihoods, weighted probabilities of the states of each row, and sums of transitions."""
    clear(pairs)
    for m in range(loglik.shape[0]):
        begin, end = starts[m], starts[m + 1]
        loglik[m] = forward(emission, begin, end, k, start, transmat, resp)
        if not math.isnan(loglik[m]):
            backward(emission, begin, end, weight[m], k, transposed, resp, work, pairs)


@dataclass(frozen=True)
class WideChain:
    """A chain of any number of states, as the kernels take it."""

    transmat: FloatArray  # (k, k)
    start: FloatArray  # (k8,)
    ahead: FloatArray  # (k8, k8)
    back: FloatArray  # (k8, k8)

    @classmethod
    def of(cls, startprob: FloatArray, transmat: FloatArray) -> WideChain:
        """Arrange the probabilities of the first state (k,) and of the next one (k, k)."""
        k8 = up_to(VECTOR, len(startprob))
        return cls(transmat, padded(startprob, k8), padded(transmat, k8, k8), padded(transmat.T, k8, k8))

    def smooth(
        self, emission: FloatArray, top: FloatArray, bounds: Bounds, weight: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return what `prepare` promises."""
        k, k8 = len(self.transmat), len(self.start)
        loglik, pairs, resp = np.empty(len(weight)), lined(k8, k8), lined(*emission.shape)
        smooth_wide(
            constant(emission), bounds.starts, constant(weight), k, self.start, self.ahead, self.back, lined(2, k8),
            resp, loglik, pairs,
        )  # fmt: skip
        loglik += np.add.reduceat(top, bounds.starts[:-1])
        return loglik, resp[:, :k], pairs[:k, :k] * self.transmat


def prepare(startprob: FloatArray, transmat: FloatArray) -> NarrowChain | WideChain:
    """Return a chain (k,), (k, k) as kernels take it.

    Its ``smooth(emission, top, bounds, weight)`` returns log-likelihoods (m,), weighted probabilities of states (n, k),
    and transitions (k, k) of sequences. One that wants logarithms has the log-likelihood NaN and is in none of the
    sums. It takes:

    emission : (n, k8) array
        Densities of the rows in each state over ``exp(top)``, none above 1 and the largest of a row near it; after k
        come zeros up to a multiple of eight. What becomes of them is not said.
    top : (n,) array
        The logarithms that were taken out.
    bounds : Bounds
        Where the sequences begin.
    weight : (m,) array
        Weights of the sequences.
    """
    return (NarrowChain if len(startprob) <= VECTOR else WideChain).of(startprob, transmat)


@jit
def best_step(
    before: FloatArray,  # IN (k,) log-probabilities of the best paths to each state
    log_transmat: FloatArray,  # IN (k, k), from the second state to the first
    log_density: FloatArray,  # IN (k,)
    now: FloatArray,  # OUT (k,)
    origin: IntArray,  # OUT (k,) the state before, on each of these paths
) -> None:
    """Prolong the best paths by one row."""
    k = now.shape[0]
    for j in range(k):
        largest, which = -math.inf, 0
        for i in range(k):
            reached = before[i] + log_transmat[j, i]
            if reached > largest:
                largest, which = reached, i
        now[j] = largest + log_density[j]
        origin[j] = which


@entry_jit
def best_paths(
    log_density: FloatArray,  # IN (n, k)
    starts: IntArray,  # IN (m + 1,)
    log_start: FloatArray,  # IN (k,)
    log_transmat: FloatArray,  # IN (k, k), from the second state to the first
    best: FloatArray,  # TMP (2, k)
    origin: IntArray,  # TMP (n, k)
    path: IntArray,  # OUT (n,)
    score: FloatArray,  # OUT (m,)
) -> None:
    """Write the most probable path of each sequence, and the log-probability of it and the rows (formula H6)."""
    k = log_start.shape[0]
    for m in range(score.shape[0]):
        begin, end = starts[m], starts[m + 1]
        for j in range(k):
            best[begin % 2, j] = log_start[j] + log_density[begin, j]
        for t in range(begin + 1, end):
            best_step(best[(t - 1) % 2], log_transmat, log_density[t], best[t % 2], origin[t])
        last, which = best[(end - 1) % 2], 0
        for j in range(k):
            if last[j] > last[which]:
                which = j
        score[m] = last[which]
        for t in range(end - 1, begin, -1):
            path[t] = which
            which = origin[t, which]
        path[begin] = which


def decode(
    log_density: FloatArray, starts: IntArray, log_start: FloatArray, log_transmat: FloatArray
) -> tuple[FloatArray, IntArray]:
    """Return the log-probability (m,) of the most probable path of each sequence, and the paths (n,)."""
    n, k = log_density.shape
    path, score = np.empty(n, dtype=np.int64), np.empty(len(starts) - 1)
    best_paths(
        constant(log_density), starts, constant(log_start), constant(log_transmat.T),
        np.empty((2, k)), np.empty((n, k), dtype=np.int64), path, score,
    )  # fmt: skip
    return score, path
