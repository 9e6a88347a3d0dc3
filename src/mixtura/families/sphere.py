"""Coordinates of shares that sum to one: their roots, a point of the unit sphere (formula D7)."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import numpy as np

from mixtura._types import FloatArray
from mixtura.families.base import MeanFamily
from mixtura.families.linalg import quotient

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

    def _information(self, theta: T, weights: FloatArray) -> FloatArray:
        draws = self.draws(theta)
        information: FloatArray = 4 * weights.reshape(draws.shape) * draws
        return information
