"""Standard errors of a fitted mixture."""

from __future__ import annotations

from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from mixtura.alerts import alert
from mixtura.estimators.criteria import Criteria
from mixtura.models.information import collect
from mixtura.models.uncertainty import KINDS, Uncertainty, check_possible, uncertainty

FAR = 0.25  # standard errors from the maximum that cost an interval of 95 % less than one in a hundred of its cases


class Inference(Criteria):
    """What the rows of a fit tell of its parameters beyond their values."""

    def standard_errors(self, X: Any, sample_weight: Any = None, kind: str = "observed") -> Uncertainty:
        """Return the standard errors of all parameters, in one pass over the rows that were fitted.

        Parameters
        ----------
        X : array-like, table, path or source
            The rows of the fit.
        sample_weight : array-like of shape (n,), or str or int, optional
            Row weights; w stands for w copies.
        kind : {"observed", "scores", "sandwich"}, default "observed"
            What they follow from: the observed information, which is minus the second derivative of the
            log-likelihood (Louis 1982); the outer products of the rows' scores, which need no exact maximum and are
            noisier; or the product of both that also holds where the model does not (White 1982).

        Returns
        -------
        Uncertainty
            Standard errors in the shapes of the parameters, their covariance, and `interval`; `print` shows a table.
            They hold for many rows and components that are told apart; the numbering of the components is taken as
            given.

        Raises
        ------
        InformationError
            Where there are none: a component without rows or at the floor, information that is not positive
            definite, or more parameters than matrices of their square should hold.
        ValueError
            For rows and weights that cannot be, and another kind.

        Warns
        -----
        ConvergenceWarning
            If the parameters are far from the maximum of the likelihood of these rows, beside their standard errors.

        Examples
        --------
        >>> import numpy as np
        >>> from mixtura import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> x = np.concatenate([rng.normal(0, 1, 400), rng.normal(6, 2, 600)])
        >>> sure = GaussianMixture(2, tol=1e-9, random_state=0).fit(x).standard_errors(x)
        >>> sorted(sure.means[:, 0].round(2).tolist())
        [0.06, 0.09]
        >>> low, high = sure.interval(0.9)["weights"]
        >>> bool((low > 0).all() and (high < 1).all())
        True
        """
        check_is_fitted(self)
        if kind not in KINDS:
            raise ValueError(f"standard_errors: kind is {kind!r}, expected one of {', '.join(map(repr, KINDS))}")
        check_possible(self.model_, self.params_)
        stats = self._sums(collect, X, sample_weight)
        sure = uncertainty(self.model_, self.params_, stats, kind)
        if sure.distance > FAR:
            alert(
                f"the parameters are {sure.distance:.2g} standard errors from the maximum of the likelihood of these "
                f"rows, so intervals are off: fit them with a tol of at most {FAR**2 / 2 / stats.weight:.0e}, enough "
                f"iterations, and a reg_covar that is small beside the variances",
                ConvergenceWarning,
            )
        return sure
