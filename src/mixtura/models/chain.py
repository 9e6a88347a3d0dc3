"""The hidden Markov chain by composed NumPy, in logarithms: forward, backward and the most probable path.

Every step is normalized, so a sequence of any length neither underflows nor loses digits, whatever the densities are.
Formulas H2 to H6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mixtura._types import FloatArray, IntArray


class Smoothed(NamedTuple):
    """What a sequence of n rows tells: its log-likelihood, the states of its rows (n, k), the transitions (k, k)."""

    loglik: float
    resp: FloatArray
    transitions: FloatArray


def smooth(log_start: FloatArray, log_transmat: FloatArray, log_density: FloatArray) -> Smoothed:
    """Return what a sequence with these log-densities (n, k) in each state tells (formulas H2 to H4)."""
    n, k = log_density.shape
    ahead, loglik = np.empty((n, k)), 0.0
    reached = log_start
    for t in range(n):
        joint = reached + log_density[t]
        total = _log_sum(joint, axis=0)
        if total == -np.inf:  # no path has any density
            return Smoothed(-np.inf, np.full((n, k), 1 / k), np.zeros((k, k)))
        ahead[t] = joint - total
        loglik += float(total)
        reached = _log_sum(ahead[t][:, None] + log_transmat, axis=0)
    resp, transitions = np.empty((n, k)), np.zeros((k, k))
    resp[-1] = np.exp(ahead[-1])
    behind = np.zeros(k)
    for t in range(n - 1, 0, -1):
        pair = ahead[t - 1][:, None] + log_transmat + (log_density[t] + behind)
        total = _log_sum(pair.ravel(), axis=0)
        share = np.exp(pair - total)
        transitions += share
        resp[t - 1] = share.sum(axis=1)
        behind = _log_sum(log_transmat + (log_density[t] + behind - total), axis=1)
    return Smoothed(loglik, resp, transitions)


def best_path(log_start: FloatArray, log_transmat: FloatArray, log_density: FloatArray) -> tuple[float, IntArray]:
    """Return the most probable path (n,) and the log-probability of it and the rows (formula H6)."""
    n, k = log_density.shape
    origin = np.empty((n, k), dtype=np.int64)
    best = log_start + log_density[0]
    for t in range(1, n):
        reached = best[:, None] + log_transmat
        origin[t] = reached.argmax(axis=0)
        best = reached.max(axis=0) + log_density[t]
    path = np.empty(n, dtype=np.int64)
    path[-1] = best.argmax()
    for t in range(n - 1, 0, -1):
        path[t - 1] = origin[t, path[t]]
    return float(best.max()), path


def _log_sum(values: FloatArray, axis: int) -> FloatArray:
    """Return the logarithm of the sum of exponentials along an axis; -inf where all are."""
    top = values.max(axis=axis, keepdims=True)
    top = np.where(np.isneginf(top), 0.0, top)
    with np.errstate(divide="ignore"):
        total: FloatArray = np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis=axis)
    return total
