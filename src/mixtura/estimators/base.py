"""What all mixture estimators share: fitting, prediction and criteria on top of a frozen model and the one loop."""

from __future__ import annotations

import copy
import warnings
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mixtura import init
from mixtura._types import FloatArray, IntArray, Wanted
from mixtura.blocks import posterior_rows
from mixtura.em import EMResult, Status, drive, evaluate, observe
from mixtura.estimators.progress import printer
from mixtura.estimators.reading import read
from mixtura.exceptions import CollapseWarning, FitError
from mixtura.grid import Chunk
from mixtura.kernels.threads import using_threads
from mixtura.model import Posterior, Source
from mixtura.models.mixture import Mixture, MixtureParams


class BaseMixture(DensityMixin, BaseEstimator):
    """A mixture of one family, fitted by EM.

    Subclasses say which model they stand for and what users may give of a start.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions(set(init.METHODS))],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [None, Interval(Integral, 1, None, closed="left")],
    }

    def _make_model(self) -> Mixture[Any]:
        raise NotImplementedError

    def _make_starts(self, source: Source, model: Mixture[Any]) -> list[MixtureParams[Any]]:
        """Check the data and return where EM starts: afresh, or from the last parameters under `warm_start`."""
        found = init.survey(source, model.family)
        return [self.params_] if self._is_warm() else self._make_cold_starts(source, model, found)

    def _make_cold_starts(self, source: Source, model: Mixture[Any], found: init.Survey) -> list[MixtureParams[Any]]:
        """Return one start for each of `n_init` restarts."""
        random = check_random_state(self.random_state)
        seeds = [random.randint(np.iinfo(np.int32).max) for _ in range(self.n_init)]
        return [init.start(source, model, found, self.init_params, np.random.default_rng(seed)) for seed in seeds]

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the parameters by EM, keeping the best of `n_init` restarts.

        Parameters
        ----------
        X : array-like or table of shape (n, d), or vector or series of shape (n,)
            The rows: arrays of any real dtype and strides; pandas, Polars and Arrow tables.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n,), optional
            Row weights; a weight of w stands for w copies of the row.

        Returns
        -------
        self
            The fitted estimator. If an error is raised, it stays exactly as it was.

        Raises
        ------
        ValueError
            For options, rows or weights that cannot be; the message names the place.
        TypeError
            For sparse matrices, and dates.
        """
        trial = copy.copy(self)  # a failed fit must leave nothing behind
        trial._fit(X, sample_weight)
        self.__dict__ = trial.__dict__
        return self

    def _fit(self, X: Any, sample_weight: Any) -> None:
        self._validate_params()
        if not self.warm_start:
            for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
                delattr(self, name)
        source = read(self, X, sample_weight, reset=not hasattr(self, "params_"))
        self._check_enough(source)
        model = self._make_model()
        if self._is_warm():
            self._check_warm(model)
        with using_threads(self.n_threads), observe(printer(self.verbose, self.verbose_interval)):
            starts = self._make_starts(source, model)
            results = drive(source, model, starts, tol=self.tol, max_iter=self.max_iter)
        self._publish(model, _best(results))

    def _is_warm(self) -> bool:
        return bool(self.warm_start) and hasattr(self, "params_")

    def _check_warm(self, model: Mixture[Any]) -> None:
        """Refuse to go on from parameters of another kind of model."""
        if (before := self.model_.n_components) != model.n_components:
            raise ValueError(
                f"warm_start goes on from a fit with n_components={before}, not {model.n_components}: "
                f"fit a new estimator"
            )
        if (family := type(self.model_.family)) is not type(model.family):
            raise ValueError(f"warm_start goes on from a fit of another family, {family.__name__}: fit a new estimator")

    def _check_enough(self, source: Source) -> None:
        rows, _ = source.sample(self.n_components, np.random.default_rng(0))
        if len(rows) < self.n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, "
                f"n_samples = {len(rows)} (rows of weight 0 do not count)"
            )

    def _publish(self, model: Mixture[Any], result: EMResult[MixtureParams[Any]]) -> None:
        """Set the fitted attributes and warn of what the user should know."""
        self._set_fitted(model, result)
        if result.events:
            told = "; ".join(f"{event.message} in iteration {event.iteration}" for event in result.events)
            warnings.warn(told, CollapseWarning, stacklevel=4)
        if not result.converged and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, or increase "
                f"max_iter, tol, or check for degenerate data. ({result.status.message})",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _set_fitted(self, model: Mixture[Any], result: EMResult[MixtureParams[Any]]) -> None:
        self.model_, self.params_, self.result_ = model, result.params, result
        self.weights_ = result.params.weights.copy()  # what users do to it must not reach the frozen value
        for name, value in model.family.attributes(result.params.components).items():
            setattr(self, name, value)
        self.loglik_ = result.loglik
        self.converged_ = result.converged
        self.n_iter_ = result.n_iter
        self.lower_bounds_ = (result.objective / result.weight).tolist()
        self.lower_bound_ = self.lower_bounds_[-1]

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> IntArray:
        """Fit to the rows of `X` and return the most probable component of each, (n,)."""
        labels: IntArray = self.fit(X, y, sample_weight).predict(X)
        return labels

    def predict(self, X: Any) -> IntArray:
        """Return the most probable component of each row of `X`, (n,)."""
        return self._posterior(X, "labels").labels

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probability of each component for each row of `X`, (n, k)."""
        return self._posterior(X, "shares").resp

    def score_samples(self, X: Any) -> FloatArray:
        """Return the log-density of each row of `X`, (n,), natural logarithm."""
        return self._posterior(X, "densities").loglik

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean log-density of the rows of `X`, weighted by `sample_weight` (n,)."""
        loglik, weight = self._total(X, sample_weight)
        return loglik / weight

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return Akaike's information criterion on the rows of `X`: the lower, the better."""
        loglik, _ = self._total(X, sample_weight)
        return 2 * self.model_.n_parameters(self.params_) - 2 * loglik

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Bayesian information criterion on the rows of `X`: the lower, the better.

        The number of rows is their total weight.
        """
        loglik, weight = self._total(X, sample_weight)
        return self.model_.n_parameters(self.params_) * float(np.log(weight)) - 2 * loglik

    def sample(self, n_samples: Any = 1, random_state: Any = None) -> tuple[FloatArray, IntArray]:
        """Draw rows from the fitted mixture.

        Parameters
        ----------
        n_samples : int
            How many.
        random_state : int, RandomState or None
            Decides the draw; by default that of the estimator.

        Returns
        -------
        X : (n_samples, d) array
            The rows, grouped by component.
        y : (n_samples,) array
            The component of each.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one sample.")
        random = check_random_state(self.random_state if random_state is None else random_state)
        rng = np.random.default_rng(random.randint(np.iinfo(np.int32).max))
        return self.model_.sample(self.params_, int(n_samples), rng)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted model to a JSON file that `mixtura.load` reads back bit for bit."""
        from mixtura.estimators.loading import save

        check_is_fitted(self)
        save(self, path)

    def _total(self, X: Any, sample_weight: Any) -> tuple[float, float]:
        """Return the log-likelihood of weighted rows, and their total weight: the sums that a pass of `fit` takes."""
        check_is_fitted(self)
        source = read(self, X, sample_weight, reset=False)
        with using_threads(self.n_threads):
            stats = evaluate(source, self.model_, self.params_)
        if not np.isfinite(stats.loglik):
            init.survey(source, self.model_.family)  # names a value that cannot be
        return float(stats.loglik), float(stats.weight)

    def _posterior(self, X: Any, wanted: Wanted) -> Posterior:
        """Return what the mixture knows of each row of `X`, after checking them."""
        check_is_fitted(self)
        source = read(self, X, reset=False)
        compiled = self.model_.compiles(source.n_rows, source.n_features)

        def step(chunk: Chunk) -> Posterior:
            found = posterior_rows(self.model_, self.params_, chunk, compiled=compiled, wanted=wanted)
            if not (compiled and np.isfinite(found.loglik).all()):  # a kernel lets no NaN or infinity pass unseen
                init.check_chunk(chunk, self.model_.family, source.names)
            return found

        with using_threads(self.n_threads):
            return Posterior.join(list(source.map_rows(step)))


def _best(results: list[EMResult[MixtureParams[Any]]]) -> EMResult[MixtureParams[Any]]:
    """Return the result of the highest objective among those that are finite."""
    finite = [result for result in results if result.status is not Status.DIVERGED]
    if not finite:
        last = results[-1]
        raise FitError(
            f"no start led to finite parameters: {last.status.message} in iteration {last.n_iter}. "
            f"Check that the start lies near the data, or give reg_covar a positive value"
        )
    return max(finite, key=lambda result: float(result.objective[-1]))
