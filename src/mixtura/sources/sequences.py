"""Sequences in memory: rows of one array, one sequence after another, never cut within one."""

from __future__ import annotations

from collections.abc import Generator
from functools import cached_property
from hashlib import blake2b

import numpy as np

from mixtura._types import Array, FloatArray, IntArray
from mixtura.grid import CHUNK_ROWS, Sequences
from mixtura.sources.arrays import ArraySource
from mixtura.sources.local import LocalSource


class SequenceSource(LocalSource):
    """Sequences of rows of one array.

    Parameters
    ----------
    x : (n, d) array
        Rows, of any real dtype and strides; never copied whole.
    lengths : (m,) array of int
        Rows of each sequence, n together.
    weight : (m,) array, optional
        Weights of the sequences.
    names : tuple of str, optional
        Names of the columns.
    chunk_rows : int
        Rows handed out at a time, raised to whole blocks. Changes no bit of any result.
    """

    def __init__(
        self,
        x: Array,
        lengths: IntArray,
        weight: FloatArray | None = None,
        names: tuple[str, ...] | None = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self._chunk = Sequences(x, weight, lengths=lengths)
        self._chunks = tuple(self._chunk.split(chunk_rows))
        self.names = names
        self.n_rows, self.n_features = x.shape
        self.n_sequences = len(lengths)

    @cached_property
    def rows(self) -> ArraySource:
        """The same rows on their own, each with the weight of its sequence: to look at them."""
        weight = self._chunk.weight
        return _Rows(self, self._chunk.x, None if weight is None else np.repeat(weight, self._chunk.lengths))

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the rows' fingerprint and of the lengths."""
        digest = blake2b(self.rows.fingerprint.encode(), digest_size=16)
        digest.update(self._chunk.lengths.tobytes())
        return digest.hexdigest()

    def chunks(self) -> Generator[Sequences, None, None]:
        """Yield the sequences, some at a time, as views."""
        yield from self._chunks

    @property
    def n_positive(self) -> int:
        """Rows of positive weight."""
        return self.rows.n_positive

    def take(self, ranks: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the rows of these ascending ranks among those of positive weight, with their weights."""
        return self.rows.take(ranks)

    def locate(self, row: int) -> str:
        """Return the row, and where it is in which sequence."""
        sequence = int(np.searchsorted(self._chunk.starts, row, side="right")) - 1
        return f"row {row} (step {row - self._chunk.starts[sequence]} of sequence {sequence})"


class _Rows(ArraySource):
    """Rows that know in which sequence they are."""

    def __init__(self, sequences: SequenceSource, x: Array, weight: FloatArray | None) -> None:
        super().__init__(x, weight, sequences.names)
        self._sequences = sequences

    def locate(self, row: int) -> str:
        """Return the row, and where it is in which sequence."""
        return self._sequences.locate(row)
