"""What one look over the data tells: that every value is possible, the ranges of columns, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.model import LEBESGUE, Family, Source
from mixtura.models.mixture import Mixture

SURVEY_ROWS = 1 << 12  # rows whose middle stands for that of all
LOOK_VALUES = 1 << 16  # held as float64: they stay in cache, and what Python does with them hardly counts
ABREAST = 1 << 10  # values that a reduction over columns takes at once


@dataclass(frozen=True, eq=False)
class Survey:
    """What one look over the data tells.

    Attributes
    ----------
    low, high, centre : (d,) array
        Range and middle of each column, of the values that are there.
    heaviest, weight : float
        The largest weight of a row, and that of all.
    n_missing, n_empty : int
        How many values are missing, and from how many rows all are.
    whole : Any
        All rows as one component, where a prior has to know it (see `mixtura.init.describe`).
    """

    low: FloatArray
    high: FloatArray
    centre: FloatArray
    heaviest: float
    weight: float
    n_missing: int = 0
    n_empty: int = 0
    whole: Any = None

    def suited(self, model: Mixture[Any]) -> Mixture[Any]:
        """Return the model to fit to these data: one that takes missing values, where there are some."""
        return model.for_missing() if self.n_missing else model


@dataclass(frozen=True, eq=False)
class _Look:
    """The same of one chunk, the number of its rows, and the first place outside the support."""

    rows: int
    low: FloatArray
    high: FloatArray
    heaviest: float
    weight: float
    n_missing: int
    n_empty: int
    bad: Bad | None


@dataclass(frozen=True)
class Bad:
    """A value that no component can yield: its row in the chunk, its column, and the value."""

    row: int
    column: int
    value: float


def survey(source: Source, family: Family[Any, Any]) -> Survey:
    """Check every value and return the range of the rows that have weight.

    Raises
    ------
    ValueError
        Names the first row and column whose value is infinite or outside the family's support, or missing where the
        family has no use for such rows, or a column without any value.
    """
    low, high = np.full(source.n_features, np.inf), np.full(source.n_features, -np.inf)
    first = n_missing = n_empty = 0
    heaviest = weight = 0.0
    for look in source.map_rows(partial(_look, family)):
        if look.bad:
            refuse(look.bad, first, source, family)
        low, high, first = np.minimum(low, look.low), np.maximum(high, look.high), first + look.rows
        n_missing, n_empty = n_missing + look.n_missing, n_empty + look.n_empty
        heaviest, weight = max(heaviest, look.heaviest), weight + look.weight
    if n_missing:
        _refuse_columns_without_values(low, source)
    rows, _ = source.sample(SURVEY_ROWS, np.random.default_rng(0))
    return Survey(low, high, _middle(rows, low, high), heaviest, weight, n_missing, n_empty)


def _refuse_columns_without_values(low: FloatArray, source: Source) -> None:
    """Raise a `ValueError` that names a column in which no row of positive weight has a value."""
    void = np.flatnonzero(np.isinf(low))
    if len(void):
        column = void[0] if source.names is None else repr(source.names[void[0]])
        raise ValueError(f"all values of column {column} are missing (NaN): nothing can be learnt of it, leave it out")


def _middle(rows: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the medians of the values that are there, or the middles of the ranges where there is none."""
    if not np.isnan(rows).any():
        return np.median(rows, axis=0)
    void = np.isnan(rows).all(axis=0)
    return np.nanmedian(np.where(void, low / 2 + high / 2, rows), axis=0)


def refuse(bad: Bad, first: int, source: Source, family: Family[Any, Any]) -> None:
    """Raise a `ValueError` that names a value, its row, of a chunk that starts at row `first`, and its column."""
    column = bad.column if source.names is None else repr(source.names[bad.column])
    where = f"{source.locate(first + bad.row)}, column {column}"
    if np.isfinite(bad.value):
        raise ValueError(f"{where} is {bad.value:g}: a {family.name} component takes {family.support} only")
    kind = "NaN" if np.isnan(bad.value) else "infinity"
    raise ValueError(
        f"Input X contains {kind}: {where} is {bad.value}, expected {family.support}; remove the row or fill it in"
    )


def find_bad(chunk: Chunk, family: Family[Any, Any]) -> Bad | None:
    """Return the first value of a chunk outside the family's support."""
    return _look(family, chunk).bad


def _look(family: Family[Any, Any], chunk: Chunk) -> _Look:
    low, high = np.full(chunk.x.shape[1], np.inf), np.full(chunk.x.shape[1], -np.inf)
    heaviest = 1.0 if chunk.weight is None else float(chunk.weight.max())
    weight = float(len(chunk) if chunk.weight is None else chunk.weight.sum())
    n_missing = n_empty = 0
    for part in chunk.split(max(1, LOOK_VALUES // chunk.x.shape[1])):
        x = part.packed().x
        if part.weight is None and not n_missing and (ends := _good_ends(family, x)) is not None:
            low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
            continue
        good = family.in_support(x)
        if not good.all():
            row, column = (int(i) for i in np.unravel_index(int(np.argmin(good)), good.shape))
            before = (part.first - chunk.first) * BLOCK_ROWS
            bad = Bad(before + row, column, float(x[row, column]))
            return _Look(len(chunk), low, high, heaviest, weight, n_missing, n_empty, bad)
        missing = np.isnan(x)
        holes = bool(missing.any())
        if holes:
            n_missing, n_empty = n_missing + int(missing.sum()), n_empty + int(missing.all(axis=1).sum())
        if part.weight is not None:
            x = x[part.weight > 0]
        low = np.minimum(low, _reduce(np.fmin if holes else np.minimum, x, np.inf))
        high = np.maximum(high, _reduce(np.fmax if holes else np.maximum, x, -np.inf))
    return _Look(len(chunk), low, high, heaviest, weight, n_missing, n_empty, None)


def _good_ends(family: Family[Any, Any], x: FloatArray) -> FloatArray | None:
    """Return the least and the largest value of each column, (2, d), if they tell that no value is bad or missing.

    They do where the support is an interval, in half the time of a look at each value.
    """
    if family.measure != LEBESGUE:
        return None
    ends = np.array([_reduce(np.minimum, x, np.inf), _reduce(np.maximum, x, -np.inf)])
    return None if np.isnan(ends).any() or not family.in_support(ends).all() else ends


def _reduce(extreme: np.ufunc, x: FloatArray, initial: float) -> FloatArray:
    """Return the least or the largest value of each column; rows beside one another make that ten times as fast."""
    n, d = x.shape
    abreast = max(1, ABREAST // d)
    whole = n - n % abreast
    wide = extreme.reduce(x[:whole].reshape(-1, abreast * d), axis=0, initial=initial)
    values: FloatArray = extreme.reduce(np.concatenate([wide.reshape(abreast, d), x[whole:]]), axis=0)
    return values
