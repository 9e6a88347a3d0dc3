"""From a chunk of blocks to its part of the canonical tree."""

from __future__ import annotations

from typing import TypeVar

from mixtura.grid import BLOCK_ROWS, WAVE_ROWS, Chunk
from mixtura.model import Model
from mixtura.stats import Forest, Stats

P = TypeVar("P")
S = TypeVar("S", bound=Stats)

WAVE_BYTES = 1 << 24  # most memory for the sums of one wave of blocks


def fold_blocks(model: Model[P, S], params: P, chunk: Chunk, *, compiled: bool) -> Forest[S]:
    """Run the E-step on every block of a chunk and return its subtrees of the canonical sum."""
    forest: Forest[S] = Forest()
    if compiled:
        blocks = max(1, min(WAVE_ROWS // BLOCK_ROWS, WAVE_BYTES // model.stack_bytes(params)))
        for wave in chunk.split(blocks * BLOCK_ROWS):
            forest.add(wave.first, model.e_blocks(params, wave.packed()))
    else:
        for block in chunk.split(BLOCK_ROWS):
            forest.insert(block.first, model.e_step(params, block.packed()))
    return forest
