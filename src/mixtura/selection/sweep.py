"""Estimators that are fitted together: each pass over the rows serves all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from mixtura import init
from mixtura.checkpoint import Checkpoint
from mixtura.em import EMResult, Job, drive_jobs
from mixtura.estimators.base import BaseMixture
from mixtura.estimators.outcome import best_of
from mixtura.model import Source
from mixtura.repeats import merge
from mixtura.result import Trace
from mixtura.sources.arrays import ArraySource
from mixtura.sources.remembered import Remembered
from mixtura.survey import Survey

LEFT = 0.1  # nats that a fit may lack in all: a criterion in which 2 is hardly worth a mention must not feel them


def fit_together(
    estimators: Sequence[BaseMixture],
    source: Source,
    *,
    tol: float | None,
    deadline: float,
    checkpoint: Checkpoint | None = None,
) -> list[str]:
    """Fit estimators to the same rows, with the bits that each would have if it were fitted alone, by the same `tol`.

    Parameters
    ----------
    estimators : sequence of estimators
        They differ in `n_components`, and in structure or family of the components, only; what the first can yield, all
        can. They are changed in place.
    source : Source
        The rows.
    tol : float or None
        Of all fits. None stands for that of the estimators, or a lower one that leaves at most `LEFT` in all.
    deadline : float
        When to stop, by ``time.monotonic()``.
    checkpoint : Checkpoint, optional
        Where the state of all fits goes after every pass, and from where they go on.

    Returns
    -------
    list of str
        For each estimator why it could not be fitted; "" if it was.

    Raises
    ------
    ValueError
        For rows that no component can yield.
    """
    found, _ = estimators[0]._survey(source, estimators[0]._make_model())
    for estimator in estimators:
        estimator.set_params(tol=min(estimator.tol, _finest(found.weight)) if tol is None else tol)
    described: dict[tuple[Any, bool], Survey] = {}  # one for all of a family that the same code would make alone
    failures = [""] * len(estimators)
    jobs: list[list[Job[Any, Any]]] = [[] for _ in estimators]
    few, remembered = _few_rows(estimators, source), Remembered(source)
    for i, estimator in enumerate(estimators):
        try:
            estimator._check_enough(few)
            model = found.suited(estimator._make_model())
            key = model.family, model.compiles(source.n_rows, source.n_features)
            if key not in described:
                described[key] = init.describe(source, model, found)
            starts = estimator._make_cold_starts(remembered, model, described[key])
            jobs[i] = [Job(model, start, Trace(agreement=starts.agreement)) for start in starts.params]
        except ValueError as error:  # one that cannot be fitted does not end the others
            failures[i] = str(error)
    merged = merge(source, estimators[0]._make_model().family)
    results = iter(_drive(estimators[0], merged, [job for some in jobs for job in some], deadline, checkpoint))
    for i, some in enumerate(jobs):
        if not failures[i]:
            failures[i] = _settle(estimators[i], found, list(islice(results, len(some))))
    return failures


def _finest(weight: float) -> float:
    """Return the tolerance by which a fit to rows of this weight lacks `LEFT` at most."""
    return 2.0 ** math.floor(math.log2(LEFT / weight))  # roundings of the weight change no bit


def _few_rows(estimators: Sequence[BaseMixture], source: Source) -> Source:
    """Return so many rows that an estimator for which there are too few in all finds too few of them."""
    most = max(estimator.n_components for estimator in estimators)
    return ArraySource(*source.sample(most, np.random.default_rng(0)))


def _drive(
    like: BaseMixture,
    source: Source,
    jobs: Sequence[Job[Any, Any]],
    deadline: float,
    checkpoint: Checkpoint | None,
) -> list[EMResult[Any]]:
    """Run the jobs with the options of an estimator, from where the checkpoint left them."""
    if checkpoint is not None and checkpoint.saved is not None:
        jobs = [Job.from_tree(job.model, tree) for job, tree in zip(jobs, checkpoint.saved, strict=True)]
    return drive_jobs(
        source,
        jobs,
        tol=like.tol,
        max_iter=like.max_iter,
        ascent=like._ascent(),
        deadline=deadline,
        checkpoint=checkpoint,
    )


def _settle(estimator: BaseMixture, found: Survey, results: Sequence[EMResult[Any]]) -> str:
    """Set the fitted attributes of an estimator to the best of its restarts; return why there is none, if so."""
    try:
        model = estimator._make_model()
        estimator._set_fitted(model, best_of(results, model, estimator.tol))
    except ValueError as error:
        return str(error)
    estimator._tell_missing(found)
    return ""
