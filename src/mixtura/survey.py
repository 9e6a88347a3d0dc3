"""What one look over the data tells: that every value is possible, the ranges of columns, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from typing import Any, Self

import numpy as np

from mixtura._types import FloatArray
from mixtura.grid import Chunk
from mixtura.kernels.threads import share_out
from mixtura.model import LEBESGUE, Family, Source
from mixtura.models.mixture import Mixture

SURVEY_ROWS = 1 << 12  # rows whose middle stands for that of all
LOOK_VALUES = 1 << 18  # held as float64: what Python does with so many hardly counts, and threads seldom meet there
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


@dataclass(frozen=True)
class Bad:
    """A value that no component can yield: its row, counted from the first of those looked at, its column, and it."""

    row: int
    column: int
    value: float


@dataclass(frozen=True, eq=False)
class _Look:
    """The same of some rows, how many these are, and the first place outside the support."""

    low: FloatArray
    high: FloatArray
    rows: int = 0
    heaviest: float = 0.0
    weight: float = 0.0
    n_missing: int = 0
    n_empty: int = 0
    bad: Bad | None = None

    @classmethod
    def at_nothing(cls, d: int) -> Self:
        """Return that of no rows of d columns."""
        return cls(np.full(d, np.inf), np.full(d, -np.inf))

    def __add__(self, after: Self) -> Self:
        """Return that of these rows and of others that follow."""
        later = after.bad and replace(after.bad, row=self.rows + after.bad.row)
        return type(self)(
            low=np.minimum(self.low, after.low),
            high=np.maximum(self.high, after.high),
            rows=self.rows + after.rows,
            heaviest=max(self.heaviest, after.heaviest),
            weight=self.weight + after.weight,
            n_missing=self.n_missing + after.n_missing,
            n_empty=self.n_empty + after.n_empty,
            bad=self.bad or later,
        )


def survey(source: Source, family: Family[Any, Any]) -> Survey:
    """Check every value and return the range of the rows that have weight.

    Raises
    ------
    ValueError
        Names the first row and column whose value is infinite or outside the family's support, or missing where the
        family has no use for such rows, or a column without any value.
    """
    seen = _Look.at_nothing(source.n_features)
    for look in source.map_rows(partial(_look, family)):
        seen += look
        if seen.bad:
            refuse(seen.bad, 0, source, family)
    if seen.n_missing:
        _refuse_columns_without_values(seen.low, source)
    rows, _ = source.sample(SURVEY_ROWS, np.random.default_rng(0))
    centre = _middle(rows, seen.low, seen.high)
    return Survey(seen.low, seen.high, centre, seen.heaviest, seen.weight, seen.n_missing, seen.n_empty)


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
    """Look at the rows of a chunk, piece by piece, by all threads."""
    pieces = list(chunk.split(max(1, LOOK_VALUES // chunk.x.shape[1])))
    looks = [_Look.at_nothing(chunk.x.shape[1])] * len(pieces)

    def run(begin: int, end: int) -> None:
        for i in range(begin, end):
            looks[i] = _look_at(family, pieces[i].packed())

    share_out(run, len(pieces), len(pieces))
    return reduce(add, looks)


def _look_at(family: Family[Any, Any], piece: Chunk) -> _Look:
    """Look at some rows, as float64."""
    n, x, w = len(piece), piece.x, piece.weight
    heaviest, weight = (1.0, float(n)) if w is None else (float(w.max()), float(w.sum()))
    counted = x if w is None or (w > 0).all() else x[w > 0]
    if counted is x and (ends := _good_ends(family, x)) is not None:
        return _Look(low=ends[0], high=ends[1], rows=n, heaviest=heaviest, weight=weight)
    good = family.in_support(x)
    if not good.all():
        row, column = (int(i) for i in np.unravel_index(int(np.argmin(good)), good.shape))
        return replace(_Look.at_nothing(x.shape[1]), rows=n, bad=Bad(row, column, float(x[row, column])))
    missing = np.isnan(x)
    holes = bool(missing.any())
    return _Look(
        low=_reduce(np.fmin if holes else np.minimum, counted, np.inf),
        high=_reduce(np.fmax if holes else np.maximum, counted, -np.inf),
        rows=n,
        heaviest=heaviest,
        weight=weight,
        n_missing=int(missing.sum()),
        n_empty=int(missing.all(axis=1).sum()),
    )


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
