"""From a chunk of rows to its part of the canonical tree, and to the posterior of each row."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from mixtura._types import Array, Wanted
from mixtura.blas import one_thread
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.model import Model, Posterior, RowModel
from mixtura.stats import Forest, Stats

P = TypeVar("P")
S = TypeVar("S", bound=Stats)


def fold_blocks(model: Model[P, S], params: P, chunk: Chunk, *, compiled: bool) -> Forest[S]:
    """Run the E-step on every block of a chunk and return its subtrees of the canonical sum."""
    forest: Forest[S] = Forest()
    if compiled:
        for (level, index), stats in model.e_blocks(params, chunk):
            forest.insert(level, index, stats)
        return forest
    with one_thread():
        for block in chunk.split(BLOCK_ROWS):
            forest.insert(0, block.first, model.e_block(params, block.packed(sparse=True)))
    return forest


def sum_rows(model: Model[P, S], params: P, rows: Chunk | Array, width: int) -> S:
    """Return the sums over rows of so many columns, array (n, d) or (n,), or chunk; refuse others."""
    if not isinstance(rows, Chunk):
        x = np.asarray(rows)
        rows = Chunk(x[:, None] if x.ndim == 1 else x)
    if rows.x.ndim != 2 or rows.x.shape[1] != width:
        raise ValueError(f"rows of shape {rows.x.shape}, expected (n, {width}): as many columns as the parameters have")
    compiled = model.compiles(*rows.x.shape)
    return fold_blocks(model, params, replace(rows, first=0), compiled=compiled).total()


def posterior_rows(model: RowModel[P, S], params: P, chunk: Chunk, *, compiled: bool, wanted: Wanted) -> Posterior:
    """Return what a model knows of each row of a chunk; no more than is wanted."""
    if compiled:
        return model.posterior_rows(params, chunk, wanted)
    parts = []
    with one_thread():
        for block in chunk.split(BLOCK_ROWS):
            loglik, resp = model.posterior(params, block.packed(sparse=True).x)
            parts.append(Posterior(loglik, resp.argmax(axis=1), resp if wanted == "shares" else resp[:0]))
    return Posterior.join(parts)
