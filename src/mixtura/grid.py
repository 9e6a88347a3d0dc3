"""The grid: rows are cut into blocks of fixed size, whatever holds them and whoever computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np

from mixtura._types import Array, FloatArray, IntArray
from mixtura.arena import Arena

T = TypeVar("T")

BLOCK_ROWS = 1024  # some tiles of a kernel; few enough that 50,000 rows keep 48 cores busy
BLOCK_STEPS = 1 << 17  # rows of a block of sequences, at least: so many that what Python does with it does not count
CHUNK_ROWS = 1 << 20  # rows that a source of more hands out at a time


def is_sparse(x: Any) -> bool:
    """Tell whether these are rows of a sparse matrix."""
    return hasattr(x, "toarray")


def dense(x: Any, dtype: type[np.floating[Any]] = np.float64) -> Any:
    """Return rows of an array or a sparse matrix as C-contiguous numbers, without a copy where they are so already."""
    return np.ascontiguousarray(x.toarray() if is_sparse(x) else x, dtype=dtype)


@dataclass(frozen=True, eq=False)
class Derived:
    """Rows of `width` numbers that a function makes of rows: of a slice when that is asked for as an array.

    A kernel asks for the slices that its threads work on, so there never is a copy of all rows.
    """

    x: Any
    function: Callable[[FloatArray], FloatArray]
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows of how many numbers."""
        return self.x.shape[0], self.width

    def __getitem__(self, rows: slice) -> Derived:
        return Derived(self.x[rows], self.function, self.width)

    def toarray(self) -> FloatArray:
        """Return what the function makes of the rows; NaN or infinite where a value has no such number."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.function(dense(self.x))


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive rows as a source holds them, starting on the grid.

    Attributes
    ----------
    x : (n, d) array
        Rows of any real dtype and strides; or of a sparse matrix, which `packed` makes an array of.
    weight : (n,) array or None
        Row weights; None stands for ones.
    first : int
        Number of the first block.
    label : int or None
        The component that all rows are known to come from.
    last : bool
        Whether no rows follow: the sum over these then is that of a subtree, although it is not full.
    """

    x: Array
    weight: FloatArray | None = None
    first: int = 0
    label: int | None = None
    last: bool = False

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def split(self, rows: int) -> Iterator[Chunk]:
        """Cut into chunks of `rows` rows, rounded up to whole blocks."""
        rows = -(-rows // BLOCK_ROWS) * BLOCK_ROWS
        for start in range(0, len(self), rows):
            yield self.rows(start, start + rows)

    def rows(self, start: int, stop: int) -> Chunk:
        """Return some of the rows, from the start of a block on."""
        if start == 0 and stop >= len(self):
            return self  # as most sources ask in every pass
        weight = None if self.weight is None else self.weight[start:stop]
        first, last = self.first + start // BLOCK_ROWS, self.last and stop >= len(self)
        return replace(self, x=self.x[start:stop], weight=weight, first=first, last=last)

    def total(self, values: FloatArray) -> FloatArray:
        """Return the weighted sum of `values` (n,), and the total weight.

        A row of weight 0 counts for nothing, even where its value is infinite.
        """
        if self.weight is None:
            return np.array([values.sum(), len(self)])
        counted = self.weight > 0
        return np.array([self.weight[counted] @ values[counted], self.weight.sum()])

    def packed(self, dtype: type[np.floating[Any]] = np.float64, *, sparse: bool = False) -> Self:
        """Return the rows as C-contiguous numbers of this type, without a copy where they are so already.

        With `sparse`, those of a sparse matrix stay as they are.
        """
        x = self.x if sparse and is_sparse(self.x) else dense(self.x, dtype)
        return self if x is self.x else replace(self, x=x)


@dataclass(frozen=True, eq=False)
class Sequences(Chunk):
    """Consecutive whole sequences of rows, starting on a grid of their own: a block is made of whole sequences.

    A block ends with the first sequence that brings it to `BLOCK_STEPS` rows, so the grid depends on the lengths alone.

    Attributes
    ----------
    weight : (m,) array or None
        Weights of the sequences; None stands for ones.
    lengths : (m,) array
        Rows of each sequence; together those of `x`.
    idle : deque of Arena
        Memory for the E-step on a block, from one pass to the next.
    made : dict
        What `once` has made, by the function that made it.
    """

    lengths: IntArray = field(kw_only=True)
    idle: deque[Arena] = field(kw_only=True, default_factory=deque)
    made: dict[Any, Any] = field(kw_only=True, default_factory=dict)

    @cached_property
    def starts(self) -> IntArray:
        """The first row of each sequence, and the end, (m + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @cached_property
    def blocks(self) -> tuple[Sequences, ...]:
        """The blocks: the same objects in each pass, so that what was made of them once is known."""
        return tuple(self.split(BLOCK_ROWS))

    def once(self, make: Callable[[Sequences], T]) -> T:
        """Return what a function made of these sequences in its first call."""
        if make not in self.made:
            self.made[make] = make(self)
        made: T = self.made[make]
        return made

    def split(self, rows: int) -> Iterator[Sequences]:
        """Cut into chunks of whole blocks, each of at least `rows` rows but for the last one."""
        begin, blocks, first = 0, 0, self.first
        starts, m = self.starts, len(self.lengths)
        done = 0
        while done < m:
            done = min(int(np.searchsorted(starts, starts[done] + BLOCK_STEPS)), m)
            blocks += 1
            if starts[done] - starts[begin] >= rows or done == m:
                yield self._sequences(begin, done, first)
                begin, first = done, self.first + blocks

    def _sequences(self, begin: int, end: int, first: int) -> Sequences:
        weight = None if self.weight is None else self.weight[begin:end]
        x = self.x[self.starts[begin] : self.starts[end]]
        return Sequences(x, weight, first, lengths=self.lengths[begin:end], idle=self.idle)

    def total(self, values: FloatArray) -> FloatArray:
        """Return the weighted sum of `values` (m,) of sequences, and the total weight of their rows."""
        if self.weight is None:
            return np.array([values.sum(), len(self)])
        counted = self.weight > 0
        return np.array([self.weight[counted] @ values[counted], self.weight @ self.lengths])
