"""Logarithms of products of powers, some of whose bases may be 0."""

from __future__ import annotations

import numpy as np

from mixtura._types import FloatArray
from mixtura.families.linalg import log_positive


def log_powers(x: FloatArray, bases: FloatArray) -> FloatArray:
    """Return ``sum_j x_j log bases_aj`` of exponents x (n, d) from 0 as (n, k), where 0 to the power of 0 is 1."""
    logs = x @ log_positive(bases).T
    absent = bases == 0
    if not absent.any():
        return logs
    impossible = (x > 0).astype(np.float64) @ absent.astype(np.float64).T > 0
    return np.where(impossible, -np.inf, logs)
