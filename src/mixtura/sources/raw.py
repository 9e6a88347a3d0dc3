"""Raw numbers in a file, as `.npy` files and spools hold them: read in place, in order or anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mixtura._types import Array, FloatArray
from mixtura.exceptions import SourceChangedError
from mixtura.sources.columns import Choice, choose, split
from mixtura.sources.files import File
from mixtura.sources.pieces import Piece, held

SCRATCH_BYTES = 1 << 20  # what is converted at a time, so that it stays in cache
_HEADERS: dict[tuple[int, int], Callable[[BinaryIO], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class Layout:
    """How the numbers of an array (n, d) lie in a file."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    offset: int = 0
    fortran: bool = False


class RawPiece(Piece):
    """All rows of an array in an open file; any rows can be read, in any order.

    Parameters
    ----------
    file : file
        Unbuffered, open for reading.
    layout : Layout
        How the numbers lie in it.
    choice : Choice, optional
        Columns to read; all by default.
    """

    def __init__(self, file: FileIO, layout: Layout, choice: Choice | None = None) -> None:
        self.n_rows, d = layout.shape
        self._file, self._layout = file, layout
        self._choice = choice or choose(d, None, None, "")
        self._direct = self._choice.features == list(range(d)) and not layout.fortran

    def write(self, start: int, x: Array | None, weight: FloatArray | None) -> None:
        """Read; straight into `x` where that has the file's own form."""
        weight = None if self._choice.weight is None else weight
        if self._direct and x is not None and weight is None and x.dtype == self._layout.dtype and x.flags.c_contiguous:
            self._read_rows(start, x)
            return
        m = len(x) if x is not None else 0 if weight is None else len(weight)
        step = max(1, SCRATCH_BYTES // (self._layout.shape[1] * self._layout.dtype.itemsize))
        for begin in range(0, m, step):
            end = min(m, begin + step)
            features, weights = split(self._read(start + begin, end - begin), self._choice)
            if x is not None:
                x[begin:end] = features
            if weight is not None:
                weight[begin:end] = weights

    def _read(self, start: int, m: int) -> Array:
        """Return `m` rows with all columns, as the file has them."""
        n, d = self._layout.shape
        if not self._layout.fortran:
            rows = np.empty((m, d), self._layout.dtype)
            self._read_rows(start, rows)
            return rows
        columns = np.empty((d, m), self._layout.dtype)
        for j in range(d):
            self._read_into((j * n + start) * self._layout.dtype.itemsize, columns[j])
        return columns.T

    def _read_rows(self, start: int, rows: Array) -> None:
        self._read_into(start * self._layout.shape[1] * self._layout.dtype.itemsize, rows)

    def _read_into(self, offset: int, array: Array) -> None:
        left = as_bytes(array)
        offset += self._layout.offset
        while left:
            read = read_at(self._file, offset, left)
            if not read:
                name = getattr(self._file, "name", "the file")
                raise SourceChangedError(f"{name}: the source changed: the file ends {len(left)} bytes too early")
            left, offset = left[read:], offset + read


def as_bytes(array: Array) -> memoryview:
    """Return the bytes of a C-contiguous array, to read or write in place."""
    return memoryview(array.reshape(-1).view(np.uint8).data) if array.size else memoryview(b"")


def read_at(file: FileIO, offset: int, buffer: memoryview) -> int:
    """Read bytes from a place in a file, which a forked process may be reading, too; return how many came."""
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [buffer], offset)
    file.seek(offset)
    return file.readinto(buffer)


class NpyFile(File):
    """A `.npy` file of real numbers, one or two dimensions, C or Fortran order."""

    costly = False
    names = None

    def __init__(self, path: Path, columns: Any = None, weight: Any = None) -> None:
        self.path = path
        self._layout = _read_header(path)
        choice = choose(self._layout.shape[1], columns, weight, str(path))
        self._choice = choice
        self.n_features = len(choice.features)
        self.n_rows: int | None = self._layout.shape[0]
        self.about = self._layout.shape[0]
        self.dtype = held(self._layout.dtype)

    @classmethod
    def has_names(cls, path: Path) -> bool:
        """Tell whether the columns have names: a `.npy` file of plain numbers has none."""
        return False

    def pieces(self) -> Iterator[Piece]:
        """Yield all rows as one piece."""
        with self.path.open("rb", buffering=0) as file:
            yield RawPiece(file, self._layout, self._choice)


def _read_header(path: Path) -> Layout:
    """Return the layout of a `.npy` file; refuse what are no rows of real numbers."""
    with path.open("rb") as file:
        try:
            shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path}: damaged, or not a .npy file: {error}") from error
        offset = file.tell()
        size = os.fstat(file.fileno()).st_size
    if dtype.kind not in "biuf":
        raise ValueError(f"{path}: holds {dtype}, expected real numbers")
    if len(shape) not in (1, 2):
        raise ValueError(f"{path}: holds an array of shape {shape}, expected rows and columns")
    n, d = shape if len(shape) == 2 else (*shape, 1)
    if size < (wanted := offset + n * d * dtype.itemsize):
        raise ValueError(f"{path}: truncated: {size} bytes, expected {wanted} for the shape {shape} of {dtype}")
    return Layout((n, d), dtype, offset, fortran and d > 1)
