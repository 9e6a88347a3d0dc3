"""Rows of a Spark DataFrame, by `mapInArrow`: the E-step runs in the executors, and one row a partition comes back."""

from __future__ import annotations

import contextlib
import pickle
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
from pyspark import TaskContext
from pyspark.errors import PySparkException
from pyspark.sql import functions, types

from mixtura.exceptions import ClusterError, SourceChangedError
from mixtura.model import Source
from mixtura.sources.arrays import ArraySource
from mixtura.sources.partitions import Facts, PartitionedSource, Work, apply, look, read_partition

R = TypeVar("R")
Batches = Iterator[pa.RecordBatch]

SCHEMA = "partition long, n_rows long, payload binary"
ARROW_SCHEMA = pa.schema([("partition", pa.int64()), ("n_rows", pa.int64()), ("payload", pa.binary())])


class SparkSource(PartitionedSource):
    """Rows of a Spark DataFrame, in its partitions.

    The frame is persisted, unless it is so already, until `close` or until nobody refers to the source. One
    partition must fit into the memory of an executor's Python process.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        The features and weights.
    layout : Layout
        Which columns of it are which.

    Raises
    ------
    SourceChangedError
        In a later pass, if a partition has other rows than at first.
    ClusterError
        If Spark gives up a pass.
    """

    def __init__(self, frame: Any, layout: Layout) -> None:
        level = frame.storageLevel
        if level.useMemory or level.useDisk:
            self.close: Callable[[], Any] = _nothing
        else:
            frame = frame.persist()
            self.close = weakref.finalize(self, _unpersist, frame)
            self.close.atexit = False  # Spark has ended by then
        self._frame, self._layout = frame, layout
        seen = dict(self._collect(_look))
        none = Facts("", 0, 0, len(layout.columns), layout.columns, "")  # nothing comes of a partition without rows
        self._begin([seen.get(number, none) for number in range(max(seen, default=0) + 1)])

    def _run(self, work: Work[R], arguments: Mapping[int, Any]) -> Generator[tuple[int, R], None, None]:
        facts = {number: self._facts[number] for number in arguments}
        results = self._collect(partial(_apply, work, facts, arguments))
        missing = sorted(arguments.keys() - results.keys())
        if missing:
            raise SourceChangedError(
                f"{facts[missing[0]].label} had {facts[missing[0]].n_rows} rows in the first pass and has none now: "
                f"what computes it must give the same rows each time; persist it, or write files"
            )
        yield from results.items()

    def _collect(self, task: Callable[[ArraySource, int], Any]) -> dict[int, Any]:
        """Return what `task` makes of each partition with rows, by its number; raise the first error in this order."""
        mapped = self._frame.mapInArrow(partial(_map, self._layout, task), SCHEMA)
        try:
            rows = mapped.collect()
        except PySparkException as error:
            raise ClusterError(f"Spark gave up a pass over the rows: {error}") from error
        outcomes = [pickle.loads(payload) for payload in _once(rows).values()]  # noqa: S301  # of our own executors
        results: dict[int, Any] = {}
        for number, outcome in sorted(outcomes, key=lambda found: found[0]):
            if isinstance(outcome, Exception):
                raise outcome
            results[number] = outcome
        return results


@dataclass(frozen=True)
class Layout:
    """Which columns of a frame are what: the features, one of them `vector` if it holds them all, and the weight."""

    columns: tuple[str, ...]
    weight: str | None
    vector: bool

    def read(self, batches: Sequence[pa.RecordBatch], label: str) -> ArraySource:
        """Return the rows of a partition in memory."""
        table = pa.Table.from_batches(batches)
        if not self.vector:
            return read_partition(table, self.columns, self.weight, label)
        lists = table.column(self.columns[0]).combine_chunks()
        lengths = lists.value_lengths().unique()
        if lists.null_count or len(lengths) != 1:
            raise ValueError(f"{label}: column {self.columns[0]!r} must hold lists of one length, and no nulls")
        x = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), -1)
        weight = None if self.weight is None else table.column(self.weight)
        return read_partition(x, range(x.shape[1]), weight, label)


def _map(layout: Layout, task: Callable[[ArraySource, int], Any], batches: Batches) -> Batches:
    """Do a task on one partition, in an executor; an error of the data is a result, as trying again cannot help."""
    rows = [batch for batch in batches if batch.num_rows]
    if not rows:
        return
    number = TaskContext.get().partitionId()
    try:
        outcome = task(layout.read(rows, _label(number)), number)
    except (TypeError, ValueError) as error:
        outcome = error
    n_rows = sum(batch.num_rows for batch in rows)
    if outcome is not None:
        payload = pickle.dumps((number, outcome))
        yield pa.RecordBatch.from_arrays([[number], [n_rows], [payload]], schema=ARROW_SCHEMA)


def _look(source: ArraySource, number: int) -> Facts:
    return look(source, _label(number))


def _apply(
    work: Work[Any], facts: Mapping[int, Facts], arguments: Mapping[int, Any], source: ArraySource, number: int
) -> Any:
    if number in arguments:
        return apply(source, facts[number], arguments[number], work)
    return None


def _once(rows: Sequence[Any]) -> dict[int, bytes]:
    """Return the payloads by partition; what a task did in two attempts counts once, if both saw the same rows."""
    seen: dict[int, Any] = {}
    for row in rows:
        first = seen.setdefault(row["partition"], row)
        if first["n_rows"] != row["n_rows"]:
            raise SourceChangedError(
                f"{_label(row['partition'])} came twice in one pass, with {first['n_rows']} rows and with "
                f"{row['n_rows']}: what computes it must give the same rows each time; persist it, or write files"
            )
    return {number: bytes(row["payload"]) for number, row in seen.items()}


def _label(number: int) -> str:
    return f"partition {number}"


def _nothing() -> None:
    """Leave persisted what others persisted."""


def _unpersist(frame: Any) -> None:
    with contextlib.suppress(Exception):  # Spark may have been stopped, and its memory with it
        frame.unpersist()


def read(data: Any, columns: Sequence[Any] | None, weight: Any) -> Source:
    """Return a source of the rows of a Spark DataFrame.

    Parameters
    ----------
    data : pyspark.sql.DataFrame, classic or of Spark Connect, or pyspark.pandas.DataFrame
        Columns of numbers, or one column of vectors or of arrays of numbers.
    columns : sequence of str, optional
        Which columns to use; all but the weight by default.
    weight : str, optional
        The column that holds row weights.
    """
    frame = data.to_spark() if hasattr(data, "to_spark") else data
    if not hasattr(frame, "mapInArrow"):
        raise TypeError(f"Spark's {type(data).__name__} has no columns: expected a DataFrame")
    if not (weight is None or isinstance(weight, str)):
        raise ValueError("sample_weight of a Spark DataFrame must be the name of a column of it")
    there = {field.name: field.dataType for field in frame.schema.fields}
    names = [name for name in there if name != weight] if columns is None else list(columns)
    wanted = names if weight is None or weight in names else [*names, weight]
    for name in wanted:
        if name not in there:
            raise ValueError(f"there is no column {name!r}: the table has {', '.join(map(repr, there))}")
    vector = len(names) == 1 and _is_vector(there[names[0]])
    selected = [_select(name, there[name], vector and name == names[0]) for name in wanted]
    return SparkSource(frame.select(*selected), Layout(tuple(names), weight, vector))


def _is_vector(kind: Any) -> bool:
    """Tell whether a column holds vectors of Spark ML or arrays of numbers."""
    return kind.typeName() == "vectorudt" or (
        isinstance(kind, types.ArrayType) and isinstance(kind.elementType, types.NumericType)
    )


def _select(name: str, kind: Any, vector: bool) -> Any:
    """Return a column as numbers that Arrow and NumPy share."""
    column = functions.col(f"`{name}`")
    if vector and not isinstance(kind, types.ArrayType):
        from pyspark.ml.functions import vector_to_array

        return vector_to_array(column).alias(name)
    if isinstance(kind, types.DecimalType):
        return column.cast("double").alias(name)
    if not (vector or isinstance(kind, (types.NumericType, types.BooleanType))):
        raise ValueError(f"column {name!r} holds {kind.simpleString()}, expected numbers: convert or leave it out")
    return column
