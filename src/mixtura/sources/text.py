"""Text files of numbers between separators (CSV), compressed or not."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from mixtura.sources.arrow import naming, require_arrow, to_piece
from mixtura.sources.columns import choose
from mixtura.sources.files import File
from mixtura.sources.pieces import Piece

SEPARATORS = ",;\t"
LOOK_BYTES = 1 << 16  # of text from which the number of rows is guessed


class TextFile(File):
    """A CSV file: numbers between commas, semicolons or tabs, with or without a line of names."""

    n_rows = None
    dtype = np.dtype(np.float64)

    def __init__(self, path: Path, text: str, columns: Sequence[Any] | None, weight: Any) -> None:
        self.path = path
        first = text.splitlines()[0]
        self._separator = max(SEPARATORS, key=first.count)
        header = next(csv.reader([first], delimiter=self._separator))
        self._named = not all(_is_number(cell) for cell in header)
        self._there = header if self._named else [str(j) for j in range(len(header))]
        choice = choose(header if self._named else len(header), columns, weight, str(path))
        self._features = [self._there[j] for j in choice.features]
        self._weight = None if choice.weight is None else self._there[choice.weight]
        self.names, self.n_features = choice.names, len(choice.features)
        self.about = int(path.stat().st_size * text.count("\n") / len(text)) + 1

    @classmethod
    def has_names(cls, path: Path) -> bool:
        """Tell whether the columns have names: if the first line has anything else than numbers."""
        file = cls.open(path, None, None)
        return file is not None and file._named

    @classmethod
    def open(cls, path: Path, columns: Sequence[Any] | None, weight: Any) -> Self | None:
        """Look at the start of a file; None if it is empty."""
        pa = require_arrow(str(path))
        with naming(str(path)), pa.input_stream(path) as stream:
            start = io.BytesIO(stream.read(LOOK_BYTES)).getvalue()
        text = start.decode("utf-8-sig", errors="replace")
        if not text:
            return None
        if not text.splitlines()[0].strip():
            raise ValueError(f"{path}: the first line is empty, expected names of columns or numbers")
        return cls(path, text, columns, weight)

    def pieces(self) -> Iterator[Piece]:
        """Yield what is parsed at a time."""
        from pyarrow import csv as arrow_csv

        wanted = self._features if self._weight is None else [*self._features, self._weight]
        with naming(str(self.path)), self._naming_column():
            try:
                reader = arrow_csv.open_csv(
                    self.path,
                    read_options=arrow_csv.ReadOptions(column_names=self._there, skip_rows=int(self._named)),
                    parse_options=arrow_csv.ParseOptions(delimiter=self._separator),
                    convert_options=arrow_csv.ConvertOptions(
                        include_columns=list(dict.fromkeys(wanted)), column_types=dict.fromkeys(wanted, "float64")
                    ),
                )
            except ValueError as error:
                if "Empty CSV file" in str(error):  # names and nothing else
                    return
                raise
            with reader:
                for batch in reader:
                    yield to_piece(batch, self._features, self._weight)

    @contextmanager
    def _naming_column(self) -> Iterator[None]:
        """Name the column, which Arrow numbers, where a value is no number."""
        try:
            yield
        except ValueError as error:
            if (found := re.search(r"CSV column #(\d+): .*invalid value '(.*)'", str(error))) is None:
                raise
            name = self._there[int(found[1])] if self._named else int(found[1])
            raise ValueError(
                f"{self.path}, column {name!r} holds {found[2]!r}, expected numbers: convert it or leave it out"
            ) from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
