"""Coordinates of shares that sum to one: their roots, a point of the unit sphere (formula D7)."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.capabilities import Quantity
from mixtura.families.base import MeanFamily
from mixtura.families.linalg import quotient, share_basis

T = TypeVar("T")


class OnSphere(MeanFamily[T]):
    """Components whose parameters are shares (k, ..., m), of which each row has some draws."""

    @abstractmethod
    def shares(self, theta: T) -> FloatArray:
        """Return the shares, (k, ..., m)."""

    @abstractmethod
    def with_shares(self, theta: T, shares: FloatArray) -> T:
        """Return `theta` with these shares."""

    def draws(self, theta: T) -> FloatArray:
        """Return how many draws from the shares a row of each component has, (k, 1, ...): one."""
        return np.ones((len(self.shares(theta)),) + (1,) * (self.shares(theta).ndim - 1))

    def is_interior(self, theta: T) -> bool:
        """Tell whether no share is 0."""
        return bool((self.shares(theta) > 0).all())

    def free(self, theta: T) -> FloatArray:
        """Return the roots of the shares, a point of the unit sphere: 0 is not far away."""
        roots: FloatArray = np.sqrt(self.shares(theta)).ravel()
        return roots

    def from_free(self, vector: FloatArray, like: T) -> T | None:
        """Return the parameters with these roots, brought back to the sphere."""
        with np.errstate(over="ignore", invalid="ignore"):
            squares = vector.reshape(self.shares(like).shape) ** 2
            shares = squares / squares.sum(axis=-1, keepdims=True)
        return self.with_shares(like, shares) if np.isfinite(shares).all() else None

    def metric(self, theta: T, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the information about a step along the sphere, which is 4 for each draw in each direction."""
        roots = np.sqrt(self.shares(theta))
        step = step.reshape(roots.shape)
        along = step - roots * (roots * step).sum(axis=-1, keepdims=True)
        gradient: FloatArray = (self._information(theta, weights) * along).ravel()
        return gradient

    def inverse_metric(self, theta: T, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step along the sphere of which `metric` makes this gradient."""
        step = quotient(gradient.reshape(self.shares(theta).shape), self._information(theta, weights))
        return step.ravel()

    def unit_scores(self, theta: T, x: FloatArray) -> FloatArray:
        """Return the steps of what was drawn, (n, k, p) (formula V4)."""
        basis = self._basis(theta)
        drawn = self.statistic(theta, x).reshape(len(x), *basis.shape[1:3])
        scores: FloatArray = np.einsum("ndm,kdms->nkds", drawn, basis)
        return scores.reshape(len(x), len(basis), -1)

    def slots(self, theta: T) -> IntArray:
        """Return the numbers of the coordinates: m - 1 for each component and column."""
        return np.arange(self.n_parameters(theta)).reshape(len(self.shares(theta)), -1)

    def quantities(self, theta: T) -> list[Quantity]:
        """Return the shares, with their derivatives (formula V4)."""
        shares, basis = self.shares(theta).copy(), self._basis(theta)
        own = (basis * shares.reshape(basis.shape[:3])[..., None]).reshape(-1, *basis.shape[2:])
        effects = np.einsum("ab,bms->asbm", np.eye(len(own)), own).reshape(-1, *shares.shape)
        everywhere = np.ones_like(shares, dtype=np.bool_)
        return [Quantity("probs", shares, effects, everywhere, everywhere, upper=1.0)]

    def _basis(self, theta: T) -> FloatArray:
        """Return the steps (k, columns, m, m - 1) of log shares that are coordinates of unit information."""
        shares = self.shares(theta)
        k, m = len(shares), shares.shape[-1]
        basis: FloatArray = share_basis(shares).reshape(k, -1, m, m - 1)
        return basis / np.sqrt(self.draws(theta).reshape(k, 1, 1, 1))

    def _information(self, theta: T, weights: FloatArray) -> FloatArray:
        draws = self.draws(theta)
        information: FloatArray = 4 * weights.reshape(draws.shape) * draws
        return information
