"""Pieces of rows, as a kind of data has them: in memory, decoded when they are needed, or one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from mixtura._types import Array, FloatArray
from mixtura.exceptions import SourceChangedError

State = dict[str, dict[str, int]]  # of each file, what tells without reading it that it is another


class Piece(ABC):
    """Consecutive rows that can be written wherever they are wanted.

    Attributes
    ----------
    n_rows : int
        How many there are.
    """

    n_rows: int

    @abstractmethod
    def write(self, start: int, x: Array | None, weight: FloatArray | None) -> None:
        """Write the rows from number `start` on into `x` (m, d), and their weights into `weight` (m,).

        Each call starts where the one before ended, or later. None means that nobody wants the values.
        """


class Rows(Protocol):
    """A kind of data: what its columns are, and its pieces, again and again.

    Attributes
    ----------
    n_features : int
    names : tuple of str or None
        Names of the columns.
    dtype : dtype
        float32, or float64 where that would lose digits.
    weighted : bool
        Whether the pieces have weights.
    n_rows : int or None
        None if it takes a pass to know.
    about : int
        How many rows there are, roughly.
    costly : bool
        Whether to get the rows takes longer than to read them from a raw file.
    once : bool
        Whether there is one pass only.
    """

    n_features: int
    names: tuple[str, ...] | None
    dtype: np.dtype[Any]
    weighted: bool
    n_rows: int | None
    about: int
    costly: bool
    once: bool

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces of one pass, in order."""

    def state(self) -> State:
        """Return what tells, without reading them, whether the rows are others."""

    def locate(self, row: int) -> str:
        """Return where a row is, in words, for errors."""


def held(*dtypes: Any) -> np.dtype[Any]:
    """Return float32 if it holds every value of these real dtypes exactly, else float64."""
    narrow = all(np.can_cast(dtype, np.float32, "safe") for dtype in dtypes)
    return np.dtype(np.float32 if narrow else np.float64)


class Block(Piece):
    """Rows in memory: an array (n, d), and weights (n,) if there are any."""

    def __init__(self, x: Array, weight: Array | None = None) -> None:
        self.n_rows, self._x, self._weight = len(x), x, weight

    def write(self, start: int, x: Array | None, weight: FloatArray | None) -> None:
        """Copy."""
        if x is not None:
            x[...] = self._x[start : start + len(x)]
        if weight is not None and self._weight is not None:
            weight[...] = self._weight[start : start + len(weight)]


class Columns(Piece):
    """Rows in memory, each column an array (n,), and weights (n,) if there are any."""

    def __init__(self, columns: Sequence[Array], weight: Array | None, n_rows: int) -> None:
        self._columns, self._weight, self.n_rows = columns, weight, n_rows

    def write(self, start: int, x: Array | None, weight: FloatArray | None) -> None:
        """Copy."""
        if x is not None:
            for j, column in enumerate(self._columns):
                x[:, j] = column[start : start + len(x)]
        if weight is not None and self._weight is not None:
            weight[...] = self._weight[start : start + len(weight)]


class Sequential(Piece):
    """Rows that are decoded part by part, as far as they are wanted.

    Parameters
    ----------
    n_rows : int
        How many there are in all parts.
    parts : iterator of Piece
        The parts, in order; only the present one is kept.
    """

    def __init__(self, n_rows: int, parts: Iterator[Piece]) -> None:
        self.n_rows, self._parts = n_rows, parts
        self._part: Piece = Columns([], None, 0)
        self._first = 0  # row at which the present part starts

    def write(self, start: int, x: Array | None, weight: FloatArray | None) -> None:
        """Go on to the parts that have the rows, and copy them."""
        m = len(x) if x is not None else 0 if weight is None else len(weight)
        done = 0
        while done < m:
            while start + done >= self._first + self._part.n_rows:
                self._first += self._part.n_rows
                self._part = self._next(self._first)
            begin = start + done - self._first
            end = done + min(m - done, self._part.n_rows - begin)
            self._part.write(begin, None if x is None else x[done:end], None if weight is None else weight[done:end])
            done = end

    def _next(self, row: int) -> Piece:
        for part in self._parts:
            return part
        raise SourceChangedError(f"the source changed: its rows end at {row}, {self.n_rows} were expected")


class Lazy(Piece):
    """Rows that are read as a whole when the first of them is wanted."""

    def __init__(self, n_rows: int, load: Callable[[], Piece]) -> None:
        self.n_rows, self._load = n_rows, load
        self._loaded: Piece | None = None

    def write(self, start: int, x: Array | None, weight: FloatArray | None) -> None:
        """Read, and copy."""
        if self._loaded is None:
            self._loaded = self._load()
        self._loaded.write(start, x, weight)
