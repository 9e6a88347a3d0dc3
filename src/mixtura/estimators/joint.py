"""A fitted Gaussian mixture as the joint density of its columns: what follows for some of them, from some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Self, cast

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mixtura._types import FloatArray, IntArray
from mixtura.estimators.loading import OF_THE_RUN
from mixtura.estimators.one_column import OneColumn
from mixtura.estimators.reading import read
from mixtura.estimators.regressing import OUT_OF_REACH, Spread, no_spread, regressions, standard_deviations
from mixtura.families.gaussian import Gaussian
from mixtura.kernels.threads import using_threads
from mixtura.models.conditional import Regression, marginal
from mixtura.models.mixture import MixtureParams
from mixtura.sources.columns import choose, is_column

OF_THE_START = {"weights_init", "means_init", "precisions_init", "fixed"}  # options that speak of all columns


class JointDensity(OneColumn):
    """Marginals, conditionals and regression of a Gaussian mixture; distribution and quantiles of one column."""

    def marginal(self, columns: str | int | Sequence[str | int]) -> Self:
        """Return the mixture of some columns, whatever the values of the others.

        Parameters
        ----------
        columns : str or int, or sequence of these
            Which columns, in the order that they shall have: names, if the fit knew any, or numbers from 0.

        Returns
        -------
        GaussianMixture
            With the same weights and structure of the covariances; see Notes.

        Raises
        ------
        ValueError
            For a column that is not there, or there twice, and for none.

        Notes
        -----
        A mixture that is derived from a fitted one can do all that a fitted one can: predict, score, sample, be saved.
        It saw no rows itself, so it has no `result_`, `loglik_`, `converged_`, `n_iter_`, `lower_bound_` and
        `lower_bounds_`.

        Examples
        --------
        >>> from mixtura import GaussianMixture
        >>> joint = GaussianMixture(1).fit([[0.0, 1.0], [2.0, 5.0]])
        >>> joint.marginal(1).means_.tolist()
        [[3.0]]
        """
        check_is_fitted(self)
        chosen = self._find(columns, "marginal")
        return self._derive(marginal(self._family, self.params_, chosen), chosen)

    def condition(self, given: Mapping[Any, float]) -> Self:
        """Return the mixture of the other columns where some have given values.

        Parameters
        ----------
        given : dict
            Values by column: by name, if the fit knew any, or by number from 0.

        Returns
        -------
        GaussianMixture
            Of the columns that are not given, in their order, with the same structure of the covariances; the weights
            tell from which component such values come. `sample` draws given the condition. As for `marginal`, there
            is no `result_` and nothing else that speaks of rows.

        Raises
        ------
        TypeError
            If `given` is no dict.
        ValueError
            For a column that is not there, values that are not finite numbers, or so far away that the density of
            every component is 0, and where no column is given, or none is left.

        Examples
        --------
        >>> from mixtura import GaussianMixture
        >>> joint = GaussianMixture(1, reg_covar=0).fit([[0.0, 1.0], [1.0, 3.5], [2.0, 5.0], [3.0, 6.5]])
        >>> joint.condition({0: 4.0}).means_.round(6).tolist()
        [[8.5]]
        """
        check_is_fitted(self)
        if not isinstance(given, Mapping):
            raise TypeError(f"condition: expected a dict of values by column, found {type(given).__name__}")
        regression, rest = self._regress(list(given), "condition")
        params = regression.condition(np.array([_check_value(column, value) for column, value in given.items()]))
        if params is None:
            raise ValueError(f"condition: given {_describe(given)}, {OUT_OF_REACH}")
        return self._derive(params, rest)

    def predict_given(
        self, X: Any, columns: str | int | Sequence[str | int], *, return_std: bool = False, return_cov: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Return the conditional mean of the other columns for rows of which some columns are known.

        That is regression from the joint density: a linear one in each component, weighed by how probable the
        component is where the known values lie, so the whole is not linear. A row has the mean, and spread, of
        `condition` at its values.

        Parameters
        ----------
        X : array-like, table, path or source, of shape (n, g) or (n,)
            The known values: `columns` and no others, in this order.
        columns : str or int, or sequence of these
            What they are values of: names, if the fit knew any, or numbers from 0.
        return_std : bool, default False
            Whether to return the conditional standard deviations, too.
        return_cov : bool, default False
            Whether to return the conditional covariances, too.

        Returns
        -------
        mean : (n, r) array
            Of the columns that are not known, in their order.
        std : (n, r) array
            With `return_std`: what the row's other values may deviate from `mean`.
        cov : (n, r, r) array
            With `return_cov`.

        Raises
        ------
        ValueError
            For columns that are not there or all there are, rows that are not finite or where the density of every
            component is 0, and if both standard deviations and covariances are asked for.

        Examples
        --------
        >>> from mixtura import GaussianMixture
        >>> joint = GaussianMixture(1, reg_covar=0).fit([[0.0, 1.0], [1.0, 3.5], [2.0, 5.0], [3.0, 6.5]])
        >>> joint.predict_given([0.0, 4.0], 0).round(6).tolist()
        [[1.3], [8.5]]
        """
        check_is_fitted(self)
        if return_std and return_cov:
            raise ValueError(
                "predict_given: expected at most one of return_std and return_cov; a std is a root of a cov"
            )
        spread: Spread = no_spread
        if return_std:
            spread = standard_deviations
        elif return_cov:
            spread = Regression.covariances
        regression, _ = self._regress(columns, "predict_given")
        source = read(self.marginal(columns), X, reset=False)
        with using_threads(self.n_threads):
            pieces = list(regressions(source, regression, spread))
        mean, about = (np.concatenate(part) for part in zip(*pieces, strict=True))
        return (mean, about) if return_std or return_cov else mean

    @property
    def _family(self) -> Gaussian:
        return cast(Gaussian, self.model_.family)

    def _find(self, columns: Any, what: str) -> IntArray:
        """Return the numbers of columns given by name or number."""
        listed = list(columns) if isinstance(columns, Iterable) and not isinstance(columns, str) else [columns]
        if not listed:
            raise ValueError(f"{what}: no column is named, expected one at least")
        if unfit := [column for column in listed if not is_column(column)]:
            raise ValueError(f"{what}: {unfit[0]!r} is no column, expected names or numbers of columns")
        named = [isinstance(column, str) for column in listed]
        if any(named) and not all(named):
            raise ValueError(f"{what}: {listed} mixes names and numbers of columns, expected one or the other")
        by_name = hasattr(self, "feature_names_in_") and all(named)
        known = self.feature_names_in_.tolist() if by_name else self.n_features_in_
        found = choose(known, listed, None, what).features
        if len(set(found)) < len(found):
            twice = next(column for column, j in zip(listed, found, strict=True) if found.count(j) > 1)
            raise ValueError(f"{what}: column {twice!r} is named twice")
        return np.array(found)

    def _regress(self, columns: Any, what: str) -> tuple[Regression, IntArray]:
        """Return the regression on these columns, and which the others are."""
        given = self._find(columns, what)
        rest = np.setdiff1d(np.arange(self.n_features_in_), given)
        if not len(rest):
            raise ValueError(f"{what}: all {self.n_features_in_} columns are given, expected one at least to be left")
        return Regression.of(self._family, self.params_, rest, given), rest

    def _derive(self, params: MixtureParams[Any], columns: IntArray) -> Self:
        """Return a mixture of these columns that has these parameters."""
        unset = OF_THE_RUN | OF_THE_START
        options = {name: value for name, value in self.get_params(deep=False).items() if name not in unset}
        family = self._family  # that of the fit, whatever was set since
        options |= {
            "n_components": self.model_.n_components,
            "covariance_type": family.covariance.name,
            "reg_covar": family.reg_covar,
            "component_prior": family.prior and family.prior.select(columns),
        }
        derived = type(self)(**options)
        derived.n_features_in_ = len(columns)
        if hasattr(self, "feature_names_in_"):
            derived.feature_names_in_ = self.feature_names_in_[columns]
        derived._set_params(self.model_, params)
        return derived


def _check_value(column: Any, value: Any) -> float:
    if not isinstance(value, Real) or not np.isfinite(float(value)):
        raise ValueError(
            f"condition: the value of column {column!r} is {value!r}, expected a finite number; "
            f"leave the column out if it is not known"
        )
    return float(value)


def _describe(given: Mapping[Any, float]) -> str:
    return ", ".join(f"{column!r}: {value:g}" for column, value in given.items())
