"""Chunked arrays in other libraries' hands (Zarr, HDF5): read in slabs of whole chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from mixtura.sources.columns import choose, is_column, split
from mixtura.sources.pieces import Block, Lazy, Piece, State, held

SLAB_BYTES = 1 << 23  # read at a time, if a chunk is not larger


def is_chunked(data: Any) -> bool:
    """Tell whether `data` is such an array: one with a shape whose `chunks` are sizes."""
    if isinstance(data, np.ndarray) or not all(hasattr(data, name) for name in ("shape", "dtype", "chunks")):
        return False
    if data.chunks is None:
        return type(data).__module__.startswith("h5py")  # stored in one piece
    return isinstance(data.chunks, tuple) and all(isinstance(size, int) for size in data.chunks)


class Slabs:
    """The rows of a chunked array (n, d) or (n,).

    Parameters
    ----------
    array : Zarr array or HDF5 dataset
    columns, weight
        As in `as_source`, by number.
    """

    costly = True
    once = False
    names: tuple[str, ...] | None = None

    def __init__(self, array: Any, columns: Sequence[Any] | None, weight: Any) -> None:
        what = f"the {type(array).__module__.partition('.')[0]} array"
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{what} holds {array.dtype}, expected real numbers")
        if len(array.shape) not in (1, 2):
            raise ValueError(f"{what} has the shape {array.shape}, expected rows and columns")
        self._array = array
        n, d = array.shape if len(array.shape) == 2 else (*array.shape, 1)
        self.weighted = is_column(weight)
        self._choice = choose(d, columns, weight if self.weighted else None, what)
        self.n_features = len(self._choice.features)
        self.n_rows: int | None = n
        self.about = n
        self.dtype = held(array.dtype)
        whole = (getattr(array, "shards", None) or array.chunks or (1,))[0]
        self._slab_rows = whole * max(1, SLAB_BYTES // (whole * d * array.dtype.itemsize))

    def pieces(self) -> Iterator[Piece]:
        """Yield the slabs."""
        for begin in range(0, self.about, self._slab_rows):
            end = min(begin + self._slab_rows, self.about)
            yield Lazy(end - begin, partial(self._load, begin, end))

    def _load(self, begin: int, end: int) -> Block:
        slab = np.asarray(self._array[begin:end])
        return Block(*split(slab.reshape(end - begin, -1), self._choice))

    def state(self) -> State:
        """Return how many rows the array has."""
        return {"the array": {"number of rows": int(self._array.shape[0])}}

    def locate(self, row: int) -> str:
        """Return the row."""
        return f"row {row}"
