"""Memory in which one block after another is worked on, so that the system is not asked for it in each pass.

What it gives has to be entered in its tables page by page: for a long sequence, that takes as long as the sequence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod

import numpy as np

from mixtura._types import FloatArray
from mixtura.context import setting

ROOMY = 2  # times what is wanted: a block is seldom that much smaller than the one before
LINE = 8  # float64 in a line of the cache; a vector that lies across two lines takes twice the time


class Arena:
    """Memory for the arrays of one block, which the next one overwrites."""

    def __init__(self) -> None:
        self._idle: list[FloatArray] = []
        self._taken: list[FloatArray] = []

    def take(self, size: int) -> FloatArray:
        """Return room for so many numbers; from the system, where the block before left none of about that size."""
        fitting = [i for i, room in enumerate(self._idle) if size <= len(room) <= ROOMY * size]
        at = min(fitting, key=lambda i: len(self._idle[i]), default=None)
        self._taken.append(fresh(size) if at is None else self._idle.pop(at))
        return self._taken[-1][:size]

    def clear(self) -> None:
        """Begin anew, with the memory that was taken; what was not goes back to the system."""
        self._idle, self._taken = self._taken, []


_arena: ContextVar[Arena | None] = ContextVar("mixtura_arena", default=None)


@contextmanager
def reusing(idle: deque[Arena]) -> Iterator[None]:
    """Let `lined` take memory from an arena that is idle, or from a new one, which then is idle.

    No array that it gave may be used after the end.
    """
    try:
        arena = idle.pop()
    except IndexError:
        arena = Arena()
    with setting(_arena, arena):
        yield
    arena.clear()
    idle.append(arena)


def lined(*shape: int) -> FloatArray:
    """Return an array to be filled in that starts on a line of the cache."""
    arena, size = _arena.get(), prod(shape)
    flat = fresh(size) if arena is None else arena.take(size)
    return flat.reshape(shape)


def fresh(size: int) -> FloatArray:
    """Return memory for so many numbers that starts on a line of the cache."""
    flat = np.empty(size + LINE)
    address = flat.__array_interface__["data"][0]  # a fourth of the time that `ctypes` takes
    skip = -(address // flat.itemsize) % LINE
    return flat[skip : skip + size]
