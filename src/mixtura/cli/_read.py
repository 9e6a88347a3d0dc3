"""Opening DATA: the files of a job as one source of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mixtura.cli._errors import CommandError
from mixtura.model import Source
from mixtura.sources import as_source
from mixtura.sources.files import expand, has_names


@dataclass(frozen=True)
class Data:
    """The rows of files, their columns by name or number, and what to call the files."""

    source: Source
    columns: list[str]
    name: str


def open_data(paths: Sequence[str], columns: Sequence[str] | None = None, weight: str | None = None) -> Data:
    """Return the rows of files.

    Parameters
    ----------
    paths : sequence of str
        Files, patterns or directories.
    columns : sequence of str, optional
        Columns to read, in this order, by name or by number from 0; all but `weight` by default.
    weight : str, optional
        Column of row weights.

    Raises
    ------
    CommandError
        If a column is named twice, or none is left.
    """
    name = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    if columns is not None and len({*columns, weight}) < len(columns) + 1:
        named = ", ".join([*columns, *([] if weight is None else [weight])])
        raise CommandError(f"{name}: a column is named twice: {named}")
    key = _number if not has_names(paths) else str
    keys = None if columns is None else [key(column) for column in columns]
    source = as_source(list(paths), keys, None if weight is None else key(weight))
    if not source.n_features:
        raise CommandError(f"{name}: no column is left to fit besides the weight {weight!r}")
    if source.names is not None:
        return Data(source, list(source.names), name)
    every = (str(j) for j in range(source.n_features + 1) if str(j) != weight)
    return Data(source, list(columns or islice(every, source.n_features)), name)


def is_among(path: Path, paths: Sequence[str]) -> bool:
    """Tell whether a path is one of these files."""
    return path.exists() and any(path.samefile(file) for item in paths for file in expand(item))


def _number(name: str) -> str | int:
    return int(name) if name.isdecimal() else name
