"""What a family may offer beyond `mixtura.model.Family`, and those that need it ask for.

Nothing here is needed for a fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.exceptions import InformationError
from mixtura.model import Event, Family

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Quantity:
    """A parameter as users know it, and how it follows from coordinates of unit information.

    Attributes
    ----------
    name : str
        Such as "means".
    values : array of any shape
        In the data's own units.
    effects : (q, *shape) array
        Derivative of the values by each coordinate.
    distinct : array of bool
        Which entries are not repeated elsewhere: one of each pair in a symmetric matrix.
    positive : array of bool
        Which entries are positive by nature.
    upper : float
        What these stay below.
    """

    name: str
    values: FloatArray
    effects: FloatArray
    distinct: BoolArray
    positive: BoolArray
    upper: float = np.inf

    def among(self, before: int, after: int) -> Self:
        """Return this beside so many coordinates, before and after its own, that have no effect on it."""
        others = [(before, after), *[(0, 0)] * self.values.ndim]
        return replace(self, effects=np.pad(self.effects, others))


@runtime_checkable
class Differentiable(Protocol):
    """What a family offers beyond `Family` so that standard errors follow: two derivatives of its log-density.

    They are by coordinates in which the information of a row is the unit matrix, or less. In the natural parameters of
    an exponential family, or a linear map of them, it is the same for every row of a component (formula V1).
    """

    def unit_scores(self, theta: Any, x: FloatArray, /) -> FloatArray:
        """Return the derivatives (n, k, p) of each row's log-densities by the p coordinates of each component."""

    def unseen(self, theta: Any, x: FloatArray, weight: FloatArray, /) -> FloatArray | float:
        """Return what rows lack of unit information: the sums (k, p, p) of 1 plus the second derivatives; or 0.

        The sums are weighted by (n, k). Where rows lack values, or the family has others that nobody sees, it is the
        covariance, given the row, of the score of complete rows (Louis 1982).
        """

    def slots(self, theta: Any, /) -> IntArray:
        """Return the numbers (k, p) of these coordinates; components that share a parameter share its number."""

    def quantities(self, theta: Any, /) -> Sequence[Quantity]:
        """Return the parameters in the data's own units, with their derivatives by all coordinates."""

    def estimated(self, theta: Any, /) -> BoolArray:
        """Tell which of all coordinates (q,) are estimated: what is fixed is certain."""

    def prior_information(self, theta: Any, /) -> tuple[FloatArray, FloatArray]:
        """Return the derivatives (q,) of `log_prior` by all coordinates, and minus its second ones: all that there are.

        The prior is conjugate, or none.
        """

    def edges(self, theta: Any, /) -> Sequence[str]:
        """Say of each component, if any, what about it is at the edge of what parameters can be."""


def informed(family: Any) -> Differentiable:
    """Return a family as one from which standard errors follow; raise `InformationError` if it is none."""
    if not isinstance(family, Differentiable):
        raise InformationError(
            f"the family {family.name!r} does not say how its parameters are informed: it lacks a method of "
            f"mixtura.capabilities.Differentiable. Fit resampled rows instead (the bootstrap)"
        )
    return family


@runtime_checkable
class Suspicious(Protocol):
    """What a family offers beyond `Family` if its likelihood has spurious maxima."""

    def suspects(self, theta: Any, counts: FloatArray, /) -> Sequence[Event]:
        """Return an event for each component, with this many rows (k,), that is likely to be spurious."""


@runtime_checkable
class Cumulative(Protocol):
    """What a family offers beyond `Family` so that a mixture of one column has a distribution function."""

    def tails(self, theta: Any, x: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities (n, k) of at most `x` (n, 1), any numbers and infinities, and of more.

        Neither is 1 less the other, so that both have their digits.
        """


def cumulative(family: Any) -> Cumulative:
    """Return a family as one that has a distribution function; raise a `ValueError` if it has none."""
    if not isinstance(family, Cumulative):
        raise ValueError(f"{family.name} components have no distribution function")
    return family


class Divisible(Protocol[T]):
    """What a family offers beyond `Family` so that a collapsed component can be replaced."""

    def take(self, theta: T, components: IntArray, /) -> T:
        """Return the parameters of these components, in this order; one may be there twice."""

    def spread(self, theta: T, /) -> FloatArray:
        """Return the variance of each component along its widest direction, (k,)."""

    def part(self, theta: T, a: int, b: int, /) -> T:
        """Return `theta` with two equal components become the halves of what they are (formula C1)."""


@runtime_checkable
class Stackable(Protocol[T]):
    """What a family offers beyond `Family` if one call can serve the components of several mixtures."""

    def stacked(self, k: int, /) -> Stacked[T] | None:
        """Return the family of the components of several mixtures of k, or None if there is none for this one."""


class Stacked(Family[T, Any], Protocol[T]):
    """The family of the components of several mixtures, one after another."""

    def stack(self, members: Sequence[T], /) -> T:
        """Return the components of several mixtures as those of this family."""

    def unstack(self, theta: T, /) -> list[T]:
        """Return the components of each of the mixtures that were stacked."""

    def take(self, theta: T, components: IntArray, /) -> T:
        """Return the parameters of these components, in this order; one may be there twice."""

    def prepare(self, theta: T, x: FloatArray, /) -> Any:
        """Return rows (n, d) as `joint` and `moments` take them; a slice of it is that of these rows."""

    def joint(self, theta: T, log_weights: FloatArray, x: Any, /) -> FloatArray:
        """Return the log-densities (k, n) of rows and their components, in memory that is the caller's."""

    def moments(self, theta: T, x: Any, resp: FloatArray, /) -> Any:
        """Return the sums over rows of these responsibilities (k, n)."""

    def distances(self, theta: T, /) -> FloatArray:
        """Return the squared distances (k, k) between components, in units of their widths."""
