"""Arrow IPC files, also called Feather, and IPC streams in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mixtura.sources.arrow import held_columns, naming, require_arrow, to_piece
from mixtura.sources.columns import choose
from mixtura.sources.files import File
from mixtura.sources.pieces import Piece

MAGIC = b"ARROW1"  # of a file; a stream has none
LEAST_BYTES = 2  # of a value, on the average, at the best compression that is to be expected


class IpcFile(File):
    """An Arrow IPC file."""

    n_rows = None

    def __init__(self, path: Path, columns: Sequence[Any] | None, weight: Any) -> None:
        self.path = path
        self._pa = require_arrow(str(path))
        with naming(str(path)), self._pa.OSFile(str(path)) as file:
            schema = self._open(file).schema
            self.about = file.size() // (LEAST_BYTES * max(len(schema.names), 1))
        self._choice = choose(schema.names, columns, weight, str(path))
        self.dtype = held_columns(schema, self._choice, str(path))
        self.names, self.n_features = self._choice.names, len(self._choice.features)

    def _open(self, file: Any) -> Any:
        start = file.read(len(MAGIC))
        file.seek(0)
        return self._pa.ipc.open_file(file) if start == MAGIC else self._pa.ipc.open_stream(file)

    def pieces(self) -> Iterator[Piece]:
        """Yield the record batches."""
        with naming(str(self.path)), self._pa.OSFile(str(self.path)) as file:
            reader = self._open(file)
            count = getattr(reader, "num_record_batches", None)
            batches = reader if count is None else map(reader.get_batch, range(count))
            for batch in batches:
                yield to_piece(batch, self._choice.features, self._choice.weight)
