"""The Poisson family: independent counts in each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.families.base import MeanSums, Separable, expect, is_whole
from mixtura.families.counts import log_factorial, log_factorials
from mixtura.families.linalg import log_or_never
from mixtura.families.linear import Linear
from mixtura.families.powers import log_powers
from mixtura.families.standardized import Standardized
from mixtura.families.tabulated import Tabulated
from mixtura.families.tails import count_tails
from mixtura.frame import Frame
from mixtura.kernels.layout import COUNT, Layout
from mixtura.kernels.levels import Levels, Tables
from mixtura.model import COUNTING, Event


@dataclass(frozen=True, eq=False)
class PoissonParams:
    """Rates of k components in d columns, (k, d)."""

    rates: FloatArray


@dataclass(frozen=True)
class Poisson(Standardized[PoissonParams], Separable[PoissonParams], Linear[PoissonParams], Tabulated[PoissonParams]):
    """Independent Poisson counts in each column (formulas E7, M7).

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import Poisson
    >>> mixture = MixtureModel(Poisson(), 2, random_state=0).fit([0, 1, 0, 2, 1, 19, 22, 20])
    >>> sorted(mixture.rates_[:, 0].round(3).tolist())
    [0.8, 20.333]
    """

    name: ClassVar[str] = "poisson"
    takes_sparse: ClassVar[bool] = True
    support: ClassVar[str] = "whole numbers from 0"
    measure: ClassVar[str] = COUNTING
    params_type: ClassVar[type[PoissonParams]] = PoissonParams

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are counts."""
        return is_whole(x)

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> PoissonParams:
        """Return unit rates."""
        return PoissonParams(rates=np.ones((n_components, len(frame.shift))))

    def log_density(self, theta: PoissonParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-probabilities (formula E7); a rate of 0 allows only counts of 0."""
        density: FloatArray = log_powers(x, theta.rates) - theta.rates.sum(axis=1)
        density -= log_factorials(x)[:, None]
        return density

    def layout(self, n_features: int) -> Layout:
        """Return the counts as features."""
        return Layout.of_columns(n_features, COUNT)

    def coefficients(self, theta: PoissonParams) -> tuple[FloatArray, FloatArray]:
        """Return the logarithms of the rates, and minus the sums of the rates."""
        return log_or_never(theta.rates), -theta.rates.sum(axis=1)

    def tabulate(self, theta: PoissonParams, levels: Levels) -> Tables:
        """Return the log-probabilities and the counts: for `ZeroInflated`, since alone it has a faster kernel."""
        from scipy.special import xlogy

        counts, rates = levels.counts, theta.rates[:, levels.columns]
        density = xlogy(counts, rates) - rates - log_factorial(counts)
        return Tables.of(density, np.broadcast_to(counts, density.shape), d=theta.rates.shape[1])

    def collect(self, s0: FloatArray, sums: FloatArray) -> MeanSums:
        """Return the sums of counts."""
        return MeanSums(s0=s0, s1=sums)

    def is_interior(self, theta: PoissonParams) -> bool:
        """Tell whether no rate is 0."""
        return bool((theta.rates > 0).all())

    def mean(self, theta: PoissonParams) -> FloatArray:
        """Return the rates."""
        return theta.rates

    def from_mean(self, mean: FloatArray, theta: PoissonParams) -> tuple[PoissonParams, list[Event]]:
        """Return the mean counts as rates (formula M7)."""
        return PoissonParams(rates=mean), []

    def coordinates(self, theta: PoissonParams) -> FloatArray:
        """Return the roots of the rates, twice: a rate of 0 is not far away (D7)."""
        return 2 * np.sqrt(theta.rates)[None]

    def from_coordinates(self, coordinates: FloatArray, like: PoissonParams) -> PoissonParams:
        """Return the rates with these roots."""
        return PoissonParams(rates=coordinates[0] ** 2 / 4)

    def information(self, theta: PoissonParams) -> FloatArray:
        """Return that about the roots, which is 1."""
        return np.ones_like(theta.rates)[None]

    def tails(self, theta: PoissonParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities (n, k) of at most `x` (n, 1) and of more."""
        from scipy.special import gammainc, gammaincc

        return count_tails(x, lambda more: (gammaincc(more, theta.rates[:, 0]), gammainc(more, theta.rates[:, 0])))

    def sample(self, theta: PoissonParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row of counts from the component named by each of `labels` (n,)."""
        return rng.poisson(theta.rates[labels]).astype(np.float64)

    def attributes(self, theta: PoissonParams) -> dict[str, FloatArray]:
        """Return the rates."""
        return {"rates_": theta.rates.copy()}

    def deviations(self, theta: PoissonParams) -> FloatArray:
        """Return the roots of the rates."""
        return np.sqrt(theta.rates)

    def check(self, theta: PoissonParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` if rates from elsewhere have a wrong shape or sign."""
        expect("rates", theta.rates, (n_components, n_features), theta.rates >= 0, "numbers from 0")
