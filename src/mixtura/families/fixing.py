"""Gaussian components of which some means or covariances are fixed: they stay where a fit starts (formula P8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mixtura._types import BoolArray, FloatArray
from mixtura.families.conjugate import PriorRows
from mixtura.families.gaussian import Gaussian, GaussianParams
from mixtura.families.incomplete import IncompleteGaussian
from mixtura.model import SHARED, Event


@dataclass(frozen=True)
class FixedGaussian(Gaussian):
    """Gaussian components of which some stay as they are, to the last bit; the others are updated as ever.

    Parameters
    ----------
    fixed_means, fixed_covariances : tuple of int
        The components that keep their mean, and their covariance; that of `Tied` is all components' or nobody's.
    """

    fixed_means: tuple[int, ...] = ()
    fixed_covariances: tuple[int, ...] = ()

    def stacked(self, k: int) -> None:
        """Return None: which components are fixed goes by their numbers."""

    def for_missing(self) -> FixedGaussian:
        """Return the family of the same components for rows that may lack values (NaN)."""
        return _FixedIncompleteGaussian(**{f.name: getattr(self, f.name) for f in fields(self)})

    def update(self, sums: Any, theta: GaussianParams) -> tuple[GaussianParams, list[Event]]:
        """Return the update under the constraints; what is fixed cannot collapse."""
        updated, events = super().update(sums, theta)
        kept = {*self.fixed_covariances, SHARED} if self.fixed_covariances else set()
        return self._pin(updated, theta), [event for event in events if event.component not in kept]

    def free(self, theta: GaussianParams) -> FloatArray:
        """Return the coordinates of what is not fixed."""
        return super().free(theta)[self._is_free(theta)]

    def from_free(self, vector: FloatArray, like: GaussianParams) -> GaussianParams | None:
        """Return the parameters with these coordinates, and what is fixed as in `like`."""
        theta = super().from_free(self._embed(vector, like, super().free(like)), like)
        return None if theta is None else self._pin(theta, like)

    def metric(self, theta: GaussianParams, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the information about what is not fixed times a step; it has no entry between components."""
        return super().metric(theta, weights, self._embed(step, theta))[self._is_free(theta)]

    def inverse_metric(self, theta: GaussianParams, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""
        return super().inverse_metric(theta, weights, self._embed(gradient, theta))[self._is_free(theta)]

    def n_parameters(self, theta: GaussianParams) -> int:
        """Return the number of parameters that are not fixed."""
        return int(self._is_free(theta).sum())

    def estimated(self, theta: GaussianParams) -> BoolArray:
        """Tell which of all coordinates are those of something that is not fixed."""
        return self._is_free(theta)

    def _means(self, theta: GaussianParams, counts: FloatArray, shift: FloatArray) -> FloatArray:
        return self._replace_fixed(super()._means(theta, counts, shift), theta)

    def _means_of_rows(self, theta: GaussianParams, counts: FloatArray) -> FloatArray:
        return self._replace_fixed(super()._means_of_rows(theta, counts), theta)

    def _prior_rows(self, theta: GaussianParams) -> PriorRows:
        """Return the rows that the prior is worth; none at all still lets covariances be about fixed means."""
        whole = theta.whole
        return super()._prior_rows(theta) or PriorRows(0.0, whole.covariance, whole.factor, 0.0, whole.mean)

    def _replace_fixed(self, shift: FloatArray, theta: GaussianParams) -> FloatArray:
        """Return means, less the pivot, with the fixed ones where they are."""
        fixed, shift = list(self.fixed_means), shift.copy()
        shift[fixed] = (theta.means - theta.pivot)[fixed]
        return shift

    def _pin(self, theta: GaussianParams, like: GaussianParams) -> GaussianParams:
        """Return `theta` with what is fixed as it is in `like`, bit for bit."""
        means = theta.means.copy()
        means[list(self.fixed_means)] = like.means[list(self.fixed_means)]
        covariances, factors = theta.covariances.copy(), theta.factors.copy()
        own = self.covariance.owned(self.fixed_covariances)
        covariances[own], factors[own] = like.covariances[own], like.factors[own]
        return replace(theta, means=means, pivot=means, covariances=covariances, factors=factors)

    def _is_free(self, theta: GaussianParams) -> BoolArray:
        """Tell which of all coordinates are those of something that is not fixed."""
        k, d = theta.means.shape
        means, matrices = np.ones((k, d), dtype=np.bool_), np.ones(self.covariance.n_matrices(k), dtype=np.bool_)
        means[list(self.fixed_means)] = False
        matrices[self.covariance.owned(self.fixed_covariances)] = False
        numbers = self.covariance.n_parameters(k, d) // len(matrices)
        return np.concatenate([means.ravel(), np.repeat(matrices, numbers)])

    def _embed(self, vector: FloatArray, theta: GaussianParams, rest: FloatArray | float = 0.0) -> FloatArray:
        """Return a vector of the free coordinates as one of all, with `rest` elsewhere."""
        free = self._is_free(theta)
        everything = np.empty(len(free))
        everything[:] = rest
        everything[free] = vector
        return everything


@dataclass(frozen=True)
class _FixedIncompleteGaussian(FixedGaussian, IncompleteGaussian):
    """The same of rows that may lack values."""

    def for_missing(self) -> _FixedIncompleteGaussian:
        return self


@dataclass(frozen=True)
class Fixed:
    """What of a Gaussian mixture stays at its start: `weights_init`, `means_init`, `precisions_init`.

    Parameters
    ----------
    weights, means, covariances : bool or sequence of int, default False
        True for all components, or the numbers of those whose value is fixed. Weights that are not fixed share what the
        fixed ones leave.

    Examples
    --------
    >>> from mixtura import GaussianMixture
    >>> from mixtura.priors import Fixed
    >>> X = [-1.0, 0.0, 1.0, 8.0, 9.0, 10.0]
    >>> mixture = GaussianMixture(2, means_init=[[0.5], [9.0]], fixed=Fixed(means=[0])).fit(X)
    >>> mixture.means_.round(3).tolist()
    [[0.5], [9.0]]
    >>> mixture.covariances_[0].round(2).tolist()  # about 0.5, not about the mean of its rows
    [[0.92]]
    """

    weights: bool | Sequence[int] = False
    means: bool | Sequence[int] = False
    covariances: bool | Sequence[int] = False

    def __post_init__(self) -> None:
        for what in ("weights", "means", "covariances"):
            object.__setattr__(self, what, _numbers(what, getattr(self, what)))

    def among(self, what: str, k: int) -> tuple[int, ...]:
        """Return the numbers of the components, of k, whose weights, means or covariances are fixed."""
        value = getattr(self, what)
        if isinstance(value, bool):
            return tuple(range(k)) if value else ()
        if outside := [j for j in value if j >= k]:
            raise ValueError(f"Fixed: {what} names component {outside[0]}, expected numbers from 0 to {k - 1}")
        return tuple(value)


def _numbers(what: str, value: Any) -> bool | tuple[int, ...]:
    """Return which components an option names: all, none, or some by their numbers."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    numbers = np.asarray(value)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise ValueError(f"Fixed: {what} is {value!r}, expected True, False or a list of numbers of components")
    if (numbers < 0).any() or len(set(numbers.tolist())) < len(numbers):
        raise ValueError(f"Fixed: {what} is {value!r}, expected different numbers from 0")
    return tuple(numbers.tolist())
