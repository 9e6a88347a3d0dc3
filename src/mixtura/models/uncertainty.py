"""How sure the parameters of a mixture are: standard errors and confidence intervals from the information."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from numbers import Real
from operator import attrgetter
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from mixtura._types import BoolArray, FloatArray
from mixtura.capabilities import Quantity, informed
from mixtura.exceptions import InformationError
from mixtura.families.linalg import invert_lower, is_occupied, quotient
from mixtura.models.information import Information, InformationStats, estimated, information
from mixtura.models.mixture import Mixture, MixtureParams

MOST_COORDINATES = 2000  # a matrix then takes 32 MB, and the sum over a million rows holds some twenty
KNOWN = 1e-10  # least share of the complete information that must be left to see; what is less may be rounding
ROWS_OF_A_TABLE = 60
REASONS = 4  # that an error names
LARGEST_EXPONENT = 300.0  # nobody needs an interval of more than 130 decades, and nothing overflows


class Interval(NamedTuple):
    """The ends of confidence intervals, each in the shape of the parameter."""

    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, eq=False)
class Estimate:
    """One parameter and how sure it is, in the data's own units; all arrays have its shape.

    Attributes
    ----------
    values, errors : array
        Estimates and standard errors.
    distinct, positive : array of bool
        Which entries are not repeated by symmetry, and which are positive by nature.
    upper : float
        What these stay below.
    """

    values: FloatArray
    errors: FloatArray
    distinct: BoolArray
    positive: BoolArray
    upper: float

    def interval(self, level: float) -> Interval:
        """Return confidence intervals (formula V8)."""
        reach = NormalDist().inv_cdf(0.5 + level / 2) * self.errors
        share = self.values / self.upper
        scale = np.where(self.positive, self.values * (1 - share), np.inf)
        stretch = np.exp(np.minimum(quotient(reach, scale), LARGEST_EXPONENT))
        low = np.where(self.positive, self.values / (stretch * (1 - share) + share), self.values - reach)
        high = np.where(self.positive, self.values * stretch / (1 - share + share * stretch), self.values + reach)
        return Interval(low, high)

    def names(self, name: str) -> Iterator[str]:
        """Yield a name for each distinct entry of a parameter of this name."""
        for place in np.argwhere(self.distinct):
            yield f"{name}[{', '.join(map(str, place))}]"

    def rows(self, level: float) -> Iterator[tuple[float, ...]]:
        """Yield estimate, standard error and interval of each distinct entry."""
        columns = [part[self.distinct].tolist() for part in (self.values, self.errors, *self.interval(level))]
        yield from zip(*columns, strict=True)


@dataclass(frozen=True, eq=False, repr=False)
class Uncertainty:
    """How sure the parameters of a mixture are; `str` makes a table.

    The standard errors of a parameter are attributes of its name: ``weights``, ``means``, ``covariances``, ``rates``.

    Attributes
    ----------
    kind : str
        "observed", "scores" or "sandwich": the information that they are from.
    parameters : dict of str to Estimate
        Values and standard errors by parameter, in its shape and in the data's own units.
    covariance : (e, e) array
        The estimated covariance of all entries in the order of `names`. The weights sum to 1, so it is singular.
    distance : float
        How many standard errors the parameters are from the maximum of the likelihood, in that combination of them
        that is the farthest.
    """

    kind: str
    parameters: dict[str, Estimate]
    covariance: FloatArray
    distance: float

    def __getattr__(self, name: str) -> FloatArray:
        parameters = self.__dict__.get("parameters", {})  # there are none yet while this is unpickled
        if name not in parameters:
            raise AttributeError(f"no parameter {name!r}, expected one of {', '.join(map(repr, parameters))}")
        errors: FloatArray = parameters[name].errors
        return errors

    @property
    def names(self) -> tuple[str, ...]:
        """The e entries of all parameters, such as "means[0, 1]"; of a symmetric matrix, the lower triangle."""
        return tuple(entry for name, estimate in self.parameters.items() for entry in estimate.names(name))

    def interval(self, level: Any = 0.95) -> dict[str, Interval]:
        """Return confidence intervals by parameter (formula V8).

        Parameters
        ----------
        level : float, default 0.95
            The probability with which each interval is to hold the true value, between 0 and 1.

        Returns
        -------
        dict of str to Interval
            ``low`` and ``high`` in the shape of the parameter. They are symmetric about means and covariances, about
            the logarithm of variances and rates, and about the log odds of weights: they hold possible values only.

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.
        """
        share = float(level) if isinstance(level, Real) else np.nan
        if not 0 < share < 1:
            raise ValueError(f"interval: level is {level!r}, expected a number between 0 and 1, such as 0.95")
        return {name: estimate.interval(share) for name, estimate in self.parameters.items()}

    def __str__(self) -> str:
        names, shown = self.names, slice(ROWS_OF_A_TABLE)
        width = max(map(len, names[shown]))
        rows = [row for estimate in self.parameters.values() for row in estimate.rows(0.95)]
        lines = [
            f"Standard errors by {KINDS[self.kind].words}",
            f"{'':{width}} {'estimate':>12} {'std. error':>12} {'95 % from':>12} {'to':>12}",
        ]
        for name, row in zip(names[shown], rows[shown], strict=True):
            lines.append(f"{name:{width}} " + " ".join(f"{value:12.5g}" for value in row))
        if len(rows) > ROWS_OF_A_TABLE:
            lines.append(f"... and {len(rows) - ROWS_OF_A_TABLE} more")
        return "\n".join(lines)


def check_possible(model: Mixture[Any], params: MixtureParams[Any]) -> None:
    """Raise an `InformationError` where no data could tell how sure the parameters are, or no memory."""
    reasons = [f"component {j} has no rows" for j in np.flatnonzero(~is_occupied(params.weights))]
    reasons += informed(model.family).edges(params.components)
    if reasons:
        told = "; ".join(reasons[:REASONS]) + (f"; and {len(reasons) - REASONS} more" if len(reasons) > REASONS else "")
        raise InformationError(
            f"{told}: there the likelihood is not smooth, and there are no standard errors. "
            f"Fit with fewer components, or more restricted ones"
        )
    if (q := len(estimated(model, params))) > MOST_COORDINATES:
        raise InformationError(
            f"standard errors of {q:,} parameters take matrices of {q:,} x {q:,} numbers, {8e-9 * q * q:.2g} GB each "
            f"and some twenty at a time; {MOST_COORDINATES:,} parameters are allowed. Fit fewer components or columns, "
            f"or a more restricted covariance_type, such as 'diag'; another kind takes the same matrices"
        )


def uncertainty(
    model: Mixture[Any], params: MixtureParams[Any], stats: InformationStats, kind: str = "observed"
) -> Uncertainty:
    """Return the standard errors that follow from sums over rows.

    Raises
    ------
    InformationError
        If the sums are not finite, or the information is not positive definite.
    """
    if not (np.isfinite(stats.loglik) and stats.is_finite()):
        raise InformationError(
            "a row lies too far from every component to tell anything: these are not the rows of the fit"
        )
    found, chosen = information(model, params, stats), KINDS[kind]
    inverse = _invert(chosen.curvature(found), found.complete)
    if inverse is None:
        raise InformationError(_why(model, params, chosen, found))
    covariance = chosen.covariance(inverse, found)
    quantities = _quantities(model, params)
    effects = np.hstack([q.effects[:, q.distinct] for q in quantities])
    return Uncertainty(
        kind=kind,
        parameters={q.name: _estimate(q, covariance) for q in quantities},
        covariance=effects.T @ covariance @ effects,
        distance=float(np.sqrt(found.score @ inverse @ found.score)),
    )


ELSE_SCORES = ", or take kind='scores', which needs no maximum"


class Kind(NamedTuple):
    """One way to standard errors: what is inverted, the covariance that this gives, and what to try where it fails."""

    words: str
    curvature: Callable[[Information], FloatArray]
    covariance: Callable[[FloatArray, Information], FloatArray]
    instead: str = ""


def _plain(inverse: FloatArray, found: Information) -> FloatArray:
    return inverse


def _robust(inverse: FloatArray, found: Information) -> FloatArray:
    return inverse @ found.products @ inverse


def _products(found: Information) -> FloatArray:
    return found.products + np.diag(found.prior)


KINDS = {
    "observed": Kind("the observed information", attrgetter("observed"), _plain, ELSE_SCORES),
    "scores": Kind("the outer products of the scores", _products, _plain),
    "sandwich": Kind("the sandwich of observed information and scores", attrgetter("observed"), _robust, ELSE_SCORES),
}  # formulas V1 and V6


def _invert(matrix: FloatArray, complete: FloatArray) -> FloatArray | None:
    """Return the inverse; None if, beside the complete information, the matrix is not positive definite."""
    scale = np.sqrt(quotient(np.ones_like(complete), complete))
    try:
        root = np.linalg.cholesky(matrix * scale[:, None] * scale)
    except np.linalg.LinAlgError:
        return None
    if np.diagonal(root).min(initial=1.0) ** 2 < KNOWN:
        return None
    half = invert_lower(np.asarray(root, dtype=np.float64)) * scale
    inverse: FloatArray = half.T @ half
    return inverse


def _why(model: Mixture[Any], params: MixtureParams[Any], kind: Kind, found: Information) -> str:
    """Say which components the information tells too little of, and what to do."""
    scale = np.sqrt(quotient(np.ones_like(found.complete), found.complete))
    values, vectors = np.linalg.eigh(kind.curvature(found) * scale[:, None] * scale)
    kept = estimated(model, params)
    squares = np.zeros(len(kept))
    squares[kept] = vectors[:, 0] ** 2
    family = squares[model.weighting.n_parameters(len(params.weights)) :]
    share = family[informed(model.family).slots(params.components)].sum(axis=1)
    chief = " and ".join(str(j) for j in np.flatnonzero(share >= share.max() / 2))
    return (
        f"{kind.words} is not positive definite: its least eigenvalue is {values[0]:.2g} of that of complete data, "
        f"chiefly in component {chief}. The fit has not converged or is at a saddle, these are not its rows, they are "
        f"fewer than the parameters, or components overlap too much to be told apart. Fit with a smaller tol, fewer "
        f"components or a more restricted covariance_type{kind.instead}"
    )


def _quantities(model: Mixture[Any], params: MixtureParams[Any]) -> tuple[Quantity, ...]:
    """Return the weights and the family's parameters, with their derivatives by the coordinates that are estimated."""
    basis, kept = model.weighting.basis(params.weights), estimated(model, params)
    family = informed(model.family).quantities(params.components)
    everywhere = np.ones_like(params.weights, dtype=np.bool_)
    weights = Quantity("weights", params.weights, basis.T * params.weights, everywhere, everywhere, upper=1.0)
    everything = (weights.among(0, len(family[0].effects)), *(q.among(basis.shape[1], 0) for q in family))
    return tuple(replace(q, effects=q.effects[kept]) for q in everything)


def _estimate(quantity: Quantity, covariance: FloatArray) -> Estimate:
    """Return a parameter with its standard errors, by the delta method (formula V7)."""
    flat = quantity.effects.reshape(len(covariance), -1)
    variances = ((covariance @ flat) * flat).sum(axis=0)
    errors = np.sqrt(np.maximum(variances, 0.0))  # rounding may go below 0 where nothing varies
    return Estimate(
        values=quantity.values,
        errors=errors.reshape(quantity.values.shape),
        distinct=quantity.distinct,
        positive=quantity.positive,
        upper=quantity.upper,
    )
