"""Which columns of the data are features, and which one holds the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixtura._types import Array

LISTED = 40  # column names that an error lists


@dataclass(frozen=True)
class Choice:
    """Columns by position: the features, in order, and the weight or None; and names of the features, if any."""

    features: list[int]
    weight: int | None
    names: tuple[str, ...] | None


def is_column(weight: Any) -> bool:
    """Tell whether `weight` names a column rather than being weights."""
    return isinstance(weight, (str, int, np.integer)) and not isinstance(weight, bool)


def choose(there: Sequence[str] | int, columns: Sequence[Any] | None, weight: Any, what: str) -> Choice:
    """Return which columns of `what` to read.

    Parameters
    ----------
    there : sequence of str, or int
        Names of the columns, or how many there are without a name.
    columns : sequence of str or int, or None
        Which are features; all but the weight by default.
    weight : str, int or None
        The column of weights.
    what : str
        The data, for errors.
    """
    known: Sequence[Any] = range(there) if isinstance(there, int) else there
    position = None if weight is None else _find(weight, known, what)
    features = (
        [j for j in range(len(known)) if j != position]
        if columns is None
        else [_find(column, known, what) for column in columns]
    )
    if not features:
        raise ValueError(f"{what}: no column is left, expected one at least besides the weights")
    names = None if isinstance(there, int) else tuple(there[j] for j in features)
    return Choice(features, position, names)


def _find(column: Any, known: Sequence[Any], what: str) -> int:
    if column not in known:
        raise ValueError(f"{what}: there is no column {column!r}; {_describe(known)}")
    if not isinstance(known, range) and list(known).count(column) > 1:
        raise ValueError(f"{what}: there is more than one column {column!r}; rename them")
    return known.index(column)


def _describe(known: Sequence[Any]) -> str:
    if isinstance(known, range):
        return f"columns go by number here, 0 to {len(known) - 1}"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"there are {', '.join(map(repr, known[:LISTED]))}{more}"


def split(x: Array, choice: Choice) -> tuple[Array, Array | None]:
    """Return the features (n, d) and the weights (n,) of an array of all columns; views where they can be."""
    everything = choice.features == list(range(x.shape[1]))
    return x if everything else x[:, choice.features], None if choice.weight is None else x[:, choice.weight]
