"""A Gaussian mixture as the joint density of its columns: marginals, conditionals, regression (formulas U1 to U4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.families.gaussian import Gaussian, GaussianParams
from mixtura.models.mixture import Mixture, MixtureParams

FARTHEST = 1e75  # half-spans of the data from its centre: squares of squares of this still are numbers


def marginal(
    family: Gaussian, params: MixtureParams[GaussianParams], columns: IntArray
) -> MixtureParams[GaussianParams]:
    """Return the mixture of these columns, in this order (formula U1)."""
    return MixtureParams(weights=params.weights, components=family.marginal(params.components, columns))


@dataclass(frozen=True, eq=False)
class Regression:
    """Some columns of a mixture given the others: a linear regression in each component, weighed by its density.

    Attributes
    ----------
    family : Gaussian
        Of the components.
    given : MixtureParams
        The marginal of the g columns that are given.
    rest : GaussianParams
        What remains of the r others: their means at the means of `given`, and the covariances about the regression.
    slopes : (k, r, g) or (1, r, g) array
        Of the others on what is given, in frame coordinates.
    """

    family: Gaussian
    given: MixtureParams[GaussianParams]
    rest: GaussianParams
    slopes: FloatArray

    @classmethod
    def of(cls, family: Gaussian, params: MixtureParams[GaussianParams], rest: IntArray, given: IntArray) -> Regression:
        """Return the regression of the columns `rest` on the columns `given`."""
        slopes, remaining = family.regress(params.components, rest, given)
        return cls(family=family, given=marginal(family, params, given), rest=remaining, slopes=slopes)

    @property
    def model(self) -> Mixture[GaussianParams]:
        """The model of what is given."""
        return Mixture(self.family, len(self.given.weights))

    def is_out_of_reach(self, x: FloatArray, loglik: FloatArray) -> BoolArray:
        """Tell which rows (n, g) of these log-densities are so far away that no component can be told from another."""
        z = self.given.components.frame.enter(x)
        return ~np.isfinite(loglik) | (np.abs(z) > FARTHEST).any(axis=1)

    def condition(self, values: FloatArray) -> MixtureParams[GaussianParams] | None:
        """Return the mixture of the others where `values` (g,) are given (U2, U3); None if these are out of reach."""
        loglik, resp = self.model.posterior(self.given, values[None])
        if self.is_out_of_reach(values[None], loglik)[0]:
            return None
        means = self._component_means(values[None])[:, 0]
        return MixtureParams(weights=resp[0], components=replace(self.rest, means=means, pivot=means))

    def means(self, x: FloatArray, resp: FloatArray) -> FloatArray:
        """Return the conditional means (n, r) at rows (n, g) with responsibilities (n, k) (formula U4)."""
        mean = np.einsum("nk,knr->nr", resp, self._component_means(x))
        return self.rest.frame.leave(mean)

    def draws(self, x: FloatArray, labels: IntArray, noise: FloatArray) -> FloatArray:
        """Return the others (n, r) at rows (n, g) from components (n,), with standard normal `noise` (n, r)."""
        k, r = self.rest.means.shape
        roots = np.linalg.cholesky(self.family.covariance.expand(self.rest.covariances, k, r))
        means = self._component_means(x)[labels, np.arange(len(x))]
        return self.rest.frame.leave(means + np.einsum("nij,nj->ni", roots[labels], noise))

    def variances(self, x: FloatArray, resp: FloatArray) -> FloatArray:
        """Return the conditional variances (n, r) at rows (n, g) with responsibilities (n, k) (formula U4)."""
        gaps = self._gaps(x, resp)
        k, _, r = gaps.shape
        within = np.einsum("nk,kr->nr", resp, self.family.covariance.variances(self.rest.covariances, k, r))
        between = np.einsum("nk,knr->nr", resp, gaps**2)
        variances: FloatArray = (within + between) / self.rest.frame.scale**2
        return variances

    def covariances(self, x: FloatArray, resp: FloatArray) -> FloatArray:
        """Return the conditional covariances (n, r, r) at rows (n, g) with responsibilities (n, k) (formula U4)."""
        gaps = self._gaps(x, resp)
        k, _, r = gaps.shape
        within = np.einsum("nk,krs->nrs", resp, self.family.covariance.expand(self.rest.covariances, k, r))
        between = np.einsum("knr,kns->nrs", resp.T[:, :, None] * gaps, gaps)
        scale = self.rest.frame.scale
        covariances: FloatArray = (within + between) / scale[:, None] / scale
        return covariances

    def _gaps(self, x: FloatArray, resp: FloatArray) -> FloatArray:
        """Return how far each component's conditional mean is from that of all, (k, n, r)."""
        means = self._component_means(x)
        gaps: FloatArray = means - np.einsum("nk,knr->nr", resp, means)
        return gaps

    def _component_means(self, x: FloatArray) -> FloatArray:
        """Return the conditional mean of each component in frame coordinates, (k, n, r)."""
        given = self.given.components
        gaps = given.frame.enter(x) - given.means[:, None]
        means: FloatArray = self.rest.means[:, None] + gaps @ np.swapaxes(self.slopes, -1, -2)
        return means
