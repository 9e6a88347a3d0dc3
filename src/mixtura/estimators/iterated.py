"""What all estimators share that are fitted by the one loop: its options, and what is known after a fit."""

from __future__ import annotations

from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mixtura.acceleration import Ascent, Plain, QuasiNewton
from mixtura.em import EMResult, State

QUASI_NEWTON = "quasi-newton"


class Iterated(BaseEstimator):
    """An estimator whose parameters are found by EM; subclasses set attributes of their own in `_set_params`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "acceleration": [None, StrOptions({QUASI_NEWTON})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [None, Interval(Integral, 1, None, closed="left")],
        "checkpoint": [None, str, PathLike],
        "max_time": [None, Interval(Real, 0.0, None, closed="neither")],
        "callback": [None, callable],
    }

    def _ascent(self) -> Ascent:
        return Plain() if self.acceleration is None else QuasiNewton()

    def _set_params(self, model: Any, params: Any) -> None:
        raise NotImplementedError

    def _set_fitted(self, model: Any, result: EMResult[Any]) -> None:
        self._set_params(model, result.params)
        self.result_ = result
        self.loglik_ = result.loglik
        self.converged_ = result.converged
        self.n_iter_ = result.n_iter

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted model to a JSON file that `mixtura.load` reads back bit for bit."""
        from mixtura.estimators.loading import save

        check_is_fitted(self)
        save(self, path)


def ignore(state: State[Any]) -> None:
    """Take no notice: the callback where none is given."""
