"""The information that rows carry about the parameters of a mixture: sums of one pass, and what follows from them.

By Louis (1982) the information of the observed rows is that of complete ones less what is lost because nobody sees
from which component a row came: the covariance of the complete score given the row. All in coordinates of unit
information (formulas V1 to V5).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.capabilities import informed
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.model import Source
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.stats import Forest, Stats

PRODUCT_ROWS, PRODUCT_COLUMNS = 128, 32  # of small matrix products: half of what OpenBLAS would share out to threads


@dataclass(frozen=True, eq=False, kw_only=True)
class InformationStats(Stats):
    """Log-likelihood, total weight, and sums of scores over rows; q coordinates, p of them in a component.

    Attributes
    ----------
    score : (q,) array
        Sum of the scores s of the rows.
    products : (q, q) array
        Sum of ``s s'``.
    within : (k, 1 + p, 1 + p) array
        Sum of ``r_a u_a u_a'``, where u_a is a 1 and the scores of component a.
    """

    score: FloatArray
    products: FloatArray
    within: FloatArray


@dataclass(frozen=True, eq=False)
class Information:
    """What rows tell of the q coordinates that are estimated.

    Attributes
    ----------
    complete : (q,) array
        The diagonal of the information if all components were known; beside it there is nothing.
    observed : (q, q) array
        Less what is lost: minus the second derivative of the objective.
    products : (q, q) array
        Sum of the outer products of the rows' scores.
    prior : (q,) array
        What a prior adds to the diagonal; it is in `complete` and `observed` already.
    score : (q,) array
        Derivative of the objective.
    """

    complete: FloatArray
    observed: FloatArray
    products: FloatArray
    prior: FloatArray
    score: FloatArray


def collect(source: Source, model: Mixture[Any], params: MixtureParams[Any]) -> InformationStats:
    """Return the sums over all rows, in one pass."""
    return source.fold([partial(_collect_chunk, model, params)])[0]


def _collect_chunk(model: Mixture[Any], params: MixtureParams[Any], chunk: Chunk) -> Forest[InformationStats]:
    """Return a chunk's part of the canonical sum."""
    basis, slots = model.weighting.basis(params.weights), _slots(model, params)
    forest: Forest[InformationStats] = Forest()
    for block in chunk.split(BLOCK_ROWS):
        forest.insert(0, block.first, _collect_block(model, params, block.packed(), basis, slots))
    return forest


def _collect_block(
    model: Mixture[Any], params: MixtureParams[Any], chunk: Chunk, basis: FloatArray, slots: IntArray
) -> InformationStats:
    """Return the sums over one block of rows (formula V5)."""
    weight = np.ones(len(chunk)) if chunk.weight is None else chunk.weight
    counted = weight > 0  # a row of weight 0 is not there, whatever it holds
    x, weight = chunk.x[counted], weight[counted]
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks whether sums are finite
        loglik, resp = model.posterior(params, x)
        unit = informed(model.family).unit_scores(params.components, x)
        gram = _gram(_scores(resp, unit, basis, slots), weight)
        shares = resp * weight[:, None]
        within = np.stack([_gram(unit[:, a], shares[:, a]) for a in range(len(slots))])
        within[:, 1:, 1:] += informed(model.family).unseen(params.components, x, shares)
    return InformationStats(
        loglik=float(weight @ loglik), weight=float(gram[0, 0]), score=gram[0, 1:], products=gram[1:, 1:], within=within
    )


def _scores(resp: FloatArray, unit: FloatArray, basis: FloatArray, slots: IntArray) -> FloatArray:
    """Return the scores (n, q) of rows: the expectation of the complete ones."""
    free = basis.shape[1]
    scores = np.zeros((len(resp), free + int(slots.max()) + 1))
    scores[:, :free] = np.einsum("na,ab->nb", resp, basis)
    for a, places in enumerate(slots):
        scores[:, free + places] += resp[:, a, None] * unit[:, a]
    return scores


def _gram(rows: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the weighted sum of ``v v'``, where v is a 1 and a row."""
    return _products(np.column_stack([np.ones(len(rows)), rows]), weight)


def _products(rows: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the weighted sum of the outer products of rows (n, q), (q, q).

    One long product would have other bits on other numbers of threads of BLAS; small ones are not shared out, and
    many at a time take no longer.
    """
    n, q = rows.shape
    slices, tiles = -(-n // PRODUCT_ROWS), -(-q // PRODUCT_COLUMNS)
    padded = np.zeros((2, slices * PRODUCT_ROWS, tiles * PRODUCT_COLUMNS))
    padded[0, :n, :q], padded[1, :n, :q] = rows, rows * weight[:, None]
    cut = padded.reshape(2, slices, PRODUCT_ROWS, tiles, PRODUCT_COLUMNS)
    total = np.zeros((tiles, tiles, PRODUCT_COLUMNS, PRODUCT_COLUMNS))
    for part, weighted in zip(cut[0].swapaxes(1, 2), cut[1].transpose(0, 2, 3, 1), strict=True):
        total += weighted[:, None] @ part
    whole: FloatArray = total.swapaxes(1, 2).reshape(padded.shape[2], -1)[:q, :q]
    return whole


def information(model: Mixture[Any], params: MixtureParams[Any], stats: InformationStats) -> Information:
    """Return the information that sums over rows amount to, with that of the prior (formulas V1, V9)."""
    basis, slots = model.weighting.basis(params.weights), _slots(model, params)
    k, free = basis.shape
    slope, prior = (np.pad(part, (free, 0)) for part in informed(model.family).prior_information(params.components))
    added = model.weighting.prior.rows(k)  # of the Dirichlet prior
    sharing = model.weighting.is_free(params.weights)
    slope[:free], prior[:free] = added @ basis, added[sharing].sum()
    complete = prior.copy()
    complete[:free] += stats.within[sharing, 0, 0].sum()
    expected = np.zeros_like(stats.products)  # of the product of the complete score, given the row
    for a in range(k):
        places = np.concatenate([np.arange(free), free + slots[a]])
        complete[free + slots[a]] += stats.within[a, 0, 0]
        spread = np.block([[basis[a][:, None], np.zeros((free, slots.shape[1]))],
                           [np.zeros((slots.shape[1], 1)), np.eye(slots.shape[1])]])  # fmt: skip
        expected[np.ix_(places, places)] += spread @ stats.within[a] @ spread.T
    observed = np.diag(complete) - (expected - stats.products)
    kept = estimated(model, params)
    both = np.ix_(kept, kept)
    return Information(
        complete=complete[kept],
        observed=(observed + observed.T)[both] / 2,
        products=(stats.products + stats.products.T)[both] / 2,
        prior=prior[kept],
        score=(stats.score + slope)[kept],
    )


def estimated(model: Mixture[Any], params: MixtureParams[Any]) -> BoolArray:
    """Tell which of all coordinates, of weights and family, are estimated; the others are fixed."""
    weights = model.weighting.n_parameters(len(params.weights))
    return np.pad(informed(model.family).estimated(params.components), (weights, 0), constant_values=True)


def _slots(model: Mixture[Any], params: MixtureParams[Any]) -> IntArray:
    return informed(model.family).slots(params.components)
