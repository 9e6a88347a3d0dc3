"""Small dense linear algebra on stacks of matrices, careful at the edge of singularity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from math import pi

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray

# Least share of a variance that the other columns may leave unexplained, per dimension: under it
# the correlation matrix is singular to rounding.
SINGULAR = 64 * float(np.finfo(np.float64).eps)

TINY = float(np.finfo(np.float64).tiny)  # a number below it has lost digits

SMALL = 16  # columns up to which LAPACK inverts a triangle, as any matrix, before its halves could be

IN_CACHE = 1 << 13  # values of a temporary array that are worked on fast

HALF_APART = 2 / pi  # squared distance of the mean of one half of a normal distribution from the cut, in variances


def together(k: int, size: int) -> Iterator[slice]:
    """Yield which of k components to work on at once: NumPy's calls cost less than rows of many values out of cache."""
    step = max(1, IN_CACHE // max(size, 1))
    return (slice(begin, begin + step) for begin in range(0, k, step))


def as_columns(rows: Iterable[FloatArray]) -> FloatArray:
    """Return pieces (., n) of k vectors as an (n, k) array whose columns lie one after another: NumPy is fast so."""
    return np.concatenate(list(rows)).T


def squared_norms(vectors: FloatArray) -> FloatArray:
    """Return the squared lengths (k, n) of vectors (k, d, n)."""
    norms: FloatArray = (vectors * vectors).sum(axis=1)
    return norms


def ratio(sums: FloatArray, counts: FloatArray, otherwise: FloatArray | float) -> FloatArray:
    """Divide sums (k, ...) by counts (k,), taking `otherwise` where a component has no rows."""
    return quotient(sums, counts.reshape(counts.shape + (1,) * (sums.ndim - 1)), otherwise)


def is_occupied(counts: FloatArray) -> BoolArray:
    """Tell which counts are large enough to divide by."""
    occupied: BoolArray = counts >= TINY
    return occupied


def quotient(a: FloatArray, b: FloatArray, otherwise: FloatArray | float = 0.0) -> FloatArray:
    """Divide where the divisor is large enough to divide by; take `otherwise` elsewhere."""
    occupied = is_occupied(b)
    return a / b if occupied.all() else np.where(occupied, a / np.where(occupied, b, 1.0), otherwise)


def log_positive(values: FloatArray) -> FloatArray:
    """Return logarithms, 0 where there is none."""
    return np.log(values, out=np.zeros_like(values), where=values > 0)


def log_or_never(values: FloatArray) -> FloatArray:
    """Return logarithms, -inf of 0; a NaN stays."""
    return np.log(values, out=np.full_like(values, -np.inf), where=values != 0)


def share_basis(shares: FloatArray) -> FloatArray:
    """Return the steps (..., m, m - 1) of log shares (..., m) that are coordinates of unit information (formula V4).

    A reflection that takes the roots of the shares to minus the last axis takes the other axes to these. Written out,
    it has the same bits on every worker of a cluster.
    """
    root = np.sqrt(shares)
    across = root.copy()
    across[..., -1] += 1.0
    squares = across[..., :, None] * across[..., None, :] / across[..., -1:, None]
    basis: FloatArray = (np.eye(root.shape[-1]) - squares)[..., :-1] / root[..., None]
    return basis


def log_diagonal(matrices: FloatArray) -> FloatArray:
    """Return the log-determinant of triangular matrices (..., d, d)."""
    total: FloatArray = np.log(matrices.diagonal(axis1=-2, axis2=-1)).sum(axis=-1)
    return total


def with_diagonal(matrices: FloatArray, diagonal: FloatArray) -> FloatArray:
    """Return matrices (..., d, d) with another diagonal (..., d)."""
    changed = matrices.copy()  # in C order, so that it has views of other shapes
    changed.reshape(*matrices.shape[:-2], -1)[..., :: matrices.shape[-1] + 1] = diagonal
    return changed


def times_diagonal(matrices: FloatArray, factor: FloatArray) -> FloatArray:
    """Return matrices (..., d, d) with their diagonal multiplied by a factor (..., d)."""
    return with_diagonal(matrices, matrices.diagonal(axis1=-2, axis2=-1) * factor)


@cache
def lower_ones(d: int, diagonal: float) -> FloatArray:
    """Return a triangle (d, d) of ones with this on its diagonal: to multiply matrices with it takes one call."""
    ones = np.tri(d, k=-1) + diagonal * np.eye(d)
    ones.flags.writeable = False  # all share it
    return ones


@cache
def _lower(d: int) -> IntArray:
    """Return the places of a lower triangle in its matrix: found once, they cost more than what is done with them."""
    return np.flatnonzero(np.tri(d))


def pack_lower(matrices: FloatArray) -> FloatArray:
    """Return the lower triangles of matrices (..., d, d) one after another; what is above does not count."""
    *stack, d, _ = matrices.shape
    return matrices.reshape(*stack, d * d).take(_lower(d), axis=-1).ravel()


def unpack_lower(packed: FloatArray, like: FloatArray) -> FloatArray:
    """Return the lower-triangular matrices, of the shape of `like`, that `pack_lower` packed."""
    *stack, d, _ = like.shape
    lower = np.zeros((*stack, d * d))
    lower[..., _lower(d)] = packed.reshape(*stack, -1)
    return lower.reshape(like.shape)


def invert_lower(lower: FloatArray) -> FloatArray:
    """Invert lower-triangular matrices (..., d, d) that have no 0 on the diagonal; the result is exactly lower.

    A large one is inverted by its halves, both at once; of an odd number of columns these have one in common.
    """
    d = lower.shape[-1]
    if d <= SMALL:  # of an upper one LAPACK exchanges no rows, so that 0 stays 0
        upper = np.linalg.inv(lower.swapaxes(-1, -2))
        return np.ascontiguousarray(upper.swapaxes(-1, -2), dtype=np.float64)
    half = (d + 1) // 2
    first, last = invert_lower(np.stack([lower[..., :half, :half], lower[..., -half:, -half:]]))
    last = last[..., 2 * half - d :, 2 * half - d :]
    inverse = np.zeros(lower.shape)
    inverse[..., :half, :half], inverse[..., half:, half:] = first, last
    inverse[..., half:, :half] = -last @ lower[..., half:, :half] @ first
    return inverse


def reorder_columns(lower: FloatArray, order: IntArray) -> FloatArray:
    """Return lower-triangular L2 (..., d, d) with ``|L2 x[order]| = |L x|`` for every x, by a rotation.

    A rotation loses no digits, however near to singular L is; another Cholesky factor of ``L' L`` might not exist.
    """
    _, upper = np.linalg.qr(lower[..., order[::-1]])
    turned = upper[..., ::-1, ::-1]
    signs = np.where(turned.diagonal(axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    rotated: FloatArray = turned * signs[..., None]
    return rotated


def well_conditioned(covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return covariances (k, d, d), their lower Cholesky factors, and which had to be raised to the floor (d,).

    Variances are kept at ``floor**2`` and the eigenvalues of the correlation matrices above rounding, so that the
    factors always exist. A covariance that needs neither is returned as it is.
    """
    variances = covariances.diagonal(axis1=1, axis2=2)
    low = variances < floor**2
    if not low.any() and (roots := _sound_roots(covariances, variances)) is not None:
        return covariances, roots, np.zeros(len(covariances), dtype=np.bool_)
    sd = np.where(low, floor, np.sqrt(np.maximum(variances, 0.0)))
    correlations = np.clip(covariances / sd[:, :, None] / sd[:, None, :], -1.0, 1.0)
    if low.any():
        correlations[low[:, :, None] | low[:, None, :]] = 0.0  # what is left there is rounding
    diagonal = np.arange(len(floor))
    correlations[:, diagonal, diagonal] = 1.0
    roots, raised = _roots(correlations)
    raised |= low.any(axis=1)
    if raised.any():
        lifted = correlations * sd[:, :, None] * sd[:, None, :]
        covariances = np.where(raised[:, None, None], lifted, covariances)
    return covariances, roots * sd[:, :, None], raised


def _sound_roots(covariances: FloatArray, variances: FloatArray) -> FloatArray | None:
    """Return the Cholesky factors of covariances (k, d, d), None unless all are far from singular."""
    try:
        roots = np.asarray(np.linalg.cholesky(covariances), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None
    unexplained = roots.diagonal(axis1=1, axis2=2) ** 2
    return roots if (unexplained >= SINGULAR * covariances.shape[-1] * variances).all() else None


def _roots(correlations: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return the Cholesky factors of correlation matrices, and which of these, singular, were lifted in place."""
    least = SINGULAR * correlations.shape[-1]
    try:
        roots = np.asarray(np.linalg.cholesky(correlations), dtype=np.float64)  # all at once
        singular = (roots.diagonal(axis1=1, axis2=2) ** 2 < least).any(axis=1)
    except np.linalg.LinAlgError:
        roots = np.empty_like(correlations)
        singular = np.ones(len(correlations), dtype=np.bool_)
    for j in np.flatnonzero(singular):
        roots[j], singular[j] = _lift(correlations[j], least)
    return roots, singular


def _lift(correlation: FloatArray, least: float) -> tuple[FloatArray, bool]:
    """Return the Cholesky factor of one matrix, and whether its eigenvalues had to be lifted in place."""
    try:
        root = np.asarray(np.linalg.cholesky(correlation), dtype=np.float64)
        if (root.diagonal() ** 2 >= least).all():
            return root, False
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(correlation)
    correlation[:] = (vectors * np.maximum(values, 2 * least)) @ vectors.T
    return np.asarray(np.linalg.cholesky(correlation), dtype=np.float64), True


def from_triangle(packed: FloatArray, d: int) -> FloatArray:
    """Return symmetric matrices (..., d, d) from their lower triangles, row after row."""
    return packed.take(_triangle(d), axis=-1)


@cache
def _triangle(d: int) -> IntArray:
    """Return the place of each entry of a symmetric matrix in its packed lower triangle."""
    row, column = np.indices((d, d))
    high, low = np.maximum(row, column), np.minimum(row, column)
    place: IntArray = high * (high + 1) // 2 + low
    return place
