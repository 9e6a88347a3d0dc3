"""How good a fitted mixture is, and how sure its assignments are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mixtura._types import FloatArray
from mixtura.em import evaluate
from mixtura.estimators.assignment import assign, entropies
from mixtura.estimators.reading import read, read_sums
from mixtura.kernels.threads import using_threads
from mixtura.model import Model, Source
from mixtura.models.binned import model_of, rows_of
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.stats import Stats
from mixtura.survey import survey

S = TypeVar("S", bound=Stats)


class Criteria:
    """Score and information criteria of a fitted mixture on any rows, each in one pass over them."""

    n_threads: int | None
    model_: Mixture[Any]
    params_: MixtureParams[Any]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean log-density of the rows of `X`, weighted by `sample_weight` (n,)."""
        stats = self._evaluate(X, sample_weight)
        return float(stats.loglik) / float(stats.weight)

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return Akaike's information criterion on the rows of `X`: the lower, the better."""
        stats = self._evaluate(X, sample_weight)
        return 2 * self.model_.n_parameters(self.params_) - 2 * float(stats.loglik)

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Bayesian information criterion on the rows of `X`: the lower, the better.

        The number of rows is their total weight.
        """
        return self._bic(self._evaluate(X, sample_weight))

    def icl(self, X: Any, sample_weight: Any = None) -> float:
        """Return the integrated completed likelihood criterion on the rows of `X`: the lower, the better.

        It is `bic` plus twice the total entropy of the assignments (Biernacki, Celeux & Govaert 2000), so of two
        mixtures that fit alike it prefers the one whose components are the clearer clusters.

        Parameters
        ----------
        X : array-like, table, path or source
            The rows, as for `fit`.
        sample_weight : array-like of shape (n,), or str or int, optional
            Row weights; w stands for w copies.

        Raises
        ------
        ValueError
            For rows and weights that cannot be; the message names the place.
        """
        stats = self._sums(assign, X, sample_weight)
        return self._bic(stats) + 2 * float(stats.entropy)

    def entropy(self, X: Any) -> FloatArray:
        """Return the entropy of the assignment of each row of `X`, (n,).

        Natural logarithm: 0 where a row belongs to one component for sure, log k where it may belong to any of k.
        """
        check_is_fitted(self)
        source = read(self, X, reset=False)
        with using_threads(self.n_threads):
            return entropies(source, self.model_, self.params_)

    def _bic(self, stats: Stats) -> float:
        return self.model_.n_parameters(self.params_) * float(np.log(stats.weight)) - 2 * float(stats.loglik)

    def _evaluate(self, X: Any, sample_weight: Any) -> Stats:
        """Return the sums of the E-step over weighted rows, or the bins of a histogram, in one pass."""
        check_is_fitted(self)
        source = read_sums(self, X, sample_weight, reset=False)
        stats: Stats = self._take(evaluate, source, model_of(source, self.model_))
        return stats

    def _sums(self, take: Callable[[Any, Any, Any], S], X: Any, sample_weight: Any) -> S:
        """Return the sums over weighted rows that `take` makes, in one pass."""
        check_is_fitted(self)
        return self._take(take, read(self, X, sample_weight, reset=False), self.model_)

    def _take(self, take: Callable[[Any, Any, Any], S], source: Source, model: Model[Any, Any]) -> S:
        with using_threads(self.n_threads):
            stats = take(source, model, self.params_)
            if model.compiles(source.n_rows, source.n_features) and np.isfinite(stats.loglik):
                return stats  # a kernel lets no NaN or infinity pass unseen
            tolerant = self.model_.for_missing()
            survey(rows_of(source), tolerant.family)  # names a value that cannot be
            return take(source, tolerant, self.params_) if np.isnan(stats.loglik) else stats
