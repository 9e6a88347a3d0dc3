"""What can be asked of any frozen dataclass of arrays: its bits and its size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from mixtura._types import Array


def leaves(value: Any) -> Iterator[Array]:
    """Yield the arrays in nested frozen dataclasses and tuples, in the order of their fields."""
    if isinstance(value, tuple):
        for part in value:
            yield from leaves(part)
    elif is_dataclass(value):
        for f in fields(value):
            yield from leaves(getattr(value, f.name))
    else:
        yield np.asarray(value)


def same_bits(a: Any, b: Any) -> bool:
    """Tell whether two values of one type are equal bit for bit."""
    return all(x.tobytes() == y.tobytes() for x, y in zip(leaves(a), leaves(b), strict=True))
