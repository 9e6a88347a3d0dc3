"""What the restarts of a fit came to: the best of them, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from mixtura.alerts import alert
from mixtura.em import EMResult
from mixtura.exceptions import CollapseWarning, DisagreementWarning, FitError, SpuriousWarning
from mixtura.model import Event, EventKind
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.result import Agreement

P = TypeVar("P")

MARKED = 10.0  # multiples of `tol` that are no matter of where a restart stops


def highest(results: Sequence[EMResult[P]]) -> EMResult[P]:
    """Return the result of the highest objective among those that are finite, or raise a `FitError`."""
    usable = [result for result in results if not result.failed]
    if not usable:
        raise failure(results[-1])
    return max(usable, key=lambda result: float(result.objective[-1]))


def best_of(
    results: Sequence[EMResult[MixtureParams[Any]]], model: Mixture[Any], tol: float
) -> EMResult[MixtureParams[Any]]:
    """Return the result of the highest objective, with what is to be said of it beside the others and in itself.

    Parameters
    ----------
    results : sequence of EMResult
        Of all restarts.
    model : Mixture
        What was fitted.
    tol : float
        What may be left to gain, per unit of weight, when a restart ends.

    Raises
    ------
    FitError
        If no restart led to parameters that are of use.
    """
    best = highest(results)
    known = {event.component for event in best.events if event.kind is EventKind.FLOOR}
    found = model.suspects(best.params, best.weight) if best.converged else ()  # only an optimum is spurious
    suspects = [event.at(best.n_iter) for event in found if event.component not in known]
    return replace(
        best,
        events=(*best.events, *suspects),
        agreement=Agreement.among(results, tol),
    )


def stands_alone(agreement: Agreement, tol: float) -> bool:
    """Tell whether the best is so far above all others that there may be better ones yet."""
    return agreement.n_agreeing == 1 and agreement.gap > MARKED * tol


def warn(result: EMResult[Any], tol: float) -> None:
    """Warn of what happened to components, of those that are suspect, and of a best end that stands alone."""
    collapsed = [event for event in result.events if event.kind is not EventKind.SPURIOUS]
    if collapsed:
        alert(tell(collapsed), CollapseWarning)
    if suspects := [event.message for event in result.events if event.kind is EventKind.SPURIOUS]:
        alert(
            f"{'; '.join(suspects)}: the likelihood may be high for no reason but that. Ask for fewer components, a "
            f"covariance_type of fewer parameters, or more regularisation",
            SpuriousWarning,
        )
    agreement = result.agreement
    if result.converged and stands_alone(agreement, tol):
        alert(
            f"only one of {agreement.n_restarts} starts came to the best log-likelihood, the next is "
            f"{agreement.gap:.2g} a row below it: there may be better ones yet. Raise n_init, or ask for fewer "
            f"components",
            DisagreementWarning,
        )


def failure(result: EMResult[Any]) -> FitError:
    """Return the error that tells why a fit has no parameters to return."""
    if fatal := [event for event in result.events if event.fatal]:
        return FitError(
            f"Fitting the mixture model failed because some components have ill-defined empirical covariance (for "
            f"instance caused by singleton or collapsed samples). Try to decrease the number of components, increase "
            f"reg_covar, or scale the input data. ({tell(fatal)}; on_collapse='floor', 'reseed' and 'drop' go on)"
        )
    return FitError(
        f"no start led to finite parameters: {result.status.message} in iteration {result.n_iter}. "
        f"Check that the start lies near the data, or give reg_covar a positive value"
    )


def tell(events: Sequence[Event]) -> str:
    """Tell what happened to components, and when."""
    return "; ".join(f"{event.message} in iteration {event.iteration}" for event in events)
