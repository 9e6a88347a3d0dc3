"""The standard normal distribution on intervals: probability, mean and second moment (formulas I2, I3)."""

from __future__ import annotations

from math import log, pi, sqrt

import numpy as np

from mixtura._types import FloatArray

LOG_ROOT_2PI = log(2 * pi) / 2
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)  # exact to rounding as far as the next two lines allow
WIDEST = 1.0  # half the width of what is integrated by nodes
STEEPEST = 4.0  # the log-density's change over that half
FURTHEST = 9.0  # the probability beyond this is less than a rounding of 1


def interval_moments(low: FloatArray, high: FloatArray, width: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what a standard normal variable is in intervals, to a relative error of some roundings, in any tail.

    Parameters
    ----------
    low, high : array
        Where the intervals begin and end, of one shape; very large numbers stand for infinity.
    width : array
        How wide they are: far from 0, the difference of `high` and `low` may have no digit left.

    Returns
    -------
    log_probability : array
        Of falling into each.
    first, second : array
        Mean and mean square, of those that do.
    """
    with np.errstate(over="ignore"):  # a square of infinity is a density of 0
        middle, half = (low + high) / 2, width / 2
        near = np.abs(middle)  # each interval, or its mirror image, as one to the right
        narrow = (half <= WIDEST) & (near * half <= STEEPEST)
        log_probability, first, second = (np.empty_like(middle) for _ in range(3))
        log_probability[narrow], first[narrow], second[narrow] = _by_nodes(near[narrow], half[narrow])
        wide = ~narrow
        begin = np.where(middle < 0, -high, low)[wide]
        end = np.where(middle < 0, -low, high)[wide]
        log_probability[wide], first[wide], second[wide] = _by_tails(begin, end)
    return log_probability, np.copysign(first, middle), second


def _by_nodes(middle: FloatArray, half: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Integrate by Gauss and Legendre about the middle: all terms are positive, so nothing cancels."""
    offset = half[:, None] * NODES
    density = NODE_WEIGHTS * np.exp(-offset * (middle[:, None] + offset / 2))
    total = density.sum(axis=1)
    first = (density * offset).sum(axis=1) / total
    second = (density * offset**2).sum(axis=1) / total
    log_probability = np.log(half * total) - middle**2 / 2 - LOG_ROOT_2PI
    return log_probability, middle + first, middle**2 + 2 * middle * first + second


def _by_tails(begin: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Subtract tails, in units of the density at `begin`; of `end` and `-begin`, the end is the further one."""
    begin = np.maximum(begin, -FURTHEST)
    fall = np.exp(-(end - begin) * (end + begin) / 2)
    share = _mills(begin) - _mills(end) * fall
    first = (1 - fall) / share
    second = 1 + (begin - end * fall) / share
    return np.log(share) - begin**2 / 2 - LOG_ROOT_2PI, first, second


def _mills(x: FloatArray) -> FloatArray:
    """Return the upper tail over the density."""
    from scipy.special import erfcx

    ratio: FloatArray = sqrt(pi / 2) * erfcx(x / sqrt(2))
    return ratio
