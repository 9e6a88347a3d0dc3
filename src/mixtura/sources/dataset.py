"""Record batches that Arrow reads for us: datasets, and whatever gives an Arrow stream again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mixtura.sources.arrow import BATCH_ROWS, held_columns, naming, require_arrow, to_piece
from mixtura.sources.columns import choose, is_column
from mixtura.sources.files import file_state
from mixtura.sources.pieces import Piece, State

AHEAD = 2  # batches, and files, that Arrow may read ahead: its own default fills gigabytes


class RecordBatches:
    """The rows of record batches.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of all of them.
    make : callable
        Returns an iterator of pairs: where a batch is from, and the batch; only columns of the names it is given.
    columns, weight
        As in `as_source`.
    n_rows : int or None
        How many rows there are, if that is known.
    files : sequence of str
        Where they come from, if from files.
    """

    costly = True
    once = False

    def __init__(
        self,
        schema: Any,
        make: Callable[[list[str]], Iterator[tuple[str, Any]]],
        columns: Sequence[Any] | None,
        weight: Any,
        n_rows: int | None = None,
        files: Sequence[str] = (),
    ) -> None:
        self.weighted = is_column(weight)
        choice = choose(schema.names, columns, weight if self.weighted else None, "the data")
        self.dtype = held_columns(schema, choice, "the data")
        self.names, self.n_features = choice.names, len(choice.features)
        self._features = [schema.names[j] for j in choice.features]
        self._weight = None if choice.weight is None else schema.names[choice.weight]
        self._make, self._files = make, files
        self.n_rows, self.about = n_rows, n_rows or 0
        self._counts: list[tuple[str, int]] = []

    def pieces(self) -> Iterator[Piece]:
        """Yield the batches."""
        wanted = self._features if self._weight is None else [*self._features, self._weight]
        counts = self._counts = []
        where = "the data"
        with naming(where):
            for where, batch in self._make(list(dict.fromkeys(wanted))):
                counts.append((where, batch.num_rows))
                yield to_piece(batch, self._features, self._weight)

    def state(self) -> State:
        """Return size and time of each file."""
        return file_state(self._files)

    def locate(self, row: int) -> str:
        """Return the row, and the file if it is from one."""
        before, within = "", row
        for where, count in self._counts:
            if where != before:
                before, start = where, row - within
            if within < count:
                return f"{where}, row {row - start}" if where else f"row {row}"
            within -= count
        return f"row {row}"


def read_dataset(dataset: Any, columns: Sequence[Any] | None, weight: Any) -> RecordBatches:
    """Return the rows of a `pyarrow.dataset.Dataset`, filtered if it is."""
    from pyarrow import dataset as arrow_dataset

    options: dict[str, Any] = {}
    if getattr(getattr(dataset, "format", None), "default_extname", "") == "parquet":
        options["fragment_scan_options"] = arrow_dataset.ParquetFragmentScanOptions(
            use_buffered_stream=True, pre_buffer=False
        )

    def make(names: list[str]) -> Iterator[tuple[str, Any]]:
        scanner = dataset.scanner(
            columns=names, batch_size=BATCH_ROWS, batch_readahead=AHEAD, fragment_readahead=AHEAD, **options
        )
        for tagged in scanner.scan_batches():
            yield getattr(tagged.fragment, "path", ""), tagged.record_batch

    return RecordBatches(dataset.schema, make, columns, weight, dataset.count_rows(), getattr(dataset, "files", ()))


def read_stream(data: Any, columns: Sequence[Any] | None, weight: Any) -> RecordBatches:
    """Return the rows of anything with `__arrow_c_stream__` that gives a new stream each time."""
    pa = require_arrow(type(data).__name__)

    def make(names: list[str]) -> Iterator[tuple[str, Any]]:
        with pa.RecordBatchReader.from_stream(data) as reader:
            for batch in reader:
                yield "", batch.select(names)

    with pa.RecordBatchReader.from_stream(data) as reader:
        schema = reader.schema
    return RecordBatches(schema, make, columns, weight)
