"""Values that rows lack, from those that they have: conditional means, or draws (formulas N5, N6)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixtura._types import Array, FloatArray
from mixtura.families.gaussian import Gaussian, GaussianParams
from mixtura.families.incomplete import IncompleteGaussian, Pattern, find_patterns
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.models.conditional import Regression
from mixtura.models.mixture import Mixture, MixtureParams, log_weights


def impute(
    family: IncompleteGaussian, params: MixtureParams[GaussianParams], chunk: Chunk, *, compiled: bool
) -> FloatArray:
    """Return the rows (n, d) of a chunk with conditional means for NaN (formula N5); others stay bit for bit."""
    if compiled:
        return family.impute_rows(log_weights(params), params.components, chunk.x)
    blocks = (block.packed().x for block in chunk.split(BLOCK_ROWS))
    return np.concatenate([_impute_block(family, params, x) for x in blocks])


def _impute_block(family: Gaussian, params: MixtureParams[GaussianParams], x: FloatArray) -> FloatArray:
    filled = x.copy()
    _, resp = Mixture(family, len(params.weights)).posterior(params, x)
    for pattern, regression in _regressions(family, params, x):
        given = x[np.ix_(pattern.rows, pattern.given)]
        filled[np.ix_(pattern.rows, pattern.rest)] = regression.means(given, resp[pattern.rows])
    return filled


def draw(
    family: Gaussian, params: MixtureParams[GaussianParams], x: Array, resp: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Return rows (n, d) with a draw given what a row has, of responsibilities `resp` (n, k), for NaN (formula N6)."""
    filled = np.array(x, dtype=np.float64)
    labels = (rng.random((len(x), 1)) * resp.sum(axis=1, keepdims=True) > resp.cumsum(axis=1)[:, :-1]).sum(axis=1)
    noise = rng.standard_normal(filled.shape)
    for pattern, regression in _regressions(family, params, filled):
        given, place = np.ix_(pattern.rows, pattern.given), np.ix_(pattern.rows, pattern.rest)
        filled[place] = regression.draws(filled[given], labels[pattern.rows], noise[place])
    return filled


def _regressions(
    family: Gaussian, params: MixtureParams[GaussianParams], x: FloatArray
) -> Iterator[tuple[Pattern, Regression]]:
    """Yield the patterns of rows that lack values, and the regressions of these on what the rows have."""
    for pattern in find_patterns(x):
        if len(pattern.rest):
            yield pattern, Regression.of(family, params, pattern.rest, pattern.given)
