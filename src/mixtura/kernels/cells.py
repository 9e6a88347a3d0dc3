"""Values of one column cut into cells: how many, and their moments about the middle of each, in one pass.

Every addend is first rounded to a multiple of one power of two, so coarse that no sum over all rows needs more than 53
bits. Then additions are exact, and neither the order of the rows nor the threads can change a bit (formula I6).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels._jit import entry_jit
from mixtura.kernels.run import NOTHING
from mixtura.kernels.threads import share_out
from mixtura.kernels.tile import constant

ROWS: Any = np.int64(256)  # what is known of so many stays in cache
MOMENTS = 4  # sums of w, w u, w u^2 and w u^3 in each cell
PIECE_ROWS = 8 * BLOCK_ROWS  # of one call: what another dtype or layout is copied to stays in cache
MOST_PIECES = 256  # of one slice: it stays under 0.1 s, so that Ctrl-C is heard


@entry_jit
def tally(
    x: FloatArray,  # IN (n,)
    weight: FloatArray,  # IN (n,) or (0,)
    low: float,  # where the first bucket begins
    scale: float,  # buckets per unit of x
    buckets: FloatArray,  # IN (m, 2) number of the first cell of each, and how many cells it is cut into
    rounder: float,  # adding and subtracting it rounds to the grid of the addends
    out: FloatArray,  # IN OUT (cells, 4)
) -> None:
    """Add the weight, and its products with the place u in the cell, from -1 to 1, its square and its cube."""
    end, last = float(buckets.shape[0]), np.int32(buckets.shape[0] - 1)
    u, w, first, parts = np.empty(ROWS), np.empty(ROWS), np.empty(ROWS), np.empty(ROWS)
    at = np.empty(ROWS, np.int32)  # half as wide as the values are: what a vector of them converts to anywhere
    for begin in range(0, x.shape[0], ROWS):
        count = min(ROWS, x.shape[0] - begin)
        for i in range(count):  # in vectors, as is all but what goes to and fro by numbers of buckets and cells
            value = x[begin + i]
            w[i] = 1.0 if value == value else 0.0  # a missing value counts for nothing
            t = (value - low) * scale
            t = max(0.0, t)  # also where it is missing
            u[i] = min(end, t)
            bucket = np.int32(u[i])
            at[i] = min(last, bucket)
        for i in range(count):
            first[i] = buckets[at[i], 0]
            parts[i] = buckets[at[i], 1]
        for i in range(count):
            t = (u[i] - at[i]) * parts[i]
            part, most = np.floor(t), parts[i] - 1.0
            part = min(most, part)
            u[i] = 2.0 * (t - part) - 1.0
            at[i] = np.int32(first[i] + part)
        if weight.shape[0]:
            for i in range(count):
                w[i] *= weight[begin + i]
        for i in range(count):
            cell, place, product = at[i], u[i], w[i]
            out[cell, 0] += (product + rounder) - rounder
            product *= place
            out[cell, 1] += (product + rounder) - rounder
            product *= place
            out[cell, 2] += (product + rounder) - rounder
            product *= place
            out[cell, 3] += (product + rounder) - rounder


def tally_rows(chunk: Chunk, low: float, scale: float, buckets: FloatArray, rounder: float, cells: int) -> FloatArray:
    """Return the sums (cells, 4) over the rows of a chunk."""
    x, weight, grid = chunk.x, chunk.weight, (low, scale, constant(buckets), rounder)
    idle: deque[FloatArray] = deque()  # tables that no thread writes to at present
    tables: list[FloatArray] = []

    def run(begin: int, end: int) -> None:
        try:
            table = idle.pop()
        except IndexError:
            table = np.zeros((cells, MOMENTS))
            tables.append(table)
        for piece in range(begin, end):
            rows = slice(piece * PIECE_ROWS, (piece + 1) * PIECE_ROWS)
            w = NOTHING if weight is None else constant(weight[rows])
            tally(constant(x[rows, 0]), w, *grid, table)
        idle.append(table)

    share_out(run, -(-len(chunk) // PIECE_ROWS), MOST_PIECES)
    total = tables[0]
    for table in tables[1:]:
        total += table
    return total
