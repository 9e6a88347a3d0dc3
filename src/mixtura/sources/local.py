"""What all sources share whose rows this process reads: one chunk after another, into the canonical sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.grid import CHUNK_ROWS, Chunk
from mixtura.model import Source
from mixtura.progress import report_rows
from mixtura.stats import Forest

R = TypeVar("R")

SPARSE = 50  # times as many ranks as are drawn, from which a mark for each would take memory for nothing


class LocalSource(Source, ABC):
    """Rows that come in chunks cut along the grid, in the same order in every pass."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A digest that differs where the rows differ, as far as a glance tells."""

    @abstractmethod
    def chunks(self) -> Generator[Chunk, None, None]:
        """Yield the rows of one pass; together the chunks have every block of the grid once, in order.

        A chunk may be overwritten as soon as the next one is asked for.
        """

    @property
    @abstractmethod
    def n_positive(self) -> int:
        """Rows of positive weight."""

    @abstractmethod
    def take(self, ranks: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the rows of these ascending ranks among those of positive weight, with their weights."""

    def sample(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return at most `n` rows of positive weight drawn without replacement, in order, with their weights."""
        return self.take(draw_ranks(self.n_positive, n, rng))

    def locate(self, row: int) -> str:
        """Return where a row is, in words, for errors."""
        return f"row {row}"

    def fold(self, steps: Sequence[Callable[[Chunk], Forest[Any]]]) -> list[Any]:
        """Return, for every step, the canonical sum over all rows, reading them once."""
        forests: list[Forest[Any]] = [Forest() for _ in steps]
        with closing(self.chunks()) as chunks:
            for chunk in chunks:
                for forest, step in zip(forests, steps, strict=True):
                    forest.merge(step(chunk))
                report_rows(len(chunk))
        return [forest.total() for forest in forests]

    def map_rows(self, step: Callable[[Chunk], R], most: int | None = None) -> Iterator[R]:
        """Apply `step` to consecutive rows, at most so many at a time, in order."""
        with closing(self.chunks()) as chunks:
            for chunk in chunks:
                for part in chunk.split(most or len(chunk)):
                    yield step(part)
                    report_rows(len(part))


def draw_ranks(count: int, n: int, rng: np.random.Generator) -> IntArray:
    """Draw `n` of `count` ranks without replacement, in order; all where there are no more."""
    if count <= n:
        return np.arange(count)
    if count > SPARSE * n:
        return np.sort(rng.choice(count, n, replace=False, shuffle=False))
    # Marks are in order, and take a third of the time of a choice that has to be sorted.
    fewer = min(n, count - n)
    marked = np.zeros(count, dtype=np.bool_)
    while (missing := fewer - np.count_nonzero(marked)) > 0:
        marked[rng.integers(count, size=missing)] = True
    return np.flatnonzero(marked if fewer == n else ~marked)


def find_ranks(weight: FloatArray, ranks: IntArray) -> IntArray:
    """Return where the positive weights of these ascending ranks are, in bounded memory."""
    found, before = [np.empty(0, dtype=np.int64)], 0
    for start in range(0, len(weight), CHUNK_ROWS):
        positive = np.flatnonzero(weight[start : start + CHUNK_ROWS])
        here = ranks[(ranks >= before) & (ranks < before + len(positive))]
        found.append(start + positive[here - before])
        before += len(positive)
    return np.concatenate(found)
