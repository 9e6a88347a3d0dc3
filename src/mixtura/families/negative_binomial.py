"""The negative binomial family: counts that vary more than Poisson ones, independent in each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.capabilities import Quantity
from mixtura.families.base import Separable, expect, is_whole
from mixtura.families.counts import by_column, log_factorial, log_factorials
from mixtura.families.linalg import ratio
from mixtura.families.powers import log_powers
from mixtura.families.special import gamma_shape, log_less_digamma, log_rising, shape_information
from mixtura.families.tabulated import Tabulated
from mixtura.families.tails import count_tails
from mixtura.families.two import two_blocks, two_quantities, two_slots
from mixtura.frame import Frame
from mixtura.kernels.levels import Levels, Tables
from mixtura.model import COUNTING, Event
from mixtura.stats import Sums

LARGEST_SIZE = 2.0**40  # from here on the counts are Poisson to rounding
LEAST_GAP = 0.5 / LARGEST_SIZE


@dataclass(frozen=True, eq=False)
class NegativeBinomialParams:
    """Means and sizes of k components in d columns, (k, d); the variance is ``mean + mean**2 / size``."""

    means: FloatArray
    sizes: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class NegativeBinomialSums(Sums):
    """Sums over rows.

    Attributes
    ----------
    s0 : (k,) array
        Of the responsibilities r.
    s1 : (k, d) array
        Of ``r x``.
    logs : (k, d) array
        Of ``r (psi(x + size) - log size)``: the expected logarithm of the row's rate, up to what no row changes.
    """

    s0: FloatArray
    s1: FloatArray
    logs: FloatArray


@dataclass(frozen=True)
class NegativeBinomial(Separable[NegativeBinomialParams], Tabulated[NegativeBinomialParams]):
    """Independent negative binomial counts in each column (formulas D13, D14).

    A fitted mixture has ``means_`` and ``sizes_`` (k, d); in SciPy's terms n is the size and p is size / (size + mean).
    Each count is Poisson with a rate of its own, which is gamma-distributed. The update takes the maximum for the
    means, and for the sizes an EM step on these rates, which never lowers the likelihood, by Newton's method.
    Counts that vary no more than Poisson ones have no finite size; it then grows up to 2**40.

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import NegativeBinomial
    >>> fitted = MixtureModel(NegativeBinomial(), tol=1e-9).fit([0, 1, 2, 5, 12])
    >>> fitted.means_.tolist(), fitted.sizes_.round(2).tolist()
    ([[4.0]], [[0.9]])
    """

    name: ClassVar[str] = "negative binomial"
    has_unseen: ClassVar[bool] = True
    support: ClassVar[str] = "whole numbers from 0"
    measure: ClassVar[str] = COUNTING
    params_type: ClassVar[type[NegativeBinomialParams]] = NegativeBinomialParams

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are counts."""
        return is_whole(x)

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> NegativeBinomialParams:
        """Return unit means and sizes."""
        unit = np.ones((n_components, len(frame.shift)))
        return NegativeBinomialParams(means=unit, sizes=unit)

    def log_density(self, theta: NegativeBinomialParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-probabilities (formula D13); a mean of 0 allows only counts of 0."""
        density: FloatArray = log_powers(x, theta.means) - log_factorials(x)[:, None]
        for term in by_column(x, lambda count, j: _excess(count, theta.means[:, j], theta.sizes[:, j])):
            density += term
        return density

    def suffstats(self, theta: NegativeBinomialParams, x: FloatArray, resp: FloatArray) -> NegativeBinomialSums:
        """Return the counts, the sums, and the sums of expected logarithms of rates."""
        log_rates = by_column(x, lambda count, j: _log_rate(count, theta.sizes[:, j]))
        logs = [(resp * term).sum(axis=0) for term in log_rates]
        return NegativeBinomialSums(s0=resp.sum(axis=0), s1=resp.T @ x, logs=np.column_stack(logs))

    def tabulate(self, theta: NegativeBinomialParams, levels: Levels) -> Tables:
        """Return the log-probabilities, the counts, and the expected logarithms of rates."""
        from scipy.special import xlogy

        counts, means, sizes = levels.counts, theta.means[:, levels.columns], theta.sizes[:, levels.columns]
        density = xlogy(counts, means) - log_factorial(counts) + _excess(counts, means, sizes)
        return Tables.of(
            density, np.broadcast_to(counts, density.shape), _log_rate(counts, sizes), d=theta.means.shape[1]
        )

    def collect(self, s0: FloatArray, sums: FloatArray) -> NegativeBinomialSums:
        """Return the sums of counts, and those of expected logarithms."""
        s1, logs = np.split(sums, 2, axis=1)
        return NegativeBinomialSums(s0=s0, s1=s1, logs=logs)

    def expected(self, theta: NegativeBinomialParams, counts: FloatArray) -> NegativeBinomialSums:
        """Return the sums of which `update` makes `theta` (formula B1)."""
        logs = np.log1p(theta.means / theta.sizes) - log_less_digamma(theta.sizes)
        return NegativeBinomialSums(s0=counts, s1=counts[:, None] * theta.means, logs=counts[:, None] * logs)

    def update(
        self, sums: NegativeBinomialSums, theta: NegativeBinomialParams
    ) -> tuple[NegativeBinomialParams, list[Event]]:
        """Return the means, and the sizes by an EM step on the rates of the rows (formula D14)."""
        means = ratio(sums.s1, sums.s0, theta.means)
        gap = np.log1p(means / theta.sizes) - ratio(sums.logs, sums.s0, 0.0)
        sizes = gamma_shape(np.maximum(gap, LEAST_GAP))
        told = (sums.s0[:, None] > 0) & (means > 0)  # zeros alone tell nothing of a size
        return NegativeBinomialParams(means=means, sizes=np.where(told, sizes, theta.sizes)), []

    def is_interior(self, theta: NegativeBinomialParams) -> bool:
        """Tell whether no mean is 0."""
        return bool((theta.means > 0).all())

    def take(self, theta: NegativeBinomialParams, components: IntArray) -> NegativeBinomialParams:
        """Return the parameters of these components, in this order."""
        return NegativeBinomialParams(means=theta.means[components], sizes=theta.sizes[components])

    def coordinates(self, theta: NegativeBinomialParams) -> FloatArray:
        """Return the roots of the means, twice (D7), and the logarithms of the sizes."""
        return np.stack([2 * np.sqrt(theta.means), np.log(theta.sizes)])

    def from_coordinates(self, coordinates: FloatArray, like: NegativeBinomialParams) -> NegativeBinomialParams:
        """Return the parameters with these coordinates; a size that is too large is no number."""
        sizes = np.exp(coordinates[1])
        sizes = np.where(sizes < LARGEST_SIZE, sizes, np.nan)
        return NegativeBinomialParams(means=coordinates[0] ** 2 / 4, sizes=sizes)

    def information(self, theta: NegativeBinomialParams) -> FloatArray:
        """Return that of counts about the roots of means, and that of rates about the logarithms of sizes (D14)."""
        return np.stack([theta.sizes / (theta.sizes + theta.means), shape_information(theta.sizes)])

    def unit_scores(self, theta: NegativeBinomialParams, x: FloatArray) -> FloatArray:
        """Return those of the logarithms of means and sizes (formula V15)."""
        excess, of_size = self._deviations(theta, x)
        of_means, of_sizes = self._roots(theta)
        unit: FloatArray = np.concatenate([theta.sizes * excess / of_means, of_size / of_sizes], axis=2)
        return unit

    def unseen(self, theta: NegativeBinomialParams, x: FloatArray, weight: FloatArray) -> FloatArray:
        """Return 1 plus the second derivatives, which are within columns (formula V15)."""
        excess, of_size = self._deviations(theta, x)
        of_means, of_sizes = self._roots(theta)
        mean, size, each = theta.means, theta.sizes, weight[:, :, None]
        part = size / (x[:, None, :] + size)
        seen = (part**2 * shape_information(size / part) + part * size * excess**2 + of_size) / of_sizes**2
        share = mean / (mean + size)
        return two_blocks(
            (each * -excess).sum(axis=0) * share * size / of_means**2,
            (each * excess).sum(axis=0) * share * size / (of_means * of_sizes),
            (each * seen).sum(axis=0),
        )

    def _deviations(self, theta: NegativeBinomialParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return ``(x - mean) / (mean + size)`` and the derivative by the logarithm of the size, (n, k, d)."""
        counts, size = x[:, None, :], theta.sizes
        excess = (counts - theta.means) / (theta.means + size)
        logs = log_less_digamma(size) - log_less_digamma(counts + size)
        return excess, size * (np.log1p(excess) - excess + logs)

    def _roots(self, theta: NegativeBinomialParams) -> tuple[FloatArray, FloatArray]:
        """Return the roots of the information about the logarithms of mean and size, of rows of known rates."""
        return np.sqrt(theta.means * theta.sizes / (theta.means + theta.sizes)), np.sqrt(shape_information(theta.sizes))

    def slots(self, theta: NegativeBinomialParams) -> IntArray:
        """Return the numbers of the coordinates: two for each component and column."""
        return two_slots(theta.means)

    def quantities(self, theta: NegativeBinomialParams) -> list[Quantity]:
        """Return means and sizes, with their derivatives."""
        of_means, of_sizes = self._roots(theta)
        zero = np.zeros_like(of_means)
        effects = {"means": (theta.means / of_means, zero), "sizes": (zero, theta.sizes / of_sizes)}
        return two_quantities({name: getattr(theta, name) for name in effects}, effects)

    def edges(self, theta: NegativeBinomialParams) -> list[str]:
        """Name the components without counts, and those whose counts vary no more than Poisson ones."""
        return [
            *(f"component {a} does not vary in column {j}" for a, j in np.argwhere(theta.means == 0)),
            *(
                f"component {a} varies no more than Poisson counts in column {j}"
                for a, j in np.argwhere(theta.sizes > LARGEST_SIZE / 2)
            ),
        ]

    def tails(self, theta: NegativeBinomialParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities (n, k) of at most `x` (n, 1) and of more."""
        from scipy.special import betainc, betaincc

        sizes, share = theta.sizes[:, 0], (theta.means / (theta.sizes + theta.means))[:, 0]
        return count_tails(x, lambda more: (betaincc(more, sizes, share), betainc(more, sizes, share)))

    def sample(self, theta: NegativeBinomialParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row of counts from the component named by each of `labels` (n,)."""
        rates = rng.gamma(theta.sizes[labels], (theta.means / theta.sizes)[labels])
        return rng.poisson(rates).astype(np.float64)

    def attributes(self, theta: NegativeBinomialParams) -> dict[str, FloatArray]:
        """Return means and sizes."""
        return {"means_": theta.means.copy(), "sizes_": theta.sizes.copy()}

    def check(self, theta: NegativeBinomialParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` if parameters from elsewhere have a wrong shape or sign."""
        shape = (n_components, n_features)
        expect("means", theta.means, shape, theta.means >= 0, "numbers from 0")
        expect("sizes", theta.sizes, shape, theta.sizes > 0, "positive numbers")


def _excess(count: FloatArray, mean: FloatArray, size: FloatArray) -> FloatArray:
    """Return what the log-probability of a count has besides ``x log mean - log x!`` (formula D13)."""
    excess: FloatArray = log_rising(size, count) - (count + size) * np.log1p(mean / size)
    return excess


def _log_rate(count: FloatArray, size: FloatArray) -> FloatArray:
    """Return the expected logarithm of the rate of a row, up to what no row changes (formula D14)."""
    log_rate: FloatArray = np.log1p(count / size) - log_less_digamma(count + size)
    return log_rate
