"""Sequences, cut where they are long into segments that threads work on side by side; the same in each pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mixtura._types import BoolArray, IntArray

SEGMENT = 1 << 14  # rows that repay a thread: longer sequences are cut


class Segments(NamedTuple):
    """What sequences are cut into.

    Attributes
    ----------
    bounds : (m + 1,) array
        The first row of each segment, and the end.
    of : (m,) array
        Its sequence.
    cut : (m,) array of bool
        Whether that is cut.
    first : array
        The first segment of each sequence.
    begun : (c,) array
        The segments that begin at a cut.
    groups : (g + 1,) array
        The first segments of what a thread takes at a time: some sequences, or one segment of one that is cut.
    """

    bounds: IntArray
    of: IntArray
    cut: BoolArray
    first: IntArray
    begun: IntArray
    groups: IntArray

    @classmethod
    def between(cls, starts: IntArray, cuts: IntArray) -> Segments:
        """Return the segments of sequences (m + 1,) with cuts before these rows."""
        bounds = np.sort(np.concatenate([starts, cuts]))
        first, begun = np.searchsorted(bounds, starts[:-1]), np.searchsorted(bounds, cuts)
        m, of = len(bounds) - 1, np.searchsorted(starts, bounds[:-1], side="right") - 1
        cut = np.zeros(m, dtype=np.bool_)
        cut[begun] = cut[begun - 1] = True
        edges = np.searchsorted(bounds, np.arange(0, starts[-1], SEGMENT)), begun - 1, begun, begun + 1, np.array([m])
        return cls(bounds, of, cut, first, begun, np.unique(np.concatenate(edges)))


class Bounds:
    """Where sequences (m + 1,) begin, and where long ones may be cut: the same in each pass over them."""

    def __init__(self, starts: IntArray) -> None:
        self.starts = starts
        long = np.flatnonzero(np.diff(starts) >= 2 * SEGMENT)
        tried = [np.arange(starts[i] + SEGMENT, starts[i + 1] - SEGMENT + 1, SEGMENT) for i in long]
        self.tried = np.concatenate([np.empty(0, dtype=np.int64), *tried])
        self._segments: dict[bytes, Segments] = {}

    def segments(self, known: BoolArray) -> Segments:
        """Return the segments, given where cuts can be made; mostly that is where they could be in the last pass."""
        key = known.tobytes()
        if key not in self._segments:
            self._segments = {key: Segments.between(self.starts, self.tried[known])}
        return self._segments[key]
