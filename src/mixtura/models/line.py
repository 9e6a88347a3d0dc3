"""A mixture of one column of any family: its distribution function, and the inverse of that (formulas U5, U8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.capabilities import Cumulative
from mixtura.grid import BLOCK_ROWS
from mixtura.models.mixture import MixtureParams
from mixtura.models.univariate import join_tails

ALL_BUT_THE_SIGN = np.int64(2**63 - 1)
HALVINGS = 64  # of all numbers that there are


@dataclass(frozen=True, eq=False)
class Line:
    """A mixture of one column whose family has the gift `Cumulative`."""

    family: Cumulative
    params: MixtureParams[Any]

    def cdf(self, x: FloatArray) -> FloatArray:
        """Return the probability of at most `x`, of any shape."""
        return join_tails(*self._tails(x))

    def sf(self, x: FloatArray) -> FloatArray:
        """Return the probability of more than `x`, of any shape."""
        lower, upper = self._tails(x)
        return join_tails(upper, lower)

    def quantile(self, q: FloatArray) -> FloatArray:
        """Return the least numbers up to which there is probability `q`, of any shape, from 0 to 1 (formula U8)."""
        shape, q = q.shape, q.ravel()
        low, high = (np.full(len(q), rank_of(np.array(end))) for end in (-np.inf, np.inf))
        for _ in range(HALVINGS):
            middle = (low >> 1) + (high >> 1) + (low & high & 1)  # the sum might overflow
            lower, upper = self._tails(number_of(middle))
            enough = np.where(q <= 0.5, lower >= q, upper <= 1 - q)
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        found = np.where(q == 0, -np.inf, np.where(q == 1, np.inf, number_of(high) + 0.0))  # -0.0 comes before 0.0
        order = np.argsort(q, kind="stable")
        found[order] = np.maximum.accumulate(found[order])  # roundings must not let a higher probability come first
        return found.reshape(shape)

    def _tails(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities of at most `x` and of more, piece by piece: no array is of n by k."""
        weights = self.params.weights / self.params.weights.sum()
        tails = np.empty((2, x.size))
        for start in range(0, x.size, BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            tails[:, rows] = [
                part @ weights for part in self.family.tails(self.params.components, x.ravel()[rows, None])
            ]
        lower, upper = tails.reshape(2, *x.shape)
        return lower, upper


def rank_of(x: FloatArray) -> IntArray:
    """Return whole numbers that are in the order of the numbers `x`, one apart where these are neighbours."""
    return _turn(x.view(np.int64))


def number_of(rank: IntArray) -> FloatArray:
    """Return the numbers that have these ranks."""
    numbers: FloatArray = _turn(rank).view(np.float64)
    return numbers


def _turn(bits: IntArray) -> IntArray:
    """Turn the order of those below 0, whose bits count away from 0, round; twice is not at all."""
    turned: IntArray = bits ^ ((bits >> 63) & ALL_BUT_THE_SIGN)
    return turned
