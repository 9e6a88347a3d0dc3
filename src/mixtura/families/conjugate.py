"""Conjugate priors of Gaussian components: what is known of them is worth some rows more (formulas P1 to P6).

A prior is measured by what all rows are like as one, so it means the same in metres and in microns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.families.covariance import Covariance
from mixtura.families.linalg import quotient, ratio
from mixtura.frame import HORIZON, Frame

# Rows that the default adds to a component: twice the a_n of Chen & Tan, who take 1/n, at n = 20000, but constant, so
# that it is a prior, the same for rows that come at once or in a stream. No deviation of a component of n rows is
# below sqrt(ROWS / n) of the data's, 0.3 % for ten rows. The variance of a healthy one, whose deviation is a share s
# of the data's, grows by ROWS / (n s^2) of itself: 1e-4 for a hundred rows and a tenth (docs/priors.md has more).
ROWS = 1e-4
EDGE = 1e-3  # of its variances, added to the data's covariance: columns that depend on others keep some width


@dataclass(frozen=True, eq=False)
class Whole:
    """All rows as one component, in frame coordinates: what priors are measured by.

    Attributes
    ----------
    mean : (d,) array
        Of all rows.
    covariance, factor : array
        In the shape that the structure has for one component.
    """

    mean: FloatArray
    covariance: FloatArray
    factor: FloatArray

    @classmethod
    def unit(cls, structure: Covariance[Any], d: int) -> Self:
        """Return the standard normal, where no rows are known."""
        unit = structure.identity(1, d)
        return cls(mean=np.zeros(d), covariance=unit, factor=unit)

    @classmethod
    def of(cls, structure: Covariance[Any], frame: Frame, sums: Any) -> Self:
        """Return mean and covariance of the rows of sums about 0, widened a little: no direction is without width."""
        origin = np.zeros((1, len(frame.shift)))
        mean = ratio(sums.s1, sums.s0, origin)
        found = structure.estimate(sums, origin, mean, structure.identity(*origin.shape))
        variances = structure.variances(found, *origin.shape)[0]
        constant = variances <= frame.floor**2
        widened = structure.widen(found, np.where(constant, _lend(variances, constant, frame), EDGE * variances))
        covariance, factor, _ = structure.factorize(widened, frame.floor)
        return cls(mean=mean[0], covariance=covariance, factor=factor)

    def select(self, structure: Covariance[Any], columns: IntArray) -> Whole:
        """Return the same of these columns, in this order."""
        rest = np.setdiff1d(np.arange(len(self.mean)), columns)
        factor, _, _ = structure.split_factors(self.factor, columns, rest)
        return Whole(mean=self.mean[columns], covariance=structure.select(self.covariance, columns), factor=factor)

    def check(self, structure: Covariance[Any], d: int) -> None:
        """Raise a `ValueError` that names what about this, from elsewhere, cannot be."""
        shape = structure.shape(1, d)
        for name, wanted in {"mean": (d,), "covariance": shape, "factor": shape}.items():
            if (found := getattr(self, name).shape) != wanted:
                raise ValueError(f"whole.{name}: expected shape {wanted}, found {found}")
        structure.check_factors(self.covariance, self.factor)


def _lend(variances: FloatArray, constant: FloatArray, frame: Frame) -> FloatArray:
    """Return variances (d,) for constant columns: in the data's units that of the widest column, or 1."""
    widest = float(np.where(constant, 0.0, np.sqrt(variances) / frame.scale).max())
    return np.minimum(widest * frame.scale, HORIZON) ** 2 if widest > 0 else np.ones_like(variances)


@dataclass(frozen=True, eq=False)
class PriorRows:
    """A prior as the rows that it is worth, in frame coordinates.

    Attributes
    ----------
    rows : float
        How many of them each covariance has.
    covariance, factor : array
        Of those rows, in the shape that the structure has for one component.
    mean_rows : float
        How many of them each mean has; with 0, nothing is known of the means.
    mean : (d,) array
        Of those.
    """

    rows: float
    covariance: FloatArray
    factor: FloatArray
    mean_rows: float
    mean: FloatArray

    def means(self, counts: FloatArray, pivot: FloatArray, shift: FloatArray) -> FloatArray:
        """Return the most probable means, less the pivot (formula P2).

        Parameters
        ----------
        counts : (k,) array
            Rows of each component.
        pivot, shift : (k, d) array
            The means of the rows are ``pivot + shift``.
        """
        if not self.mean_rows:
            return shift
        pull = quotient(np.full_like(counts, self.mean_rows), counts + self.mean_rows)
        return shift + pull[:, None] * (self.mean - pivot - shift)

    def covariances(
        self,
        structure: Covariance[Any],
        counts: FloatArray,
        covariances: FloatArray,
        moved: FloatArray,
        gaps: FloatArray,
    ) -> FloatArray:
        """Return the most probable covariances about given means (formula P3); the same where there are no rows at all.

        Parameters
        ----------
        structure : Covariance
            Of the covariances.
        counts : (k,) array
            Rows of each component.
        covariances : array
            Of the rows, about their own means.
        moved, gaps : (k, d) array
            From the given means to those of the rows, and to that of the prior.
        """
        rows = structure.rows_of_each(counts)
        scatter = rows * covariances + structure.scatter(counts, moved) + self._scatter(structure, gaps)
        total = rows + self._divisor(structure, len(counts))
        return quotient(scatter, total, covariances)

    def means_of_rows(self, counts: FloatArray, pivot: FloatArray, shift: FloatArray) -> FloatArray:
        """Return what `means` makes these of; the same for a component without rows."""
        return shift - quotient(np.full_like(counts, self.mean_rows), counts)[:, None] * (self.mean - pivot - shift)

    def covariances_of_rows(
        self,
        structure: Covariance[Any],
        counts: FloatArray,
        covariances: FloatArray,
        moved: FloatArray,
        gaps: FloatArray,
    ) -> FloatArray:
        """Return what `covariances` makes these of; 0 for a component without rows."""
        rows = structure.rows_of_each(counts)
        total = (rows + self._divisor(structure, len(counts))) * covariances
        return quotient(total - structure.scatter(counts, moved) - self._scatter(structure, gaps), rows)

    def _scatter(self, structure: Covariance[Any], gaps: FloatArray) -> FloatArray:
        """Return the scatter of the rows that the prior is worth, about means so far from its own."""
        scatter = self.rows * self.covariance
        return scatter + structure.scatter(np.full(len(gaps), self.mean_rows), gaps) if self.mean_rows else scatter

    def log_density(self, structure: Covariance[Any], means: FloatArray, factors: FloatArray) -> float:
        """Return the log prior density, 0 at its mode but for the means' part (formula P1)."""
        k, d = means.shape
        narrowing = structure.log_det(factors, k, d) - structure.log_det(self.factor, 1, d)
        trace = structure.repeats(d) * float((self.covariance * structure.precisions(factors)).sum())
        matrices = structure.n_matrices(k)
        of_covariances: float = self.rows * (matrices / k * float(narrowing.sum()) + (matrices * d - trace) / 2)
        if not self.mean_rows:
            return of_covariances
        distance = structure.squared_distance(factors, means, self.mean[None])
        of_means: float = (narrowing - self.mean_rows * distance / 2).sum()
        return of_covariances + of_means

    def information(
        self, structure: Covariance[Any], means: FloatArray, factors: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the derivatives (k, d + s) of `log_density` by coordinates of unit information, and what it informs.

        The rows of a prior score as any do, at d points that have their covariance; what they inform of each
        coordinate is their number (formula V9). Components that share a covariance share these, too.
        """
        k, d = means.shape
        share = self.rows * structure.n_matrices(k) / k
        points = np.sqrt(d) * structure.expand(structure.roots(self.factor), 1, d)[0].T
        spread = share * structure.spread_scores(structure.whiten(factors, np.zeros_like(means), points)).mean(axis=0)
        gaps = structure.whiten(factors, means, self.mean[None])
        if self.mean_rows:
            spread += structure.spread_scores(np.sqrt(self.mean_rows) * gaps)[0]
            share += 1.0
        added = np.hstack([np.full_like(means, self.mean_rows), np.full_like(spread, share)])
        return np.hstack([self.mean_rows * gaps[0], spread]), added

    def _divisor(self, structure: Covariance[Any], k: int) -> float:
        """Return what the prior adds to the rows that a covariance is divided by."""
        return self.rows + (k / structure.n_matrices(k) if self.mean_rows else 0.0)


class ComponentPrior(ABC):
    """What is known of Gaussian components before the data are seen."""

    @abstractmethod
    def rows_for(self, structure: Covariance[Any], frame: Frame, whole: Whole, k: int) -> PriorRows:
        """Return the rows that this prior is worth to each of k components."""

    @abstractmethod
    def check(self, structure: Covariance[Any], d: int) -> None:
        """Raise a `ValueError` that names what cannot be about this prior for d columns."""

    def select(self, columns: IntArray) -> ComponentPrior:
        """Return the prior of these columns, in this order."""
        return self


@dataclass(frozen=True)
class Spread(ComponentPrior):
    """Components are as wide as the data: each covariance has some rows more, with the covariance of all rows.

    The penalty of Chen & Tan (2009), ``-rows / 2 * (tr(S / Sigma) + log|Sigma|)`` with S the covariance of the data
    (formula P4). No likelihood is unbounded with it, and rescaled data have the rescaled fit.

    Parameters
    ----------
    rows : float, default 0.0001
        How many rows, above 0.
    """

    rows: float = ROWS
    name: ClassVar[str] = "spread"

    def __post_init__(self) -> None:
        if not 0 < float(self.rows) < np.inf:
            raise ValueError(f"Spread: rows is {self.rows!r}, expected a finite number above 0")

    def check(self, structure: Covariance[Any], d: int) -> None:
        """Accept any number of columns."""

    def rows_for(self, structure: Covariance[Any], frame: Frame, whole: Whole, k: int) -> PriorRows:
        return PriorRows(self.rows, whole.covariance, whole.factor, mean_rows=0.0, mean=whole.mean)
