"""A Gaussian mixture on the line: its distribution function, and the inverse of that (formulas U5, U6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi, sqrt

import numpy as np

from mixtura._types import FloatArray
from mixtura.families.gaussian import Gaussian, GaussianParams
from mixtura.frame import EPS, Frame
from mixtura.models.mixture import MixtureParams

MOST_STEPS = 400  # bisection from the widest bracket to the last bit of the narrowest component takes fewer


@dataclass(frozen=True, eq=False)
class Univariate:
    """A mixture of normal distributions on the line.

    Attributes
    ----------
    frame : Frame
        Of one column.
    weights, means, sds : (k,) array
        Of the components, in frame coordinates.
    """

    frame: Frame
    weights: FloatArray
    means: FloatArray
    sds: FloatArray

    @classmethod
    def of(cls, family: Gaussian, params: MixtureParams[GaussianParams]) -> Univariate:
        """Return a mixture of one column as what it is."""
        theta, weights = params.components, params.weights
        variances = family.covariance.variances(theta.covariances, len(weights), 1)
        return cls(theta.frame, weights / weights.sum(), theta.means[:, 0], np.sqrt(variances[:, 0]))

    def cdf(self, x: FloatArray) -> FloatArray:
        """Return the probability of at most `x`, of any shape."""
        return join_tails(self._lower(self._enter(x)), self._mirror()._lower(-self._enter(x)))

    def sf(self, x: FloatArray) -> FloatArray:
        """Return the probability of more than `x`, of any shape."""
        return join_tails(self._mirror()._lower(-self._enter(x)), self._lower(self._enter(x)))

    def quantile(self, q: FloatArray) -> FloatArray:
        """Return the values up to which there is probability `q`, of any shape, from 0 to 1."""
        shape, q = q.shape, q.ravel()
        z = np.where(q == 0, -np.inf, np.inf)
        low, high = (q > 0) & (q <= 0.5), (q > 0.5) & (q < 1)
        z[low] = self._invert(q[low])
        z[high] = -self._mirror()._invert(1 - q[high])  # exact: the upper tail is as good as the lower one
        order = np.argsort(q, kind="stable")
        z[order] = np.maximum.accumulate(z[order])  # roundings must not let a higher probability come first
        return self.frame.leave(z).reshape(shape)

    def _enter(self, x: FloatArray) -> FloatArray:
        return self.frame.enter(x[..., None])[..., 0]

    def _mirror(self) -> Univariate:
        """Return the distribution of minus the value, in frame coordinates: what is above here is below there."""
        return replace(self, means=-self.means)

    def _lower(self, z: FloatArray) -> FloatArray:
        """Return the probability of at most `z`, to a relative error of some roundings."""
        from scipy.special import ndtr

        total = np.zeros_like(z)
        for weight, mean, sd in zip(self.weights, self.means, self.sds, strict=True):
            total += weight * ndtr((z - mean) / sd)
        return total

    def _density(self, z: FloatArray) -> FloatArray:
        total = np.zeros_like(z)
        for weight, mean, sd in zip(self.weights, self.means, self.sds, strict=True):
            total += weight / sd / sqrt(2 * pi) * np.exp(-(((z - mean) / sd) ** 2) / 2)
        return total

    def _bracket(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the least and the largest quantile of any component: that of the mixture lies between them."""
        from scipy.special import ndtri

        standard = ndtri(p)
        low, high = np.full_like(p, np.inf), np.full_like(p, -np.inf)
        for mean, sd in zip(self.means, self.sds, strict=True):
            quantile = mean + sd * standard
            low, high = np.minimum(low, quantile), np.maximum(high, quantile)
        return low, high

    def _invert(self, p: FloatArray) -> FloatArray:
        """Return where `_lower` is `p`, (n,) from above 0 to 1/2.

        Newton steps on the logarithm, which is nearly straight in a tail; bisection where a step leaves the bracket
        or is more than half of the one before.
        """
        low, high = self._bracket(p)
        z, last = (low + high) / 2, high - low
        live = np.arange(len(p))
        for _ in range(MOST_STEPS):
            at, wanted = z[live], p[live]
            reached = self._lower(at)
            low[live] = np.where(reached < wanted, at, low[live])
            high[live] = np.where(reached < wanted, high[live], at)
            with np.errstate(all="ignore"):  # far from the answer a density may be 0; such a step is not taken
                step = (np.log(wanted) - np.log(reached)) * reached / self._density(at)
                newton = (at + step >= low[live]) & (at + step <= high[live]) & (2 * np.abs(step) <= last[live])
            step = np.where(newton, step, (low[live] + high[live]) / 2 - at)
            z[live], last[live] = at + step, np.abs(step)
            live = live[np.abs(step) > EPS * (np.abs(at) + self.sds.min())]
            if not len(live):
                break
        return z


def join_tails(near: FloatArray, far: FloatArray) -> FloatArray:
    """Return `near`, or 1 less `far` where that is the more exact."""
    return np.where(near <= 0.5, near, 1 - far)
