"""Rows in memory of which some are known to come from a component."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from typing import TypeVar

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.sources.arrays import ArraySource
from mixtura.sources.local import LocalSource

R = TypeVar("R")
UNKNOWN = -1


class LabelledSource(LocalSource):
    """Rows and what is known of their components, gathered by label, so that all rows of a chunk have the same one.

    Parameters
    ----------
    rows : ArraySource
        The rows, which are copied.
    labels : (n,) array of int
        The component of each row, or `UNKNOWN`.
    """

    def __init__(self, rows: ArraySource, labels: IntArray) -> None:
        self._rows, self._labels = rows, labels
        self.n_rows, self.n_features, self.names = rows.n_rows, rows.n_features, rows.names
        self._parts = {int(label): self._gather(np.flatnonzero(labels == label)) for label in np.unique(labels)}

    def _gather(self, mine: IntArray) -> ArraySource:
        weight = self._rows.weight
        return type(self._rows)(self._rows.x[mine], None if weight is None else weight[mine])

    @cached_property
    def fingerprint(self) -> str:
        """Digest of that of the rows, and of all labels."""
        return blake2b(self._rows.fingerprint.encode() + self._labels.tobytes(), digest_size=16).hexdigest()

    def chunks(self) -> Generator[Chunk, None, None]:
        """Yield the rows, label by label; each begins a new block."""
        first = 0
        for label, part in self._parts.items():
            for chunk in part.chunks():
                known = None if label == UNKNOWN else label
                yield replace(chunk, first=first + chunk.first, label=known, last=False)
            first += -(-part.n_rows // BLOCK_ROWS)

    def map_rows(self, step: Callable[[Chunk], R], most: int | None = None) -> Iterator[R]:
        """Apply `step` to the rows in their own order."""
        return self._rows.map_rows(step, most)

    @property
    def n_positive(self) -> int:
        """Rows of positive weight."""
        return self._rows.n_positive

    def take(self, ranks: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the rows of these ascending ranks among those of positive weight, with their weights."""
        return self._rows.take(ranks)

    def sample_labelled(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, IntArray]:
        """Return at most `n` rows of each label and of none, with their weights and labels."""
        parts = [(*part.sample(n, rng), label) for label, part in self._parts.items()]
        labels = [np.full(len(rows), label) for rows, _, label in parts]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), np.concatenate(labels)
