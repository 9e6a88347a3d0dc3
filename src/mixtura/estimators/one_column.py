"""The distribution function of a mixture of one column, and its inverse."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mixtura._types import FloatArray
from mixtura.capabilities import cumulative
from mixtura.estimators.base import BaseMixture
from mixtura.families.gaussian import Gaussian
from mixtura.models.line import Line
from mixtura.models.univariate import Univariate


class OneColumn(BaseMixture):
    """What a mixture of one column can do beyond others."""

    def cdf(self, x: Any) -> FloatArray:
        """Return the probability of a value of at most `x`, of a mixture of one column.

        Parameters
        ----------
        x : array-like of any shape
            Values; infinities are allowed.

        Returns
        -------
        array of the same shape
            To a relative error of some roundings in the lower tail, of normal components; of others as SciPy's special
            functions have it. In the upper tail `sf` has the digits.

        Raises
        ------
        ValueError
            If the mixture has more than one column, or components without a distribution function, as angles have
            none, or a value is NaN.

        Examples
        --------
        >>> from mixtura import GaussianMixture
        >>> GaussianMixture(1).fit([0.0, 1.0, 2.0]).cdf([1.0, float("inf")]).tolist()
        [0.5, 1.0]
        """
        return self._line("cdf").cdf(_check_values(x, "cdf"))

    def sf(self, x: Any) -> FloatArray:
        """Return the probability of a value above `x`, of a mixture of one column: exact in the upper tail.

        Otherwise as `cdf`, of which it is the complement; the name, for survival function, is that of `scipy.stats`.
        """
        return self._line("sf").sf(_check_values(x, "sf"))

    def quantile(self, q: Any) -> FloatArray:
        """Return the least value up to which a share `q` lies, of a mixture of one column: the inverse of `cdf`.

        Parameters
        ----------
        q : array-like of any shape
            Probabilities, from 0 to 1; at these the values are minus infinity and infinity.

        Returns
        -------
        array of the same shape
            To some roundings of the value, in both tails; never falling as `q` rises.

        Raises
        ------
        ValueError
            As for `cdf`, and if `q` is NaN, below 0 or above 1.

        Examples
        --------
        >>> from mixtura import GaussianMixture
        >>> GaussianMixture(1).fit([0.0, 1.0, 2.0]).quantile([0, 0.5]).tolist()
        [-inf, 1.0]
        """
        line = self._line("quantile")
        q = np.asarray(q, dtype=np.float64)
        if (bad := ~((q >= 0) & (q <= 1))).any():
            raise ValueError(f"quantile: q contains {q[bad][0]:g}, expected probabilities from 0 to 1")
        return line.quantile(q)

    def _line(self, what: str) -> Univariate | Line:
        """Return this mixture as one of a single column."""
        check_is_fitted(self)
        family = self.model_.family
        if self.n_features_in_ != 1:
            hint = (
                f": take a marginal first, such as mixture.marginal(0).{what}(...)" if hasattr(self, "marginal") else ""
            )
            raise ValueError(f"{what}: this mixture has {self.n_features_in_} columns, expected one{hint}")
        if isinstance(family, Gaussian):
            return Univariate.of(family, self.params_)
        return Line(cumulative(family), self.params_)


def _check_values(x: Any, what: str) -> FloatArray:
    values: FloatArray = np.asarray(x, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError(f"{what}: x contains NaN, expected numbers")
    return values
