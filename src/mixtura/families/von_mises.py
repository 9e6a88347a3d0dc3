"""The von Mises family: angles, independent in each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.capabilities import Quantity
from mixtura.families.base import MeanFamily, MeanSums, expect
from mixtura.families.linalg import quotient
from mixtura.families.linear import Linear
from mixtura.families.special import bessel_ratio, bessel_slope, concentration
from mixtura.families.spurious import suspects_by_column
from mixtura.families.two import two_quantities, two_slots
from mixtura.frame import Frame
from mixtura.kernels.layout import REAL, Layout
from mixtura.model import Event, EventKind

LARGEST_KAPPA = 2.0**26  # a deviation of 1e-4 radians; the sums of cosines tell no more
LEAST_GAP = 0.5 / LARGEST_KAPPA
LEAST_KAPPA = 1e-6  # of a component whose mean angle no row of a million million tells


@dataclass(frozen=True, eq=False)
class VonMisesParams:
    """Concentrations times the cosine and the sine of the mean angles of k components in d columns, (k, d, 2)."""

    vectors: FloatArray


@dataclass(frozen=True)
class VonMises(MeanFamily[VonMisesParams], Linear[VonMisesParams]):
    """Independent angles, in radians, in each column (formulas D19, D20).

    A fitted mixture has ``angles_``, the mean angles between -pi and pi, and ``kappas_``, the concentrations, (k, d).
    The update iterates Newton's method for the concentrations, on the sums, to the last digit, so it is the exact
    maximum. A component whose angles are all equal in a column has no finite concentration: it gets the largest that
    the sums carry, and an event says so.

    Examples
    --------
    >>> import numpy as np
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import VonMises
    >>> hours = np.array([22.5, 23.0, 0.5, 1.0, 23.5, 0.0])
    >>> fitted = MixtureModel(VonMises()).fit(hours * 2 * np.pi / 24)
    >>> (fitted.angles_ * 24 / (2 * np.pi)).round(2).tolist()
    [[-0.25]]
    """

    name: ClassVar[str] = "von Mises"
    support: ClassVar[str] = "angles in radians, which are finite numbers"
    measure: ClassVar[str] = "arc length"  # a turn more is the same angle: no density on the line
    params_type: ClassVar[type[VonMisesParams]] = VonMisesParams

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are finite."""
        return np.isfinite(x)

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> VonMisesParams:
        """Return uniform distributions on the circle."""
        return VonMisesParams(vectors=np.zeros((n_components, len(frame.shift), 2)))

    def log_density(self, theta: VonMisesParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-densities (formula D19)."""
        kappas, angles = kappas_of(theta), angles_of(theta)
        bends = [np.sin((x - angle) / 2) ** 2 @ kappa for angle, kappa in zip(angles, kappas, strict=True)]
        density: FloatArray = log_peaks(kappas).sum(axis=1) - 2 * np.column_stack(bends)
        return density

    def transform(self, x: FloatArray) -> FloatArray:
        """Return cosine and sine of each angle, (n, 2 d)."""
        return points_of(x).reshape(len(x), -1)

    def layout(self, n_features: int) -> Layout:
        """Return cosines and sines as features."""
        return Layout.of_columns(2 * n_features, REAL)

    def coefficients(self, theta: VonMisesParams) -> tuple[FloatArray, FloatArray]:
        """Return the vectors, and the log-densities of angles across the mean ones."""
        kappas = kappas_of(theta)
        return theta.vectors.reshape(len(kappas), -1), (log_peaks(kappas) - kappas).sum(axis=1)

    def gather(self, s0: FloatArray, s1: FloatArray) -> MeanSums:
        """Return the sums of cosines and sines."""
        return MeanSums(s0=s0, s1=s1.reshape(len(s0), -1, 2))

    def statistic(self, theta: VonMisesParams, x: FloatArray) -> FloatArray:
        """Return cosine and sine of angles, (n, d, 2)."""
        return points_of(x)

    def mean(self, theta: VonMisesParams) -> FloatArray:
        """Return the expected cosine and sine."""
        mean: FloatArray = bessel_ratio(kappas_of(theta))[..., None] * directions_of(theta)
        return mean

    def from_mean(self, mean: FloatArray, theta: VonMisesParams) -> tuple[VonMisesParams, list[Event]]:
        """Return the parameters with this mean direction, by Newton's method (formula D20)."""
        lengths = np.hypot(mean[..., 0], mean[..., 1])
        narrow = 1 - lengths < LEAST_GAP
        kappas = np.where(narrow, LARGEST_KAPPA, concentration(np.minimum(lengths, 1 - LEAST_GAP)))
        events = [
            Event(EventKind.FLOOR, int(a), f"component {a} collapsed in column {j}") for a, j in np.argwhere(narrow)
        ]
        return VonMisesParams(vectors=quotient(mean, lengths[..., None]) * kappas[..., None]), events

    def take(self, theta: VonMisesParams, components: IntArray) -> VonMisesParams:
        """Return the parameters of these components, in this order."""
        return VonMisesParams(vectors=theta.vectors[components])

    def free(self, theta: VonMisesParams) -> FloatArray:
        """Return the vectors, which are the natural parameters and have no bounds."""
        return theta.vectors.ravel()

    def from_free(self, vector: FloatArray, like: VonMisesParams) -> VonMisesParams | None:
        """Return the parameters with these vectors; None where they are too long."""
        theta = VonMisesParams(vectors=vector.reshape(like.vectors.shape))
        return theta if (kappas_of(theta) < LARGEST_KAPPA).all() else None

    def metric(self, theta: VonMisesParams, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the covariance of cosine and sine times a step (formula D20)."""
        along, across = self._information(theta, weights)
        return self._scale(theta, step, along, across)

    def inverse_metric(self, theta: VonMisesParams, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""
        along, across = self._information(theta, weights)
        one = np.ones_like(along)
        return self._scale(theta, gradient, quotient(one, along), quotient(one, across))

    def _information(self, theta: VonMisesParams, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return that about steps along the mean direction and across it, (k, d)."""
        kappas = kappas_of(theta)
        slope = bessel_slope(kappas)
        across = np.where(kappas > 0, quotient(bessel_ratio(kappas), kappas), slope)
        return weights[:, None] * slope, weights[:, None] * across

    def _scale(self, theta: VonMisesParams, vector: FloatArray, along: FloatArray, across: FloatArray) -> FloatArray:
        """Return vectors (k, d, 2), multiplied by different numbers along the mean direction and across it."""
        vectors, direction = vector.reshape(theta.vectors.shape), directions_of(theta)
        part = (vectors * direction).sum(axis=-1, keepdims=True) * direction
        scaled: FloatArray = along[..., None] * part + across[..., None] * (vectors - part)
        return scaled.ravel()

    def suspects(self, theta: VonMisesParams, counts: FloatArray) -> list[Event]:
        """Return an event for each component that is likely to be spurious, by its width (formula C2)."""
        return suspects_by_column(counts, 1 / (1 + kappas_of(theta)))  # 1 / kappa, where that is narrow

    def sample(self, theta: VonMisesParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row from the component named by each of `labels` (n,)."""
        return rng.vonmises(angles_of(theta)[labels], kappas_of(theta)[labels])

    def unit_scores(self, theta: VonMisesParams, x: FloatArray) -> FloatArray:
        """Return cosine and sine about the mean angles, standardized (formula V14)."""
        along, across = self._information(theta, np.ones(len(theta.vectors)))
        gap = x[:, None, :] - angles_of(theta)
        cosines = np.cos(gap) - bessel_ratio(kappas_of(theta))
        unit: FloatArray = np.concatenate([np.sin(gap) / np.sqrt(across), cosines / np.sqrt(along)], axis=2)
        return unit

    def slots(self, theta: VonMisesParams) -> IntArray:
        """Return the numbers of the coordinates: two for each component and column."""
        return two_slots(kappas_of(theta))

    def quantities(self, theta: VonMisesParams) -> list[Quantity]:
        """Return mean angles and concentrations, with their derivatives (formula V14)."""
        along, across = self._information(theta, np.ones(len(theta.vectors)))
        kappas, zero = kappas_of(theta), np.zeros_like(along)
        effects = {"angles": (1 / (kappas * np.sqrt(across)), zero), "kappas": (zero, 1 / np.sqrt(along))}
        return two_quantities({"angles": angles_of(theta), "kappas": kappas}, effects, positive=("kappas",))

    def edges(self, theta: VonMisesParams) -> list[str]:
        """Name the components without a mean angle, and those without width."""
        kappas = kappas_of(theta)
        return [
            *(f"component {a} has no mean angle in column {j}" for a, j in np.argwhere(kappas < LEAST_KAPPA)),
            *(f"component {a} has no width in column {j}" for a, j in np.argwhere(kappas > LARGEST_KAPPA / 2)),
        ]

    def n_features(self, theta: VonMisesParams) -> int:
        """Return the number of columns."""
        return int(theta.vectors.shape[1])

    def n_parameters(self, theta: VonMisesParams) -> int:
        """Return the number of angles and concentrations of all components."""
        return theta.vectors.size

    def attributes(self, theta: VonMisesParams) -> dict[str, FloatArray]:
        """Return mean angles and concentrations."""
        return {"angles_": angles_of(theta), "kappas_": kappas_of(theta)}

    def check(self, theta: VonMisesParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` if vectors from elsewhere have a wrong shape."""
        expect("vectors", theta.vectors, (n_components, n_features, 2), np.isfinite(theta.vectors), "finite numbers")


def points_of(angles: FloatArray) -> FloatArray:
    """Return cosine and sine of angles, (..., 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def log_peaks(kappas: FloatArray) -> FloatArray:
    """Return the log-densities at the mean angles."""
    from scipy.special import i0e

    peaks: FloatArray = -np.log(2 * np.pi * i0e(kappas))
    return peaks


def kappas_of(theta: VonMisesParams) -> FloatArray:
    """Return the concentrations, (k, d)."""
    return np.hypot(theta.vectors[..., 0], theta.vectors[..., 1])


def angles_of(theta: VonMisesParams) -> FloatArray:
    """Return the mean angles, (k, d)."""
    return np.arctan2(theta.vectors[..., 1], theta.vectors[..., 0])


def directions_of(theta: VonMisesParams) -> FloatArray:
    """Return cosine and sine of the mean angles, (k, d, 2)."""
    return points_of(angles_of(theta))
