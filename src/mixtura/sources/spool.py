"""A spool: rows that were costly to get, written once to a temporary file of raw numbers and read from there."""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from io import FileIO
from os import PathLike
from typing import Any

import numpy as np

from mixtura._types import Array, FloatArray
from mixtura.grid import Chunk
from mixtura.sources.pieces import Piece, Rows, State
from mixtura.sources.raw import Layout, RawPiece, as_bytes

ROOM = 2  # times what a spool needs has to be free, so that it leaves room for others

log = logging.getLogger("mixtura.sources")


def open_spool(wish: bool | str | PathLike[str] | None, rows: Rows) -> Spool | None:
    """Return a new spool for `rows` if it is wished for, or if it pays and there is room; else None."""
    if wish is not None:
        return None if wish is False else Spool(tempfile.gettempdir() if wish is True else wish, rows)
    if not rows.costly:
        return None
    try:
        return _open_with_room(tempfile.gettempdir(), rows)
    except OSError as error:
        log.warning("no spool can be made (%s): the rows are decoded in every pass", error)
        return None


def _open_with_room(directory: str, rows: Rows) -> Spool | None:
    need = rows.about * (rows.n_features * rows.dtype.itemsize + 8 * rows.weighted)
    if (free := shutil.disk_usage(directory).free) < ROOM * need:
        log.info(
            "%s has %.3g GB free, a spool of about %.3g GB is left out: the rows are decoded in every pass",
            directory,
            free / 1e9,
            need / 1e9,
        )
        return None
    return Spool(directory, rows)


class Spool:
    """Rows in temporary files that go with this object, and when the process ends, however it ends.

    Parameters
    ----------
    directory : path
        Where.
    origin : Rows
        What the rows are; they are still to be written.
    """

    costly = once = False

    def __init__(self, directory: str | PathLike[str], origin: Rows) -> None:
        self.n_features, self.names, self.dtype = origin.n_features, origin.names, origin.dtype
        self.weighted = origin.weighted
        self.n_rows: int | None = 0
        self.about = 0
        self._x = _temporary(directory)
        self._weight = _temporary(directory) if self.weighted else None
        for file in filter(None, (self._x, self._weight)):
            weakref.finalize(self, file.close)
        self._origin = origin

    def write(self, chunk: Chunk) -> None:
        """Append the rows of a chunk."""
        _write(self._x, chunk.x)
        if self._weight is not None and chunk.weight is not None:
            _write(self._weight, chunk.weight)
        self.n_rows = self.about = self.about + len(chunk)

    def pieces(self) -> Iterator[Piece]:
        """Yield all rows as one piece."""
        x = RawPiece(self._x, Layout((self.about, self.n_features), self.dtype))
        if self._weight is None:
            yield x
        else:
            yield _Weighted(x, RawPiece(self._weight, Layout((self.about, 1), np.dtype(np.float64))))

    def state(self) -> State:
        """Nobody else can change the files."""
        return {}

    def locate(self, row: int) -> str:
        """Return where a row came from."""
        return self._origin.locate(row)


class _Weighted(Piece):
    """Rows from one file, weights from another."""

    def __init__(self, x: RawPiece, weight: RawPiece) -> None:
        self.n_rows, self._x, self._weight = x.n_rows, x, weight

    def write(self, start: int, x: Array | None, weight: FloatArray | None) -> None:
        if x is not None:
            self._x.write(start, x, None)
        if weight is not None:
            self._weight.write(start, weight[:, None], None)


def _temporary(directory: str | PathLike[str]) -> Any:
    return tempfile.TemporaryFile(dir=directory, prefix="mixtura-", buffering=0)


def _write(file: FileIO, values: Array) -> None:
    left = as_bytes(values)
    while left:
        left = left[file.write(left) :]
