"""`select`, and the same as an estimator: the number of components and their structure, by an information criterion."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Self

from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted

from mixtura._types import FloatArray, IntArray
from mixtura.estimators.base import BaseMixture
from mixtura.estimators.reading import read
from mixtura.selection.candidates import make_candidates, make_template, tell_columns
from mixtura.selection.choosing import choose, warn
from mixtura.selection.options import check_criterion, check_numbers, check_structures
from mixtura.selection.table import Selection

NUMBERS = tuple(range(1, 11))


def select(
    data: Any,
    n_components: int | Iterable[int] = range(1, 11),
    covariance_types: str | Iterable[str] | None = None,
    *,
    criterion: str = "bic",
    sample_weight: Any = None,
    estimator: Any = None,
    **options: Any,
) -> Selection:
    """Choose the number of components and the structure of their covariances.

    Parameters
    ----------
    data : array-like, table, path or source
        The rows, as for `GaussianMixture.fit`.
    n_components : int or iterable of int, default range(1, 11)
        Numbers of components to try.
    covariance_types : str or iterable of str, optional
        Structures to try; by default all four, "full", "tied", "diag" and "spherical".
    criterion : {"bic", "icl", "aic"}, default "bic"
        The lowest wins.
    sample_weight : array-like of shape (n,), or str or int, optional
        Row weights; w stands for w copies.
    estimator : GaussianMixture or MixtureModel, optional
        What is fitted, with all its options but those that are tried; by default a `GaussianMixture` of at most 1000
        updates.
    **options
        Options of that estimator, such as `random_state` or `n_init`. `tol` is as for `MixtureIC`.

    Returns
    -------
    Selection
        The table, the winner, and the doubts about it.

    Raises
    ------
    ValueError
        For options, rows or weights that cannot be.
    FitError
        If no candidate can be fitted.

    Warns
    -----
    SelectionWarning
        Where the winner is not stable: docs/selection.md says when.

    Examples
    --------
    >>> import numpy as np
    >>> from mixtura import select
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(900, 2)) + 8 * rng.integers(0, 3, 900)[:, None]
    >>> chosen = select(X, range(1, 6), ["full", "diag"], reg_covar=0.01, random_state=0)
    >>> chosen.winner.covariance_type, chosen.winner.n_components
    ('diag', 3)
    >>> chosen.best.predict(X[:2]).shape
    (2,)
    """
    template = make_template(estimator, options)
    chooser = MixtureIC(
        template,
        n_components=n_components,
        covariance_types=covariance_types,
        criterion=criterion,
        tol=options.get("tol"),
    )
    return chooser.fit(data, sample_weight=sample_weight).selection_


class MixtureIC(DensityMixin, BaseEstimator):
    """Mixture whose number of components and covariance structure are chosen by an information criterion.

    Parameters
    ----------
    estimator : GaussianMixture or MixtureModel, optional
        What is fitted, with all its options but those that are tried; by default a `GaussianMixture` of at most 1000
        updates.
    n_components : int or iterable of int, default (1, 2, ..., 10)
        Numbers of components to try.
    covariance_types : str or iterable of str, optional
        Structures to try; by default all four for a `GaussianMixture`. Other families have none.
    criterion : {"bic", "icl", "aic"}, default "bic"
        The lowest wins.
    tol : float, optional
        Of all fits, a row. By default that of the estimator, or what leaves a tenth of a nat to gain over all rows if
        that is less: at a hundred thousand rows, 0.001 a row could decide which candidate wins.

    Attributes
    ----------
    best_estimator_ : estimator
        The winner, fitted as if it were alone, with its `tol` and from the same `random_state`.
    selection_ : Selection
        The table of all candidates, and the doubts about the winner.
    n_features_in_, feature_names_in_ : int, (d,) array of str
        As in scikit-learn.

    Notes
    -----
    All candidates share the survey of the rows, the sample that they start from, and each pass over the rows, so there
    are as many passes as the slowest of them needs.

    Examples
    --------
    >>> import numpy as np
    >>> from mixtura import GaussianMixture, MixtureIC
    >>> rng = np.random.default_rng(2)
    >>> X = np.concatenate([rng.normal(-5, 1, 300), rng.normal(5, 1, 200)])
    >>> mixture = GaussianMixture(random_state=0)
    >>> chosen = MixtureIC(mixture, n_components=range(1, 4), covariance_types="tied").fit(X)
    >>> chosen.best_estimator_.n_components
    2
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_components: int | Iterable[int] = NUMBERS,
        covariance_types: str | Iterable[str] | None = None,
        criterion: str = "bic",
        tol: float | None = None,
    ) -> None:
        self.estimator = estimator
        self.n_components = n_components
        self.covariance_types = covariance_types
        self.criterion = criterion
        self.tol = tol

    def __sklearn_tags__(self) -> Any:
        """Tell that NaN is a missing value where it is one for what is fitted."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = make_template(self.estimator).__sklearn_tags__().input_tags.allow_nan
        return tags

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit all candidates and choose the best.

        Parameters
        ----------
        X : array-like, table, path or source
            The rows, as for `GaussianMixture.fit`.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n,), or str or int, optional
            Row weights; w stands for w copies.

        Returns
        -------
        self
            If an error is raised, it stays exactly as it was.

        Raises
        ------
        ValueError
            For options, rows or weights that cannot be.
        FitError
            If no candidate can be fitted.
        """
        trial = copy.copy(self)  # a failed fit must leave nothing behind
        trial._fit(X, sample_weight)
        self.__dict__ = trial.__dict__
        warn(self.selection_)
        return self

    def _fit(self, X: Any, sample_weight: Any) -> None:
        check_criterion(self.criterion)
        template = make_template(self.estimator, {} if self.tol is None else {"tol": self.tol})
        estimators = self._make_candidates(template)
        source = read(self, X, sample_weight, reset=True)
        self.selection_ = choose(template, estimators, source, self.criterion, self.tol)
        self.best_estimator_ = self.selection_.best
        tell_columns(estimators, self)

    def _make_candidates(self, template: BaseMixture) -> list[BaseMixture]:
        """Return the estimators to fit, or raise a `ValueError` that names what cannot be tried."""
        numbers = check_numbers(self.n_components)
        structures = check_structures(template, self.covariance_types)
        return make_candidates(template, [structure | {"n_components": k} for structure in structures for k in numbers])

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> IntArray:
        """Fit all candidates to the rows of `X` and return the most probable component of the winner for each, (n,)."""
        return self.fit(X, y, sample_weight).predict(X)

    def predict(self, X: Any) -> IntArray:
        """Return the most probable component of each row of `X`, (n,), of the winner."""
        return self._winner().predict(X)

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probability of each component of the winner for each row of `X`, (n, k)."""
        return self._winner().predict_proba(X)

    def score_samples(self, X: Any) -> FloatArray:
        """Return the log-density of each row of `X` under the winner, (n,), natural logarithm."""
        return self._winner().score_samples(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean log-density of the rows of `X` under the winner, weighted by `sample_weight` (n,)."""
        return self._winner().score(X, y, sample_weight)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> tuple[FloatArray, IntArray]:
        """Draw rows (n_samples, d) from the winner, and the component of each."""
        return self._winner().sample(n_samples, random_state)

    def _winner(self) -> BaseMixture:
        check_is_fitted(self)
        winner: BaseMixture = self.best_estimator_
        return winner
