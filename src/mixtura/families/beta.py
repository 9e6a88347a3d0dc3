"""The beta family: proportions, independent in each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.capabilities import Quantity
from mixtura.families.base import expect
from mixtura.families.linalg import quotient, ratio
from mixtura.families.linear import Linear
from mixtura.families.special import log_less_digamma, shape_information, stirling
from mixtura.families.spurious import suspects_by_column
from mixtura.families.two import two_quantities, two_slots
from mixtura.frame import Frame
from mixtura.kernels.layout import REAL, Layout
from mixtura.model import LEBESGUE, Event, EventKind
from mixtura.stats import Sums

LARGEST_TOTAL = 2.0**32  # a deviation of 1e-5; sums of logarithms tell no more
NEWTON_STEPS = 100
HALVINGS = 60
NEAR = 1e-3  # length of a step from which on Newton's method needs no guard, and gains are rounding
SETTLED = 1e-8  # and after which what is left is the square of this
LONGEST = 2.0  # step of a logarithm


@dataclass(frozen=True, eq=False)
class BetaParams:
    """Both shapes of k components in d columns, (k, d): the mean is alpha over their total."""

    alphas: FloatArray
    betas: FloatArray

    @property
    def shapes(self) -> FloatArray:
        """Both in one array, (2, k, d)."""
        return np.stack([self.alphas, self.betas])


@dataclass(frozen=True, eq=False, kw_only=True)
class BetaSums(Sums):
    """Sums of the responsibilities r, (k,), and of ``r log x`` and ``r log(1 - x)``, (2, k, d)."""

    s0: FloatArray
    logs: FloatArray


@dataclass(frozen=True)
class Beta(Linear[BetaParams]):
    """Independent beta-distributed proportions in each column (formulas D21, D22).

    A fitted mixture has ``alphas_`` and ``betas_`` (k, d); a mean is alpha / (alpha + beta). The update iterates
    Newton's method for both, on the sums, with steps that are halved until they gain, to the last digit. A component
    whose values are all equal in a column has no finite shapes: it gets the largest that the sums carry, and an event
    says so.

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import Beta
    >>> fitted = MixtureModel(Beta()).fit([0.1, 0.3, 0.4, 0.6])
    >>> fitted.alphas_.round(2).tolist(), fitted.betas_.round(2).tolist()
    ([[2.09]], [[3.94]])
    """

    name: ClassVar[str] = "beta"
    support: ClassVar[str] = "numbers between 0 and 1"
    measure: ClassVar[str] = LEBESGUE
    params_type: ClassVar[type[BetaParams]] = BetaParams

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are between 0 and 1."""
        valid: BoolArray = (x > 0) & (x < 1)
        return valid

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> BetaParams:
        """Return uniform distributions."""
        return BetaParams(*np.ones((2, n_components, len(frame.shift))))

    def log_density(self, theta: BetaParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-densities (formula D21)."""
        alphas, betas, totals = theta.alphas, theta.betas, theta.alphas + theta.betas
        gaps = [
            np.log(x / (a / t)) @ a + np.log((1 - x) / (b / t)) @ b
            for a, b, t in zip(alphas, betas, totals, strict=True)
        ]
        density: FloatArray = self._peaks(theta).sum(axis=1) + np.column_stack(gaps)
        density -= (np.log(x) + np.log1p(-x)).sum(axis=1)[:, None]
        return density

    def _peaks(self, theta: BetaParams) -> FloatArray:
        """Return the logarithms (k, d) of ``x (1 - x)`` times the density at the mean."""
        alphas, betas, totals = theta.alphas, theta.betas, theta.alphas + theta.betas
        widths = np.log(alphas * betas / (2 * np.pi * totals)) / 2
        peaks: FloatArray = widths + stirling(totals) - stirling(alphas) - stirling(betas)
        return peaks

    def transform(self, x: FloatArray) -> FloatArray:
        """Return the logarithms of x and of 1 - x, (n, 2 d)."""
        return np.hstack([np.log(x), np.log1p(-x)])

    def layout(self, n_features: int) -> Layout:
        """Return both logarithms as features."""
        return Layout.of_columns(2 * n_features, REAL)

    def coefficients(self, theta: BetaParams) -> tuple[FloatArray, FloatArray]:
        """Return the shapes less 1, and what is left of the log-densities where both logarithms are 0."""
        shapes = np.hstack([theta.alphas, theta.betas])
        means = shapes / np.tile(theta.alphas + theta.betas, 2)
        return shapes - 1, self._peaks(theta).sum(axis=1) - (shapes * np.log(means)).sum(axis=1)

    def gather(self, s0: FloatArray, s1: FloatArray) -> BetaSums:
        """Return the sums of both logarithms."""
        return BetaSums(s0=s0, logs=np.stack(np.split(s1, 2, axis=1)))

    def suffstats(self, theta: BetaParams, x: FloatArray, resp: FloatArray) -> BetaSums:
        """Return the sums of both logarithms."""
        return BetaSums(s0=resp.sum(axis=0), logs=np.stack([resp.T @ np.log(x), resp.T @ np.log1p(-x)]))

    def expected(self, theta: BetaParams, counts: FloatArray) -> BetaSums:
        """Return the sums of which `update` makes `theta` (formula B1)."""
        return BetaSums(s0=counts, logs=counts[:, None] * mean_logs(theta.shapes))

    def update(self, sums: BetaSums, theta: BetaParams) -> tuple[BetaParams, list[Event]]:
        """Return the shapes, by Newton's method (formula D22)."""
        own = mean_logs(theta.shapes)
        logs = np.stack([ratio(part, sums.s0, mean) for part, mean in zip(sums.logs, own, strict=True)])
        shapes = fit_shapes(logs, theta.shapes)
        totals = shapes.sum(axis=0)
        events = [
            Event(EventKind.FLOOR, int(a), f"component {a} collapsed in column {j}")
            for a, j in np.argwhere(totals > LARGEST_TOTAL)
        ]
        return BetaParams(*(shapes * np.minimum(1.0, LARGEST_TOTAL / totals))), events

    def take(self, theta: BetaParams, components: IntArray) -> BetaParams:
        """Return the parameters of these components, in this order."""
        return BetaParams(theta.alphas[components], theta.betas[components])

    def free(self, theta: BetaParams) -> FloatArray:
        """Return the logarithms of the shapes (formula Q1)."""
        return np.log(theta.shapes).ravel()

    def from_free(self, vector: FloatArray, like: BetaParams) -> BetaParams | None:
        """Return the shapes with these logarithms; None where they are too large."""
        with np.errstate(over="ignore"):
            shapes = np.exp(vector).reshape(like.shapes.shape)
        good = (shapes > 0).all() and (shapes.sum(axis=0) < LARGEST_TOTAL).all()
        return BetaParams(*shapes) if good else None

    def metric(self, theta: BetaParams, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the information about the logarithms of shapes times a step (formula D22)."""
        own, cross = information(theta.shapes)
        step = step.reshape(own.shape)
        gradient: FloatArray = weights[:, None] * (own * step + cross * step[::-1])
        return gradient.ravel()

    def inverse_metric(self, theta: BetaParams, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""
        step = solve(*information(theta.shapes), gradient.reshape(theta.shapes.shape))
        return quotient(step, weights[:, None]).ravel()

    def tails(self, theta: BetaParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities (n, k) of at most `x` (n, 1) and of more."""
        from scipy.special import betainc, betaincc

        shapes = theta.alphas[:, 0], theta.betas[:, 0]
        inside = np.clip(x, 0, 1)
        return betainc(*shapes, inside), betaincc(*shapes, inside)

    def suspects(self, theta: BetaParams, counts: FloatArray) -> list[Event]:
        """Return an event for each component that is likely to be spurious, by its width in log-odds (formula C2)."""
        return suspects_by_column(counts, 1 / theta.alphas + 1 / theta.betas)

    def sample(self, theta: BetaParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row from the component named by each of `labels` (n,)."""
        rows = rng.beta(theta.alphas[labels], theta.betas[labels])
        return np.clip(rows, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)  # what rounds to 0 or 1

    def unit_scores(self, theta: BetaParams, x: FloatArray) -> FloatArray:
        """Return the logarithms of x and of 1 - x about their expectations, made independent (formula V13)."""
        logs = np.stack([np.log(x), np.log1p(-x)])[:, :, None, :] - mean_logs(theta.shapes)[:, None]
        first, second, bend = self._roots(theta)
        one = logs[0] / first
        unit: FloatArray = np.concatenate([one, (logs[1] - bend * one) / second], axis=2)
        return unit

    def _roots(self, theta: BetaParams) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return both diagonals of the root of the covariance of the two logarithms, and what is between, (k, d)."""
        own, cross = information(theta.shapes)
        first = np.sqrt(own[0]) / theta.alphas
        bend = cross / theta.shapes.prod(axis=0) / first
        determinant = own.prod(axis=0) - cross**2
        return first, np.sqrt(determinant / own[0]) / theta.betas, bend

    def slots(self, theta: BetaParams) -> IntArray:
        """Return the numbers of the coordinates: two for each component and column."""
        return two_slots(theta.alphas)

    def quantities(self, theta: BetaParams) -> list[Quantity]:
        """Return both shapes, with their derivatives (formula V13)."""
        first, second, bend = self._roots(theta)
        zero = np.zeros_like(first)
        effects = {"alphas": (1 / first, -bend / (first * second)), "betas": (zero, 1 / second)}
        return two_quantities({name: getattr(theta, name) for name in effects}, effects)

    def edges(self, theta: BetaParams) -> list[str]:
        """Name the components whose shapes are as large as sums carry."""
        largest = np.argwhere(theta.shapes.sum(axis=0) > LARGEST_TOTAL / 2)
        return [f"component {a} has no width in column {j}" for a, j in largest]

    def n_features(self, theta: BetaParams) -> int:
        """Return the number of columns."""
        return int(theta.alphas.shape[1])

    def n_parameters(self, theta: BetaParams) -> int:
        """Return the number of shapes of all components."""
        return 2 * theta.alphas.size

    def attributes(self, theta: BetaParams) -> dict[str, FloatArray]:
        """Return the shapes."""
        return {"alphas_": theta.alphas.copy(), "betas_": theta.betas.copy()}

    def check(self, theta: BetaParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` if shapes from elsewhere have a wrong shape or sign."""
        for name, values in vars(theta).items():
            expect(name, values, (n_components, n_features), values > 0, "positive numbers")


def mean_logs(shapes: FloatArray) -> FloatArray:
    """Return the expectations of log x and log(1 - x), (2, ...), of both shapes (2, ...)."""
    total = shapes.sum(axis=0)
    means: FloatArray = np.log(shapes / total) - log_less_digamma(shapes) + log_less_digamma(total)
    return means


def information(shapes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the information of one row about the logarithm of each shape, (2, ...), and between both, (...)."""
    total = shapes.sum(axis=0)
    # With a**2 psi'(a) - a for a**2 psi'(a), of which a large part cancels where shapes are large.
    shared = (total + shape_information(total)) / total**2
    own = shapes * (1 - shapes / total) + shape_information(shapes) - shapes**2 * (shape_information(total) / total**2)
    return own, -shapes.prod(axis=0) * shared


def solve(own: FloatArray, cross: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return the steps (2, ...) of which symmetric matrices of two rows make these gradients."""
    determinant = own.prod(axis=0) - cross**2
    steps: FloatArray = (own[::-1] * gradient - cross * gradient[::-1]) / determinant
    return steps


def fit_shapes(logs: FloatArray, start: FloatArray) -> FloatArray:
    """Return the shapes (2, ...) whose expected logarithms are `logs`, by Newton's method with halved steps (D22)."""

    def objective(shapes: FloatArray) -> FloatArray:
        total = shapes.sum(axis=0)
        peak = np.log(shapes.prod(axis=0) / total) / 2 + stirling(total) - stirling(shapes).sum(axis=0)
        value: FloatArray = peak + (shapes * (logs - np.log(shapes / total))).sum(axis=0)
        return value

    shapes = start
    for _ in range(NEWTON_STEPS):
        gradient = shapes * (logs - mean_logs(shapes))
        step = np.clip(solve(*information(shapes), gradient), -LONGEST, LONGEST)
        step = np.where(shapes.sum(axis=0) > LARGEST_TOTAL, 0.0, step)  # all values are equal, as far as sums tell
        before = objective(shapes)
        for _ in range(HALVINGS):
            worse = (objective(shapes * np.exp(step)) < before) & (np.abs(step) > NEAR).any(axis=0)
            if not worse.any():
                break
            step = np.where(worse, step / 2, step)
        shapes = shapes * np.exp(step)
        if (np.abs(step) < SETTLED).all():
            break
    return shapes
