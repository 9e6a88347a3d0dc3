"""Standard errors of families that have two parameters a column: their coordinates come in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.capabilities import Quantity


def two_slots(like: FloatArray) -> IntArray:
    """Return the numbers of the coordinates (k, 2 d): those of the first parameters (k, d), then of the second."""
    first = np.arange(like.size).reshape(like.shape)
    return np.hstack([first, first + like.size])


def two_quantities(
    values: Mapping[str, FloatArray],
    effects: Mapping[str, tuple[FloatArray, FloatArray]],
    positive: Sequence[str] | None = None,
) -> list[Quantity]:
    """Return parameters (k, d) by name, with their derivatives (k, d) by the first and second coordinate of a column.

    All are positive by nature, unless `positive` names those that are.
    """

    def spread(derivative: FloatArray) -> FloatArray:
        return np.diag(derivative.ravel()).reshape(-1, *derivative.shape)

    everywhere = np.ones_like(next(iter(values.values())), dtype=np.bool_)
    return [
        Quantity(
            name,
            value.copy(),
            np.concatenate([spread(part) for part in effects[name]]),
            everywhere,
            everywhere if positive is None or name in positive else ~everywhere,
        )
        for name, value in values.items()
    ]


def two_blocks(first: FloatArray, between: FloatArray, second: FloatArray) -> FloatArray:
    """Return symmetric matrices (k, 2 d, 2 d) with these numbers (k, d) within columns, and nothing between columns."""
    k, d = first.shape
    blocks = np.zeros((k, 2, d, 2, d))
    own = np.arange(d)
    blocks[:, 0, own, 0, own] = first
    blocks[:, 0, own, 1, own] = blocks[:, 1, own, 0, own] = between
    blocks[:, 1, own, 1, own] = second
    return blocks.reshape(k, 2 * d, 2 * d)
