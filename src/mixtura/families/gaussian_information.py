"""What rows tell of the parameters of Gaussian components: scores in coordinates of unit information (formula V2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.capabilities import Quantity

if TYPE_CHECKING:
    from mixtura.families.conjugate import PriorRows
    from mixtura.families.covariance import Covariance
    from mixtura.families.gaussian import GaussianParams

AT_THE_FLOOR = 1 + 1e-6  # a deviation of less than so many floors is one that was raised to it


class GaussianInformation:
    """The part of the Gaussian family that standard errors follow from: see `mixtura.capabilities.Differentiable`."""

    covariance: Covariance[Any]

    def _prior_rows(self, theta: GaussianParams) -> PriorRows | None:
        raise NotImplementedError

    def attributes(self, theta: GaussianParams) -> dict[str, FloatArray]:
        raise NotImplementedError

    def unit_scores(self, theta: GaussianParams, x: FloatArray) -> FloatArray:
        """Return the whitened rows, for the means, and the scores of the covariances (formula V2)."""
        y = self.covariance.whiten(theta.factors, theta.means, theta.frame.enter(x))
        return np.concatenate([y, self.covariance.spread_scores(y)], axis=2)

    def unseen(self, theta: GaussianParams, x: FloatArray, weight: FloatArray) -> FloatArray | float:
        """Return 0: rows lack nothing."""
        return 0.0

    def slots(self, theta: GaussianParams) -> IntArray:
        """Return the numbers of the coordinates, those of the means first."""
        k, d = theta.means.shape
        return np.hstack([np.arange(k * d).reshape(k, d), k * d + self.covariance.spread_slots(k, d)])

    def estimated(self, theta: GaussianParams) -> BoolArray:
        """Return True for each coordinate."""
        return np.ones(int(self.slots(theta).max()) + 1, dtype=np.bool_)

    def quantities(self, theta: GaussianParams) -> list[Quantity]:
        """Return means and covariances, with their derivatives by all coordinates (formula V2)."""
        k, d = theta.means.shape
        own, structure = self.attributes(theta), self.covariance
        roots = structure.expand(structure.roots(theta.factors), k, d) / theta.frame.scale[:, None]
        by_mean = np.einsum("ab,aji->aibj", np.eye(k), roots).reshape(k * d, k, d)
        by_spread = structure.rescale(structure.spread_effects(theta.factors, d), 1 / theta.frame.scale)
        distinct, positive = structure.entries(theta.covariances.shape)
        free = np.ones((k, d), dtype=np.bool_)
        return [
            Quantity("means", own["means_"], by_mean, free, ~free).among(0, len(by_spread)),
            Quantity("covariances", own["covariances_"], by_spread, distinct, positive).among(k * d, 0),
        ]

    def prior_information(self, theta: GaussianParams) -> tuple[FloatArray, FloatArray]:
        """Return the derivatives of `log_prior` by the coordinates, and what the prior informs of them."""
        slots = self.slots(theta)
        totals = np.zeros((2, int(slots.max()) + 1))
        if (prior := self._prior_rows(theta)) is not None:
            parts_of = prior.information(self.covariance, theta.means, theta.factors)
            for total, parts in zip(totals, parts_of, strict=True):
                np.add.at(total, slots, parts)
        return totals[0], totals[1]

    def edges(self, theta: GaussianParams) -> list[str]:
        """Name the covariances that are at the floor."""
        _, _, raised = self.covariance.factorize(theta.covariances, theta.frame.floor * AT_THE_FLOOR)
        return [f"{self.covariance.owner.format(j)} is at the floor" for j in raised]
