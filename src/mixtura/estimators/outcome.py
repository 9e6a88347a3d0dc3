"""What the restarts of a fit came to: the best of them, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixtura.em import EMResult
from mixtura.exceptions import FitError
from mixtura.model import Event
from mixtura.models.mixture import MixtureParams


def best_of(results: Sequence[EMResult[MixtureParams[Any]]]) -> EMResult[MixtureParams[Any]]:
    """Return the result of the highest objective among those that are finite."""
    usable = [result for result in results if not result.failed]
    if not usable:
        raise failure(results[-1])
    return max(usable, key=lambda result: float(result.objective[-1]))


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
