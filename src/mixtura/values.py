"""What can be asked of any frozen dataclass of arrays: its bits and its size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from mixtura._types import Array


def leaves(value: Any) -> Iterator[Array]:
    """Yield the arrays in nested frozen dataclasses and tuples, in the order of their fields."""
    if isinstance(value, tuple):
        for part in value:
            yield from leaves(part)
    elif is_dataclass(value):
        kind: Any = type(value)
        for name in _names(kind):
            yield from leaves(getattr(value, name))
    else:
        yield np.asarray(value)


@cache
def _names(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass: to look for them takes as long as to compare their values."""
    return tuple(f.name for f in fields(kind))


def bits(value: Any) -> bytes:
    """Return the bits of all numbers in a value: the same for equal values of one type."""
    return b"".join(x.tobytes() for x in leaves(value))


def same_bits(a: Any, b: Any) -> bool:
    """Tell whether two values of one type are equal bit for bit."""
    return all(x.tobytes() == y.tobytes() for x, y in zip(leaves(a), leaves(b), strict=True))
