"""Files of rows, one after another: what a path stands for, and that all of them have the same columns."""

from __future__ import annotations

import errno
import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from mixtura.exceptions import SourceChangedError
from mixtura.sources.columns import is_column
from mixtura.sources.pieces import Piece, State, held

# Suffix to module and class; the modules need pyarrow, so they are imported when first needed.
KINDS = {
    ".npy": ("raw", "NpyFile"),
    ".parquet": ("parquet", "ParquetFile"),
    ".pq": ("parquet", "ParquetFile"),
    ".csv": ("text", "TextFile"),
    ".tsv": ("text", "TextFile"),
    ".arrow": ("ipc", "IpcFile"),
    ".feather": ("ipc", "IpcFile"),
    ".ipc": ("ipc", "IpcFile"),
}
COMPRESSIONS = (".gz", ".bz2", ".zst")  # of text
WILD = "*?["


class File(ABC):
    """A file of rows; its attributes are those of `Rows`.

    Parameters
    ----------
    path : Path
    columns, weight
        As in `as_source`.
    """

    path: Path
    n_features: int
    names: tuple[str, ...] | None
    dtype: np.dtype[Any]
    n_rows: int | None
    about: int
    costly = True

    @abstractmethod
    def __init__(self, path: Path, columns: Sequence[Any] | None, weight: Any) -> None:
        """Look at what the file says of itself."""

    @classmethod
    def open(cls, path: Path, columns: Sequence[Any] | None, weight: Any) -> Self | None:
        """Open a file; None if it is empty."""
        return cls(path, columns, weight)

    @classmethod
    def has_names(cls, path: Path) -> bool:
        """Tell whether the columns of a file of this kind have names."""
        return True

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces of one pass, in order."""

    def locate(self, row: int) -> str:
        """Return where in the file a row is."""
        return f"row {row}"


def is_path(data: Any) -> bool:
    """Tell whether `data` is a path, or a sequence of them."""
    if isinstance(data, (list, tuple)):
        return bool(data) and all(isinstance(item, (str, PathLike)) for item in data)
    return isinstance(data, (str, PathLike))


class Files:
    """The rows of files, one after another, in the order of the paths.

    Parameters
    ----------
    data : path or sequence of paths
        A file; a directory, which stands for the files in and below it that have a known suffix, sorted; or a pattern.
    columns, weight
        As in `as_source`.
    """

    once = False

    def __init__(self, data: Any, columns: Sequence[Any] | None = None, weight: Any = None) -> None:
        paths = [path for item in (data if isinstance(data, (list, tuple)) else [data]) for path in expand(item)]
        open_file = _kind(paths).open
        self.weighted = is_column(weight)
        weight = weight if self.weighted else None
        files = [file for path in paths if (file := open_file(path, columns, weight)) is not None]
        if not files:
            raise ValueError(f"{paths[0]}: empty, expected rows")
        self._files: list[File] = files
        self.n_features, self.names = files[0].n_features, files[0].names
        for file in files:
            _check_alike(file, files[0])
        self.dtype = held(*(file.dtype for file in files))
        self.costly = files[0].costly
        self.about = sum(file.about for file in files)
        self._counts = [file.n_rows for file in files]  # None until the file has been read to its end
        known = [count for count in self._counts if count is not None]
        self.n_rows = sum(known) if len(known) == len(files) else None

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces of each file."""
        for i, file in enumerate(self._files):
            count = 0
            for piece in file.pieces():
                count += piece.n_rows
                yield piece
            self._counts[i] = count

    def state(self) -> State:
        """Return size and time of each file."""
        return file_state([str(file.path) for file in self._files])

    def locate(self, row: int) -> str:
        """Return file, and row in that file."""
        i = 0
        while i < len(self._files) - 1 and (count := self._counts[i]) is not None and row >= count:
            row, i = row - count, i + 1
        return f"{self._files[i].path}, {self._files[i].locate(row)}"


def expand(item: Any) -> list[Path]:
    """Return the files that a path stands for, sorted."""
    name = os.fspath(item)
    path = Path(name)
    if path.is_dir():
        found = [p for p in sorted(path.rglob("*")) if _suffix(p) in KINDS and p.is_file() and not _is_hidden(p, path)]
        if not found:
            raise FileNotFoundError(f"{name}: no file in this directory ends in {', '.join(KINDS)}")
        return found
    if any(c in name for c in WILD) and not path.exists():
        found = [Path(p) for p in sorted(glob.glob(name, recursive=True)) if os.path.isfile(p)]
        if not found:
            raise FileNotFoundError(f"{name}: no file matches this pattern")
        return found
    return [path]


def _is_hidden(path: Path, directory: Path) -> bool:
    """Tell whether a file is what other programs leave beside data, as Spark's `_temporary`."""
    return any(part.startswith(("_", ".")) for part in path.relative_to(directory).parts)


def _suffix(path: Path) -> str:
    """Return what the name ends in, but for a compression."""
    suffix = path.suffix.lower()
    return path.with_suffix("").suffix.lower() if suffix in COMPRESSIONS else suffix


def has_names(data: Any) -> bool:
    """Tell whether the files that paths stand for give names to their columns."""
    paths = [path for item in data for path in expand(item)]
    return _kind(paths).has_names(paths[0])


def _kind(paths: Sequence[Path]) -> type[File]:
    """Return the class of files of this kind; all must be of one."""
    for path in paths:
        if _suffix(path) not in KINDS:
            raise ValueError(f"{path}: its name ends in {_suffix(path)!r}, expected one of {', '.join(KINDS)}")
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        if KINDS[_suffix(path)] != KINDS[_suffix(paths[0])]:
            raise ValueError(f"{path}: another kind of file than {paths[0]}; read one kind at a time")
    module, name = KINDS[_suffix(paths[0])]
    return cast(type[File], getattr(import_module(f"mixtura.sources.{module}"), name))


def _check_alike(file: File, first: File) -> None:
    """Refuse a file that has other columns than the first."""
    if file.names != first.names:
        mine, theirs = set(file.names or ()), set(first.names or ())
        odd = ", ".join(map(repr, sorted(mine ^ theirs))) or "their order"
        raise ValueError(f"{file.path}: other columns than in {first.path}: {odd}; choose those you want by columns=")
    if file.n_features != first.n_features:
        raise ValueError(f"{file.path}: {file.n_features} columns, but {first.n_features} in {first.path}")


def file_state(paths: Sequence[str]) -> State:
    """Return size and time of each file."""
    return {path: _stat(path) for path in paths}


def _stat(path: str) -> dict[str, int]:
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        raise SourceChangedError(f"{path}: the source changed between passes: the file is gone") from error
    return {"size in bytes": found.st_size, "time of change in ns": found.st_mtime_ns}
