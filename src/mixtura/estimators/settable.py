"""What hidden Markov models by hmmlearn's names share: its arguments as those of `HMM`, and parameters to set."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _num_samples

from mixtura._types import FloatArray, IntArray
from mixtura.alerts import alert
from mixtura.em import EMResult
from mixtura.estimators.emissions import with_given
from mixtura.estimators.hmm import HMM
from mixtura.models.hmm import HiddenMarkov, HMMParams

OF_A_FIT = ("model_", "params_", "result_", "loglik_", "converged_", "n_iter_")


@dataclass(frozen=True)
class ConvergenceMonitor:
    """How a fit went, as hmmlearn tells it.

    Attributes
    ----------
    history : list of float
        Log-likelihood plus log prior, natural logarithm: at the start and after each update.
    iter : int
        Updates.
    converged : bool
        Whether the last gain was below `tol`; that there were `n_iter` updates is no convergence here.
    tol, n_iter : float, int
        As given.
    """

    history: list[float]
    iter: int
    converged: bool
    tol: float
    n_iter: int


class NamedHMM(BaseEstimator):
    """A hidden Markov model by hmmlearn's names and arguments; an `HMM` does the work."""

    n_components: int
    startprob_prior: Any
    transmat_prior: Any
    algorithm: str
    random_state: Any
    n_iter: int
    tol: float
    verbose: int
    params: str
    init_params: str
    n_init: int
    acceleration: str | None
    n_threads: int | None

    _emissions: ClassVar[dict[str, str]]  # attributes that hold the states' parameters, and the family's names for them
    _letters: ClassVar[dict[str, str]]  # of `params` and `init_params`, and their attributes

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "algorithm": [StrOptions({"viterbi", "map"})],
        "n_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Real],
        "params": [str],
        "init_params": [str],
        "implementation": [StrOptions({"log", "scaling"})],
    }

    def _keep(self, options: Mapping[str, Any]) -> None:
        """Set the constructor's arguments, of which nothing is made before a fit."""
        for name, value in options.items():
            if name != "self":
                setattr(self, name, value)

    def _make_family(self) -> Any:
        raise NotImplementedError

    def _make_model(self) -> HiddenMarkov[Any]:
        return self._make_hmm()._make_model()

    def _make_hmm(self, **start: Any) -> HMM:
        """Return the `HMM` of these arguments; refuse in words what has no meaning here."""
        self._validate_params()
        for name in ("params", "init_params"):
            if unknown := set(getattr(self, name)) - set(self._letters):
                raise ValueError(f"{name} has {min(unknown)!r}, expected letters of {''.join(self._letters)!r}")
        kinds = {"s": "startprob", "t": "transmat"}
        held = [kind for letter, kind in kinds.items() if letter not in self.params]
        if not set(self.params) - set(kinds):
            held.append("emissions")
        return HMM(
            self._make_family(),
            self.n_components,
            startprob_prior=self.startprob_prior,
            transmat_prior=self.transmat_prior,
            fixed=held,
            max_iter=self.n_iter,
            n_init=self.n_init,
            acceleration=self.acceleration,
            random_state=self.random_state,
            verbose=int(self.verbose),
            verbose_interval=1,
            n_threads=self.n_threads,
            **start,
        )

    def fit(self, X: Any, lengths: Any = None) -> Self:
        """Estimate the parameters by EM (Baum-Welch).

        Parameters
        ----------
        X : array-like or table of shape (n, d), or vector of shape (n,)
            The rows of all sequences, one sequence after another.
        lengths : (m,) array of int, optional
            Rows of each sequence, n together; by default all rows are one sequence.

        Returns
        -------
        self
            The fitted estimator. If an error is raised, it stays exactly as it was.

        Raises
        ------
        ValueError
            For arguments, parameters that were set, rows or lengths that cannot be; the message names the place.
        """
        trial = copy.copy(self)  # a failed fit must leave nothing behind
        trial._fit(X, lengths)
        self.__dict__ = trial.__dict__
        return self

    def _fit(self, X: Any, lengths: Any) -> None:
        self._look_at(X)
        given = self._given()
        emissions = {self._emissions[name]: value for name, value in given.items() if name in self._emissions}
        hmm = self._make_hmm(
            tol=max(self.tol, 0.0) / max(_num_samples(X), 1),
            startprob_init=given.get("startprob_"),
            transmat_init=given.get("transmat_"),
            emissions_init=emissions,
        )
        self._take(hmm.fit(X, lengths))

    def _look_at(self, X: Any) -> None:
        """Take from the rows what an argument left open."""

    def _given(self) -> dict[str, Any]:
        """Return the parameters to start from: those that are set, and not to be initialized."""
        known = {letter: name for letter, name in self._letters.items() if name in vars(self)}
        if lost := [letter for letter in known if letter in self.init_params and "hmm_" not in vars(self)]:
            names = ", ".join(known[letter].lstrip("_") for letter in lost)
            alert(
                f"{names} had been set, but init_params has {''.join(lost)!r}, by which they are initialized",
                UserWarning,
            )
        return {name: self._stored(name) for letter, name in known.items() if letter not in self.init_params}

    def _stored(self, name: str) -> Any:
        """Return a parameter as a family takes it."""
        return np.asarray(vars(self)[name], dtype=np.float64)

    def _take(self, hmm: HMM) -> None:
        """Set what is known of a fitted `HMM`."""
        self.hmm_, self.n_features_in_ = hmm, hmm.n_features_in_
        for name in OF_A_FIT:
            if hasattr(hmm, name):
                setattr(self, name, getattr(hmm, name))
            else:
                self.__dict__.pop(name, None)
        if hasattr(hmm, "feature_names_in_"):
            self.feature_names_in_ = hmm.feature_names_in_
        for name, value in self._values_of(hmm).items():
            setattr(self, name, value.copy())

    def _values_of(self, hmm: HMM) -> dict[str, FloatArray]:
        """Return the parameters of an `HMM` by hmmlearn's names."""
        own = {name: getattr(hmm, name.lstrip("_")) for name in self._emissions}
        return {"startprob_": hmm.startprob_, "transmat_": hmm.transmat_, **own}

    def _current(self) -> HMM:
        """Return the `HMM` of the parameters as they are: they may have been set, or changed in place."""
        if missing := [name for name in self._letters.values() if name not in vars(self)]:
            raise NotFittedError(
                f"This {type(self).__name__} has no {missing[0].lstrip('_')} yet: call fit, or set its parameters"
            )
        hmm: HMM | None = vars(self).get("hmm_")
        if hmm is not None:
            fitted = self._values_of(hmm)
            if all(np.array_equal(vars(self)[name], value) for name, value in fitted.items()):
                return hmm
        self._take(self._assemble(self._all_stored()))
        return self.hmm_

    def _all_stored(self) -> dict[str, Any]:
        return {name: self._stored(name) for name in self._letters.values()}

    def _assemble(self, values: Mapping[str, Any]) -> HMM:
        """Return an `HMM` with these parameters, of which no data are known."""
        hmm, k = self._make_hmm(), self.n_components
        model = hmm._make_model()
        d = self._width(values)
        blank = model.family.blank(self._frame(model.family, values, d), k)
        emissions = {self._emissions[name]: value for name, value in values.items() if name in self._emissions}
        theta = with_given(model.family, blank, emissions, k, d)
        even = np.full(k, 1 / k)
        params = HMMParams(values["startprob_"], values["transmat_"], theta, visits=even, exits=even)
        model.check(params, d)
        hmm.n_features_in_ = d
        hmm._set_params(model, params)
        return hmm

    def _width(self, values: Mapping[str, Any]) -> int:
        """Return how many columns rows have for these parameters."""
        return int(np.atleast_2d(values[next(iter(self._emissions))]).shape[1])

    def _frame(self, family: Any, values: Mapping[str, Any], d: int) -> Any:
        return family.frame(*np.zeros((3, d)))

    def _set_fitted(self, model: HiddenMarkov[Any], result: EMResult[Any]) -> None:
        hmm = self._make_hmm()
        hmm.n_features_in_ = self.n_features_in_
        hmm._set_fitted(model, result)
        self._take(hmm)

    def _set_params(self, model: HiddenMarkov[Any], params: HMMParams[Any]) -> None:
        hmm = self._make_hmm()
        hmm.n_features_in_ = self.n_features_in_
        hmm._set_params(model, params)
        self._take(hmm)

    @property
    def monitor_(self) -> ConvergenceMonitor:
        """How the last fit went."""
        result = getattr(self, "result_", None)
        if result is None:
            raise AttributeError("monitor_ is of a fit, and there was none with these parameters")
        return ConvergenceMonitor(result.objective.tolist(), result.n_iter, result.converged, self.tol, self.n_iter)

    def decode(self, X: Any, lengths: Any = None, algorithm: str | None = None) -> tuple[float, IntArray]:
        """Return the log-probability of the most probable states, and the states (n,): see `HMM.decode`."""
        return self._current().decode(X, lengths, self.algorithm if algorithm is None else algorithm)

    def predict(self, X: Any, lengths: Any = None) -> IntArray:
        """Return the most probable states (n,), by `algorithm`."""
        return self.decode(X, lengths)[1]

    def predict_proba(self, X: Any, lengths: Any = None) -> FloatArray:
        """Return the probability (n, k) of each state for each row, given all rows of its sequence."""
        return self._current().predict_proba(X, lengths)

    def score(self, X: Any, lengths: Any = None) -> float:
        """Return the total log-likelihood of the sequences, natural logarithm."""
        return self._current().score(X, lengths)

    def score_samples(self, X: Any, lengths: Any = None) -> tuple[float, FloatArray]:
        """Return the total log-likelihood of the sequences and the probabilities (n, k) of the states of their rows."""
        return self._current().score_samples(X, lengths)

    def aic(self, X: Any, lengths: Any = None) -> float:
        """Return the Akaike information criterion (formula O4), the lower the better."""
        return self._current().aic(X, lengths)

    def bic(self, X: Any, lengths: Any = None) -> float:
        """Return the Bayesian information criterion (formula O4), by the number of rows; the lower the better."""
        return self._current().bic(X, lengths)

    def get_stationary_distribution(self) -> FloatArray:
        """Return the shares (k,) of the states in the long run: see `HMM.get_stationary_distribution`."""
        return self._current().get_stationary_distribution()

    def sample(
        self, n_samples: int = 1, random_state: Any = None, currstate: int | None = None
    ) -> tuple[FloatArray, IntArray]:
        """Draw one sequence; return its rows (n_samples, d) and their states (n_samples,).

        Parameters
        ----------
        n_samples : int
            Rows.
        random_state : int, RandomState or None
            Decides the draw; by default that of the estimator.
        currstate : int, optional
            The state of the first row, instead of one drawn by `startprob_`.

        Raises
        ------
        ValueError
            For a number of rows or a state that cannot be.
        """
        hmm = self._current()
        if currstate is not None:
            if currstate not in range(self.n_components):
                raise ValueError(f"currstate is {currstate!r}, expected a state from 0 to {self.n_components - 1}")
            hmm = self._assemble({**self._all_stored(), "startprob_": np.eye(self.n_components)[currstate]})
        return hmm.sample(n_samples, random_state)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a JSON file that `mixtura.load` reads back bit for bit."""
        from mixtura.estimators.loading import save

        self._current()
        save(self, path)


def without_prior(name: str, value: Any, allowed: tuple[float, ...], instead: str) -> None:
    """Refuse a prior of the states that has no meaning here."""
    if not np.isin(np.asarray(value, dtype=np.float64), allowed).all():
        raise ValueError(f"{name} is {value!r}: {' or '.join(map(str, allowed))} is taken here, or {instead}")
