"""The Gaussian family: means, covariances of one structure, and a frame in which both are held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import partial
from math import log, pi
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mixtura._types import Array, BoolArray, FloatArray, IntArray, Wanted
from mixtura.families.base import digest
from mixtura.families.conjugate import ComponentPrior, PriorRows, Spread, Whole
from mixtura.families.covariance import Covariance
from mixtura.families.full import Full
from mixtura.families.gaussian_information import GaussianInformation
from mixtura.families.gaussian_pieces import GaussianPieces
from mixtura.families.linalg import quotient, ratio
from mixtura.families.spurious import suspects
from mixtura.frame import EPS, HORIZON, Frame
from mixtura.grid import Chunk
from mixtura.model import LEBESGUE, Event, EventKind, Posterior, States
from mixtura.stats import Node, Sums

if TYPE_CHECKING:
    from mixtura.families.stacked import StackedGaussian

LOG_2PI = log(2 * pi)
DIGITS_LOST = 1e-10  # most relative error that a pivot far from the new mean may bring to a variance


@dataclass(frozen=True, eq=False)
class GaussianParams:
    """Parameters of k Gaussian components in d dimensions, in frame coordinates.

    Attributes
    ----------
    frame : Frame
        Where frame coordinates lie.
    means : (k, d) array
        Component means.
    covariances, factors : array
        In the shape of the structure; a factor L has ``L' L`` the precision.
    pivot : (k, d) array
        The points about which moments are taken: the means, unless these moved too far from the data.
    whole : Whole
        What all rows are like as one: a prior is measured by it.
    """

    frame: Frame
    means: FloatArray
    covariances: FloatArray
    factors: FloatArray
    pivot: FloatArray
    whole: Whole


@dataclass(frozen=True)
class Gaussian(GaussianPieces, GaussianInformation):
    """Multivariate normal components.

    Parameters
    ----------
    covariance : Covariance
        `Full()`, `Tied()`, `Diag()` or `Spherical()`.
    reg_covar : float
        Added to every variance at each update, in squared units of the data, as scikit-learn does.
    prior : ComponentPrior, optional
        What is known of the components; None stands for maximum likelihood.
    """

    covariance: Covariance[Any] = field(default_factory=Full)
    reg_covar: float = 0.0
    prior: ComponentPrior | None = None
    name: ClassVar[str] = "gaussian"
    takes_sparse: ClassVar[bool] = False
    has_unseen: ClassVar[bool] = False
    support: ClassVar[str] = "finite numbers"
    measure: ClassVar[str] = LEBESGUE
    params_type: ClassVar[type[GaussianParams]] = GaussianParams
    digits_lost: ClassVar[float] = DIGITS_LOST

    def __post_init__(self) -> None:
        if not isinstance(self.covariance, Covariance):
            raise TypeError(f"covariance is {self.covariance!r}, expected an object such as Full()")
        if not 0 <= float(self.reg_covar) < np.inf:
            raise ValueError(f"reg_covar is {self.reg_covar!r}, expected a finite number from 0")
        if not isinstance(self.prior, ComponentPrior | None):
            raise TypeError(f"prior is {self.prior!r}, expected an object such as Spread()")

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) a component can yield."""
        return np.isfinite(x)

    def for_missing(self) -> Gaussian:
        """Return the family of the same components for rows that may lack values (NaN)."""
        from mixtura.families.incomplete import IncompleteGaussian  # it is built on this one

        return IncompleteGaussian(**{f.name: getattr(self, f.name) for f in fields(self)})

    def frame(self, low: FloatArray, high: FloatArray, centre: FloatArray) -> Frame:
        """Choose the frame of columns of this range."""
        return Frame.from_range(low, high, centre, isotropic=self.covariance.isotropic)

    @property
    def is_informed(self) -> bool:
        """Whether there is a prior."""
        return self.prior is not None

    def describe(self, frame: Frame, sums: Any) -> Whole:
        """Return what the rows of these sums are like as one; refuse a prior that cannot be."""
        if self.prior is not None:
            self.prior.check(self.covariance, len(frame.shift))
        return Whole.of(self.covariance, frame, sums)

    def blank(self, frame: Frame, n_components: int, whole: Whole | None = None) -> GaussianParams:
        """Return unit components at the centre of the frame."""
        d = len(frame.shift)
        means = np.zeros((n_components, d))
        unit = self.covariance.identity(n_components, d)
        whole = whole or Whole.unit(self.covariance, d)
        return GaussianParams(frame=frame, means=means, covariances=unit, factors=unit, pivot=means, whole=whole)

    def log_density(self, theta: GaussianParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-densities (formula E1)."""
        z = theta.frame.enter(x)
        with np.errstate(over="ignore"):  # a distance of infinity is a density of 0
            distance = self.covariance.squared_distance(theta.factors, theta.means, z)
        density: FloatArray = self.log_peaks(theta) - distance / 2
        return density

    def log_peaks(self, theta: GaussianParams) -> FloatArray:
        """Return each component's log-density at its mean, (k,)."""
        k, d = theta.means.shape
        log_det = self.covariance.log_det(theta.factors, k, d)
        peaks: FloatArray = log_det + theta.frame.log_jacobian - d / 2 * LOG_2PI
        return peaks

    def suffstats(self, theta: GaussianParams, x: FloatArray, resp: FloatArray) -> Sums:
        """Return the moments about the pivot (formulas S1 to S3)."""
        # Column after column in memory: NumPy takes up to a sixth of the time.
        z, resp = np.asfortranarray(theta.frame.enter(x)), np.asfortranarray(resp)
        sums: Sums = self.covariance.moments(z, resp, theta.pivot)
        return sums

    def states(self, theta: GaussianParams) -> States[Any]:
        """Return what a Markov chain asks of rows, by kernels."""
        from mixtura.kernels import states

        (k, d), frame = theta.means.shape, (theta.frame.shift, theta.frame.scale)
        band = d if self.covariance.correlated else 0  # how far from the diagonal covariances have entries
        moments = states.Moments.about(*frame, theta.pivot, band)
        factors = self.covariance.expand_factors(theta.factors, k, d)
        densities = states.Densities.of(*frame, theta.means, factors, band, self.log_peaks(theta))
        return States(
            densities.at if d <= states.WIDEST else partial(self._shares, theta),
            lambda x, resp: self.covariance.gather(*moments.over(x, resp)),
        )

    def _shares(self, theta: GaussianParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return densities over their sum, (n, k8), and the logarithm (n,) of that, by the kernel of the posterior."""
        from mixtura.kernels import states

        found = self.posterior_rows(np.zeros(len(theta.means)), theta, x, "shares")
        return states.widened(found.resp), found.loglik

    def expected(self, theta: GaussianParams, counts: FloatArray) -> Sums:
        """Return the sums about the pivot of which `update` makes `theta` (formula B1)."""
        shift = self._means_of_rows(theta, counts)
        covariances = self.covariance.widen(theta.covariances, -self.reg_covar * theta.frame.scale**2)
        if (prior := self._prior_rows(theta)) is not None:
            moved, gaps = shift - (theta.means - theta.pivot), prior.mean - theta.means
            covariances = prior.covariances_of_rows(self.covariance, counts, covariances, moved, gaps)
        sums: Sums = self.covariance.expected(counts, covariances, shift)
        return sums

    def update(self, sums: Any, theta: GaussianParams) -> tuple[GaussianParams, list[Event]]:
        """Return the parameters of maximal likelihood, or of most probability, kept above the floor of the numbers."""
        shift, covariances = self._regularize(theta, sums.s0, *self._estimate(sums, theta))
        return self._assemble(theta, theta.pivot + shift, covariances)

    def log_prior(self, theta: GaussianParams) -> float:
        """Return the log prior density of the components (formula P1)."""
        prior = self._prior_rows(theta)
        return 0.0 if prior is None else prior.log_density(self.covariance, theta.means, theta.factors)

    def _prior_rows(self, theta: GaussianParams) -> PriorRows | None:
        """Return the rows that the prior is worth, None if there is none."""
        if self.prior is None:
            return None
        return self.prior.rows_for(self.covariance, theta.frame, theta.whole, len(theta.means))

    def _estimate(self, sums: Any, theta: GaussianParams) -> tuple[FloatArray, FloatArray]:
        """Return means, less the pivot, and covariances of the rows of each component; as in `theta` if it has none."""
        shift = ratio(sums.s1, sums.s0, theta.means - theta.pivot)
        return shift, self.covariance.estimate(sums, theta.pivot, shift, theta.covariances)

    def _regularize(
        self, theta: GaussianParams, counts: FloatArray, shift: FloatArray, covariances: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return what prior and perturbation make of these estimates."""
        means = self._means(theta, counts, shift)
        if (prior := self._prior_rows(theta)) is not None:
            gaps = prior.mean - theta.pivot - means
            covariances = prior.covariances(self.covariance, counts, covariances, shift - means, gaps)
        if self.reg_covar:
            covariances = self.covariance.widen(covariances, self.reg_covar * theta.frame.scale**2)
        return means, covariances

    def _means(self, theta: GaussianParams, counts: FloatArray, shift: FloatArray) -> FloatArray:
        """Return the new means of components whose rows have the means `shift`, all less the pivot."""
        prior = self._prior_rows(theta)
        return shift if prior is None else prior.means(counts, theta.pivot, shift)

    def _means_of_rows(self, theta: GaussianParams, counts: FloatArray) -> FloatArray:
        """Return the means of rows, less the pivot, of which `_means` makes those of `theta`."""
        prior, shift = self._prior_rows(theta), theta.means - theta.pivot
        return shift if prior is None else prior.means_of_rows(counts, theta.pivot, shift)

    def free(self, theta: GaussianParams) -> FloatArray:
        """Return the means, and the factors with the logarithms of their diagonals (formula Q1)."""
        return np.concatenate([theta.means.ravel(), self.covariance.free(theta.factors)])

    def from_free(self, vector: FloatArray, like: GaussianParams) -> GaussianParams | None:
        """Return the parameters with these coordinates, None if a variance would be below the floor or no number."""
        k, d = like.means.shape
        means = vector[: k * d].reshape(k, d)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            factors = self.covariance.from_free(vector[k * d :], like.factors)
            volumes = self.covariance.log_det(factors, k, d)  # infinite where a factor has no inverse
            if not _within_horizon(means, factors, volumes):
                return None
            covariances = self.covariance.invert(factors)
        if not _within_horizon(covariances):
            return None
        theta, events = self._assemble(like, means, covariances)
        return None if events else replace(theta, factors=factors)

    def metric(self, theta: GaussianParams, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the complete-data information times a step (formula Q2)."""
        k, d = theta.means.shape
        whitened = self._multiply(theta.factors, step[: k * d].reshape(k, d))
        of_means = weights[:, None] * self._multiply(self.covariance.upper(theta.factors), whitened)
        of_factors = self.covariance.metric(theta.factors, weights, d, step[k * d :])
        return np.concatenate([of_means.ravel(), of_factors])

    def inverse_metric(self, theta: GaussianParams, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""
        k, d = theta.means.shape
        spread = self._multiply(theta.covariances, gradient[: k * d].reshape(k, d))
        of_means = quotient(spread, weights[:, None])
        of_factors = self.covariance.inverse_metric(theta.factors, weights, d, gradient[k * d :])
        return np.concatenate([of_means.ravel(), of_factors])

    def _multiply(self, matrices: FloatArray, vectors: FloatArray) -> FloatArray:
        """Return matrices of the structure times one vector for each component, (k, d)."""
        if not self.covariance.correlated:
            return self.covariance.variances(matrices, *vectors.shape) * vectors
        product: FloatArray = (matrices @ vectors[:, :, None])[:, :, 0]
        return product

    def is_interior(self, theta: GaussianParams) -> bool:
        """Return True: EM leaves any parameters but the floor, of which an event tells."""
        return True

    def refine(self, sums: Any, theta: GaussianParams) -> GaussianParams | None:
        """Return `theta` about the means that `sums` give, if these are so many sigma away that digits are lost.

        Variances about the new mean are found by subtraction; after a move of t sigma that costs eps t**2.
        """
        shift, covariances = self._estimate(sums, theta)
        _, covariances = self._regularize(theta, sums.s0, shift, covariances)
        least = np.maximum(self.covariance.variances(covariances, *shift.shape), theta.frame.floor**2)
        if (EPS * shift**2 <= self.digits_lost * least).all():
            return None
        return replace(theta, pivot=theta.pivot + shift)

    def pivot(self, theta: GaussianParams) -> str:
        """Digest the point about which moments are taken."""
        return digest(theta.frame.shift, theta.frame.scale, theta.pivot)

    def sample(self, theta: GaussianParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row from the component named by each of `labels` (n,)."""
        k, d = theta.means.shape
        roots = np.linalg.cholesky(self.covariance.expand(theta.covariances, k, d))
        noise = rng.standard_normal((len(labels), d))
        z: FloatArray = theta.means[labels] + np.einsum("nij,nj->ni", roots[labels], noise)
        return theta.frame.leave(z)

    def n_features(self, theta: GaussianParams) -> int:
        """Return the number of columns."""
        return int(theta.means.shape[1])

    def n_parameters(self, theta: GaussianParams) -> int:
        """Return the number of free parameters of the components."""
        k, d = theta.means.shape
        return int(k * d + self.covariance.n_parameters(k, d))

    def check(self, theta: GaussianParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` that names what about parameters from elsewhere cannot be."""
        k, d = n_components, n_features
        shape = self.covariance.shape(k, d)
        expected = {"means": (k, d), "pivot": (k, d), "covariances": shape, "factors": shape}
        theta.frame.check(d)
        for name, wanted in expected.items():
            if (found := getattr(theta, name).shape) != wanted:
                raise ValueError(f"{name}: expected shape {wanted}, found {found}")
        self.covariance.check_factors(theta.covariances, theta.factors)
        theta.whole.check(self.covariance, d)

    def fused(self, n_components: int, n_features: int) -> bool:
        """Tell whether this machine runs the kernels well: there is one for every structure and size."""
        from mixtura.kernels.simd import has_fma

        return has_fma()

    def e_blocks(
        self, log_weights: FloatArray, theta: GaussianParams, chunk: Chunk, negligible: float
    ) -> Iterator[tuple[Node, float, float, Sums]]:
        """Run the compiled E-step: yield level and index, log-likelihood, weight and sums of subtrees of a chunk.

        A row may be left out of the moments of a component whose density is less than `negligible` of the mixture's.
        """
        k, d = theta.means.shape
        density = self._kernel_density(log_weights, theta)
        least = negligible * np.exp(log_weights)
        for node, sums in self.covariance.kernel(d).e_blocks(chunk, theta.pivot, least, *density):
            yield node, float(sums[0]), float(sums[1]), self.covariance.unpack(sums[2:], k, d)

    def posterior_rows(self, log_weights: FloatArray, theta: GaussianParams, x: Array, wanted: Wanted) -> Posterior:
        """Run the compiled kernel of the posterior over rows."""
        kernel = self.covariance.kernel(theta.means.shape[1])
        return Posterior(*kernel.posterior_rows(x, *self._kernel_density(log_weights, theta), wanted=wanted))

    def _kernel_density(self, log_weights: FloatArray, theta: GaussianParams) -> tuple[FloatArray, ...]:
        """Return what a kernel makes densities of."""
        factors = self.covariance.kernel_factors(theta.factors, *theta.means.shape)
        frame = theta.frame
        return frame.shift, frame.scale, theta.means, factors, log_weights + self.log_peaks(theta)

    def attributes(self, theta: GaussianParams) -> dict[str, FloatArray]:
        """Return the parameters in the data's own units, by scikit-learn's names and in its shapes."""
        factors = self.covariance.scale_factors(theta.factors, theta.frame.scale)
        return {
            "means_": theta.frame.leave(theta.means),
            "covariances_": self.covariance.rescale(theta.covariances, 1 / theta.frame.scale),
            "precisions_": self.covariance.precisions(factors),
            "precisions_cholesky_": self.covariance.upper(factors),
        }

    def with_means(self, theta: GaussianParams, means: FloatArray) -> GaussianParams:
        """Return `theta` with these means, given in the data's own units."""
        centred = theta.frame.enter(means)
        return replace(theta, means=centred, pivot=centred)

    def with_precisions(self, theta: GaussianParams, precisions: FloatArray) -> GaussianParams:
        """Return `theta` with these precisions, given in the data's own units."""
        factors = self.covariance.factor_precisions(precisions)
        factors = self.covariance.scale_factors(factors, 1 / theta.frame.scale)
        return replace(theta, factors=factors, covariances=self.covariance.invert(factors))

    def stacked(self, k: int) -> StackedGaussian | None:
        """Return the family of the components of several mixtures of k; None where k decides what the prior is."""
        from mixtura.families.stacked import StackedGaussian  # it is built on this one

        if not isinstance(self.prior, Spread | None):
            return None
        covariance = self.covariance.stacked(k)
        return StackedGaussian(covariance=covariance, reg_covar=self.reg_covar, prior=self.prior, size=k)

    def suspects(self, theta: GaussianParams, counts: FloatArray) -> list[Event]:
        """Return an event for each component that is likely to be spurious (formula C2)."""
        k, d = theta.means.shape
        matrices = self.covariance.expand(theta.covariances, k, d)
        factors = self.covariance.expand_factors(theta.factors, k, d)
        return suspects(counts, matrices, factors, self.covariance.least_rows(d))

    def _assemble(
        self, theta: GaussianParams, means: FloatArray, covariances: FloatArray
    ) -> tuple[GaussianParams, list[Event]]:
        """Return `theta` with these means and covariances, and which had to be raised to the floor."""
        floor = theta.frame.floor
        kept, factors, raised = self.covariance.factorize(covariances, floor)
        theta = replace(theta, means=means, covariances=kept, factors=factors, pivot=means)
        if not raised:
            return theta, []
        narrow = self.covariance.variances(covariances, *means.shape) < floor**2
        return theta, [self._collapse(j, narrow[j]) for j in raised]

    def _collapse(self, component: int, narrow: BoolArray) -> Event:
        columns = ", ".join(str(j) for j in np.flatnonzero(narrow))
        where = f" in column {columns}" if columns else ""
        return Event(EventKind.FLOOR, component, f"{self.covariance.owner.format(component)} collapsed{where}")


def _within_horizon(*values: FloatArray) -> bool:
    """Tell whether all values are numbers that can be squared."""
    return all((np.abs(value) < HORIZON).all() for value in values)
