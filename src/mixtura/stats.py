"""Statistics: sums over rows that add field by field, and the canonical tree in which they are added.

The rows of a data set are cut into numbered blocks. However the blocks are produced (threads, chunks, files,
workers, in any order), they are added along one binary tree over their numbers, so the total has the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from math import isfinite
from operator import add
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np

from mixtura.packing import pack, unpack


@dataclass(frozen=True, eq=False, kw_only=True)
class Sums:
    """Arrays, further `Sums` and tuples of these, that form a vector space: they add, and scale, field by field."""

    _kinds: ClassVar[dict[str, type[Sums]]] = {}  # every class of sums, by its name

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Sums._kinds[cls.__name__] = cls

    def __add__(self, other: Self) -> Self:
        return self._combine(add, other)

    def __mul__(self, factor: float) -> Self:
        return self._combine(lambda a: a * factor)

    __rmul__ = __mul__

    def _combine(self, function: Callable[..., Any], *others: Self) -> Self:
        """Apply `function` to each field of this and of `others`; labels stay as they are."""
        combined = object.__new__(type(self))  # as it is: a frozen dataclass takes longer to begin than to add
        values = vars(combined)
        values.update(vars(self))
        for name in self._summed():
            values[name] = _apply(function, values[name], *[getattr(other, name) for other in others])
        return combined

    @classmethod
    @cache
    def _summed(cls) -> tuple[str, ...]:
        """Return the names of the fields that add; the others are labels."""
        return tuple(f.name for f in fields(cls) if not f.metadata.get("label", False))

    def is_finite(self) -> bool:
        """Tell whether every number in every field is finite."""
        return all(_is_finite(getattr(self, name)) for name in self._summed())

    def to_bytes(self) -> bytes:
        """Return these sums as bytes, for a file or another process; `from_bytes` gives back the same bits."""
        return pack(self._tree())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the sums that `to_bytes` turned into bytes.

        Raises
        ------
        ValueError
            If the bytes are damaged, or of sums of another kind. They are data, not code: reading them is safe.
        """
        try:
            sums = _plant(unpack(data))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"these bytes are no statistics: {error}") from None
        if not isinstance(sums, cls):
            raise ValueError(f"these bytes are {type(sums).__name__}, expected {cls.__name__}")
        return sums

    def _tree(self) -> dict[str, Any]:
        return {"type": type(self).__name__} | {f.name: _describe(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, eq=False, kw_only=True)
class Stats(Sums):
    """Sums that an E-step yields over some rows.

    Attributes
    ----------
    loglik : float
        Weighted log-likelihood of the rows, natural logarithm.
    weight : float
        Total weight of the rows.
    pivot : str
        Digest of the point about which moments were taken. Statistics about different points do not add.
    """

    loglik: float
    weight: float
    pivot: str = field(default="", metadata={"label": True})

    def __add__(self, other: Self) -> Self:
        if self.pivot != other.pivot:
            raise ValueError(
                "these statistics were taken about different pivots and cannot be added: "
                "compute both with the same parameters"
            )
        return super().__add__(other)


def _apply(function: Callable[..., Any], *values: Any) -> Any:
    """Apply a function to values, part by part where they are tuples."""
    if isinstance(values[0], tuple):
        return tuple(_apply(function, *parts) for parts in zip(*values, strict=True))
    return function(*values)


def _is_finite(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_finite(part) for part in value)
    if isinstance(value, float):
        return isfinite(value)
    return value.is_finite() if isinstance(value, Sums) else bool(np.isfinite(value).all())


def _describe(value: Any) -> Any:
    """Return a value as a tree of arrays, from which `_plant` makes it again."""
    if isinstance(value, tuple):
        return [_describe(part) for part in value]
    return value._tree() if isinstance(value, Sums) else value


def _plant(tree: Any) -> Any:
    """Return the sums that a tree describes."""
    if isinstance(tree, list):
        return tuple(_plant(part) for part in tree)
    if not isinstance(tree, dict):
        return tree
    if (kind := Sums._kinds.get(tree.get("type", ""))) is None:
        raise ValueError(f"{tree.get('type')!r} is no kind of statistics that this process knows")
    return kind(**{name: _plant(value) for name, value in tree.items() if name != "type"})


class Adds(Protocol):
    """What a tree can sum."""

    def __add__(self, other: Any, /) -> Any:
        """Return the sum."""


S = TypeVar("S", bound=Adds)
Node = tuple[int, int]  # level and index of a subtree


class Forest(Generic[S]):
    """Complete aligned subtrees of the canonical binary tree over block numbers.

    Node ``(level, index)`` is the sum of blocks ``index * 2**level`` to ``(index + 1) * 2**level - 1``. Two
    siblings are replaced by their parent as soon as both are there, so at most two nodes a level are held.
    """

    def __init__(self) -> None:
        self._nodes: dict[Node, S] = {}

    def insert(self, level: int, index: int, node: S) -> None:
        """Add the sum of a complete subtree; that of one block has level 0."""
        if (level, index) in self._nodes:
            raise ValueError(f"block {index << level} was added twice")
        while (sibling := self._nodes.pop((level, index ^ 1), None)) is not None:
            node = sibling + node if index % 2 else node + sibling
            level, index = level + 1, index // 2
        self._nodes[level, index] = node

    def merge(self, other: Forest[S]) -> None:
        """Take over the subtrees of `other`, which covers other blocks."""
        for (level, index), node in other._nodes.items():
            self.insert(level, index, node)

    def nodes(self) -> Iterator[tuple[Node, S]]:
        """Yield level and index, and sum, of each subtree held."""
        yield from self._nodes.items()

    def total(self) -> S:
        """Return the sum over all blocks, which must be there from number 0 without a gap."""
        if not self._nodes:
            raise ValueError("no blocks were added: the source yielded no rows")
        ordered = sorted(self._nodes.items(), key=lambda item: item[0][1] << item[0][0])
        expected = 0
        for (level, index), _ in ordered:
            if index << level != expected:
                raise ValueError(f"block {expected} is missing from the sum")
            expected = (index + 1) << level
        total = ordered[-1][1]
        for _, node in reversed(ordered[:-1]):
            total = node + total
        return total
