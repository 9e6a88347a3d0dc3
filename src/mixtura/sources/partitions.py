"""Rows in partitions that are elsewhere: what sources on clusters share.

A partition is a local source where its rows are. Work goes to the partitions, and what comes back (sums, a drawn row)
is small. The sums of partitions are folded along the canonical tree over their numbers, in whatever order they come.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Self, TypeVar

import numpy as np

from mixtura._types import Array, FloatArray, IntArray
from mixtura.exceptions import SourceChangedError
from mixtura.grid import Chunk
from mixtura.kernels.threads import using_threads
from mixtura.model import Source
from mixtura.progress import report_rows
from mixtura.sources.arrays import ArraySource
from mixtura.sources.local import LocalSource, draw_ranks
from mixtura.sources.tables import check_weight, read_table
from mixtura.stats import Forest

R = TypeVar("R")
Step = Callable[[Chunk], Any]
Work = Callable[[LocalSource, Any], R]  # what is done to a partition, with an argument of its own


@dataclass(frozen=True)
class Facts:
    """What the first look at a partition tells; later passes must find the same."""

    label: str
    n_rows: int
    n_positive: int
    n_features: int
    names: tuple[str, ...] | None
    fingerprint: str

    @classmethod
    def of(cls, source: LocalSource, label: str) -> Self:
        """Look at a partition."""
        return cls(label, source.n_rows, source.n_positive, source.n_features, source.names, source.fingerprint)

    def check(self, source: LocalSource) -> None:
        """Raise a `SourceChangedError` if the rows of `source` are not those that were seen."""
        if source.n_rows != self.n_rows:
            raise SourceChangedError(
                f"{self.label} had {self.n_rows} rows in the first pass and has {source.n_rows} now: "
                f"what computes it must give the same rows each time; persist it, or write files"
            )
        if source.fingerprint != self.fingerprint:
            raise SourceChangedError(
                f"{self.label} has other rows than in the first pass: "
                f"what computes it must give the same rows in the same order each time; persist it, or write files"
            )


def look(source: LocalSource, label: str) -> Facts:
    """Look at a partition, where it is."""
    return _alone(Facts.of, source, label)


def apply(source: LocalSource, facts: Facts, argument: Any, work: Work[R]) -> R:
    """Do `work` on a partition, where it is, after checking that it is the one that was seen."""
    _alone(facts.check, source)
    return _alone(work, source, argument)


def _alone(function: Callable[..., R], *arguments: Any) -> R:
    """Call a function as a task among others: on one thread, and unheard by who listens to the whole pass."""

    def run() -> R:
        with using_threads(1):
            return function(*arguments)

    return Context().run(run)


@dataclass(frozen=True, eq=False)
class Folded:
    """For each step, the sums of some partitions as subtrees of the canonical tree over partitions."""

    n_rows: int
    forests: list[Forest[Any]]

    @classmethod
    def merge(cls, parts: Sequence[Folded]) -> Folded:
        """Return the sums of the partitions of all parts."""
        forests: list[Forest[Any]] = [Forest() for _ in parts[0].forests]
        for part in parts:
            for forest, other in zip(forests, part.forests, strict=True):
                forest.merge(other)
        return cls(sum(part.n_rows for part in parts), forests)


def fold_partition(steps: Sequence[Step], source: LocalSource, index: int) -> Folded:
    """Return the sums of one partition, which is number `index` of those with rows."""
    forests: list[Forest[Any]] = [Forest() for _ in steps]
    for forest, stats in zip(forests, source.fold(steps), strict=True):
        forest.insert(0, index, stats)
    return Folded(source.n_rows, forests)


def _map_partition(step: Callable[[Chunk], R], source: LocalSource, most: int | None) -> list[R]:
    return list(source.map_rows(step, most))


def _take(source: LocalSource, ranks: IntArray) -> tuple[FloatArray, FloatArray]:
    return source.take(ranks)


def read_partition(data: Any, columns: Sequence[Any], weight: Any, label: str) -> ArraySource:
    """Return the rows of one partition in memory.

    Parameters
    ----------
    data : array or table
        The rows.
    columns : sequence
        Which columns to use.
    weight : column, array or series, or None
        Row weights, or which column of `data` holds them; those of a single partition may all be zero.
    label : str
        What errors call the partition.
    """
    try:
        table = read_table(data, columns)
        weights = None if weight is None else _read_weights(data, weight, len(table.x), label)
    except (TypeError, ValueError) as error:
        error.add_note(f"in {label}")
        raise
    return ArraySource(table.x, weights, table.names)


def _read_weights(data: Any, weight: Any, n: int, label: str) -> FloatArray:
    found = read_table(data, [weight]) if isinstance(weight, (str, int)) else read_table(weight)
    values: Array = found.x[:, 0]
    if len(values) != n:
        raise ValueError(f"{label} has {n} rows and {len(values)} sample_weight: partition both alike")
    check_weight(values, lambda row: f"{label}, row {row}")
    return values.astype(np.float64)


class PartitionedSource(Source, ABC):
    """Rows in partitions on a cluster.

    A subclass does work where the partitions are, in `_run`, and calls `_begin` with the facts of all of them.
    """

    @abstractmethod
    def _run(self, work: Work[R], arguments: Mapping[int, Any]) -> Generator[tuple[int, R], None, None]:
        """Do `work` on the partitions of these numbers; yield number and result, in any order."""

    def _begin(self, facts: Sequence[Facts]) -> None:
        """Take note of the partitions; those without rows are left out of everything."""
        self._facts = facts
        self._filled = [number for number, of in enumerate(facts) if of.n_rows]
        self._ends = np.cumsum([of.n_rows for of in facts])
        self.n_rows = int(self._ends[-1]) if len(facts) else 0
        first = facts[self._filled[0] if self._filled else 0]
        self.n_features, self.names = first.n_features, first.names
        for number in self._filled:
            _check_alike(first, facts[number])
        if self.n_rows and not any(of.n_positive for of in facts):
            raise ValueError("all sample_weight are zero: at least one row needs a positive weight")

    @property
    def fingerprint(self) -> str:
        """Digest of the partitions' own, which are of their shape and of their first and last block of rows."""
        return blake2b("".join(of.fingerprint for of in self._facts).encode(), digest_size=16).hexdigest()

    def locate(self, row: int) -> str:
        """Return where a row is, in words, for errors."""
        number = int(np.searchsorted(self._ends, row, side="right"))
        facts = self._facts[number]
        return f"{facts.label}, row {row - int(self._ends[number]) + facts.n_rows}"

    def fold(self, steps: Sequence[Step]) -> list[Any]:
        """Return, for every step, the sum over all partitions in their order, each the canonical sum of its rows."""
        forests: list[Forest[Any]] = [Forest() for _ in steps]
        with closing(self._fold(steps)) as parts:
            for part in parts:
                for forest, other in zip(forests, part.forests, strict=True):
                    forest.merge(other)
                report_rows(part.n_rows)
        return [forest.total() for forest in forests]

    def _fold(self, steps: Sequence[Step]) -> Generator[Folded, None, None]:
        """Yield the sums of all partitions with rows, in any order."""
        indices = {number: index for index, number in enumerate(self._filled)}
        with closing(self._run(partial(fold_partition, steps), indices)) as parts:
            for _, part in parts:
                yield part

    def map_rows(self, step: Callable[[Chunk], R], most: int | None = None) -> Iterator[R]:
        """Apply `step`, where the rows are, to consecutive rows, at most so many at a time; yield results in order."""
        early: dict[int, list[R]] = {}
        expected = iter(self._filled)
        number = next(expected, None)
        with closing(self._run(partial(_map_partition, step), dict.fromkeys(self._filled, most))) as parts:
            for arrived, results in parts:
                early[arrived] = results
                while number in early:
                    yield from early.pop(number)
                    report_rows(self._facts[number].n_rows)
                    number = next(expected, None)

    def sample(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Return at most `n` rows of positive weight drawn without replacement, in order, with their weights."""
        counts = np.array([of.n_positive for of in self._facts], dtype=np.int64)
        ends = np.cumsum(counts)
        ranks = draw_ranks(int(counts.sum()), n, rng)
        owners = np.searchsorted(ends, ranks, side="right")
        arguments = {number: ranks[owners == number] - (ends - counts)[number] for number in np.unique(owners).tolist()}
        with closing(self._run(_take, arguments)) as parts:
            taken = dict(parts)
        rows = [taken[number] for number in arguments]
        return (
            np.concatenate([np.empty((0, self.n_features)), *(x for x, _ in rows)]),
            np.concatenate([np.empty(0), *(weight for _, weight in rows)]),
        )


def _check_alike(first: Facts, other: Facts) -> None:
    if other.n_features != first.n_features:
        raise ValueError(
            f"{other.label} has {other.n_features} columns and {first.label} has {first.n_features}: "
            f"all partitions need the same columns"
        )
    if other.names != first.names:
        raise ValueError(
            f"{other.label} has columns {other.names} and {first.label} has {first.names}: name them alike"
        )
