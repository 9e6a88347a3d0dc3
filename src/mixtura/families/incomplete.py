"""Gaussian components of rows that lack values (NaN): the sums of what was observed, completed (formulas N1 to N4).

Rows that lack the same columns have one *pattern*. Their density is that of the marginal of what was observed, and
the sums that an update wants follow from their sums over what was observed by one linear map for each component.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial, reduce
from operator import add
from typing import Any, ClassVar

import numpy as np

from mixtura._types import Array, BoolArray, FloatArray, IntArray, Wanted
from mixtura.families.base import scaled_densities, sum_pieces
from mixtura.families.covariance import Completion, split
from mixtura.families.gaussian import LOG_2PI, Gaussian, GaussianParams
from mixtura.grid import Chunk
from mixtura.model import Posterior, States
from mixtura.stats import Node, Sums

REMEMBERED = 256  # patterns of which the maps are kept from one block to the next: all there are with eight columns


@dataclass(frozen=True, eq=False)
class Pattern:
    """Rows (m,) of a block that have the columns `given` (g,) and lack the columns `rest` (r,)."""

    rows: IntArray
    given: IntArray
    rest: IntArray


def find_patterns(x: FloatArray) -> Iterator[Pattern]:
    """Yield the patterns of rows (n, d), each with its rows in their order."""
    lacking = np.isnan(x)
    kinds, which = np.unique(lacking, axis=0, return_inverse=True)
    rows = np.argsort(which.ravel(), kind="stable")
    cuts = np.cumsum(np.bincount(which.ravel(), minlength=len(kinds)))[:-1]
    for kind, mine in zip(kinds, np.split(rows, cuts), strict=True):
        yield Pattern(mine, np.flatnonzero(~kind), np.flatnonzero(kind))


@dataclass(frozen=True)
class IncompleteGaussian(Gaussian):
    """Gaussian components whose rows may lack values."""

    has_unseen: ClassVar[bool] = True

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) a component can yield; one that is missing is no obstacle."""
        return ~np.isinf(x)

    def stacked(self, k: int) -> None:
        """Return None: patterns are many calls anyway."""

    def for_missing(self) -> IncompleteGaussian:
        """Return this family."""
        return self

    def log_density(self, theta: GaussianParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-densities of what was observed (formula N1), 0 for a row without values.

        Those of complete rows are what `Gaussian` gives, bit for bit.
        """
        with np.errstate(invalid="ignore"):
            density = super().log_density(theta, x)
        for pattern in find_patterns(x):
            if len(pattern.rest):
                observed, _ = _complete(self, theta, pattern.rest.tobytes())
                density[pattern.rows] = super().log_density(observed, x[np.ix_(pattern.rows, pattern.given)])
        return density

    def suffstats(self, theta: GaussianParams, x: FloatArray, resp: FloatArray) -> Sums:
        """Return the expected moments about the pivot given what was observed (formulas N3, N4)."""
        return reduce(add, (self._pattern_sums(theta, x, resp, pattern) for pattern in find_patterns(x)))

    def _pattern_sums(self, theta: GaussianParams, x: FloatArray, resp: FloatArray, pattern: Pattern) -> Sums:
        """Return the sums over the rows of one pattern."""
        if not len(pattern.rest):
            return super().suffstats(theta, x[pattern.rows], resp[pattern.rows])
        observed, completion = _complete(self, theta, pattern.rest.tobytes())
        sums = super().suffstats(observed, x[np.ix_(pattern.rows, pattern.given)], resp[pattern.rows])
        completed: Sums = self.covariance.complete(sums, observed.pivot, completion)
        return completed

    def unit_scores(self, theta: GaussianParams, x: FloatArray) -> FloatArray:
        """Return the expected scores given what was observed (formula V10)."""
        scores = np.empty((len(x), *self.slots(theta).shape))
        basis = self.covariance.basis(theta.means.shape[1])
        for pattern in find_patterns(x):
            y, unseen = self._whiten(theta, x, pattern)
            spread = self.covariance.spread_scores(y) + np.einsum("sij,kij->ks", basis, unseen) / 2
            scores[pattern.rows] = np.concatenate([y, spread], axis=2)
        return scores

    def unseen(self, theta: GaussianParams, x: FloatArray, weight: FloatArray) -> FloatArray:
        """Return the sums (k, p, p) of the covariances of the scores given what was observed (formula V10)."""
        k, d = theta.means.shape
        basis, p = self.covariance.basis(d), self.slots(theta).shape[1]
        total = np.zeros((k, p, p))
        for pattern in find_patterns(x):
            y, unseen = self._whiten(theta, x, pattern)
            w = weight[pattern.rows]
            s0, s1, s2 = w.sum(axis=0), np.einsum("nk,nki->ki", w, y), np.einsum("nk,nki,nkj->kij", w, y, y)
            turned = basis @ unseen[:, None]  # (k, s, d, d)
            cross = np.einsum("ksij,kj->kis", np.swapaxes(turned, 2, 3), s1)
            total[:, :d, :d] += s0[:, None, None] * unseen
            total[:, :d, d:] += cross
            total[:, d:, :d] += np.swapaxes(cross, 1, 2)
            total[:, d:, d:] += np.einsum(
                "ksij,ktji->kst", turned, s0[:, None, None, None] * turned / 2 + basis @ s2[:, None]
            )
        return total

    def _whiten(self, theta: GaussianParams, x: FloatArray, pattern: Pattern) -> tuple[FloatArray, FloatArray]:
        """Return completed rows (m, k, d) of one pattern, whitened, and the covariances (k, d, d) of these."""
        k, d = theta.means.shape
        rows, factors = x[np.ix_(pattern.rows, pattern.given)], self.covariance.expand(theta.factors, k, d)
        observed, completion = _complete(self, theta, pattern.rest.tobytes())
        gaps = observed.frame.enter(rows)[:, None, :] - observed.means
        y = np.einsum("kij,nkj->nki", factors @ completion.lift, gaps)
        part = factors[:, :, pattern.rest]
        spread = self.covariance.expand(completion.spread, k, len(pattern.rest))
        return y, part @ spread @ np.swapaxes(part, 1, 2)

    def states(self, theta: GaussianParams) -> States[Any]:
        """Return what a Markov chain asks of rows: densities by the kernel of the posterior, sums by none."""
        if not self.fused(*theta.means.shape):
            return States(partial(scaled_densities, self, theta), partial(sum_pieces, self, theta))
        return States(partial(self._shares, theta), partial(sum_pieces, self, theta))

    def fused(self, n_components: int, n_features: int) -> bool:
        """Tell whether this machine runs the kernel well, and the kernel takes so many columns."""
        from mixtura.kernels.gaussian_missing import WIDEST

        return n_features <= WIDEST and super().fused(n_components, n_features)

    def e_blocks(
        self, log_weights: FloatArray, theta: GaussianParams, chunk: Chunk, negligible: float
    ) -> Iterator[tuple[Node, float, float, Sums]]:
        """Run the compiled E-step; it leaves no row out."""
        from mixtura.kernels import gaussian_missing

        k, d = theta.means.shape
        matrices, components = self.covariance.n_second(k), self._kernel_components(log_weights, theta)
        for node, sums in gaussian_missing.e_blocks(chunk, theta.pivot, matrices, *components):
            s0, s1, s2 = split(sums[2:], (k,), (k, d), (len(sums) - 2 - k - k * d,))
            yield node, float(sums[0]), float(sums[1]), self.covariance.from_second(s0, s1, s2)

    def posterior_rows(self, log_weights: FloatArray, theta: GaussianParams, x: Array, wanted: Wanted) -> Posterior:
        """Run the compiled kernel of the posterior over rows; complete ones get what `Gaussian` gives, bit for bit."""
        from mixtura.kernels import gaussian_missing

        found = super().posterior_rows(log_weights, theta, x, wanted)
        lacking = np.flatnonzero(np.isnan(x).any(axis=1))
        components = self._kernel_components(log_weights, theta)
        parts = gaussian_missing.posterior_rows(x[lacking], *components, wanted=wanted)
        for whole, part in zip((found.loglik, found.labels, found.resp), parts, strict=True):
            if len(part):
                whole[lacking] = part
        return found

    def impute_rows(self, log_weights: FloatArray, theta: GaussianParams, x: Array) -> FloatArray:
        """Run the compiled kernel that fills rows."""
        from mixtura.kernels import gaussian_missing

        return gaussian_missing.impute_rows(x, *self._kernel_components(log_weights, theta))

    def _kernel_components(self, log_weights: FloatArray, theta: GaussianParams) -> tuple[FloatArray, ...]:
        """Return what the kernel works out patterns from."""
        frame = theta.frame
        covariances = self.covariance.expand(theta.covariances, *theta.means.shape)
        return frame.shift, frame.scale, covariances, theta.means, log_weights, np.log(frame.scale) - LOG_2PI / 2


@lru_cache(maxsize=REMEMBERED)
def _complete(family: Gaussian, theta: GaussianParams, lacking: bytes) -> tuple[GaussianParams, Completion]:
    """Return the components without the columns `lacking`, as bytes, and what follows of these (formulas N1, N2)."""
    rest: Any = np.frombuffer(lacking, dtype=np.int64)
    d = theta.means.shape[1]
    given = np.setdiff1d(np.arange(d), rest)
    slopes, remaining = family.regress(theta, rest, given)
    lift = np.zeros((len(slopes), d, len(given)))
    lift[:, given, np.arange(len(given))] = 1.0
    lift[:, rest] = slopes
    gaps = theta.means - theta.pivot
    offset = gaps - (lift @ gaps[:, given, None])[:, :, 0]
    offset[:, given] = 0.0
    observed = replace(family.marginal(theta, given), pivot=theta.pivot[:, given])
    return observed, Completion(rest=rest, lift=lift, offset=offset, spread=remaining.covariances)
