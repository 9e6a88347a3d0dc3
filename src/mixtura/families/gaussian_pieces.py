"""Gaussian components taken apart and put together: some of them, some of their columns, halves."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.families.linalg import HALF_APART

if TYPE_CHECKING:
    from mixtura.families.covariance import Covariance
    from mixtura.families.gaussian import GaussianParams
    from mixtura.model import Event


class GaussianPieces:
    """The part of the Gaussian family that makes components of others; they stay in their frame."""

    covariance: Covariance[Any]

    def _assemble(
        self, theta: GaussianParams, means: FloatArray, covariances: FloatArray
    ) -> tuple[GaussianParams, list[Event]]:
        raise NotImplementedError

    def take(self, theta: GaussianParams, components: IntArray) -> GaussianParams:
        """Return the parameters of these components, in this order."""
        return replace(
            theta,
            means=theta.means[components],
            covariances=self.covariance.take(theta.covariances, components),
            factors=self.covariance.take(theta.factors, components),
            pivot=theta.pivot[components],
        )

    def spread(self, theta: GaussianParams) -> FloatArray:
        """Return the largest eigenvalue of each covariance in the frame, (k,)."""
        matrices = self.covariance.expand(theta.covariances, *theta.means.shape)
        return np.asarray(np.linalg.eigvalsh(matrices)[:, -1], dtype=np.float64)

    def part(self, theta: GaussianParams, a: int, b: int) -> GaussianParams:
        """Return `theta` with the equal components a and b become the halves of what they are (formula C1).

        They lie on both sides of the cut through the mean across the widest direction.
        """
        values, vectors = np.linalg.eigh(self.covariance.expand(theta.covariances, *theta.means.shape)[a])
        widest = vectors[:, -1] * np.sign(vectors[np.abs(vectors[:, -1]).argmax(), -1])
        step = sqrt(HALF_APART * values[-1]) * widest
        means = theta.means.copy()
        means[a] -= step
        means[b] += step
        covariances = self.covariance.narrow(theta.covariances, np.array([a, b]), step)
        return self._assemble(theta, means, covariances)[0]

    def marginal(self, theta: GaussianParams, columns: IntArray) -> GaussianParams:
        """Return the parameters of these columns, in this order (formula U1)."""
        rest = np.setdiff1d(np.arange(theta.means.shape[1]), columns)
        factors, _, _ = self.covariance.split_factors(theta.factors, columns, rest)
        covariances = self.covariance.select(theta.covariances, columns)
        return self._of_columns(theta, columns, covariances, factors)

    def regress(self, theta: GaussianParams, rest: IntArray, given: IntArray) -> tuple[FloatArray, GaussianParams]:
        """Return the slopes (k or 1, r, g) of the columns `rest` on the columns `given`, and what remains of `rest`.

        The means that remain are those at the means of what is given (formula U2).
        """
        _, factors, slopes = self.covariance.split_factors(theta.factors, given, rest)
        covariances = self.covariance.invert(factors)
        return slopes, self._of_columns(theta, rest, covariances, factors)

    def _of_columns(
        self, theta: GaussianParams, columns: IntArray, covariances: FloatArray, factors: FloatArray
    ) -> GaussianParams:
        """Return components of these columns of `theta`, with these covariances."""
        means, whole = theta.means[:, columns], theta.whole.select(self.covariance, columns)
        frame = theta.frame.select(columns)
        return replace(
            theta, frame=frame, means=means, covariances=covariances, factors=factors, pivot=means, whole=whole
        )
