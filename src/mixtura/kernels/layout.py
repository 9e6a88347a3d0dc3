"""What the features of a linear kernel are made of, as arrays: told by families, without the compiler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mixtura._types import FloatArray

WIDEST = 512  # features: tiles of these stay in cache; of more, a matrix product makes as much
POSITIVE, COUNT, CATEGORY, REAL = 0.0, 1.0, 2.0, 3.0  # what a column is


class Layout(NamedTuple):
    """Features t(x) and the base h(x) of log-densities ``peak + coefficients . t(x) + h(x)`` (formula D25).

    Attributes
    ----------
    columns : (m,) array
        The column of each feature.
    values : (m,) array
        The value that a feature tells its column to have, by 1 or 0; NaN where the feature is the column itself.
    kinds : (d,) array
        What each column is: `REAL`, any number; `POSITIVE`, one from 0; `COUNT`, of which h(x) has minus the
        log-factorial; `CATEGORY`, of which just one feature is 1.
    totals : (d,) array
        Columns of one number from 1 share a total that is given, so h(x) has its log-factorial; 0 where there is none.
    """

    columns: FloatArray
    values: FloatArray
    kinds: FloatArray
    totals: FloatArray

    @classmethod
    def of_columns(cls, d: int, kind: float, *, total: bool = False) -> Layout:
        """Return the features that are columns themselves; with `total`, that of all is given."""
        columns = np.arange(d, dtype=np.float64)
        return cls(columns, np.full(d, np.nan), np.full(d, kind), np.full(d, float(total)))

    @classmethod
    def of_categories(cls, d: int, categories: int) -> Layout:
        """Return the features that tell each category of each column, column after column."""
        columns, values = np.divmod(np.arange(d * categories, dtype=np.float64), categories)
        return cls(columns, values, np.full(d, CATEGORY), np.zeros(d))

    @classmethod
    def join(cls, layouts: Sequence[Layout]) -> Layout:
        """Return the layout of columns side by side."""
        before = np.cumsum([0, *(len(layout.kinds) for layout in layouts)])
        groups = np.cumsum([0.0, *(layout.totals.max() for layout in layouts)])
        moved = [
            layout._replace(
                columns=layout.columns + first, totals=np.where(layout.totals > 0, layout.totals + group, 0.0)
            )
            for layout, first, group in zip(layouts, before, groups, strict=False)
        ]
        return cls(*(np.concatenate(part) for part in zip(*moved, strict=True)))
