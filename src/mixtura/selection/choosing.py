"""From candidates and rows to a selection, with the options of one estimator that stands for all."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from mixtura.alerts import alert
from mixtura.em import observe
from mixtura.estimators.base import BaseMixture
from mixtura.estimators.iterated import ignore
from mixtura.estimators.resuming import open_checkpoint
from mixtura.estimators.verbose import printer
from mixtura.exceptions import SelectionWarning
from mixtura.kernels.threads import using_threads
from mixtura.model import Source
from mixtura.selection.judging import judge
from mixtura.selection.sweep import fit_together
from mixtura.selection.table import Selection


def choose(
    template: BaseMixture, estimators: Sequence[BaseMixture], source: Source, criterion: str, tol: float | None
) -> Selection:
    """Fit candidates to the same rows and compare them.

    Parameters
    ----------
    template : estimator
        Whose threads, limits, checkpoint and callback are those of the whole.
    estimators : sequence of estimators
        The candidates, which are changed in place.
    source : Source
        The rows.
    criterion : str
        A key of `CRITERIA`.
    tol : float or None
        As for `fit_together`.

    Raises
    ------
    ValueError
        For rows that no component can yield.
    FitError
        If no candidate can be fitted.
    """
    deadline = math.inf if template.max_time is None else time.monotonic() + template.max_time
    tried = [[getattr(e, "covariance_type", ""), e._make_model().family.name, e.n_components] for e in estimators]
    with (
        using_threads(template.n_threads),
        observe(printer(template.verbose, template.verbose_interval)),
        observe(template.callback or ignore),
        open_checkpoint(template, source, warm=False, tried=tried, tolerance=tol) as checkpoint,
    ):
        failures = fit_together(estimators, source, tol=tol, deadline=deadline, checkpoint=checkpoint)
        return judge(estimators, failures, source, criterion)


def warn(selection: Selection) -> None:
    """Warn of the doubts about the winner, if there are any."""
    if selection.doubts:
        alert("; ".join(selection.doubts), SelectionWarning)
