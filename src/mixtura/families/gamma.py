"""The gamma family: positive numbers with a shape and a mean of their own in each column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mixtura._types import Array, BoolArray, FloatArray, IntArray, Wanted
from mixtura.capabilities import Quantity
from mixtura.families.base import Separable, digest, expect
from mixtura.families.covariance import split
from mixtura.families.gaussian import DIGITS_LOST
from mixtura.families.linalg import is_occupied, ratio
from mixtura.families.special import gamma_shape, log_less_digamma, shape_information, stirling
from mixtura.families.spurious import suspects_by_column
from mixtura.families.two import two_quantities, two_slots
from mixtura.frame import ARITHMETIC_FLOOR, EPS, Frame
from mixtura.grid import Chunk
from mixtura.model import LEBESGUE, Event, EventKind, Posterior
from mixtura.stats import Node, Sums

LARGEST_SHAPE = ARITHMETIC_FLOOR**-2  # the standard deviation is then as small a part of the mean as numbers carry
LEAST_GAP = 0.5 / LARGEST_SHAPE


@dataclass(frozen=True, eq=False)
class GammaParams:
    """Parameters of k components in d columns.

    Attributes
    ----------
    frame : Frame
        Its scale is the unit of means and pivot.
    means, shapes : (k, d) array
        The rate is shape / mean.
    pivot : (k, d) array
        What rows are divided by in the sums: the means, unless these moved too far.
    """

    frame: Frame
    means: FloatArray
    shapes: FloatArray
    pivot: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class GammaSums(Sums):
    """Sums of the responsibilities r, (k,), of ``r v`` and of ``r (v - 1 - log v)``, (k, d), where v is x / pivot."""

    s0: FloatArray
    s1: FloatArray
    gap: FloatArray


@dataclass(frozen=True)
class Gamma(Separable[GammaParams]):
    """Independent gamma-distributed positive numbers in each column (formulas D11, D12).

    A fitted mixture has ``shapes_`` and ``rates_`` (k, d); a mean is shape / rate. The update iterates Newton's
    method for the shapes, on the sums, to the last digit, so it is the exact maximum. A component whose values are all
    equal in a column has no finite shape: it gets the largest that the numbers carry, and an event says so.

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import Gamma
    >>> fitted = MixtureModel(Gamma()).fit([1.0, 2.0, 3.0, 6.0])
    >>> fitted.shapes_.round(3).tolist(), (fitted.shapes_ / fitted.rates_).tolist()
    ([[2.621]], [[3.0]])
    """

    name: ClassVar[str] = "gamma"
    support: ClassVar[str] = "positive numbers"
    measure: ClassVar[str] = LEBESGUE
    params_type: ClassVar[type[GammaParams]] = GammaParams

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are positive numbers."""
        return np.isfinite(x) & (x > 0)

    def frame(self, low: FloatArray, high: FloatArray, centre: FloatArray) -> Frame:
        """Return a frame without a shift, in which the largest value is near 1."""
        return Frame.from_range(np.zeros_like(high), high, np.zeros_like(high))

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> GammaParams:
        """Return unit means and shapes."""
        unit = np.ones((n_components, len(frame.shift)))
        return GammaParams(frame=frame, means=unit, shapes=unit, pivot=unit)

    def log_density(self, theta: GammaParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-densities (formula D11)."""
        gaps = [
            gap_of(theta.frame.enter(x) / mean) @ shape for mean, shape in zip(theta.means, theta.shapes, strict=True)
        ]
        density: FloatArray = self._peaks(theta) - np.column_stack(gaps) - np.log(x).sum(axis=1)[:, None]
        return density

    def _peaks(self, theta: GammaParams) -> FloatArray:
        """Return the logarithms (k,) of the densities at the means, times the product of these."""
        peaks: FloatArray = (np.log(theta.shapes / (2 * np.pi)) / 2 - stirling(theta.shapes)).sum(axis=1)
        return peaks

    def suffstats(self, theta: GammaParams, x: FloatArray, resp: FloatArray) -> GammaSums:
        """Return the sums about the pivot."""
        z = theta.frame.enter(x)
        s1, gap = np.empty_like(theta.pivot), np.empty_like(theta.pivot)
        for j, pivot in enumerate(theta.pivot):
            s1[j], gap[j] = resp[:, j] @ (z / pivot), resp[:, j] @ gap_of(z / pivot)
        return GammaSums(s0=resp.sum(axis=0), s1=s1, gap=gap)

    def expected(self, theta: GammaParams, counts: FloatArray) -> GammaSums:
        """Return the sums of which `update` makes `theta` (formula B1)."""
        v, each = theta.means / theta.pivot, counts[:, None]
        return GammaSums(s0=counts, s1=each * v, gap=each * (gap_of(v) + log_less_digamma(theta.shapes)))

    def update(self, sums: GammaSums, theta: GammaParams) -> tuple[GammaParams, list[Event]]:
        """Return the means, and the shapes by Newton's method (formula D12)."""
        v, gap = self._solve(sums, theta)
        means = np.where(is_occupied(sums.s0)[:, None], theta.pivot * v, theta.means)
        events = [
            Event(EventKind.FLOOR, int(a), f"component {a} collapsed in column {j}")
            for a, j in np.argwhere(gap < LEAST_GAP)
        ]
        shapes = np.where(is_occupied(sums.s0)[:, None], gamma_shape(np.maximum(gap, LEAST_GAP)), theta.shapes)
        return GammaParams(frame=theta.frame, means=means, shapes=shapes, pivot=means), events

    def refine(self, sums: GammaSums, theta: GammaParams) -> GammaParams | None:
        """Return `theta` about the means that `sums` give, if these are so far from the pivot that digits are lost."""
        v, gap = self._solve(sums, theta)
        if (EPS * gap_of(v) <= DIGITS_LOST * np.maximum(gap, LEAST_GAP)).all():
            return None
        return replace(theta, pivot=theta.pivot * v)

    def _solve(self, sums: GammaSums, theta: GammaParams) -> tuple[FloatArray, FloatArray]:
        """Return the means over the pivots, and ``log mean(x) - mean(log x)``; of a component without rows, its own."""
        v = ratio(sums.s1, sums.s0, theta.means / theta.pivot)
        gap = ratio(sums.gap, sums.s0, gap_of(v) + log_less_digamma(theta.shapes))
        return v, gap - gap_of(v)

    def pivot(self, theta: GammaParams) -> str:
        """Digest what rows are divided by."""
        return digest(theta.frame.scale, theta.pivot)

    def take(self, theta: GammaParams, components: IntArray) -> GammaParams:
        """Return the parameters of these components, in this order."""
        chosen = {name: getattr(theta, name)[components] for name in ("means", "shapes", "pivot")}
        return GammaParams(frame=theta.frame, **chosen)

    def coordinates(self, theta: GammaParams) -> FloatArray:
        """Return the logarithms of the means and of the shapes."""
        return np.log([theta.means, theta.shapes])

    def from_coordinates(self, coordinates: FloatArray, like: GammaParams) -> GammaParams:
        """Return the parameters with these logarithms; a shape too large, or one or a mean that is 0, is no number."""
        means, shapes = np.exp(coordinates)
        means = np.where(means > 0, means, np.nan)
        shapes = np.where((shapes > 0) & (shapes < LARGEST_SHAPE), shapes, np.nan)
        return GammaParams(frame=like.frame, means=means, shapes=shapes, pivot=means)

    def information(self, theta: GammaParams) -> FloatArray:
        """Return that about the logarithms of means and shapes, which are orthogonal (formula D12)."""
        return np.stack([theta.shapes, shape_information(theta.shapes)])

    def fused(self, n_components: int, n_features: int) -> bool:
        """Tell whether this machine runs the kernel well."""
        from mixtura.kernels.simd import has_fma

        return has_fma()

    def e_blocks(
        self, log_weights: FloatArray, theta: GammaParams, chunk: Chunk, negligible: float
    ) -> Iterator[tuple[Node, float, float, GammaSums]]:
        """Run the compiled E-step; no row is left out."""
        from mixtura.kernels import gamma

        k, d = theta.means.shape
        for node, sums in gamma.e_blocks(chunk, *self._kernel_density(log_weights, theta)):
            s0, s1, gap = split(sums[2:], (k,), (k, d), (k, d))
            yield node, float(sums[0]), float(sums[1]), GammaSums(s0=s0, s1=s1, gap=gap)

    def posterior_rows(self, log_weights: FloatArray, theta: GammaParams, x: Array, wanted: Wanted) -> Posterior:
        """Run the compiled kernel of the posterior over rows."""
        from mixtura.kernels import gamma

        return Posterior(*gamma.posterior_rows(x, *self._kernel_density(log_weights, theta), wanted=wanted))

    def _kernel_density(self, log_weights: FloatArray, theta: GammaParams) -> tuple[FloatArray, ...]:
        """Return what a kernel makes densities of."""
        frame = theta.frame
        return (
            frame.scale,
            theta.pivot,
            theta.means,
            theta.shapes,
            log_weights + self._peaks(theta) + frame.log_jacobian,
        )

    def tails(self, theta: GammaParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities (n, k) of at most `x` (n, 1) and of more."""
        from scipy.special import gammainc, gammaincc

        shapes = theta.shapes[:, 0]
        scaled = np.maximum(theta.frame.enter(x), 0) / theta.means[:, 0] * shapes
        return gammainc(shapes, scaled), gammaincc(shapes, scaled)

    def suspects(self, theta: GammaParams, counts: FloatArray) -> list[Event]:
        """Return an event for each component that is likely to be spurious, by its relative width (formula C2)."""
        return suspects_by_column(counts, 1 / theta.shapes)

    def sample(self, theta: GammaParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row from the component named by each of `labels` (n,)."""
        rows = theta.frame.leave(rng.gamma(theta.shapes[labels], (theta.means / theta.shapes)[labels]))
        return np.maximum(rows, np.finfo(np.float64).tiny)  # small shapes have values that round to 0

    def attributes(self, theta: GammaParams) -> dict[str, FloatArray]:
        """Return shapes and rates."""
        return {"shapes_": theta.shapes.copy(), "rates_": theta.shapes / theta.means * theta.frame.scale}

    def unit_scores(self, theta: GammaParams, x: FloatArray) -> FloatArray:
        """Return those of the means and of the shapes, over the roots of their information (formula V11)."""
        v = theta.frame.enter(x)[:, None, :] / theta.means
        of_means, of_shapes = np.sqrt(self.information(theta))
        scores = [of_means * (v - 1), theta.shapes / of_shapes * (log_less_digamma(theta.shapes) - gap_of(v))]
        unit: FloatArray = np.concatenate(scores, axis=2)
        return unit

    def slots(self, theta: GammaParams) -> IntArray:
        """Return the numbers of the coordinates: those of the means, then those of the shapes."""
        return two_slots(theta.means)

    def quantities(self, theta: GammaParams) -> list[Quantity]:
        """Return shapes and rates, with their derivatives (formula V11)."""
        own, (of_means, of_shapes) = self.attributes(theta), np.sqrt(self.information(theta))
        shapes, rates = own["shapes_"], own["rates_"]
        effects = {
            "shapes": (np.zeros_like(shapes), shapes / of_shapes),
            "rates": (-rates / of_means, rates / of_shapes),
        }
        return two_quantities({"shapes": shapes, "rates": rates}, effects)

    def edges(self, theta: GammaParams) -> list[str]:
        """Name the shapes that are as large as numbers carry."""
        largest = np.argwhere(theta.shapes > LARGEST_SHAPE / 2)
        return [f"component {a} has no width in column {j}" for a, j in largest]

    def check(self, theta: GammaParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` if parameters from elsewhere have a wrong shape or sign."""
        theta.frame.check(n_features)
        for name in ("means", "shapes", "pivot"):
            values = getattr(theta, name)
            expect(name, values, (n_components, n_features), values > 0, "positive numbers")


def gap_of(v: FloatArray) -> FloatArray:
    """Return ``v - 1 - log v``, which is 0 at 1 and nowhere else; a v that underflowed counts as the least number."""
    gap: FloatArray = v - 1 - np.log(np.maximum(v, np.finfo(np.float64).tiny))
    return gap
