"""EM on a stream of batches: `partial_fit`.

Stepwise EM (Cappe & Moulines 2009) keeps mean statistics s and moves them towards those of each batch,
``s <- (1 - g) s + g s_batch``, with steps ``g = t ** -0.6``. Parameters are a function of s, and s one of them, so
nothing but the parameters and the number of batches has to be kept: s is rebuilt about the new pivot, exactly
(formulas B1, B2). A prior is weighed against all rows so far, as many in each batch as in this one.
"""

from __future__ import annotations

from typing import TypeVar

from mixtura.em import settle
from mixtura.model import Model, Source
from mixtura.result import Trace
from mixtura.stats import Stats

P = TypeVar("P")
S = TypeVar("S", bound=Stats)

STEP_EXPONENT = 0.6  # between 1/2 and 1 steps shrink slowly enough to arrive and fast enough to settle; their choice


def take_in(source: Source, model: Model[P, S], params: P, batches: int) -> tuple[P, Trace[P]]:
    """Return `params`, learnt from so many batches, moved by one more, and the record of it."""
    params, stats = settle(source, model, params)
    trace: Trace[P] = Trace(passes=1)
    trace.record(params, float(stats.loglik), float(stats.weight), float(stats.loglik) + model.log_prior(params))
    before, now = batches * trace.weight, (batches + 1) * trace.weight
    step = (batches + 1.0) ** -STEP_EXPONENT
    mean = stats * (step / trace.weight) + model.expected(params, before) * ((1 - step) / before)
    updated, events = model.m_step(mean * now, params)
    trace.report(events)
    return updated, trace
