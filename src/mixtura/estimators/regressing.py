"""Regression from a joint fit, for rows in pieces (formulas U2 to U4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from mixtura._types import FloatArray
from mixtura.blocks import posterior_rows
from mixtura.estimators.prediction import PIECE_VALUES
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.model import Source
from mixtura.models.conditional import Regression
from mixtura.survey import Bad, find_bad, refuse

OUT_OF_REACH = "every component has density 0 there, so nothing follows from it; correct the value, or leave it out"

Spread = Callable[[Regression, FloatArray, FloatArray], FloatArray]


def no_spread(regression: Regression, x: FloatArray, resp: FloatArray) -> FloatArray:
    """Return nothing for each row, (n, 0)."""
    return np.empty((len(x), 0))


def standard_deviations(regression: Regression, x: FloatArray, resp: FloatArray) -> FloatArray:
    """Return the conditional standard deviations (n, r)."""
    return np.sqrt(regression.variances(x, resp))


@dataclass(frozen=True, eq=False)
class _Found:
    """Conditional means (n, r) of rows and their spread; or what is wrong with the first row for which there is none.

    Attributes
    ----------
    means, spread : array
        One entry a row.
    bad : Bad or None
        A value that is no number.
    lost : int or None
        A row that is out of reach.
    """

    means: FloatArray = field(default_factory=lambda: np.empty(0))
    spread: FloatArray = field(default_factory=lambda: np.empty(0))
    bad: Bad | None = None
    lost: int | None = None


def regressions(source: Source, regression: Regression, spread: Spread) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield conditional means and their spread at the rows of `source`, some at a time; refuse rows that cannot be."""
    compiled = regression.model.compiles(source.n_rows, source.n_features)
    step = partial(_step, regression, spread, compiled=compiled)
    first = 0
    for found in source.map_rows(step, PIECE_VALUES // regression.model.n_components):
        if found.bad:
            refuse(found.bad, first, source, regression.family)
        if found.lost is not None:
            raise ValueError(f"{source.locate(first + found.lost)}: {OUT_OF_REACH}")
        first += len(found.means)
        yield found.means, found.spread


def _step(regression: Regression, spread: Spread, chunk: Chunk, *, compiled: bool) -> _Found:
    """Return what is known at each row of a chunk."""
    if bad := find_bad(chunk, regression.family):
        return _Found(bad=bad)
    posterior = posterior_rows(regression.model, regression.given, chunk, compiled=compiled, wanted="shares")
    lost = regression.is_out_of_reach(chunk.x, posterior.loglik)
    if lost.any():
        return _Found(lost=int(lost.argmax()))
    means, spreads = [], []
    for number, block in enumerate(chunk.split(BLOCK_ROWS)):  # a longer product would depend on the threads of BLAS
        x, resp = block.packed().x, posterior.resp[number * BLOCK_ROWS :][: len(block)]
        means.append(regression.means(x, resp))
        spreads.append(spread(regression, x, resp))
    return _Found(np.concatenate(means), np.concatenate(spreads))
