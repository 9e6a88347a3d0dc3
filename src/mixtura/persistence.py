"""Model files: versioned JSON whose numbers are exact, read without trust.

A frozen dataclass of arrays becomes nested lists; floats are written by `repr`, which gives the shortest text that
reads back to the same bits. A file is written whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import fields, is_dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np

from mixtura._types import FloatArray
from mixtura.exceptions import ModelFileError

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return a dataclass of arrays as nested dicts and lists."""
    if is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    return np.asarray(value).tolist()


def decode(kind: type[T], data: Any, where: str) -> T:
    """Build a dataclass of float64 arrays from what `encode` returned; raise `ModelFileError` naming the place."""
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]  # T is a dataclass
    if not isinstance(data, dict) or sorted(data) != sorted(names):
        raise ModelFileError(f"{where}: expected an object with {', '.join(names)}")
    values = {}
    for name in names:
        hint, place = hints[name], f"{where}.{name}"
        nested = is_dataclass(hint)
        values[name] = decode(hint, data[name], place) if nested else read_array(data[name], place)
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


def write_atomically(path: str | PathLike[str], text: str) -> None:
    """Write a file by way of a temporary one beside it, so that it is never seen half-written."""
    target = Path(fspath(path))
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
