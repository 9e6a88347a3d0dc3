"""What a pass over the rows tells of candidates beside each other: entropies, and how much their differences vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.blocks import posterior_rows
from mixtura.estimators.assignment import entropy
from mixtura.estimators.prediction import PIECE_VALUES
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.model import Source
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.stats import Forest, Stats

Fitted = tuple[Mixture[Any], MixtureParams[Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparisonStats(Stats):
    """Sums over rows for m candidates; the log-likelihood is that of the candidate the others are compared with.

    Attributes
    ----------
    entropies : (m,) array
        Of the assignments (formula U7).
    gaps : (m,) array
        By how much the criterion's term of a row exceeds that of the candidate the others are compared with.
    products : (m, m) array
        Of these gaps of the same row.
    """

    entropies: FloatArray
    gaps: FloatArray
    products: FloatArray

    def variances(self, winner: int) -> FloatArray:
        """Return, for each candidate, the variance of the sum of its gaps to the winner (formula Z2)."""
        diagonal = np.diagonal(self.products)
        squares = diagonal - 2 * self.products[winner] + diagonal[winner]
        mean = (self.gaps - self.gaps[winner]) / self.weight
        spread: FloatArray = squares - self.weight * mean**2
        return np.maximum(spread, 0.0)


def compare(source: Source, fitted: Sequence[Fitted], *, reference: int, by_entropy: bool) -> ComparisonStats:
    """Return the sums over all rows, in one pass.

    Parameters
    ----------
    source : Source
        The rows.
    fitted : sequence of (Mixture, MixtureParams)
        The candidates.
    reference : int
        With which of them the others are compared: one of the best, so that gaps are small and no digits are lost.
    by_entropy : bool
        Whether twice the entropy counts in a row's term, as in ICL, or the log-density alone.
    """
    compiled = [model.compiles(source.n_rows, source.n_features) for model, _ in fitted]
    step = partial(_compare, fitted, compiled=compiled, reference=reference, by_entropy=by_entropy)
    return source.fold([step])[0]


def _compare(
    fitted: Sequence[Fitted], chunk: Chunk, *, compiled: Sequence[bool], reference: int, by_entropy: bool
) -> Forest[ComparisonStats]:
    """Return a chunk's part of the canonical sum."""
    forest: Forest[ComparisonStats] = Forest()
    widest = max(len(fitted), *(model.n_components for model, _ in fitted))
    for piece in chunk.split(PIECE_VALUES // widest):
        loglik, entropies = _look(fitted, piece, compiled)
        terms = 2 * (entropies - loglik) if by_entropy else -2 * loglik
        for number, block in enumerate(piece.split(BLOCK_ROWS)):
            rows = slice(number * BLOCK_ROWS, (number + 1) * BLOCK_ROWS)
            weight = np.ones(len(block)) if block.weight is None else block.weight
            forest.insert(0, block.first, _add(loglik[:, rows], entropies[:, rows], terms[:, rows], weight, reference))
    return forest


def _look(fitted: Sequence[Fitted], piece: Chunk, compiled: Sequence[bool]) -> tuple[FloatArray, FloatArray]:
    """Return log-densities and entropies of the rows (m, n)."""
    loglik, entropies = np.empty((2, len(fitted), len(piece)))
    for j, (model, params) in enumerate(fitted):
        found = posterior_rows(model, params, piece, compiled=compiled[j], wanted="shares")
        loglik[j], entropies[j] = found.loglik, entropy(found.resp)
    return loglik, entropies


def _add(
    loglik: FloatArray, entropies: FloatArray, terms: FloatArray, weight: FloatArray, reference: int
) -> ComparisonStats:
    """Return the sums over the rows of positive weight of a block: others may lie where every density is 0."""
    counted = weight > 0
    weight, terms = weight[counted], terms[:, counted]
    gaps = terms - terms[reference]
    return ComparisonStats(
        loglik=float(loglik[reference, counted] @ weight),
        weight=float(weight.sum()),
        entropies=entropies[:, counted] @ weight,
        gaps=gaps @ weight,
        products=(gaps * weight) @ gaps.T,
    )
