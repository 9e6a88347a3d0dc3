"""How the mixing weights are estimated: by the rows alone, with a Dirichlet prior, or with some that are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mixtura._types import BoolArray, FloatArray
from mixtura.families.linalg import is_occupied, log_positive, quotient, share_basis


@dataclass(frozen=True)
class Dirichlet:
    """Dirichlet prior of the mixing weights: component a has ``alpha_a - 1`` rows more (formulas P5, P6).

    Parameters
    ----------
    alpha : float or (k,) sequence, default 1
        One for all components, or one for each; at least 1, which is no prior. Below 1 the most probable weights would
        be 0.

    Examples
    --------
    >>> from mixtura import GaussianMixture
    >>> from mixtura.priors import Dirichlet
    >>> X = [0.0, 0.1, 0.2, 9.0]
    >>> GaussianMixture(2, weight_prior=Dirichlet(3), random_state=0).fit(X).weights_.round(3).max().item()
    0.625
    """

    alpha: float | Sequence[float] = 1.0

    def __post_init__(self) -> None:
        alpha = np.asarray(self.alpha, dtype=np.float64)
        if alpha.ndim > 1 or not alpha.size:
            raise ValueError(f"Dirichlet: alpha has shape {alpha.shape}, expected a number or one for each component")
        if (bad := ~((alpha >= 1) & np.isfinite(alpha))).any():
            raise ValueError(
                f"Dirichlet: alpha is {alpha[bad][0]:g}, expected a finite number from 1: "
                f"below 1 the density has its mode where a weight is 0"
            )
        object.__setattr__(self, "alpha", tuple(alpha.tolist()) if alpha.ndim else float(alpha))

    def rows(self, k: int) -> FloatArray:
        """Return the rows (k,) that the prior adds to each component."""
        return _rows(self.alpha, k)


@dataclass(frozen=True)
class Weighting:
    """The update, the prior and the free coordinates of the mixing weights.

    Parameters
    ----------
    prior : Dirichlet
        Of all weights.
    fixed : tuple of int
        Components whose weights stay as they are; the others share what is left.
    """

    prior: Dirichlet = Dirichlet()
    fixed: tuple[int, ...] = ()

    def check(self, k: int, *, renumbered: bool) -> None:
        """Raise a `ValueError` unless this is for k components, which may be `renumbered` when one is dropped."""
        alpha = np.asarray(self.prior.alpha)
        if alpha.ndim and len(alpha) != k:
            raise ValueError(f"Dirichlet: alpha has {len(alpha)} numbers, expected one for each of {k} components")
        if alpha.ndim and renumbered:
            raise ValueError(
                "Dirichlet: alpha has a number for each component, which on_collapse='drop' renumbers: "
                "give one number for all, or take another policy"
            )

    def update(self, counts: FloatArray, old: FloatArray) -> FloatArray:
        """Return the most probable weights (..., k) of components with these rows (formulas M1, P6)."""
        rows, free = counts + self.prior.rows(counts.shape[-1]), self.is_free(counts)
        total = rows[..., free].sum(axis=-1, keepdims=True)
        weights: FloatArray = np.where(free & is_occupied(total), self._left(old) * quotient(rows, total), old)
        return weights

    def counts(self, weights: FloatArray, total: float) -> FloatArray:
        """Return the rows, of this total, of which `update` makes these weights."""
        added, free = self.prior.rows(len(weights)), self.is_free(weights)
        expected = weights * (total + added[free].sum() / self._left(weights))
        return np.where(free, np.maximum(expected - added, 0.0), weights * total)

    def log_prior(self, weights: FloatArray) -> float:
        """Return the log density of the prior, but for its constant (formula P5)."""
        rows = self.prior.rows(len(weights))
        return float((rows * log_positive(weights)).sum()) if rows.any() else 0.0

    def free(self, weights: FloatArray) -> FloatArray:
        """Return the logarithms of the free weights about their mean, 0 for a weight of 0 (formula Q1)."""
        weights = weights[self.is_free(weights)]
        positive, logs = weights > 0, log_positive(weights)
        return np.where(positive, logs - logs.sum() / max(positive.sum(), 1), 0.0)

    def from_free(self, vector: FloatArray, like: FloatArray) -> FloatArray:
        """Return the weights with these coordinates; what is fixed or 0 in `like` stays."""
        weights, free = like.copy(), self.is_free(like)
        logs = np.where(like[free] > 0, vector, -np.inf)
        shares = np.exp(logs - logs.max(initial=-np.inf))
        weights[free] = self._left(like) * (shares / shares.sum())
        return weights

    def metric(self, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the complete-data information per unit of weight, times a step (formula Q2)."""
        mine = weights[self.is_free(weights)]
        product: FloatArray = mine * (step - (mine * step).sum() / self._left(weights))
        return product

    def inverse_metric(self, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""
        return quotient(gradient, weights[self.is_free(weights)])

    def basis(self, weights: FloatArray) -> FloatArray:
        """Return the steps (k, m) of the log weights that are coordinates of unit information (formula V4).

        Those of the free weights, about what these share; a fixed one takes none.
        """
        free = self.is_free(weights)
        basis = np.zeros((len(weights), self.n_parameters(len(weights))))
        if basis.size:
            basis[free] = share_basis(weights[free] / self._left(weights))
        return basis

    def n_free(self, k: int) -> int:
        """Return how many of k weights are not fixed."""
        return k - len(self.fixed)

    def n_parameters(self, k: int) -> int:
        """Return the number of free parameters: the weights sum to 1."""
        return max(self.n_free(k) - 1, 0)

    def is_free(self, weights: FloatArray) -> BoolArray:
        """Tell which of weights (..., k) are not fixed, (k,)."""
        return _free(self.fixed, weights.shape[-1])

    def _left(self, weights: FloatArray) -> FloatArray | float:
        """Return what the weights (..., k) that are not fixed share, (..., 1); 1 where all are, and nobody asks."""
        if not self.fixed:
            return 1.0
        held: FloatArray = weights[..., list(self.fixed)].sum(axis=-1, keepdims=True)
        return 1.0 - held if self.n_free(weights.shape[-1]) else np.ones_like(held)


@cache
def _rows(alpha: float | tuple[float, ...], k: int) -> FloatArray:
    rows = np.full(k, alpha, dtype=np.float64) - 1.0
    rows.flags.writeable = False  # all share it
    return rows


@cache
def _free(fixed: tuple[int, ...], k: int) -> BoolArray:
    free = np.ones(k, dtype=np.bool_)
    free[list(fixed)] = False
    free.flags.writeable = False
    return free
