"""From frozen dataclasses of arrays to plain trees and back, without trust, and files written whole or not at all.

In JSON floats are written by `repr`, which gives the shortest text that reads back to the same bits.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np

from mixtura._types import FloatArray
from mixtura.exceptions import ModelFileError


def encode(value: Any) -> Any:
    """Return a dataclass of arrays and plain values as nested dicts, and a tuple as a list."""
    if isinstance(value, tuple):
        return [encode(part) for part in value]
    if is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    return value


def decode(kind: Any, data: Any, where: str, parameter: Any = None) -> Any:
    """Build a dataclass from what `encode` returned; raise `ModelFileError` naming the place.

    Parameters
    ----------
    kind : type, or tuple
        The dataclass, or a tuple of such kinds for a tuple of values.
    data : tree
        Arrays may have become nested lists.
    where : str
        What errors call the place.
    parameter : type, optional
        What the type variable of a generic dataclass stands for.
    """
    if isinstance(kind, tuple):
        if not isinstance(data, list) or len(data) != len(kind):
            raise ModelFileError(f"{where}: expected a list of {len(kind)}")
        return tuple(decode(part, data[i], f"{where}[{i}]") for i, part in enumerate(kind))
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]
    if not isinstance(data, dict) or sorted(data) != sorted(names):
        raise ModelFileError(f"{where}: expected an object with {', '.join(names)}")
    values: dict[str, Any] = {}
    for name in names:
        hint, place = hints[name], f"{where}.{name}"
        hint = parameter if isinstance(hint, TypeVar) else hint
        if isinstance(hint, tuple) or is_dataclass(hint):
            values[name] = decode(hint, data[name], place)
        elif hint in (bool, int):
            values[name] = hint(data[name])
        else:
            values[name] = read_array(data[name], place)
    return kind(**values)


def read_array(data: Any, where: str) -> FloatArray:
    """Return nested lists of finite numbers as an array, or raise `ModelFileError`."""
    try:
        array = np.array(data, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ModelFileError(f"{where}: expected numbers in lists of equal length") from None
    if not np.isfinite(array).all():
        raise ModelFileError(f"{where}: expected finite numbers only")
    return array


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield a new file name beside `path`, which takes its place if the block succeeds.

    The suffix stays, for writers that go by it. Another process sees the old file or the new one.
    """
    target = Path(fspath(path))
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(draft, target)
        _sync_directory(target.parent)
    finally:
        draft.unlink(missing_ok=True)


def drafts(path: Path) -> Iterator[Path]:
    """Yield the files that `replacing` left beside `path` when its process was killed."""
    return path.parent.glob(f".{glob.escape(path.stem)}.????????{glob.escape(path.suffix)}")


def write_atomically(path: str | PathLike[str], data: bytes) -> None:
    """Write a file so that it is never seen half-written."""
    with replacing(path) as draft:
        draft.write_bytes(data)


def _sync_directory(path: Path) -> None:
    """Bring the new name of a file to the disk, where the system knows how."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_json(path: str | PathLike[str]) -> dict[str, Any]:
    """Return the object in a JSON file, or raise `ModelFileError`."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # of the encoding, of JSON, of a number
        raise ModelFileError(f"{fspath(path)} is not a model file: {error}") from None
    if not isinstance(data, dict):
        raise ModelFileError(f"{fspath(path)} is not a model file: expected a JSON object")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
