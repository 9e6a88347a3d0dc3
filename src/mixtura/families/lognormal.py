"""The log-normal family: positive numbers whose logarithms are normal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from mixtura._types import Array, BoolArray, FloatArray, IntArray, Wanted
from mixtura.capabilities import Quantity
from mixtura.families.base import Composed
from mixtura.families.covariance import Covariance
from mixtura.families.full import Full
from mixtura.families.gaussian import Gaussian, GaussianParams
from mixtura.families.tails import standardize
from mixtura.frame import Frame
from mixtura.grid import Chunk, Derived
from mixtura.model import LEBESGUE, Event, Posterior
from mixtura.stats import Node, Sums


@dataclass(frozen=True)
class LogNormal(Composed[GaussianParams]):
    """Positive numbers whose logarithms are multivariate normal (formula D15): `Gaussian` on logarithms.

    A fitted mixture has ``means_`` and ``covariances_`` of the logarithms.

    Parameters
    ----------
    covariance : Covariance
        `Full()`, `Tied()`, `Diag()` or `Spherical()`, of the logarithms.

    Examples
    --------
    >>> import numpy as np
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import LogNormal
    >>> fitted = MixtureModel(LogNormal()).fit(np.exp([0.0, 1.0, 2.0, 3.0]))
    >>> fitted.means_.round(9).tolist(), fitted.covariances_.round(9).tolist()
    ([[1.5]], [[[1.25]]])
    """

    covariance: Covariance[Any] = field(default_factory=Full)
    name: ClassVar[str] = "log-normal"
    support: ClassVar[str] = "positive numbers"
    measure: ClassVar[str] = LEBESGUE
    params_type: ClassVar[type[GaussianParams]] = GaussianParams

    def __post_init__(self) -> None:
        Gaussian(self.covariance)  # checks it

    @property
    def _normal(self) -> Gaussian:
        """The family of the logarithms."""
        return _OfLogarithms(self.covariance)

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are positive numbers."""
        return np.isfinite(x) & (x > 0)

    def frame(self, low: FloatArray, high: FloatArray, centre: FloatArray) -> Frame:
        """Choose the frame of the logarithms."""
        return self._normal.frame(np.log(low), np.log(high), np.log(centre))

    def log_density(self, theta: GaussianParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-densities (formula D15)."""
        logs = np.log(x)
        density: FloatArray = self._normal.log_density(theta, logs) - logs.sum(axis=1)[:, None]
        return density

    def suffstats(self, theta: GaussianParams, x: FloatArray, resp: FloatArray) -> Sums:
        """Return the moments of the logarithms about the pivot."""
        return self._normal.suffstats(theta, np.log(x), resp)

    def unit_scores(self, theta: GaussianParams, x: FloatArray) -> FloatArray:
        """Return those of the logarithms."""
        return self._normal.unit_scores(theta, np.log(x))

    def sample(self, theta: GaussianParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row from the component named by each of `labels` (n,)."""
        rows: FloatArray = np.exp(self._normal.sample(theta, labels, rng))
        return rows

    def tails(self, theta: GaussianParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities (n, k) of at most `x` (n, 1) and of more: those of the logarithm."""
        from scipy.special import ndtr

        with np.errstate(divide="ignore"):
            z = standardize(self.covariance, theta, np.log(np.maximum(x, 0)))
        return ndtr(z), ndtr(-z)

    def e_blocks(
        self, log_weights: FloatArray, theta: GaussianParams, chunk: Chunk, negligible: float
    ) -> Iterator[tuple[Node, float, float, Sums]]:
        """Run the kernel of the logarithms."""
        return self._normal.e_blocks(log_weights, theta, replace(chunk, x=_logarithms(chunk.x)), negligible)

    def posterior_rows(self, log_weights: FloatArray, theta: GaussianParams, x: Array, wanted: Wanted) -> Posterior:
        """Run the kernel of the logarithms over rows."""
        return self._normal.posterior_rows(log_weights, theta, _logarithms(x), wanted)

    # The rest is that of the logarithms, in which the parameters are.

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> GaussianParams:
        return self._normal.blank(frame, n_components)

    def expected(self, theta: GaussianParams, counts: FloatArray) -> Sums:
        return self._normal.expected(theta, counts)

    def update(self, sums: Sums, theta: GaussianParams) -> tuple[GaussianParams, list[Event]]:
        return self._normal.update(sums, theta)

    def free(self, theta: GaussianParams) -> FloatArray:
        return self._normal.free(theta)

    def from_free(self, vector: FloatArray, like: GaussianParams) -> GaussianParams | None:
        return self._normal.from_free(vector, like)

    def metric(self, theta: GaussianParams, weights: FloatArray, step: FloatArray) -> FloatArray:
        return self._normal.metric(theta, weights, step)

    def inverse_metric(self, theta: GaussianParams, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        return self._normal.inverse_metric(theta, weights, gradient)

    def refine(self, sums: Sums, theta: GaussianParams) -> GaussianParams | None:
        return self._normal.refine(sums, theta)

    def pivot(self, theta: GaussianParams) -> str:
        return self._normal.pivot(theta)

    def take(self, theta: GaussianParams, components: IntArray) -> GaussianParams:
        return self._normal.take(theta, components)

    def spread(self, theta: GaussianParams) -> FloatArray:
        return self._normal.spread(theta)

    def part(self, theta: GaussianParams, a: int, b: int) -> GaussianParams:
        return self._normal.part(theta, a, b)

    def suspects(self, theta: GaussianParams, counts: FloatArray) -> list[Event]:
        return self._normal.suspects(theta, counts)

    def slots(self, theta: GaussianParams) -> IntArray:
        return self._normal.slots(theta)

    def quantities(self, theta: GaussianParams) -> list[Quantity]:
        return self._normal.quantities(theta)

    def edges(self, theta: GaussianParams) -> list[str]:
        return self._normal.edges(theta)

    def fused(self, n_components: int, n_features: int) -> bool:
        return self._normal.fused(n_components, n_features)

    def n_features(self, theta: GaussianParams) -> int:
        return self._normal.n_features(theta)

    def n_parameters(self, theta: GaussianParams) -> int:
        return self._normal.n_parameters(theta)

    def attributes(self, theta: GaussianParams) -> dict[str, FloatArray]:
        own = self._normal.attributes(theta)
        return {name: own[name] for name in ("means_", "covariances_")}

    def check(self, theta: GaussianParams, n_components: int, n_features: int) -> None:
        self._normal.check(theta, n_components, n_features)


@dataclass(frozen=True)
class _OfLogarithms(Gaussian):
    """The normal family of logarithms, whose kernels find the densities of the numbers themselves."""

    def _kernel_density(self, log_weights: FloatArray, theta: GaussianParams) -> tuple[FloatArray, ...]:
        """Return what a kernel makes densities of: a normal density times 1 / x is another one (formula D15)."""
        frame, unit = theta.frame, 1 / theta.frame.scale
        step = self._multiply(theta.covariances, np.broadcast_to(unit, theta.means.shape))
        constants = (theta.means - step / 2) @ unit + frame.shift.sum()
        return super()._kernel_density(log_weights - constants, replace(theta, means=theta.means - step))


def _logarithms(x: Array) -> Any:
    """Return the logarithms of rows (n, d), to be taken slice by slice; NaN or -inf of what has none."""
    return Derived(x, np.log, x.shape[1])
