"""What tables of counts are made of, and what a family makes of them: told without the compiler."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mixtura._types import FloatArray, IntArray

NEVER, VOID, ZERO_COUNT = 0, 1, 2  # the first places of each column: what is no count, a zero of a row of zeros, a zero


class Levels(NamedTuple):
    """The distinct counts of columns, one column after another.

    Attributes
    ----------
    counts : (v,) array
        Of each column 0, which stands for what is no count, 0, for a zero where a whole group of columns has zeros, and
        the counts in ascending order, always with 0.
    columns : (v,) array
        The column of each.
    starts : (d + 1,) array
        Where those of each column begin, and the end.
    """

    counts: FloatArray
    columns: IntArray
    starts: IntArray

    @property
    def voids(self) -> IntArray:
        """The places (d,) of zeros where a whole group of columns has zeros."""
        return self.starts[:-1] + VOID

    @classmethod
    def of(cls, found: list[FloatArray]) -> Levels:
        """Return the levels of columns of which these, 0 among them, are the counts."""
        sizes = [len(counts) + ZERO_COUNT for counts in found]
        return cls(
            counts=np.concatenate([np.concatenate([np.zeros(ZERO_COUNT), counts]) for counts in found]),
            columns=np.repeat(np.arange(len(found)), sizes),
            starts=np.cumsum([0, *sizes]),
        )


class Statistic(NamedTuple):
    """What rows add to sums: of each of some columns (c,), by component and level, (k, v)."""

    columns: IntArray
    values: FloatArray


class Tables(NamedTuple):
    """What a family makes of levels (formula D26).

    Attributes
    ----------
    densities : (k, v) array
        Terms of log-densities.
    statistics : tuple of Statistic
        What is summed.
    groups : (d,) array
        Columns of one number from 1 are a group, of which a row of zeros has levels of its own; 0 for no group.
    """

    densities: FloatArray
    statistics: tuple[Statistic, ...]
    groups: IntArray

    @classmethod
    def of(cls, densities: FloatArray, *statistics: FloatArray, d: int) -> Tables:
        """Return the tables of `d` columns, in each of which all statistics are summed, without groups."""
        every = np.arange(d)
        return cls(densities, tuple(Statistic(every, values) for values in statistics), np.zeros_like(every))
