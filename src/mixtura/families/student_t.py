"""The multivariate t family: real numbers with heavy tails, of which no outlier takes hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from mixtura._types import Array, BoolArray, FloatArray, IntArray, Wanted
from mixtura.capabilities import Quantity
from mixtura.families.base import Composed, expect
from mixtura.families.covariance import Covariance, Moments, split
from mixtura.families.full import Full, Tied
from mixtura.families.gaussian import Gaussian, GaussianParams
from mixtura.families.linalg import ratio
from mixtura.families.special import gamma_shape, log_less_digamma, log_rising, shape_information
from mixtura.families.tails import standardize
from mixtura.frame import Frame
from mixtura.grid import Chunk
from mixtura.model import LEBESGUE, Event, Posterior
from mixtura.stats import Node, Sums

LARGEST_DOF = 2.0**30  # from here on a component is normal, to nine digits
FIRST_DOF = 10.0


@dataclass(frozen=True, eq=False)
class StudentTParams:
    """Locations and scale matrices as those of a Gaussian, and degrees of freedom (k,)."""

    normal: GaussianParams
    dofs: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class StudentTSums(Sums):
    """Sums over rows, whose precision u is expected to be ``(dof + d) / (dof + q)`` at squared distance q.

    Attributes
    ----------
    s0 : (k,) array
        Of the responsibilities r.
    moments : Moments
        Counts, first and second moments weighted by ``r u``.
    logs : (k,) array
        Of ``r log u``.
    """

    s0: FloatArray
    moments: Moments
    logs: FloatArray


@dataclass(frozen=True)
class StudentT(Composed[StudentTParams]):
    """Multivariate t components, for clusters with outliers (formulas D16, D17).

    A fitted mixture has ``locations_`` (k, d), ``scales_`` in the shape of the structure, the covariance of the normal
    distribution that rows of precision 1 have, and ``dofs_`` (k,), the degrees of freedom. Each row is normal with a
    precision of its own, which is gamma-distributed; an update is a step of EM in the expanded model, in which the mean
    precision is free too (Liu, Rubin & Wu 1998), with Newton's method on the sums for the degrees of freedom. Rows with
    no heavy tails have no finite ones; these then grow up to 2**30.

    Parameters
    ----------
    covariance : Covariance
        Structure of the scale matrices: `Full()`, `Diag()` or `Spherical()`.

    Raises
    ------
    ValueError
        For `Tied()`: rows with precisions of their own have no pooled sums.

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import StudentT
    >>> fitted = MixtureModel(StudentT(), tol=1e-6).fit([-2.0, -1.0, 0.0, 1.0, 2.0, 90.0])
    >>> bool(abs(fitted.locations_[0, 0]) < 0.5)
    True
    """

    covariance: Covariance[Any] = field(default_factory=Full)
    name: ClassVar[str] = "student t"
    has_unseen: ClassVar[bool] = True
    support: ClassVar[str] = "finite numbers"
    measure: ClassVar[str] = LEBESGUE
    params_type: ClassVar[type[StudentTParams]] = StudentTParams

    def __post_init__(self) -> None:
        Gaussian(self.covariance)  # checks it
        if isinstance(self.covariance, Tied):
            raise ValueError("StudentT has no Tied(): expected Full(), Diag() or Spherical()")

    @property
    def _normal(self) -> Gaussian:
        return Gaussian(self.covariance)

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are finite."""
        return np.isfinite(x)

    def frame(self, low: FloatArray, high: FloatArray, centre: FloatArray) -> Frame:
        """Choose the frame of columns of this range."""
        return self._normal.frame(low, high, centre)

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> StudentTParams:
        """Return unit components at the centre of the frame."""
        return StudentTParams(self._normal.blank(frame, n_components), np.full(n_components, FIRST_DOF))

    def log_density(self, theta: StudentTParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-densities (formula D16)."""
        dofs, d = theta.dofs, self.n_features(theta)
        density: FloatArray = self._peaks(theta) - (dofs + d) / 2 * np.log1p(self._distance(theta, x) / dofs)
        return density

    def _peaks(self, theta: StudentTParams) -> FloatArray:
        """Return the log-densities (k,) at the locations."""
        return self._normal.log_peaks(theta.normal) + log_rising(theta.dofs / 2, np.array(self.n_features(theta) / 2))

    def suffstats(self, theta: StudentTParams, x: FloatArray, resp: FloatArray) -> StudentTSums:
        """Return the sums over rows and their expected precisions."""
        precision = self._precision(theta, self._distance(theta, x))
        moments: Any = self._normal.suffstats(theta.normal, x, resp * precision)
        return StudentTSums(s0=resp.sum(axis=0), moments=moments, logs=(resp * np.log(precision)).sum(axis=0))

    def _distance(self, theta: StudentTParams, x: FloatArray) -> FloatArray:
        """Return the squared distances of rows from the locations, (n, k)."""
        normal = theta.normal
        return self.covariance.squared_distance(normal.factors, normal.means, normal.frame.enter(x))

    def fused(self, n_components: int, n_features: int) -> bool:
        """Tell whether this machine runs the kernel well."""
        return self._normal.fused(n_components, n_features)

    def e_blocks(
        self, log_weights: FloatArray, theta: StudentTParams, chunk: Chunk, negligible: float
    ) -> Iterator[tuple[Node, float, float, StudentTSums]]:
        """Run the compiled E-step; no row is left out."""
        from mixtura.kernels import student_t

        k, d = theta.normal.means.shape
        for node, sums in student_t.e_blocks(chunk, theta.normal.pivot, *self._kernel_density(log_weights, theta)):
            s0, logs, *moments = split(sums[2:], (k,), (k,), (k,), (k, d), (len(sums) - 2 - 3 * k - k * d,))
            yield (
                node,
                float(sums[0]),
                float(sums[1]),
                StudentTSums(s0=s0, moments=self.covariance.from_second(*moments), logs=logs),
            )

    def posterior_rows(self, log_weights: FloatArray, theta: StudentTParams, x: Array, wanted: Wanted) -> Posterior:
        """Run the compiled kernel of the posterior over rows."""
        from mixtura.kernels import student_t

        return Posterior(*student_t.posterior_rows(x, *self._kernel_density(log_weights, theta), wanted=wanted))

    def _kernel_density(self, log_weights: FloatArray, theta: StudentTParams) -> tuple[Any, ...]:
        """Return what a kernel makes densities of."""
        normal, frame = theta.normal, theta.normal.frame
        factors = self.covariance.expand_factors(normal.factors, *normal.means.shape)
        band = len(frame.shift) if self.covariance.correlated else 0
        return frame.shift, frame.scale, normal.means, factors, band, theta.dofs, log_weights + self._peaks(theta)

    def expected(self, theta: StudentTParams, counts: FloatArray) -> StudentTSums:
        """Return the sums of which `update` makes `theta` (formula B1)."""
        moments: Any = self._normal.expected(theta.normal, counts)
        logs = self._log_bias(theta) - log_less_digamma(theta.dofs / 2)
        return StudentTSums(s0=counts, moments=moments, logs=counts * logs)

    def update(self, sums: StudentTSums, theta: StudentTParams) -> tuple[StudentTParams, list[Event]]:
        """Return the weighted means and covariances, and the degrees of freedom by Newton's method (formula D17)."""
        normal, events = self._normal.update(sums.moments, theta.normal)
        gap = np.log(ratio(sums.moments.s0, sums.s0, 1.0)) - ratio(sums.logs, sums.s0, 0.0) + self._log_bias(theta)
        dofs = 2 * gamma_shape(np.maximum(gap, 1 / LARGEST_DOF))
        return StudentTParams(normal, np.where(sums.s0 > 0, dofs, theta.dofs)), events

    def _log_bias(self, theta: StudentTParams) -> FloatArray:
        """Return by how much the expected logarithm of a row's precision is less than that of the expected one."""
        return log_less_digamma((theta.dofs + self.n_features(theta)) / 2)

    def refine(self, sums: StudentTSums, theta: StudentTParams) -> StudentTParams | None:
        """Return `theta` about a better pivot where digits are lost, as for a Gaussian."""
        normal = self._normal.refine(sums.moments, theta.normal)
        return None if normal is None else replace(theta, normal=normal)

    def pivot(self, theta: StudentTParams) -> str:
        """Digest the point about which moments are taken."""
        return self._normal.pivot(theta.normal)

    def free(self, theta: StudentTParams) -> FloatArray:
        """Return the coordinates of a Gaussian, and the logarithms of the degrees of freedom (formula Q1)."""
        return np.concatenate([self._normal.free(theta.normal), np.log(theta.dofs)])

    def from_free(self, vector: FloatArray, like: StudentTParams) -> StudentTParams | None:
        """Return the parameters with these coordinates; None where the numbers end."""
        coordinates, logs = np.split(vector, [-len(like.dofs)])
        with np.errstate(over="ignore"):
            dofs = np.exp(logs)
        normal = self._normal.from_free(coordinates, like.normal)
        good = normal is not None and (dofs > 0).all() and (dofs < LARGEST_DOF).all()
        return StudentTParams(normal, dofs) if normal is not None and good else None

    def metric(self, theta: StudentTParams, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the information in the expanded model, in which the mean precision is unknown, times a step (D17)."""
        coordinates, logs = np.split(step, [-len(theta.dofs)])
        volume = self._volume(theta)
        lost = 2 * weights / (theta.dofs + self.n_features(theta)) * (volume @ coordinates)
        known = self._normal.metric(theta.normal, weights, coordinates)
        return np.concatenate([known - lost @ volume, weights * shape_information(theta.dofs / 2) * logs])

    def inverse_metric(self, theta: StudentTParams, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient, by the formula of Sherman and Morrison."""
        coordinates, logs = np.split(gradient, [-len(theta.dofs)])
        volume = self._volume(theta)
        step = self._normal.inverse_metric(theta.normal, weights, coordinates)
        gained = 2 * weights / theta.dofs * (volume @ step)
        step = self._normal.inverse_metric(theta.normal, weights, coordinates + gained @ volume)
        return np.concatenate([step, ratio(logs, weights * shape_information(theta.dofs / 2), 0.0)])

    def _volume(self, theta: StudentTParams) -> FloatArray:
        """Return the derivative (k, q) of the log-determinants of the factors by the coordinates of a Gaussian."""
        k, d = theta.normal.means.shape
        return np.hstack([np.zeros((k, k * d)), self.covariance.log_det_slopes(k, d)])

    def unit_scores(self, theta: StudentTParams, x: FloatArray) -> FloatArray:
        """Return those of locations, scale matrices and logarithms of degrees of freedom (formula V16)."""
        y, halves = self._whiten(theta, x)
        precision = self._precision(theta, (y**2).sum(axis=2))
        of_scales = precision[..., None] * halves - np.trace(self._basis(theta), axis1=1, axis2=2) / 2
        of_dofs = self._dof_scores(theta, precision) / np.sqrt(shape_information(theta.dofs / 2))
        return np.concatenate([precision[..., None] * y, of_scales, of_dofs[..., None]], axis=2)

    def unseen(self, theta: StudentTParams, x: FloatArray, weight: FloatArray) -> FloatArray:
        """Return 1 plus the second derivatives (formula V16)."""
        y, halves = self._whiten(theta, x)
        precision = self._precision(theta, (y**2).sum(axis=2))
        d, dofs = y.shape[2], theta.dofs
        root = np.sqrt(shape_information(dofs / 2))
        bends = -dofs * (precision - 1) / (2 * precision * root)
        rows = np.concatenate([y, halves, bends[..., None]], axis=2)
        scaled = rows * (weight * 2 * precision**2 / (dofs + d))[..., None]
        total: FloatArray = np.einsum("nka,nkb->kab", scaled, rows)
        total[:, range(d), range(d)] += (weight * (1 - precision)).sum(axis=0)[:, None]
        moved = np.einsum("nk,nka->ka", weight * precision, y)
        between = np.einsum("sij,kj->kis", self._basis(theta), moved)
        total[:, :d, d:-1] -= between
        total[:, d:-1, :d] -= np.swapaxes(between, 1, 2)
        rest = shape_information((dofs + d) / 2) * (dofs / (dofs + d)) ** 2 + self._dof_scores(theta, precision)
        total[:, -1, -1] += (weight * rest).sum(axis=0) / root**2
        return total

    def _whiten(self, theta: StudentTParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return whitened rows y (n, k, d), and ``y' B y / 2`` for each coordinate of the scale matrix, (n, k, s)."""
        normal, basis = theta.normal, self._basis(theta)
        y = self.covariance.whiten(normal.factors, normal.means, normal.frame.enter(x))
        return y, self.covariance.spread_scores(y) + np.trace(basis, axis1=1, axis2=2) / 2

    def _basis(self, theta: StudentTParams) -> FloatArray:
        """Return the matrices B (s, d, d) of the coordinates of a scale matrix (formula V10)."""
        return self.covariance.basis(self.n_features(theta))

    def _precision(self, theta: StudentTParams, distance: FloatArray) -> FloatArray:
        """Return the expected precisions (n, k) of rows at these squared distances."""
        return (theta.dofs + self.n_features(theta)) / (theta.dofs + distance)

    def _dof_scores(self, theta: StudentTParams, precision: FloatArray) -> FloatArray:
        """Return the derivatives (n, k) by the logarithms of the degrees of freedom."""
        gain = log_less_digamma(theta.dofs / 2) - self._log_bias(theta)
        scores: FloatArray = theta.dofs / 2 * (gain + np.log(precision) + 1 - precision)
        return scores

    def slots(self, theta: StudentTParams) -> IntArray:
        """Return the numbers of the coordinates, those of the degrees of freedom last."""
        own, k = self._normal.slots(theta.normal), len(theta.dofs)
        return np.hstack([own, own.max() + 1 + np.arange(k)[:, None]])

    def quantities(self, theta: StudentTParams) -> list[Quantity]:
        """Return locations, scale matrices and degrees of freedom, with their derivatives."""
        of_dofs = np.diag(theta.dofs / np.sqrt(shape_information(theta.dofs / 2)))
        everywhere = np.ones_like(theta.dofs, dtype=np.bool_)
        locations, scales = (q.among(0, len(theta.dofs)) for q in self._normal.quantities(theta.normal))
        dofs = Quantity("dofs", theta.dofs.copy(), of_dofs, everywhere, everywhere)
        return [
            replace(locations, name="locations"),
            replace(scales, name="scales"),
            dofs.among(len(scales.effects) - len(theta.dofs), 0),
        ]

    def edges(self, theta: StudentTParams) -> list[str]:
        """Name the scale matrices at the floor, and the components without heavy tails."""
        normal = np.flatnonzero(theta.dofs > LARGEST_DOF / 2)
        return [*self._normal.edges(theta.normal), *(f"component {a} has no heavy tails" for a in normal)]

    def take(self, theta: StudentTParams, components: IntArray) -> StudentTParams:
        """Return the parameters of these components, in this order."""
        return StudentTParams(self._normal.take(theta.normal, components), theta.dofs[components])

    def spread(self, theta: StudentTParams) -> FloatArray:
        """Return the largest eigenvalue of each scale matrix, (k,)."""
        return self._normal.spread(theta.normal)

    def part(self, theta: StudentTParams, a: int, b: int) -> StudentTParams:
        """Return `theta` with the equal components a and b moved apart, as halves of a Gaussian are (formula C1)."""
        return replace(theta, normal=self._normal.part(theta.normal, a, b))

    def tails(self, theta: StudentTParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities (n, k) of at most `x` (n, 1) and of more."""
        from scipy.special import stdtr

        z = standardize(self.covariance, theta.normal, x)
        return stdtr(theta.dofs, z), stdtr(theta.dofs, -z)

    def suspects(self, theta: StudentTParams, counts: FloatArray) -> list[Event]:
        """Return an event for each component that is likely to be spurious, by its scale matrix (formula C2)."""
        return self._normal.suspects(theta.normal, counts)

    def sample(self, theta: StudentTParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row from the component named by each of `labels` (n,)."""
        frame, dofs = theta.normal.frame, theta.dofs[labels]
        location = theta.normal.means[labels]
        gap = frame.enter(self._normal.sample(theta.normal, labels, rng)) - location
        return frame.leave(location + gap * np.sqrt(dofs / rng.chisquare(dofs))[:, None])

    def n_features(self, theta: StudentTParams) -> int:
        """Return the number of columns."""
        return self._normal.n_features(theta.normal)

    def n_parameters(self, theta: StudentTParams) -> int:
        """Return the number of free parameters of all components."""
        return self._normal.n_parameters(theta.normal) + len(theta.dofs)

    def attributes(self, theta: StudentTParams) -> dict[str, FloatArray]:
        """Return locations, scale matrices and degrees of freedom."""
        own = self._normal.attributes(theta.normal)
        return {"locations_": own["means_"], "scales_": own["covariances_"], "dofs_": theta.dofs.copy()}

    def check(self, theta: StudentTParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` that names what about parameters from elsewhere cannot be."""
        self._normal.check(theta.normal, n_components, n_features)
        expect("dofs", theta.dofs, (n_components,), theta.dofs > 0, "positive numbers")
