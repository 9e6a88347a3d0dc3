"""Rows on Dask: arrays, data frames, and files spread over a cluster. The E-step goes to the rows."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from os import PathLike, fspath
from typing import Any, Self, TypeVar

import numpy as np
from dask.delayed import Delayed, delayed
from dask.sizeof import sizeof

from mixtura.model import Source
from mixtura.sources import as_source
from mixtura.sources.arrays import ArraySource
from mixtura.sources.dask_tasks import find_tasks
from mixtura.sources.local import LocalSource
from mixtura.sources.partitions import (
    Folded,
    PartitionedSource,
    Step,
    Work,
    apply,
    fold_partition,
    look,
    read_partition,
)
from mixtura.sources.tables import read_table
from mixtura.values import leaves

R = TypeVar("R")

GRACE_SECONDS = 30.0  # in which a cluster manager restarts a worker
TREE_BYTES = 1 << 26  # of statistics that the driver takes in a pass; more are added up on the cluster
FAN_IN = 8  # statistics that one task adds: three levels of the canonical tree


class DaskSource(PartitionedSource):
    """Rows in partitions on Dask, each a source of one machine that a task makes.

    With a `distributed.Client`, partitions are kept on the cluster, from a graph, so that a lost one is made again.
    Else a scheduler of this process makes them anew in every pass, some at a time, which takes little memory.

    Parameters
    ----------
    parts : sequence of dask.delayed.Delayed
        Each evaluates to a source, as `as_source` returns for rows in memory or in a file.
    labels : sequence of str, optional
        What errors call the partitions; "partition 0" and so on by default.

    Attributes
    ----------
    grace_seconds : float
        How long a pass waits for workers if there are none; then it raises a `ClusterError`.

    Raises
    ------
    SourceChangedError
        In a later pass, if a partition has other rows than at first.
    ClusterError
        If the cluster stops computing.
    """

    grace_seconds: float = GRACE_SECONDS

    def __init__(self, parts: Sequence[Delayed], labels: Sequence[str] | None = None) -> None:
        if not parts:
            raise ValueError("there are no partitions: expected at least one")
        if labels is None:
            labels = [_label(number) for number in range(len(parts))]
        self._tasks = find_tasks()
        self._parts = self._tasks.hold(parts)
        self._stats_bytes = 0  # of a step over one partition, once a pass has told
        facts = dict(self._results(self._tasks.map(_look, None, self._parts, labels)))
        self._begin([facts[number] for number in range(len(parts))])

    @classmethod
    def from_files(
        cls, paths: Sequence[str | PathLike[str]], columns: Sequence[str | int] | None = None, weight: Any = None
    ) -> Self:
        """Return the rows of files, each of which is a partition that workers read, in every pass.

        Parameters
        ----------
        paths : sequence of path
            Files that every worker can open under these names.
        columns : sequence of str or int, optional
            As for `as_source`.
        weight : str or int, optional
            The column that holds row weights.

        Returns
        -------
        DaskSource
            What estimators and `mixtura.em.drive` take.
        """
        names = [fspath(path) for path in paths]
        # Not spooled: a source that moves to another worker could not take its temporary file along.
        read = delayed(partial(as_source, columns=columns, weight=weight, spool=False), pure=False)
        return cls([read(name) for name in names], names)

    def _run(self, work: Work[R], arguments: Mapping[int, Any]) -> Generator[tuple[int, R], None, None]:
        numbers = list(arguments)
        with closing(self._results(self._submit(work, arguments))) as results:
            for index, result in results:
                yield numbers[index], result

    def _fold(self, steps: Sequence[Step]) -> Generator[Folded, None, None]:
        indices = {number: index for index, number in enumerate(self._filled)}
        handles = self._submit(partial(fold_partition, steps), indices)
        while len(steps) * self._stats_bytes * len(handles) > TREE_BYTES and len(handles) > FAN_IN:
            handles = self._tasks.merge(handles, Folded.merge, FAN_IN)
        with closing(self._results(handles)) as results:
            for _, part in results:
                self._stats_bytes = self._stats_bytes or _largest(part)
                yield part

    def _submit(self, work: Work[Any], arguments: Mapping[int, Any]) -> list[Any]:
        parts = [self._parts[number] for number in arguments]
        facts = [self._facts[number] for number in arguments]
        return self._tasks.map(apply, work, parts, facts, list(arguments.values()))

    def _results(self, handles: list[Any]) -> Generator[tuple[int, Any], None, None]:
        return self._tasks.results(handles, self.grace_seconds)


def _look(source: LocalSource, label: str, _: None) -> Any:
    return look(source, label)


def _largest(part: Folded) -> int:
    """Return the bytes of the largest statistics among the steps."""
    nodes = (stats for forest in part.forests for _, stats in forest.nodes())
    return max((sum(leaf.nbytes for leaf in leaves(stats)) for stats in nodes), default=0)


def _label(number: int) -> str:
    return f"partition {number}"


def _sizeof(source: ArraySource) -> int:
    """Tell workers how much memory a partition takes, so that they spill in time and rather move small things."""
    return int(source.x.nbytes) + (0 if source.weight is None else int(source.weight.nbytes))


sizeof.register(ArraySource, _sizeof)


def read(data: Any, columns: Sequence[Any] | None, weight: Any) -> Source:
    """Return a source of the rows of a Dask array or data frame.

    Parameters
    ----------
    data : dask.array.Array or dask.dataframe.DataFrame or Series
        The rows; an array is partitioned by its chunks along the rows.
    columns : sequence, optional
        Which columns to use.
    weight : column, dask.array.Array or dask.dataframe.Series, optional
        Row weights; in partitions like those of `data`. For an array of known chunks also an array in memory.
    """
    if hasattr(data, "npartitions") and hasattr(data, "divisions"):
        return _read_frame(data, columns, weight)
    if hasattr(data, "chunks"):
        return _read_array(data, columns, weight)
    raise TypeError(f"a Dask {type(data).__name__} has no columns: expected a Dask array or data frame")


def _read_array(x: Any, columns: Sequence[Any] | None, weight: Any) -> DaskSource:
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2:
        raise ValueError(f"Found array with dim {x.ndim}, expected 2-D rows and columns, or a 1-D vector")
    x = x.rechunk({1: -1})
    sample = np.empty((0, x.shape[1]), x.dtype)
    columns = _choose(sample, list(range(x.shape[1])), columns, weight)
    return _make(x.to_delayed().ravel().tolist(), columns, weight, x.chunks[0])


def _read_frame(frame: Any, columns: Sequence[Any] | None, weight: Any) -> DaskSource:
    if not hasattr(frame, "columns") or frame.ndim == 1:
        frame = frame.to_frame()
    columns = _choose(frame._meta, list(frame.columns), columns, weight)
    return _make(frame.to_delayed(), columns, weight, (np.nan,) * frame.npartitions)


def _choose(sample: Any, there: list[Any], columns: Sequence[Any] | None, weight: Any) -> list[Any]:
    """Return which columns are features; refuse on a sample without rows what every partition would refuse."""
    if _is_column(weight):
        read_table(sample, [weight])
        there = [name for name in there if name != weight]
    chosen = there if columns is None else list(columns)
    read_table(sample, chosen)
    return chosen


def _is_column(weight: Any) -> bool:
    return isinstance(weight, (str, int))


def _make(parts: list[Delayed], columns: list[Any], weight: Any, chunks: tuple[float, ...]) -> DaskSource:
    """Return the source of delayed arrays or tables and their weights."""
    weights = [weight] * len(parts) if weight is None or _is_column(weight) else _split_weight(weight, chunks)
    read = delayed(read_partition, pure=False)
    labels = [_label(number) for number in range(len(parts))]
    return DaskSource(
        [read(part, columns, own, label) for part, own, label in zip(parts, weights, labels, strict=True)]
    )


def _split_weight(weight: Any, chunks: tuple[float, ...]) -> list[Delayed]:
    """Return the weights of each partition, in partitions of `chunks` rows, NaN where unknown."""
    known = not np.isnan(sum(chunks))
    if not hasattr(weight, "to_delayed"):
        if not known:
            raise ValueError(
                "sample_weight is in memory, and the lengths of the partitions are not known: "
                "name the column that holds it, or pass a Dask series with the same partitions"
            )
        import dask.array as da

        weight = da.from_array(read_table(weight).x[:, 0], chunks=-1)
    if getattr(weight, "ndim", 1) != 1:
        raise ValueError(f"sample_weight has {weight.ndim} dimensions, expected one: a weight a row")
    if known and hasattr(weight, "rechunk") and not np.isnan(sum(weight.chunks[0])):
        if weight.shape != (n := int(sum(chunks)),):
            raise ValueError(f"sample_weight has shape {weight.shape}, expected ({n},): one weight a row")
        weight = weight.rechunk((chunks,))
    parts: list[Delayed] = np.ravel(weight.to_delayed()).tolist()
    if len(parts) != len(chunks):
        raise ValueError(
            f"sample_weight has {len(parts)} partitions and the rows have {len(chunks)}: partition both alike"
        )
    return parts
