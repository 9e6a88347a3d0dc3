"""The exponential family of waiting times: independent in each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.families.base import Separable, expect
from mixtura.families.linear import Linear
from mixtura.families.standardized import Standardized
from mixtura.frame import Frame
from mixtura.kernels.layout import POSITIVE, Layout
from mixtura.model import LEBESGUE, Event, EventKind


@dataclass(frozen=True, eq=False)
class ExponentialParams:
    """Mean waiting times of k components in d columns, (k, d), in units of the frame."""

    frame: Frame
    means: FloatArray


@dataclass(frozen=True)
class Exponential(Standardized[ExponentialParams], Separable[ExponentialParams], Linear[ExponentialParams]):
    """Independent exponential waiting times in each column (formula D6).

    A fitted mixture has ``rates_`` (k, d), one over the means, in one over the data's own units. A component whose rows
    are all 0 in a column has no finite rate: its mean is raised to the least that the numbers carry, and an event says
    so.

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import Exponential
    >>> MixtureModel(Exponential()).fit([0.5, 1.0, 3.0, 3.5]).rates_.tolist()
    [[0.5]]
    """

    name: ClassVar[str] = "exponential"
    support: ClassVar[str] = "finite numbers from 0"
    measure: ClassVar[str] = LEBESGUE
    params_type: ClassVar[type[ExponentialParams]] = ExponentialParams

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are waiting times."""
        return np.isfinite(x) & (x >= 0)

    def frame(self, low: FloatArray, high: FloatArray, centre: FloatArray) -> Frame:
        """Return a frame without a shift, in which the largest value is near 1."""
        return Frame.from_range(np.zeros_like(high), high, np.zeros_like(high))

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> ExponentialParams:
        """Return unit means."""
        return ExponentialParams(frame=frame, means=np.ones((n_components, len(frame.shift))))

    def log_density(self, theta: ExponentialParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-densities (formula D6)."""
        rates, peaks = self.coefficients(theta)
        density: FloatArray = peaks + theta.frame.enter(x) @ rates.T
        return density

    def layout(self, n_features: int) -> Layout:
        """Return the times as features."""
        return Layout.of_columns(n_features, POSITIVE)

    def scale(self, theta: ExponentialParams) -> FloatArray:
        """Return the units of the frame, which has no shift."""
        return theta.frame.scale

    def coefficients(self, theta: ExponentialParams) -> tuple[FloatArray, FloatArray]:
        """Return minus the rates in units of the frame, and the log-densities at 0."""
        return -1 / theta.means, theta.frame.log_jacobian - np.log(theta.means).sum(axis=1)

    def statistic(self, theta: ExponentialParams, x: FloatArray) -> FloatArray:
        """Return the rows in units of the frame."""
        return theta.frame.enter(x)

    def mean(self, theta: ExponentialParams) -> FloatArray:
        """Return the means."""
        return theta.means

    def from_mean(self, mean: FloatArray, theta: ExponentialParams) -> tuple[ExponentialParams, list[Event]]:
        """Return these means, kept above what the numbers can carry."""
        raised = zip(*np.nonzero(mean < theta.frame.floor), strict=True)
        events = [Event(EventKind.FLOOR, int(a), f"component {a} is all 0 in column {j}") for a, j in raised]
        return ExponentialParams(frame=theta.frame, means=np.maximum(mean, theta.frame.floor)), events

    def tails(self, theta: ExponentialParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities (n, k) of at most `x` (n, 1) and of more."""
        ratio = np.maximum(theta.frame.enter(x), 0) / theta.means[:, 0]
        return -np.expm1(-ratio), np.exp(-ratio)

    def coordinates(self, theta: ExponentialParams) -> FloatArray:
        """Return the logarithms of the means."""
        return np.log(theta.means)[None]

    def from_coordinates(self, coordinates: FloatArray, like: ExponentialParams) -> ExponentialParams:
        """Return the means with these logarithms."""
        return ExponentialParams(frame=like.frame, means=np.maximum(np.exp(coordinates[0]), like.frame.floor))

    def information(self, theta: ExponentialParams) -> FloatArray:
        """Return that about the logarithm of a mean, which is 1."""
        return np.ones_like(theta.means)[None]

    def sample(self, theta: ExponentialParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row from the component named by each of `labels` (n,)."""
        return theta.frame.leave(rng.exponential(theta.means[labels]))

    def attributes(self, theta: ExponentialParams) -> dict[str, FloatArray]:
        """Return the rates."""
        return {"rates_": theta.frame.scale / theta.means}

    def deviations(self, theta: ExponentialParams) -> FloatArray:
        """Return the means, which they are."""
        return theta.means

    def slopes(self, theta: ExponentialParams) -> FloatArray:
        """Return the derivatives of the rates by the means."""
        slopes: FloatArray = -theta.frame.scale / theta.means**2
        return slopes

    def edges(self, theta: ExponentialParams) -> list[str]:
        """Name the means that are at the floor."""
        low = np.argwhere(theta.means <= theta.frame.floor)
        return [f"the mean of component {a} in column {j} is at the floor" for a, j in low]

    def check(self, theta: ExponentialParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` if means from elsewhere have a wrong shape or sign."""
        theta.frame.check(n_features)
        expect("means", theta.means, (n_components, n_features), theta.means > 0, "positive numbers")
