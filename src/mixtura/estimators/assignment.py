"""How sure the assignment of rows to components is: entropies, row by row and in total (formula U7)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.blocks import posterior_rows
from mixtura.estimators.prediction import PIECE_VALUES, posteriors
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.model import Source
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.stats import Forest, Stats


@dataclass(frozen=True, eq=False, kw_only=True)
class AssignmentStats(Stats):
    """Log-likelihood, total weight, and the weighted sum of the entropies of the rows."""

    entropy: float


def entropies(source: Source, model: Mixture[Any], params: MixtureParams[Any]) -> FloatArray:
    """Return the entropy of the assignment of each row, (n,)."""
    pieces = posteriors(source, model, params, "shares", PIECE_VALUES // model.n_components)
    return np.concatenate([entropy(found.resp) for found in pieces])


def assign(source: Source, model: Mixture[Any], params: MixtureParams[Any]) -> AssignmentStats:
    """Return the sums over all rows, in one pass."""
    compiled = model.compiles(source.n_rows, source.n_features)
    return source.fold([partial(_assign, model, params, compiled=compiled)])[0]


def _assign(
    model: Mixture[Any], params: MixtureParams[Any], chunk: Chunk, *, compiled: bool
) -> Forest[AssignmentStats]:
    """Return a chunk's part of the canonical sum."""
    forest: Forest[AssignmentStats] = Forest()
    for piece in chunk.split(PIECE_VALUES // model.n_components):
        found = posterior_rows(model, params, piece, compiled=compiled, wanted="shares")
        values = entropy(found.resp)
        for number, block in enumerate(piece.split(BLOCK_ROWS)):
            rows = slice(number * BLOCK_ROWS, (number + 1) * BLOCK_ROWS)
            loglik, weight = block.total(found.loglik[rows])
            total, _ = block.total(values[rows])
            sums = AssignmentStats(loglik=float(loglik), weight=float(weight), entropy=float(total))
            forest.insert(0, block.first, sums)
    return forest


def entropy(resp: FloatArray) -> FloatArray:
    """Return the entropies (n,) of distributions (n, k), natural logarithm."""
    from scipy.special import entr

    total: FloatArray = entr(resp).sum(axis=1)
    return np.maximum(total, 0.0)  # a probability may exceed 1 by a rounding
