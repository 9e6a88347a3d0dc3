"""What distribution functions of one column share (formula U8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.families.covariance import Covariance
from mixtura.families.gaussian import GaussianParams

LARGEST_COUNT = 2.0**53  # from here on numbers are not one apart, and all are whole


def standardize(covariance: Covariance[Any], theta: GaussianParams, x: FloatArray) -> FloatArray:
    """Return numbers (n, 1) in deviations of each component from its mean, (n, k)."""
    variances = covariance.variances(theta.covariances, len(theta.means), 1)
    z: FloatArray = (theta.frame.enter(x) - theta.means[:, 0]) / np.sqrt(variances[:, 0])
    return z


def count_tails(
    x: FloatArray, tails: Callable[[FloatArray], tuple[FloatArray, FloatArray]]
) -> tuple[FloatArray, FloatArray]:
    """Return the probabilities of at most `x` (n, 1) and of more, of `tails` from the least count above, from 1."""
    above = np.clip(np.floor(x), -1, LARGEST_COUNT) + 1
    lower, upper = tails(np.maximum(above, 1))
    return np.where(above > 0, lower, 0.0), np.where(above > 0, upper, 1.0)
