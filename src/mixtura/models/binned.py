"""A Gaussian mixture of which only intervals are known that its values fell into: the bins of a histogram.

EM of McLachlan & Jones (1988): to the unknown component of each value comes its unknown place in the bin. Formulas I1
to I4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixtura.families.gaussian import Gaussian, GaussianParams
from mixtura.grid import Chunk
from mixtura.model import Model, Source
from mixtura.models.intervals import interval_moments
from mixtura.models.mixture import Mixture, MixtureParams, MixtureStats, log_weights, weigh
from mixtura.sources.histogram import Histogram

BOUNDS = 2  # numbers that a row is: the lower and the upper bound of its value


@dataclass(frozen=True)
class Binned(Mixture[GaussianParams]):
    """A Gaussian mixture of one column whose rows are intervals; all but the E-step is that of the plain mixture."""

    family: Gaussian

    def row_width(self, params: MixtureParams[GaussianParams]) -> int:
        return BOUNDS

    def compiles(self, n_rows: int, n_features: int) -> bool:
        """Return False: bins are few."""
        return False

    def e_block(self, params: MixtureParams[GaussianParams], chunk: Chunk) -> MixtureStats:
        """Return the sums over one block of intervals (formula I4)."""
        theta = params.components
        means, pivot = theta.means[:, 0], theta.pivot[:, 0]
        covariance = self.family.covariance
        sds = np.exp(-covariance.log_det(theta.factors, len(means), 1))
        low, high = ((bound - means) / sds for bound in np.hsplit(theta.frame.enter(chunk.x), BOUNDS))
        width = np.diff(chunk.x) * theta.frame.scale / sds
        log_probability, first, second = interval_moments(low, high, width)
        loglik, shares = weigh(log_probability.T + log_weights(params)[:, None], params.weights)
        resp = shares.T
        if chunk.weight is not None:
            resp *= chunk.weight[:, None]
        total, weight = chunk.total(loglik)
        gap = means - pivot
        s0 = resp.sum(axis=0)
        s1 = (resp * (sds * first + gap)).sum(axis=0)
        s2 = (resp * (sds**2 * second + gap * (2 * sds * first + gap))).sum(axis=0)
        return MixtureStats(
            loglik=float(total),
            weight=float(weight),
            pivot=self.family.pivot(theta),
            components=covariance.gather(s0, s1[:, None], s2[:, None, None]),
        )


def rows_of(source: Source) -> Source:
    """Return rows to look at before a fit: those of the source, or values that stand for the bins of a histogram."""
    return source.stand_in() if isinstance(source, Histogram) else source


def model_of(source: Source, model: Mixture[Any]) -> Model[Any, Any]:
    """Return the model whose E-step takes the rows of a source: the same, or one for the bins of a histogram."""
    if not isinstance(source, Histogram):
        return model
    if not isinstance(model.family, Gaussian):
        raise ValueError(f"a histogram is fitted by Gaussian components, not by those of family {model.family.name!r}")
    return Binned(**vars(model))
