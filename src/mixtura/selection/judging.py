"""From fits to the table, the winner and the doubts about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mixtura.estimators.base import BaseMixture
from mixtura.exceptions import FitError
from mixtura.model import EventKind, Source
from mixtura.models.collapse import KEPT
from mixtura.selection.comparison import Fitted, compare
from mixtura.selection.doubts import find_doubts
from mixtura.selection.table import Candidate, Selection, rank

UNSOUND = {*KEPT, EventKind.SPURIOUS}  # a likelihood that such a component makes is not worth what it seems


def judge(estimators: Sequence[BaseMixture], failures: Sequence[str], source: Source, criterion: str) -> Selection:
    """Compare estimators that were fitted to the same rows, in one pass over them.

    Parameters
    ----------
    estimators : sequence of estimators
        The candidates.
    failures : sequence of str
        For each why it could not be fitted; "" if it was.
    source : Source
        The rows.
    criterion : str
        A key of `CRITERIA`.

    Raises
    ------
    FitError
        If none could be fitted.
    """
    table = [_enter(*pair) for pair in zip(estimators, failures, strict=True)]
    fitted = [i for i, failure in enumerate(failures) if not failure]
    if not fitted:
        raise FitError(f"no candidate can be fitted: {failures[0]}")
    pairs = [_suited(estimators[i]) for i in fitted]
    near = min(range(len(fitted)), key=lambda i: table[fitted[i]].bic)
    sums = compare(source, pairs, reference=near, by_entropy=criterion == "icl")
    for i, entropy in zip(fitted, sums.entropies, strict=True):
        table[i] = replace(table[i], icl=table[i].bic + 2 * float(entropy))
    best = min(range(len(fitted)), key=lambda i: rank(table[fitted[i]], criterion))
    winner = table[fitted[best]]
    for i, variance in zip(fitted, sums.variances(best), strict=True):
        if not _is_same(table[i], winner, source.n_features):
            margin = getattr(table[i], criterion) - getattr(winner, criterion)
            table[i] = replace(table[i], reversal=_reversal(margin, variance))
    return Selection(criterion, tuple(table), winner, find_doubts(table, winner, criterion))


def _enter(estimator: BaseMixture, failure: str) -> Candidate:
    """Return the row of an estimator, but for what takes a look at the data."""
    row = Candidate(
        family=estimator._make_model().family.name,
        covariance_type=str(getattr(estimator, "covariance_type", "")),
        n_components=estimator.n_components,
        failure=failure,
        estimator=estimator,
    )
    if failure:
        return row
    n_parameters, loglik = estimator.model_.n_parameters(estimator.params_), float(estimator.loglik_)
    return replace(
        row,
        loglik=loglik,
        n_parameters=n_parameters,
        bic=n_parameters * math.log(estimator.result_.weight) - 2 * loglik,
        aic=2 * n_parameters - 2 * loglik,
        converged=estimator.converged_,
        n_iter=estimator.n_iter_,
        collapsed=any(event.kind in UNSOUND for event in estimator.result_.events),
    )


def _suited(estimator: BaseMixture) -> Fitted:
    """Return parameters, and the model that takes the rows that they were fitted to: values may be missing."""
    model = estimator.model_.for_missing() if estimator.n_missing_ else estimator.model_
    return model, estimator.params_


def _is_same(a: Candidate, b: Candidate, d: int) -> bool:
    """Tell whether two candidates are one model: of one column, or one component, structures coincide."""
    return _kind(a, d) == _kind(b, d)


def _kind(candidate: Candidate, d: int) -> tuple[int, Any]:
    k, structure = candidate.n_components, candidate.covariance_type
    if not structure:
        return k, candidate.estimator._make_model().family
    is_full = (d == 1 and structure in ("diag", "spherical")) or (k == 1 and structure == "tied")
    return k, "full" if is_full else structure


def _reversal(margin: float, variance: float) -> float:
    """Return the chance that a candidate beats the winner on another sample (formula Z3)."""
    if variance == 0:
        return 0.0 if margin > 0 else 0.5
    return 0.5 * math.erfc(margin / math.sqrt(2 * variance))
