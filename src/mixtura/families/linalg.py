"""Small dense linear algebra on stacks of matrices, careful at the edge of singularity."""

from __future__ import annotations

from functools import cache

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray

# Least share of a variance that the other columns may leave unexplained, per dimension: under it
# the correlation matrix is singular to rounding.
SINGULAR = 64 * float(np.finfo(np.float64).eps)


def ratio(sums: FloatArray, counts: FloatArray, otherwise: FloatArray | float) -> FloatArray:
    """Divide sums (k, ...) by counts (k,), taking `otherwise` where a component has no rows."""
    columns = counts.reshape(counts.shape + (1,) * (sums.ndim - 1))
    occupied = is_occupied(columns)
    quotient = np.divide(sums, columns, out=np.zeros_like(sums), where=occupied)
    return np.where(occupied, quotient, otherwise)


def is_occupied(counts: FloatArray) -> BoolArray:
    """Tell which counts are large enough to divide by; a subnormal one has lost its digits."""
    occupied: BoolArray = counts >= np.finfo(np.float64).tiny
    return occupied


def log_diagonal(matrices: FloatArray) -> FloatArray:
    """Return the log-determinant of triangular matrices (..., d, d)."""
    total: FloatArray = np.log(np.diagonal(matrices, axis1=-2, axis2=-1)).sum(axis=-1)
    return total


def invert_lower(lower: FloatArray) -> FloatArray:
    """Invert lower-triangular matrices (..., d, d) by forward substitution; the result is exactly lower."""
    inverse = np.zeros_like(lower)
    for i in range(lower.shape[-1]):
        pivot = 1.0 / lower[..., i, i]
        inverse[..., i, i] = pivot
        if i:
            row = np.einsum("...j,...jm->...m", lower[..., i, :i], inverse[..., :i, :i])
            inverse[..., i, :i] = -row * pivot[..., None]
    return inverse


def well_conditioned(covariance: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, bool]:
    """Return one covariance (d, d), its lower Cholesky factor, and whether it had to be raised to the floor.

    Variances are kept at ``floor**2`` and the eigenvalues of the correlation matrix above rounding, so that the
    factor always exists. A covariance that needs neither is returned as it is.
    """
    variances = np.diagonal(covariance)
    low = variances < floor**2
    sd = np.where(low, floor, np.sqrt(np.maximum(variances, 0.0)))
    correlation = np.clip(covariance / sd[:, None] / sd, -1.0, 1.0)
    correlation[low, :] = correlation[:, low] = 0.0  # what is left there is rounding
    np.fill_diagonal(correlation, 1.0)
    least = SINGULAR * len(sd)
    try:
        root = np.linalg.cholesky(correlation)
        singular = bool((np.diagonal(root) ** 2 < least).any())
    except np.linalg.LinAlgError:
        singular = True
    if singular:
        values, vectors = np.linalg.eigh(correlation)
        correlation = (vectors * np.maximum(values, 2 * least)) @ vectors.T
        root = np.linalg.cholesky(correlation)
    raised = singular or bool(low.any())
    if raised:
        covariance = correlation * np.outer(sd, sd)
    return covariance, np.asarray(root * sd[:, None], dtype=np.float64), raised


def from_triangle(packed: FloatArray, d: int) -> FloatArray:
    """Return symmetric matrices (..., d, d) from their lower triangles, row after row."""
    return packed[..., _triangle(d)]


@cache
def _triangle(d: int) -> IntArray:
    """Return the place of each entry of a symmetric matrix in its packed lower triangle."""
    row, column = np.indices((d, d))
    high, low = np.maximum(row, column), np.minimum(row, column)
    place: IntArray = high * (high + 1) // 2 + low
    return place
