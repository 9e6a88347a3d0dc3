"""Rows of whole numbers that come again and again, as one weighted row each: 1000 answers may be 30 patterns.

A weight of w stands for w copies of a row, so it is the same fit. All sums are of whole numbers and exact, and what is
decided hangs on all rows only: no bit depends on how these are cut, where they are, or in which order they come.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.grid import Chunk
from mixtura.model import COUNTING, Family, Source
from mixtura.sources.arrays import ArraySource
from mixtura.sources.labelled import LabelledSource

FEWER = 4  # times fewer rows repay that they are looked for, if one more pass is all that they save
MOST_VALUES = 1 << 22  # in the distinct rows, which are held in memory
PIECE_ROWS, PIECE_VALUES = 1 << 18, 1 << 22  # that are looked at together, at most
LARGEST_KEY = 1 << 62  # an integer has room for
EXACT = 1 << 53  # whole numbers up to it have a float each
ROOMY = 4  # times more places than rows a table may have; beyond, sorting takes less time than clearing it

logger = logging.getLogger(__name__)


class _Rows(NamedTuple):
    """Distinct rows (m, d) in lexicographic order, and how often each is there (m,)."""

    x: FloatArray
    weight: FloatArray


def merge(source: Source, family: Family[Any, Any]) -> Source:
    """Return the distinct rows of a source and how often each is there, or the source itself where that does not pay.

    It does where a family is of counts or categories, weights are whole numbers, and there are at least four times as
    many rows as distinct ones. One pass over the rows; it ends as soon as there are too many.

    Parameters
    ----------
    source : Source
        Rows that the family can yield.
    family : Family
        What they are for.
    """
    if isinstance(source, LabelledSource) or family.measure != COUNTING:
        return source
    most = min(source.n_rows // FEWER, MOST_VALUES // source.n_features)
    found: _Rows | None = None
    together = min(PIECE_ROWS, PIECE_VALUES // source.n_features)
    for piece in source.map_rows(partial(_distinct, most=most), max(1, together)):
        found = piece if piece is None or found is None else _join(found, piece, most)
        if found is None:
            return source
    if found is None:
        return source
    logger.info("%d weighted rows stand for %d rows", len(found.x), source.n_rows)
    return ArraySource(found.x, found.weight, source.names)


def _join(a: _Rows, b: _Rows, most: int) -> _Rows | None:
    return _distinct(Chunk(np.concatenate([a.x, b.x]), np.concatenate([a.weight, b.weight])), most=most)


def _distinct(chunk: Chunk, *, most: int) -> _Rows | None:
    """Return the distinct rows of a chunk; None if there are more than `most`, or their sums would not be exact."""
    x = chunk.packed().x
    weight = np.ones(len(x)) if chunk.weight is None else chunk.weight
    keys = _number(x)
    if keys is None or (weight != np.floor(weight)).any() or weight.sum() >= EXACT:
        return None
    counts = np.asarray(np.bincount(keys, weight), dtype=np.float64)
    kept = np.flatnonzero(counts)
    if len(kept) > most:
        return None
    place = np.empty(len(counts), dtype=np.int64)
    place[keys] = np.arange(len(keys))  # of any of the rows that are equal
    return _Rows(x[place[kept]], counts[kept])


def _number(x: FloatArray) -> IntArray | None:
    """Return numbers (n,) from 0, few of them, that are ordered as the rows (n, d) are; None where there are none."""
    keys, size = np.zeros(len(x), dtype=np.int64), 1
    for column in x.T:
        low, high = float(column.min()), float(column.max())
        if high - low >= EXACT or (column != np.floor(column)).any():
            return None
        span = int(high - low) + 1
        if size * span > LARGEST_KEY:
            keys, size = _renumber(keys)
        if size * span > LARGEST_KEY:
            return None
        keys, size = keys * span + (column - low).astype(np.int64), size * span
    return keys if size <= ROOMY * len(x) else _renumber(keys)[0]


def _renumber(keys: IntArray) -> tuple[IntArray, int]:
    """Return the ranks of keys among the distinct ones, and how many these are."""
    distinct, ranks = np.unique(keys, return_inverse=True)
    return ranks, len(distinct)
