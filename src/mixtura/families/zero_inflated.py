"""Zero inflation: rows that are zeros more often than a family makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.capabilities import Quantity, cumulative, informed
from mixtura.families.base import expect
from mixtura.families.linalg import quotient, ratio
from mixtura.families.standardized import STILL
from mixtura.families.tabulated import Tabulated
from mixtura.frame import Frame
from mixtura.kernels.levels import Levels, Statistic, Tables
from mixtura.model import COUNTING, Event, Family
from mixtura.stats import Sums

Params = tuple["ZeroParams", Any]  # and those of the family


@dataclass(frozen=True, eq=False)
class ZeroParams:
    """Probabilities of the extra zeros in k components, (k,)."""

    zeros: FloatArray

    def logarithms(self) -> tuple[FloatArray, FloatArray]:
        """Return those of the probabilities of an extra zero, and of none."""
        with np.errstate(divide="ignore"):
            return np.log(self.zeros), np.log1p(-self.zeros)


@dataclass(frozen=True, eq=False, kw_only=True)
class ZeroSums(Sums):
    """Sums over rows.

    Attributes
    ----------
    s0 : (k,) array
        Of the responsibilities r.
    zeros : (k,) array
        Of r times the probability that the row is an extra zero.
    rest : Sums
        Those of the family, of r times the probability that it is not.
    """

    s0: FloatArray
    zeros: FloatArray
    rest: Any


@dataclass(frozen=True)
class ZeroInflated(Tabulated[Params]):
    """A family, or else a row of zeros (formulas D23, D24).

    A fitted mixture has ``zeros_`` (k,), the probability that a row is an extra zero, and the attributes of the family.
    Under counts a zero may be either; under positive numbers, as of `Gamma`, each zero is an extra one. It is a matter
    of whole rows; for a column each, take a `Product` of these. Of several components, rows of zeros tell only how many
    extra ones there are in all, not of which components, so there are no standard errors, unless in such a `Product`.

    Parameters
    ----------
    family : Family
        Of the other rows: counts, or numbers that cannot be 0.

    Raises
    ------
    ValueError
        For a family of numbers of which 0 is one: there it has a density and no probability.

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import Poisson, ZeroInflated
    >>> fitted = MixtureModel(ZeroInflated(Poisson()), tol=1e-12).fit([0] * 60 + [3, 4, 4, 5] * 10)
    >>> fitted.zeros_.round(3).tolist(), fitted.rates_.round(3).tolist()
    ([0.592], [[3.921]])
    """

    family: Family[Any, Any]
    name: ClassVar[str] = "zero-inflated"
    has_unseen: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.family, type) or not hasattr(self.family, "log_density"):
            raise TypeError(f"family is {self.family!r}, expected an object such as Poisson()")
        between = np.full((1, self._width()), 0.5)
        if (self.family.in_support(between) & self.family.in_support(0 * between)).any():
            raise ValueError(
                f"family is {self.family!r}, under which 0 has a density and no probability: "
                f"expected counts, or numbers that cannot be 0, such as Gamma()"
            )

    def _width(self) -> int:
        """Return a number of columns that the family takes."""
        return sum(getattr(self.family, "widths", (1,)))

    @property
    def support(self) -> str:
        """The possible values, in words."""
        return f"{self.family.support}, or rows of zeros"

    @property
    def measure(self) -> str:
        """That of the family, of which rows of zeros are a part if it is of counts."""
        own = self.family.measure
        return own if own == COUNTING else f"{own} and a point at 0"

    @property
    def params_type(self) -> tuple[Any, Any]:
        """What the parameters are."""
        return ZeroParams, self.family.params_type

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) the family can yield, or are of rows of zeros."""
        return self.family.in_support(x) | is_zero(x)[:, None]

    def frame(self, low: FloatArray, high: FloatArray, centre: FloatArray) -> Frame:
        """Return the frame of the family, whose numbers may have to be positive."""
        least = np.where(self.family.in_support(low[None])[0], low, np.finfo(np.float64).tiny)
        middle = np.where(self.family.in_support(centre[None])[0], centre, np.maximum(high, least))
        return self.family.frame(least, np.maximum(high, least), middle)

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> Params:
        """Return even chances of an extra zero, and the family's blank."""
        return ZeroParams(zeros=np.full(n_components, 0.5)), self.family.blank(frame, n_components)

    def log_density(self, theta: Params, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-densities (formula D23)."""
        extra, rest = self._log_parts(theta, x)
        return np.logaddexp(extra, rest)

    def _log_parts(self, theta: Params, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the logarithms (n, k) of the densities of a row as an extra zero, and as another one."""
        log_extra, log_rest = theta[0].logarithms()
        rest = np.full((len(x), len(log_rest)), -np.inf)
        possible = self._possible(x)
        rest[possible] = self.family.log_density(theta[1], x[possible]) + log_rest
        return np.where(is_zero(x)[:, None], log_extra, -np.inf), rest

    def _shares(self, theta: Params, x: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return how probable it is that a row is an extra zero, (n, k), and whether the family can yield it, (n,)."""
        extra, rest = self._log_parts(theta, x)
        zero = is_zero(x)
        share = np.zeros_like(extra)
        share[zero] = share_of(extra[zero], rest[zero])
        return share, self._possible(x)

    def _possible(self, x: FloatArray) -> BoolArray:
        """Tell which rows (n,) the family can yield."""
        return np.asarray(self.family.in_support(x).all(axis=1))

    def tails(self, theta: Params, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the probabilities (n, k) of at most `x` (n, 1) and of more."""
        zeros, (lower, upper) = theta[0].zeros, cumulative(self.family).tails(theta[1], x)
        return zeros * (x >= 0) + (1 - zeros) * lower, zeros * (x < 0) + (1 - zeros) * upper

    def suffstats(self, theta: Params, x: FloatArray, resp: FloatArray) -> ZeroSums:
        """Return the expected numbers of extra zeros, and the sums of the rest."""
        share, possible = self._shares(theta, x)
        left = (resp * (1 - share))[possible]
        own = self.family.suffstats(theta[1], x[possible], left)
        return ZeroSums(s0=resp.sum(axis=0), zeros=(resp * share).sum(axis=0), rest=own)

    def fused(self, n_components: int, n_features: int) -> bool:
        """Tell whether there is a kernel: where the family is of tables, too."""
        return isinstance(self.family, Tabulated) and super().fused(n_components, n_features)

    def tabulate(self, theta: Params, levels: Levels) -> Tables:
        """Return the family's tables, in which rows of zeros have levels of their own, and the shares of both zeros."""
        own = cast(Tabulated[Any], self.family).tabulate(theta[1], levels)
        (log_extra, log_rest), voids, density = theta[0].logarithms(), levels.voids, own.densities
        log_rest_of_void = log_rest + density[:, voids].sum(axis=1)
        density[:, levels.columns == 0] += log_rest[:, None]
        density[:, voids] = 0.0  # the first column has all that a row of zeros has
        density[:, voids[0]] = np.logaddexp(log_extra, log_rest_of_void)
        extra = np.zeros_like(density)
        extra[:, voids] = share_of(log_extra, log_rest_of_void)[:, None]
        left, first = 1 - extra, np.zeros(1, dtype=np.int64)
        rest = [statistic._replace(values=statistic.values * left) for statistic in own.statistics]
        statistics = (Statistic(first, extra), Statistic(first, left), *rest)
        return Tables(density, statistics, groups=np.ones_like(own.groups))

    def collect(self, s0: FloatArray, sums: FloatArray) -> ZeroSums:
        """Return the expected numbers of extra zeros, and the sums of the rest."""
        own = cast(Tabulated[Any], self.family).collect(sums[:, 1], sums[:, 2:])
        return ZeroSums(s0=s0, zeros=sums[:, 0], rest=own)

    def expected(self, theta: Params, counts: FloatArray) -> ZeroSums:
        """Return the sums of which `update` makes `theta` (formula B1)."""
        zeros = counts * theta[0].zeros
        return ZeroSums(s0=counts, zeros=zeros, rest=self.family.expected(theta[1], counts - zeros))

    def update(self, sums: ZeroSums, theta: Params) -> tuple[Params, list[Event]]:
        """Return the share of extra zeros, and the family's update (formula D24)."""
        zeros = np.minimum(ratio(sums.zeros, sums.s0, theta[0].zeros), 1.0)
        own, events = self.family.update(sums.rest, theta[1])
        return (ZeroParams(zeros=zeros), own), list(events)

    def is_interior(self, theta: Params) -> bool:
        """Tell whether no probability is 0 or 1, and the rest is interior."""
        zeros = theta[0].zeros
        return bool(((zeros > 0) & (zeros < 1)).all()) and self.family.is_interior(theta[1])

    def free(self, theta: Params) -> FloatArray:
        """Return the angles of the probabilities (formula D7), and the coordinates of the family."""
        zeros = theta[0].zeros
        return np.concatenate([2 * np.arctan2(np.sqrt(zeros), np.sqrt(1 - zeros)), self.family.free(theta[1])])

    def from_free(self, vector: FloatArray, like: Params) -> Params | None:
        """Return the parameters with these coordinates; None where the numbers end."""
        angles, rest = np.split(vector, [len(like[0].zeros)])
        own = self.family.from_free(rest, like[1])
        return None if own is None else (ZeroParams(zeros=np.sin(angles / 2) ** 2), own)

    def metric(self, theta: Params, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the information of rows of which it is known whether they are extra zeros, times a step (D24)."""
        angles, rest = np.split(step, [len(weights)])
        others = weights * (1 - theta[0].zeros)
        return np.concatenate([weights * angles, self.family.metric(theta[1], others, rest)])

    def inverse_metric(self, theta: Params, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""
        angles, rest = np.split(gradient, [len(weights)])
        others = weights * (1 - theta[0].zeros)
        return np.concatenate([quotient(angles, weights), self.family.inverse_metric(theta[1], others, rest)])

    def refine(self, sums: ZeroSums, theta: Params) -> Params | None:
        """Return `theta` with a better pivot of the family, None if it wants none."""
        own = self.family.refine(sums.rest, theta[1])
        return None if own is None else (theta[0], own)

    def pivot(self, theta: Params) -> str:
        """Return the family's digest."""
        return self.family.pivot(theta[1])

    def unit_scores(self, theta: Params, x: FloatArray) -> FloatArray:
        """Return those of the probability of an extra zero, and of the family where it is none (formula V17)."""
        share, own, sd = self._scores(theta, x)
        gap = (share - theta[0].zeros) / sd
        return np.concatenate([gap[..., None], (1 - share)[..., None] * own], axis=2)

    def unseen(self, theta: Params, x: FloatArray, weight: FloatArray) -> FloatArray:
        """Return what rows lack since nobody sees which zeros are extra ones, and what the family's lack (V17)."""
        share, own, sd = self._scores(theta, x)
        possible = self._possible(x)
        rows = np.concatenate([np.broadcast_to(1 / sd, share.shape)[..., None], -own], axis=2)
        total: FloatArray = np.einsum("nka,nkb->kab", rows * (weight * share * (1 - share))[..., None], rows)
        extra = (weight * share).sum(axis=0)  # they tell the family nothing
        total[:, 1:, 1:] += extra[:, None, None] * np.eye(own.shape[2])
        total[:, 1:, 1:] += informed(self.family).unseen(theta[1], x[possible], (weight * (1 - share))[possible])
        return total

    def _scores(self, theta: Params, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the shares (n, k) of extra zeros, the family's scores (n, k, p), and deviations (k,) of the former."""
        share, possible = self._shares(theta, x)
        own = informed(self.family).unit_scores(theta[1], x[possible])
        scores = np.zeros((len(x), *own.shape[1:]))
        scores[possible] = own
        return share, scores, np.sqrt(theta[0].zeros * (1 - theta[0].zeros))

    def slots(self, theta: Params) -> IntArray:
        """Return the numbers of the coordinates: those of extra zeros, then those of the family."""
        k = len(theta[0].zeros)
        return np.hstack([np.arange(k)[:, None], k + informed(self.family).slots(theta[1])])

    def quantities(self, theta: Params) -> list[Quantity]:
        """Return the probabilities of extra zeros and the family's parameters, with their derivatives."""
        zeros = theta[0].zeros
        k, everywhere = len(zeros), np.ones_like(zeros, dtype=np.bool_)
        own = [q.among(k, 0) for q in informed(self.family).quantities(theta[1])]
        effects = np.diag(np.sqrt(zeros * (1 - zeros)))
        first = Quantity("zeros", zeros.copy(), effects, everywhere, everywhere, upper=1.0)
        return [first.among(0, len(own[0].effects) - k), *own]

    def edges(self, theta: Params) -> list[str]:
        """Name the components without extra zeros, or without others, and what of the family is at the edge."""
        zeros = theta[0].zeros
        return [
            *(f"component {a} has no extra zeros" for a in np.flatnonzero(zeros < STILL**2)),
            *(f"component {a} has nothing but extra zeros" for a in np.flatnonzero(1 - zeros < STILL**2)),
            *informed(self.family).edges(theta[1]),
        ]

    def sample(self, theta: Params, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row from the component named by each of `labels` (n,)."""
        extra = rng.random(len(labels)) < theta[0].zeros[labels]
        return np.where(extra[:, None], 0.0, self.family.sample(theta[1], labels, rng))

    def n_features(self, theta: Params) -> int:
        """Return the number of columns."""
        return self.family.n_features(theta[1])

    def n_parameters(self, theta: Params) -> int:
        """Return the number of free parameters of all components."""
        return len(theta[0].zeros) + self.family.n_parameters(theta[1])

    def attributes(self, theta: Params) -> dict[str, Any]:
        """Return the probabilities of extra zeros, and what the family has."""
        return {"zeros_": theta[0].zeros.copy(), **self.family.attributes(theta[1])}

    def check(self, theta: Params, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` that names what about parameters from elsewhere cannot be."""
        zeros = theta[0].zeros
        expect("zeros", zeros, (n_components,), (zeros >= 0) & (zeros <= 1), "probabilities")
        self.family.check(theta[1], n_components, n_features)


def is_zero(x: FloatArray) -> BoolArray:
    """Tell which rows (n, d) are zeros."""
    zero: BoolArray = (x == 0).all(axis=1)
    return zero


def share_of(extra: FloatArray, rest: FloatArray) -> FloatArray:
    """Return the share of the first of two probabilities in both, of their logarithms; 0 where both are 0."""
    top = np.maximum(extra, rest)
    finite = np.where(np.isneginf(top), 0.0, top)
    a, b = np.exp(extra - finite), np.exp(rest - finite)
    return quotient(a, a + b)
