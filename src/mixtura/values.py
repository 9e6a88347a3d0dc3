"""What can be asked of any frozen dataclass of arrays: its bits and its size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from mixtura._types import Array


def leaves(value: Any) -> Iterator[Array]:
    """Yield the arrays in a nested frozen dataclass, in the order of its fields."""
    if is_dataclass(value):
        for f in fields(value):
            yield from leaves(getattr(value, f.name))
    else:
        yield np.asarray(value)


def same_bits(a: Any, b: Any) -> bool:
    """Tell whether two values of one type are equal bit for bit."""
    return all(x.tobytes() == y.tobytes() for x, y in zip(leaves(a), leaves(b), strict=True))
