"""Values that rows lack, from those that they have (formula N5)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixtura._types import FloatArray
from mixtura.families.gaussian import Gaussian, GaussianParams
from mixtura.families.incomplete import Pattern, find_patterns
from mixtura.models.conditional import Regression
from mixtura.models.mixture import MixtureParams


def impute(family: Gaussian, params: MixtureParams[GaussianParams], x: FloatArray, resp: FloatArray) -> FloatArray:
    """Return rows (n, d) with conditional means for NaN; `resp` (n, k) are their responsibilities (formula N5)."""
    filled = x.copy()
    for pattern, regression in _regressions(family, params, x):
        given = x[np.ix_(pattern.rows, pattern.given)]
        filled[np.ix_(pattern.rows, pattern.rest)] = regression.means(given, resp[pattern.rows])
    return filled


def _regressions(
    family: Gaussian, params: MixtureParams[GaussianParams], x: FloatArray
) -> Iterator[tuple[Pattern, Regression]]:
    """Yield the patterns of rows that lack values, and the regressions of these on what the rows have."""
    for pattern in find_patterns(x):
        if len(pattern.rest):
            yield pattern, Regression.of(family, params, pattern.rest, pattern.given)
