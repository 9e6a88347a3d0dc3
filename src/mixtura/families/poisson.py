"""The Poisson family: independent counts in each column."""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma
from typing import Any, ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray, Wanted
from mixtura.families.linalg import log_positive, quotient, ratio
from mixtura.frame import Frame
from mixtura.model import Event, Quantity
from mixtura.stats import Sums


@dataclass(frozen=True, eq=False)
class PoissonParams:
    """Rates of k components in d columns, (k, d)."""

    rates: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class PoissonSums(Sums):
    """Sum of the responsibilities, (k,), and of ``r x``, (k, d)."""

    s0: FloatArray
    s1: FloatArray


@dataclass(frozen=True)
class Poisson:
    """Independent Poisson counts in each column (formulas E7, M7)."""

    name: ClassVar[str] = "poisson"
    support: ClassVar[str] = "whole numbers from 0"
    params_type: ClassVar[type[PoissonParams]] = PoissonParams

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are counts."""
        valid: BoolArray = np.isfinite(x) & (x >= 0) & (np.floor(x) == x)
        return valid

    def frame(self, low: FloatArray, high: FloatArray, centre: FloatArray) -> Frame:
        """Return the identity: counts are used as they are."""
        return Frame.identity(len(low))

    def blank(self, frame: Frame, n_components: int) -> PoissonParams:
        """Return unit rates."""
        return PoissonParams(rates=np.ones((n_components, len(frame.shift))))

    def log_density(self, theta: PoissonParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-probabilities (formula E7); a rate of 0 allows only counts of 0."""
        density = x @ log_positive(theta.rates).T - theta.rates.sum(axis=1) - log_factorial(x).sum(axis=1)[:, None]
        impossible = (x > 0).astype(np.float64) @ (theta.rates == 0).astype(np.float64).T > 0
        return np.where(impossible, -np.inf, density)

    def suffstats(self, theta: PoissonParams, x: FloatArray, resp: FloatArray) -> PoissonSums:
        """Return the counts and sums of each component."""
        return PoissonSums(s0=resp.sum(axis=0), s1=resp.T @ x)

    def expected(self, theta: PoissonParams, counts: FloatArray) -> PoissonSums:
        """Return the sums of which `update` makes `theta` (formula B1)."""
        return PoissonSums(s0=counts, s1=counts[:, None] * theta.rates)

    def update(self, sums: PoissonSums, theta: PoissonParams) -> tuple[PoissonParams, list[Event]]:
        """Return the mean count of each component and column (formula M7)."""
        return PoissonParams(rates=ratio(sums.s1, sums.s0, theta.rates)), []

    def free(self, theta: PoissonParams) -> FloatArray:
        """Return the log rates; a rate of 0, which EM does not leave, has none."""
        return log_positive(theta.rates).ravel()

    def from_free(self, vector: FloatArray, like: PoissonParams) -> PoissonParams | None:
        """Return the rates with these logarithms."""
        with np.errstate(over="ignore"):
            rates = np.where(like.rates > 0, np.exp(vector.reshape(like.rates.shape)), 0.0)
        return PoissonParams(rates=rates) if np.isfinite(rates).all() else None

    def metric(self, theta: PoissonParams, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the information about log rates, which is the rates, times a step."""
        return (weights[:, None] * theta.rates).ravel() * step

    def inverse_metric(self, theta: PoissonParams, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""
        return quotient(gradient, (weights[:, None] * theta.rates).ravel())

    def refine(self, sums: PoissonSums, theta: PoissonParams) -> None:
        """Return None: sums of counts have no pivot."""

    def pivot(self, theta: PoissonParams) -> str:
        """Return the empty digest: sums of counts have no pivot."""
        return ""

    def sample(self, theta: PoissonParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row of counts from the component named by each of `labels` (n,)."""
        return rng.poisson(theta.rates[labels]).astype(np.float64)

    def n_features(self, theta: PoissonParams) -> int:
        """Return the number of columns."""
        return int(theta.rates.shape[1])

    def n_parameters(self, theta: PoissonParams) -> int:
        """Return the number of rates."""
        return theta.rates.size

    def attributes(self, theta: PoissonParams) -> dict[str, FloatArray]:
        """Return the rates."""
        return {"rates_": theta.rates.copy()}

    def unit_scores(self, theta: PoissonParams, x: FloatArray) -> FloatArray:
        """Return the standardized counts (formula V3)."""
        scores: FloatArray = (x[:, None, :] - theta.rates) / np.sqrt(theta.rates)
        return scores

    def slots(self, theta: PoissonParams) -> IntArray:
        """Return the numbers of the coordinates: one for each rate."""
        return np.arange(theta.rates.size).reshape(theta.rates.shape)

    def quantities(self, theta: PoissonParams) -> list[Quantity]:
        """Return the rates, with their derivatives (formula V3)."""
        rates, all_of_them = theta.rates.copy(), np.ones_like(theta.rates, dtype=np.bool_)
        effects = np.diag(np.sqrt(rates).ravel()).reshape(-1, *rates.shape)
        return [Quantity("rates", rates, effects, all_of_them, all_of_them)]

    def edges(self, theta: PoissonParams) -> list[str]:
        """Name the rates that are 0."""
        return [f"component {j} has a rate of 0 in column {c}" for j, c in np.argwhere(theta.rates == 0)]

    def check(self, theta: PoissonParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` if rates from elsewhere have a wrong shape or sign."""
        if theta.rates.shape != (n_components, n_features) or (theta.rates < 0).any():
            raise ValueError(f"rates: expected ({n_components}, {n_features}) numbers from 0")

    def fused(self, n_components: int, n_features: int) -> bool:
        """Return False: the composed path serves counts of any size."""
        return False

    def e_blocks(self, log_weights: FloatArray, theta: Any, chunk: Any, negligible: float) -> Any:
        """Refuse: there is no compiled kernel."""
        raise NotImplementedError("the Poisson family has no compiled kernel")

    def posterior_rows(self, log_weights: FloatArray, theta: Any, x: Any, wanted: Wanted) -> Any:
        """Refuse: there is no compiled kernel."""
        raise NotImplementedError("the Poisson family has no compiled kernel")


def log_factorial(x: FloatArray) -> FloatArray:
    """Return log x! of counts, evaluating each distinct count once."""
    values, where = np.unique(x, return_inverse=True)
    logs = np.array([lgamma(value + 1.0) for value in values])
    return logs[where].reshape(x.shape)
