"""Rows in memory: an array of any real dtype and strides, read chunk by chunk."""

from __future__ import annotations

from collections.abc import Generator
from functools import cached_property
from hashlib import blake2b

import numpy as np

from mixtura._types import Array, FloatArray, IntArray
from mixtura.grid import BLOCK_ROWS, CHUNK_ROWS, Chunk
from mixtura.sources.local import LocalSource, find_ranks


class ArraySource(LocalSource):
    """Rows of one array in memory.

    Parameters
    ----------
    x : (n, d) array
        Rows, of any real dtype and strides; never copied whole.
    weight : (n,) array, optional
        Row weights.
    names : tuple of str, optional
        Names of the columns.
    chunk_rows : int
        Rows handed out at a time, rounded up to whole blocks. Changes no bit of any result.
    """

    def __init__(
        self,
        x: Array,
        weight: FloatArray | None = None,
        names: tuple[str, ...] | None = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self._chunk = Chunk(x, weight, last=True)
        self._chunk_rows = -(-chunk_rows // BLOCK_ROWS) * BLOCK_ROWS
        self.names = names
        self.n_rows, self.n_features = x.shape

    @property
    def x(self) -> Array:
        """The rows, (n, d)."""
        return self._chunk.x

    @property
    def weight(self) -> FloatArray | None:
        """The row weights, (n,), or None for ones."""
        return self._chunk.weight

    @cached_property
    def fingerprint(self) -> str:
        """Digest of shape and dtype, and of the first and last block of rows."""
        digest = blake2b(f"{self.x.shape} {self.x.dtype}".encode(), digest_size=16)
        for rows in (slice(BLOCK_ROWS), slice(-BLOCK_ROWS, None)):
            digest.update(self.x[rows].tobytes())
            digest.update(b"" if self.weight is None else self.weight[rows].tobytes())
        return digest.hexdigest()

    def chunks(self) -> Generator[Chunk, None, None]:
        """Yield the rows, some at a time, as views."""
        yield from self._chunk.split(self._chunk_rows)

    @property
    def n_positive(self) -> int:
        """Rows of positive weight."""
        return self.n_rows if self.weight is None else int(np.count_nonzero(self.weight))

    def take(self, ranks: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the rows of these ascending ranks among those of positive weight, with their weights."""
        rows, weight = self.find(ranks)
        # `np.take` takes a third of the time of an index, but copies an array whole that is not contiguous.
        taken = np.take(self.x, rows, axis=0) if self.x.flags.c_contiguous else self.x[rows]
        return np.ascontiguousarray(taken, dtype=np.float64), weight

    def find(self, ranks: IntArray) -> tuple[IntArray, FloatArray]:
        """Return the numbers of the rows of these ascending ranks among those of positive weight, and their weights."""
        rows = ranks if self.weight is None else find_ranks(self.weight, ranks)
        return rows, np.ones(len(rows)) if self.weight is None else self.weight[rows]
