"""Lists of rows of a tile, as numbers of float64, which vectors write eight at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.kernels._jit import inline_jit
from mixtura.kernels.simd import LANES, count_bits, load, splat, store
from mixtura.kernels.tile import constant

_SET = np.arange(1 << LANES)[:, None] >> np.arange(LANES) & 1
BITS: Any = constant(np.argsort(-_SET, axis=1, kind="stable"))  # of each number: the bits that are set, then the others


@inline_jit
def append(
    bits: int,
    s: int,
    chosen: FloatArray,  # IN OUT (TILE + 8,) rows, and anything after them
    count: int,
) -> int:
    """Append those of the eight rows from `s` on whose bits are set; return how many rows there are.

    No branch depends on the bits, which a processor cannot foresee: eight numbers are written, whichever are counted.
    """
    store(chosen, count, load(BITS, bits, 0) + splat(s))
    return count + count_bits(bits)
