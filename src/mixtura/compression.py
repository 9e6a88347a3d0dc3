"""Fits of one column that read the rows a few times only: EM runs on what a pass made of them.

The rows are cut into cells, each stood for by two values (`mixtura.cells`), on which EM costs next to nothing. Where it
ends there, passes over the rows go on, with what EM learnt of the objective: what they begin with lacks the optimum by
the fourth order in the cells' width, so that one of them mostly tells that nothing is left to gain.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.acceleration import Ascent
from mixtura.cells import Cells, compress, widths
from mixtura.em import EMResult, Status, drive, unobserved
from mixtura.init import Starts, sample_size, start
from mixtura.model import Source
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.result import Agreement
from mixtura.sources.arrays import ArraySource
from mixtura.survey import Survey

LOOSE, SHORT = 1e-4, 50  # tolerance and most updates on a sample, which tell how narrow components may be
TIGHT, LONG = 1e-18, 1000  # on the cells: to rounding
TOO_WIDE = 4  # times wider than wanted, cells are cut anew

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Ready(Mixture[Any]):
    """A mixture whose kernel serves data of any size, since other data have it loaded."""

    def compiles(self, n_rows: int, n_features: int) -> bool:
        return self.family.fused(self.n_components, n_features)


@dataclass(frozen=True, eq=False)
class Compressed:
    """Rows of one column, and what stands for them.

    Attributes
    ----------
    source : Source
        The rows.
    model : Mixture
        The Gaussian mixture that is fitted; it need not be told that a kernel repays.
    found : Survey
        What is known of the rows.
    cells : Cells
        What the rows were cut into.
    values : ArraySource
        The weighted values that stand for them.
    """

    source: Source
    model: Mixture[Any]
    found: Survey
    cells: Cells
    values: ArraySource

    @classmethod
    def of(cls, source: Source, model: Mixture[Any], found: Survey) -> Compressed:
        """Compress rows in one pass, for a fit of `model`; raise `ValueError` if they have several columns."""
        if source.n_features != 1:
            raise ValueError(f"compress=True is for one column, X has {source.n_features}: fit without it")
        if model.compiles(source.n_rows, 1):
            model = _Ready(**vars(model))
        rng = np.random.default_rng(0)
        sample = ArraySource(*source.sample(sample_size(model), rng))
        near = start(sample, model, found, "k-means++", rng)
        with unobserved():
            (result,) = drive(sample, model, [near], tol=LOOSE, max_iter=SHORT)
        near = near if result.status is Status.DIVERGED else result.params
        return cls._cut(source, model, found, _widths(model, found, near))

    @classmethod
    def _cut(cls, source: Source, model: Mixture[Any], found: Survey, widest: FloatArray) -> Compressed:
        cells = Cells.over(float(found.low[0]), float(found.high[0]), widest, source.n_rows * found.heaviest)
        values = compress(source, cells, compiled=model.compiles(source.n_rows, 1))
        logger.info("%d values stand for %d rows", values.n_rows, source.n_rows)
        return cls(source, model, found, cells, values)

    def advance(self, starts: Starts, tol: float, ascent: Ascent) -> EMResult[MixtureParams[Any]]:
        """Return the best end of EM on the values; diverged, where no start leads to finite parameters.

        If components became much narrower than was foreseen, the rows are compressed once more. Ends that differ by
        no more than `tol` resolves agree. The memory is for a fit to the rows: there is none where cells are too wide.
        """
        best = self._best_end(starts, tol, ascent)
        if best.status is Status.DIVERGED or self._resolves(best.params):
            return self._for_rows(best)
        again = self._cut(self.source, self.model, self.found, _widths(self.model, self.found, best.params))
        better = again._best_end(Starts([best.params], best.agreement), tol, ascent)
        if better.status is Status.DIVERGED:
            return self._for_rows(best)
        return again._for_rows(replace(better, events=best.events + better.events))

    def _resolves(self, params: MixtureParams[Any]) -> bool:
        """Tell whether the cells are hardly wider than components want."""
        return bool((self.cells.widths() <= TOO_WIDE * _widths(self.model, self.found, params)).all())

    def _for_rows(self, end: EMResult[MixtureParams[Any]]) -> EMResult[MixtureParams[Any]]:
        """Return an end with what its fit learnt that holds for the rows, too."""
        if end.memory is None or end.status is Status.DIVERGED or not self._resolves(end.params):
            return replace(end, memory=None)
        return replace(end, memory=end.memory.elsewhere(self.model.free(end.params)))

    def _best_end(self, starts: Starts, tol: float, ascent: Ascent) -> EMResult[MixtureParams[Any]]:
        options: dict[str, Any] = {"tol": TIGHT, "max_iter": LONG, "ascent": ascent}
        with unobserved():
            results = drive(self.values, self.model, starts.params, agreement=starts.agreement, **options)
        best = max(results, key=lambda result: (result.status is not Status.DIVERGED, float(result.objective[-1])))
        logger.info("on these values, after %d updates: %s", best.n_iter, best.status.message)
        return best if best.failed else replace(best, agreement=Agreement.among(results, tol))


def _widths(model: Mixture[Any], found: Survey, params: MixtureParams[Any]) -> FloatArray:
    """Return how wide cells may be in each bucket for the components of `params`."""
    family: Any = model.family
    theta = params.components
    sds = np.exp(-family.covariance.log_det(theta.factors, len(theta.means), 1)) / theta.frame.scale[0]
    return widths(float(found.low[0]), float(found.high[0]), theta.frame.leave(theta.means)[:, 0], sds)
