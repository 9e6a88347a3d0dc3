"""Parquet files, read row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixtura.sources.arrow import BATCH_ROWS, held_columns, naming, require_arrow, to_piece
from mixtura.sources.columns import choose
from mixtura.sources.files import File
from mixtura.sources.pieces import Piece, Sequential

BUFFER_BYTES = 1 << 20  # of each column that is being decoded; without it Arrow reads whole row groups


class ParquetFile(File):
    """A Parquet file."""

    def __init__(self, path: Path, columns: Sequence[Any] | None, weight: Any) -> None:
        self.path = path
        with self._open() as file:
            schema, metadata = file.schema_arrow, file.metadata
            choice = choose(schema.names, columns, weight, str(path))
            self.dtype = held_columns(schema, choice, str(path))
            groups = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        self._features = [schema.names[j] for j in choice.features]
        self._weight = None if choice.weight is None else schema.names[choice.weight]
        self._groups = groups
        self.names, self.n_features = choice.names, len(choice.features)
        self.about = sum(groups)
        self.n_rows: int | None = self.about

    def _open(self) -> Any:
        require_arrow(str(self.path))
        from pyarrow import parquet

        with naming(str(self.path)):
            return parquet.ParquetFile(self.path, buffer_size=BUFFER_BYTES, pre_buffer=False)

    def pieces(self) -> Iterator[Piece]:
        """Yield the row groups."""
        with self._open() as file:
            for g, n_rows in enumerate(self._groups):
                yield Sequential(n_rows, self._decode(file, g))

    def _decode(self, file: Any, group: int) -> Iterator[Piece]:
        wanted = self._features if self._weight is None else [*self._features, self._weight]
        with naming(f"{self.path}, row group {group}"):
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(dict.fromkeys(wanted))):
                yield to_piece(batch, self._features, self._weight)

    def locate(self, row: int) -> str:
        """Return row and row group."""
        group = int(np.searchsorted(np.cumsum(self._groups), row, side="right"))
        return f"row {row} (row group {group})"
