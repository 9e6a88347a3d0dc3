"""A source that draws no sample twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from mixtura._types import FloatArray
from mixtura.grid import Chunk
from mixtura.model import Source
from mixtura.stats import Forest

R = TypeVar("R")


class Remembered(Source):
    """The rows of another source, whose samples are kept: fits that start from the same seed share them.

    Parameters
    ----------
    source : Source
        The rows.
    """

    def __init__(self, source: Source) -> None:
        self.n_rows, self.n_features, self.names = source.n_rows, source.n_features, source.names
        self._source = source
        self._samples: dict[tuple[int, str], tuple[tuple[FloatArray, FloatArray], Any]] = {}

    @property
    def fingerprint(self) -> str:
        """A digest that differs where the rows differ, as far as a glance tells."""
        return self._source.fingerprint

    def sample(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return what the source does, and leave `rng` as it does, but ask it once for each state of `rng`."""
        key = n, repr(rng.bit_generator.state)
        if key not in self._samples:
            self._samples[key] = self._source.sample(n, rng), rng.bit_generator.state
        drawn, rng.bit_generator.state = self._samples[key]
        return drawn

    def fold(self, steps: Sequence[Callable[[Chunk], Forest[Any]]], /) -> list[Any]:
        """Return, for every step, the canonical sum over all rows, reading them once."""
        return self._source.fold(steps)

    def map_rows(self, step: Callable[[Chunk], R], most: int | None = None, /) -> Iterator[R]:
        """Apply `step` to consecutive rows, at most so many at a time, in order."""
        return self._source.map_rows(step, most)

    def locate(self, row: int, /) -> str:
        """Return where a row is, in words, for errors."""
        return self._source.locate(row)
