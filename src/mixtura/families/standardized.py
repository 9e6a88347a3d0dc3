"""Standard errors of families that have one parameter a column: their scores are the standardized values."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypeVar

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.capabilities import Quantity
from mixtura.families.base import MeanFamily

T = TypeVar("T")

STILL = 1e-6  # a standard deviation under which no row of a million million differs: the estimate is at the edge


class Standardized(MeanFamily[T]):
    """Columns independent within a component, each with one parameter: `Differentiable` (formula V3)."""

    upper: ClassVar[float] = np.inf  # what the parameters stay below

    @abstractmethod
    def deviations(self, theta: T) -> FloatArray:
        """Return the standard deviation of the statistic in each component and column, (k, d)."""

    @abstractmethod
    def attributes(self, theta: T) -> dict[str, FloatArray]:
        """Return the one parameter, (k, d), in the data's own units."""

    def slopes(self, theta: T) -> FloatArray:
        """Return the derivative of that parameter by the mean of the statistic, (k, d)."""
        return np.ones_like(self.mean(theta))

    def unit_scores(self, theta: T, x: FloatArray) -> FloatArray:
        """Return the standardized values, (n, k, d)."""
        scores: FloatArray = (self.statistic(theta, x)[:, None, :] - self.mean(theta)) / self.deviations(theta)
        return scores

    def slots(self, theta: T) -> IntArray:
        """Return the numbers of the coordinates: one for each component and column."""
        mean = self.mean(theta)
        return np.arange(mean.size).reshape(mean.shape)

    def quantities(self, theta: T) -> list[Quantity]:
        """Return the parameter, with its derivative by each coordinate."""
        ((name, values),) = self.attributes(theta).items()
        effects = np.diag((self.slopes(theta) * self.deviations(theta)).ravel()).reshape(-1, *values.shape)
        everywhere = np.ones_like(values, dtype=np.bool_)
        return [Quantity(name.rstrip("_"), values, effects, everywhere, everywhere, self.upper)]

    def edges(self, theta: T) -> list[str]:
        """Name the components that do not vary in a column."""
        stuck = np.argwhere(self.deviations(theta) < STILL)
        return [f"component {a} does not vary in column {j}" for a, j in stuck]
