"""Covariance matrices: one for each component (`Full`), or one for all (`Tied`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.families.covariance import Completion, Covariance, M, Moments, PooledMoments, split
from mixtura.families.linalg import (
    as_columns,
    from_triangle,
    invert_lower,
    log_diagonal,
    lower_ones,
    pack_lower,
    quotient,
    ratio,
    reorder_columns,
    squared_norms,
    times_diagonal,
    together,
    unpack_lower,
    well_conditioned,
    with_diagonal,
)
from mixtura.model import SHARED


class _Matrices(Covariance[M]):
    """What is done alike to a matrix and to a stack of them."""

    def scale_shape(self, d: int) -> tuple[int, ...]:
        return (d, d)

    def wishart_size(self, d: int) -> int:
        return d

    def invert(self, factors: FloatArray) -> FloatArray:
        root = invert_lower(factors)
        return root @ np.swapaxes(root, -1, -2)

    def precisions(self, factors: FloatArray) -> FloatArray:
        return np.swapaxes(factors, -1, -2) @ factors

    def factor_precisions(self, precisions: FloatArray) -> FloatArray:
        try:
            flipped = np.linalg.cholesky(precisions[..., ::-1, ::-1])
        except np.linalg.LinAlgError:
            raise ValueError("a precision matrix is not positive definite") from None
        return np.swapaxes(flipped[..., ::-1, ::-1], -1, -2)

    def is_factor(self, factors: FloatArray) -> bool:
        lower = bool((np.triu(factors, 1) == 0).all())
        return lower and bool((factors.diagonal(axis1=-2, axis2=-1) > 0).all())

    def scale_factors(self, factors: FloatArray, scale: FloatArray) -> FloatArray:
        return factors * scale

    def upper(self, factors: FloatArray) -> FloatArray:
        return np.swapaxes(factors, -1, -2)

    def widen(self, covariances: FloatArray, amount: FloatArray) -> FloatArray:
        return covariances + np.diag(amount)

    def rescale(self, covariances: FloatArray, scale: FloatArray) -> FloatArray:
        return covariances * scale[:, None] * scale

    def free(self, factors: FloatArray) -> FloatArray:
        diagonal = factors.diagonal(axis1=-2, axis2=-1)
        return pack_lower(with_diagonal(factors, np.log(diagonal)))

    def from_free(self, vector: FloatArray, like: FloatArray) -> FloatArray:
        lower = unpack_lower(vector, like)
        return with_diagonal(lower, np.exp(lower.diagonal(axis1=-2, axis2=-1)))

    def metric(self, factors: FloatArray, weights: FloatArray, d: int, step: FloatArray) -> FloatArray:
        inverse, diagonal = invert_lower(factors), factors.diagonal(axis1=-2, axis2=-1)
        turn = times_diagonal(unpack_lower(step, factors), diagonal) @ inverse
        turn = turn * (lower_ones(d, 2.0) * self.rows_of_each(weights))
        return pack_lower(times_diagonal(turn @ np.swapaxes(inverse, -1, -2), diagonal))

    def inverse_metric(self, factors: FloatArray, weights: FloatArray, d: int, gradient: FloatArray) -> FloatArray:
        diagonal = factors.diagonal(axis1=-2, axis2=-1)
        turn = times_diagonal(unpack_lower(gradient, factors), 1 / diagonal) @ np.swapaxes(factors, -1, -2)
        turn = turn * quotient(lower_ones(d, 0.5), self.rows_of_each(weights))
        return pack_lower(times_diagonal(turn @ factors, 1 / diagonal))

    def roots(self, factors: FloatArray) -> FloatArray:
        return invert_lower(factors)

    def spread_scores(self, y: FloatArray) -> FloatArray:
        row, column = np.tril_indices(y.shape[2])
        scores = y[..., row] * y[..., column]
        same = row == column
        scores[..., same] = (scores[..., same] - 1) / np.sqrt(2)
        return scores

    def entries(self, shape: tuple[int, ...]) -> tuple[BoolArray, BoolArray]:
        d = shape[-1]
        lower, diagonal = np.tri(d, dtype=np.bool_), np.eye(d, dtype=np.bool_)
        return np.broadcast_to(lower, shape), np.broadcast_to(diagonal, shape)

    def expand_factors(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        return np.broadcast_to(factors, (k, d, d))

    def select(self, covariances: FloatArray, columns: IntArray) -> FloatArray:
        return covariances[..., columns[:, None], columns]

    def split_factors(
        self, factors: FloatArray, given: IntArray, rest: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        g, r = len(given), len(rest)
        lower = reorder_columns(factors, np.concatenate([given, rest]))
        each = lower.reshape(-1, g + r, g + r)
        slopes = -invert_lower(each[:, g:, g:]) @ each[:, g:, :g]
        return lower[..., :g, :g], lower[..., g:, g:], slopes


@dataclass(frozen=True)
class Full(_Matrices[Moments]):
    """Each component has its own covariance matrix."""

    name: ClassVar[str] = "full"

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        return (k, d, d)

    def identity(self, k: int, d: int) -> FloatArray:
        return np.tile(np.eye(d), (k, 1, 1))

    def moments(self, z: FloatArray, resp: FloatArray, pivot: FloatArray) -> Moments:
        k, d = pivot.shape
        s1, s2 = np.empty((k, d)), np.empty((k, d, d))
        for some in together(k, z.size):
            centred = z.T - pivot[some, :, None]
            weighted = resp.T[some, None] * centred
            s1[some] = weighted.sum(axis=2)
            s2[some] = weighted @ centred.transpose(0, 2, 1)
        return Moments(s0=resp.sum(axis=0), s1=s1, s2=(s2 + s2.transpose(0, 2, 1)) / 2)

    def expected(self, counts: FloatArray, covariances: FloatArray, shift: FloatArray) -> Moments:
        second = covariances + shift[:, :, None] * shift[:, None, :]
        return Moments(s0=counts, s1=counts[:, None] * shift, s2=counts[:, None, None] * second)

    def gather(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> Moments:
        return Moments(s0=s0, s1=s1, s2=s2)

    def estimate(self, sums: Moments, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        return ratio(sums.s2, sums.s0, old) - shift[:, :, None] * shift[:, None, :]

    def n_second(self, k: int) -> int:
        return k

    def from_second(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> Moments:
        return Moments(s0=s0, s1=s1, s2=from_triangle(s2.reshape(len(s0), -1), s1.shape[1]))

    def complete(self, sums: Moments, pivot: FloatArray, completion: Completion) -> Moments:
        s0, offset = sums.s0, completion.offset
        first, moved = _lifted(sums, completion)
        second = completion.lift @ sums.s2 @ np.swapaxes(completion.lift, 1, 2) + moved
        second[:, completion.rest[:, None], completion.rest] += s0[:, None, None] * completion.spread
        return Moments(s0=s0, s1=first + s0[:, None] * offset, s2=second)

    def scatter(self, counts: FloatArray, gaps: FloatArray) -> FloatArray:
        return self.rows_of_each(counts) * gaps[:, :, None] * gaps[:, None, :]

    def rows_of_each(self, counts: FloatArray) -> FloatArray:
        return counts[:, None, None]

    def variances(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return covariances.diagonal(axis1=1, axis2=2)

    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        kept, roots, raised = well_conditioned(covariances, floor)
        return kept, invert_lower(roots), raised.nonzero()[0].tolist()

    def narrow(self, covariances: FloatArray, components: IntArray, along: FloatArray) -> FloatArray:
        narrowed = covariances.copy()
        narrowed[components] -= np.outer(along, along)
        return narrowed

    def squared_distance(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        return as_columns(
            squared_norms(factors[some] @ (z.T - means[some, :, None])) for some in together(len(means), z.size)
        )

    def log_det_slopes(self, k: int, d: int) -> FloatArray:
        return np.asarray(np.kron(np.eye(k), pack_lower(np.eye(d))), dtype=np.float64)

    def whiten(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        return np.stack([(z - m) @ f.T for m, f in zip(means, factors, strict=True)], axis=1)

    def spread_slots(self, k: int, d: int) -> IntArray:
        return np.arange(k * (d * (d + 1) // 2)).reshape(k, -1)

    def spread_effects(self, factors: FloatArray, d: int) -> FloatArray:
        own = _turned_basis(self.roots(factors))  # (k, s, d, d)
        k, s = own.shape[:2]
        effects = np.zeros((k, s, k, d, d))
        each = np.arange(k)
        effects[each, :, each] = own
        return effects.reshape(-1, k, d, d)

    def log_det(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        return log_diagonal(factors)

    def expand(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return covariances

    def least_rows(self, d: int) -> int:
        return d + 1

    def kernel(self, d: int) -> Any:
        from mixtura.kernels import gaussian_diag, gaussian_full, gaussian_narrow

        if d == 1:
            return gaussian_diag  # it takes the same sums then
        return gaussian_narrow if d <= gaussian_narrow.WIDEST else gaussian_full

    def kernel_factors(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        return factors[:, :, 0] if d == 1 else factors

    def unpack(self, sums: FloatArray, k: int, d: int) -> Moments:
        s0, s1, s2 = split(sums, (k,), (k, d), (k, d * (d + 1) // 2))
        return Moments(s0=s0, s1=s1, s2=from_triangle(s2, d))

    def n_parameters(self, k: int, d: int) -> int:
        return k * d * (d + 1) // 2


@dataclass(frozen=True)
class Tied(_Matrices[PooledMoments]):
    """All components share one covariance matrix."""

    name: ClassVar[str] = "tied"
    owner: ClassVar[str] = "the shared covariance"

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        return (d, d)

    def identity(self, k: int, d: int) -> FloatArray:
        return np.eye(d)

    def moments(self, z: FloatArray, resp: FloatArray, pivot: FloatArray) -> PooledMoments:
        s0 = resp.sum(axis=0)
        weight = resp.sum(axis=1)
        share = np.divide(resp, weight[:, None], out=np.zeros_like(resp), where=weight[:, None] > 0)
        centred = z.T - pivot.T @ share.T
        within = (weight * centred) @ centred.T
        s1 = np.empty_like(pivot)
        for some in together(len(pivot), z.size):
            s1[some] = (resp.T[some, None] * (z.T - pivot[some, :, None])).sum(axis=2)
        return PooledMoments(s0=s0, s1=s1, within=(within + within.T) / 2, cross=resp.T @ share)

    def expected(self, counts: FloatArray, covariances: FloatArray, shift: FloatArray) -> PooledMoments:
        within = counts.sum() * covariances + self.scatter(counts, shift)
        return PooledMoments(s0=counts, s1=counts[:, None] * shift, within=within, cross=np.diag(counts))

    def gather(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> PooledMoments:
        # Each component's own scatter about its own pivot is in `within`, so there is none between to be added.
        return PooledMoments(s0=s0, s1=s1, within=s2.sum(axis=0), cross=np.diag(s0))

    def estimate(self, sums: PooledMoments, pivot: FloatArray, shift: FloatArray, old: FloatArray) -> FloatArray:
        pooled: FloatArray = (sums.within + _between(sums.cross, pivot) - self.scatter(sums.s0, shift)) / sums.s0.sum()
        return pooled

    def n_second(self, k: int) -> int:
        return 1

    def from_second(self, s0: FloatArray, s1: FloatArray, s2: FloatArray) -> PooledMoments:
        return PooledMoments(s0=s0, s1=s1, within=from_triangle(s2, s1.shape[1]), cross=np.diag(s0))

    def complete(self, sums: PooledMoments, pivot: FloatArray, completion: Completion) -> PooledMoments:
        s0, offset, lift = sums.s0, completion.offset, completion.lift[0]
        first, moved = _lifted(sums, completion)
        within = lift @ (sums.within + _between(sums.cross, pivot)) @ lift.T + moved.sum(axis=0)
        within[completion.rest[:, None], completion.rest] += s0.sum() * completion.spread
        # What is between the pivots is in there; the diagonal of `cross` alone adds nothing to it.
        return PooledMoments(s0=s0, s1=first + s0[:, None] * offset, within=within, cross=np.diag(s0))

    def scatter(self, counts: FloatArray, gaps: FloatArray) -> FloatArray:
        pooled: FloatArray = np.einsum("k,ki,kj->ij", counts, gaps, gaps)
        return pooled

    def rows_of_each(self, counts: FloatArray) -> FloatArray:
        return np.full((1, 1), counts.sum())

    def n_matrices(self, k: int) -> int:
        return 1

    def owned(self, components: Sequence[int]) -> slice:
        return slice(None if components else 0)

    def variances(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return np.broadcast_to(covariances.diagonal(), (k, d))

    def factorize(self, covariances: FloatArray, floor: FloatArray) -> tuple[FloatArray, FloatArray, list[int]]:
        kept, roots, raised = well_conditioned(covariances[None], floor)
        return kept[0], invert_lower(roots[0]), [SHARED] if raised[0] else []

    def narrow(self, covariances: FloatArray, components: IntArray, along: FloatArray) -> FloatArray:
        return covariances

    def take(self, matrices: FloatArray, components: IntArray) -> FloatArray:
        return matrices

    def stacked(self, k: int) -> Covariance[Any]:
        from mixtura.families.stacked import Grouped  # it is built on `Full`

        return Grouped(size=k)

    def squared_distance(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        return as_columns(
            squared_norms(factors @ (z.T - means[some, :, None])) for some in together(len(means), z.size)
        )

    def log_det_slopes(self, k: int, d: int) -> FloatArray:
        return np.tile(pack_lower(np.eye(d)), (k, 1))

    def whiten(self, factors: FloatArray, means: FloatArray, z: FloatArray) -> FloatArray:
        return np.stack([(z - m) @ factors.T for m in means], axis=1)

    def spread_slots(self, k: int, d: int) -> IntArray:
        return np.tile(np.arange(d * (d + 1) // 2), (k, 1))

    def spread_effects(self, factors: FloatArray, d: int) -> FloatArray:
        return _turned_basis(self.roots(factors))

    def log_det(self, factors: FloatArray, k: int, d: int) -> FloatArray:
        return np.repeat(log_diagonal(factors), k)

    def expand(self, covariances: FloatArray, k: int, d: int) -> FloatArray:
        return np.broadcast_to(covariances, (k, d, d))

    def least_rows(self, d: int) -> int:
        return 0

    def kernel(self, d: int) -> Any:
        from mixtura.kernels import gaussian_tied

        return gaussian_tied

    def unpack(self, sums: FloatArray, k: int, d: int) -> PooledMoments:
        s0, s1, within, cross = split(sums, (k,), (k, d), (d * (d + 1) // 2,), (k * (k + 1) // 2,))
        return PooledMoments(s0=s0, s1=s1, within=from_triangle(within, d), cross=from_triangle(cross, k))

    def n_parameters(self, k: int, d: int) -> int:
        return d * (d + 1) // 2


def _turned_basis(roots: FloatArray) -> FloatArray:
    """Return ``R E R'`` (..., s, d, d) of the symmetric matrices E in the order of the scores, each of norm root 2."""
    d = roots.shape[-1]
    row, column = np.tril_indices(d)
    basis = np.zeros((len(row), d, d))
    each = np.arange(len(row))
    basis[each, row, column] = basis[each, column, row] = np.where(row == column, np.sqrt(2), 1.0)
    root = roots[..., None, :, :]
    turned: FloatArray = root @ basis @ np.swapaxes(root, -1, -2)
    return turned


def _between(cross: FloatArray, pivot: FloatArray) -> FloatArray:
    """Return the scatter between the pivots (formula M5)."""
    gaps = pivot[:, None, :] - pivot[None, :, :]
    scatter: FloatArray = np.einsum("ab,abi,abj->ij", cross, gaps, gaps) / 2
    return scatter


def _lifted(sums: Moments | PooledMoments, completion: Completion) -> tuple[FloatArray, FloatArray]:
    """Return the first moments in all columns, and what the offset adds to the second ones (formula N4)."""
    first = (completion.lift @ sums.s1[:, :, None])[:, :, 0]
    offset = completion.offset
    product = (first + sums.s0[:, None] * offset / 2)[:, :, None] * offset[:, None, :]
    return first, product + np.swapaxes(product, 1, 2)
