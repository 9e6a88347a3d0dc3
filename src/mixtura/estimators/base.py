"""What all mixture estimators share: fitting, prediction and criteria on top of a frozen model and the one loop."""

from __future__ import annotations

import copy
from dataclasses import replace
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mixtura import init
from mixtura._types import FloatArray, IntArray, Wanted
from mixtura.alerts import alert
from mixtura.em import EMResult, Status, drive
from mixtura.estimators.iterated import Iterated, tell_restarts
from mixtura.estimators.labels import with_labels
from mixtura.estimators.outcome import best_of, failure, warn
from mixtura.estimators.prediction import posteriors, write_predictions
from mixtura.estimators.reading import read, read_sums
from mixtura.estimators.streaming import take_in
from mixtura.estimators.uncertainty import Inference
from mixtura.init import Starts
from mixtura.kernels.threads import using_threads
from mixtura.model import Posterior, Source
from mixtura.models.binned import model_of, rows_of
from mixtura.models.collapse import CollapsePolicy, Drop, Floor, Raise, Reseed
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.repeats import merge
from mixtura.search import AUTO, search
from mixtura.sources.labelled import LabelledSource
from mixtura.survey import Survey, survey

POLICIES: dict[str, CollapsePolicy] = {policy.name: policy for policy in (Floor(), Reseed(), Drop(), Raise())}


class BaseMixture(Inference, DensityMixin, Iterated):
    """A mixture of one family, fitted by EM.

    Subclasses say which model they stand for and what users may give of a start.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Iterated._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions({AUTO, *init.METHODS})],
        "on_collapse": [StrOptions(set(POLICIES))],
        "warm_start": ["boolean"],
    }

    def _make_model(self) -> Mixture[Any]:
        raise NotImplementedError

    def _survey(self, source: Source, model: Mixture[Any]) -> tuple[Survey, Mixture[Any]]:
        """Check the data; return what they are like, and the model to fit to them: values may be missing."""
        found = survey(source, model.for_missing().family)
        return found, found.suited(model)

    def _make_starts(self, source: Source, model: Mixture[Any], found: Survey) -> Starts:
        """Return where EM starts: afresh, or from the last parameters under `warm_start`."""
        if self._is_warm():
            return Starts([self.params_])
        return self._make_cold_starts(source, model, init.describe(source, model, found))

    def _make_cold_starts(self, source: Source, model: Mixture[Any], found: Survey) -> Starts:
        """Return one start for each of `n_init` restarts."""
        return self._search_starts(source, model, found, self.init_params)

    def _search_starts(self, source: Source, model: Mixture[Any], found: Survey, method: str) -> Starts:
        """Return one start for each of `n_init` restarts, found by a method."""
        random = check_random_state(self.random_state)
        seeds = [random.randint(np.iinfo(np.int32).max) for _ in range(self.n_init)]
        if isinstance(source, LabelledSource):
            return Starts([init.start_from_labels(source, model, found, np.random.default_rng(seed)) for seed in seeds])
        if method == AUTO:
            rng = np.random.default_rng(seeds[0])
            return search(source, model, found, self.n_init, rng, tol=self.tol, ascent=self._ascent())
        return Starts([init.start(source, model, found, method, np.random.default_rng(seed)) for seed in seeds])

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, labels: Any = None) -> Self:
        """Estimate the parameters by EM, keeping the best of `n_init` restarts.

        Parameters
        ----------
        X : array-like or table of shape (n, d), or vector or series of shape (n,), or what `as_source` takes
            The rows: arrays of any real dtype and strides; pandas, Polars and Arrow tables; paths of files, and others.
            A `mixtura.Histogram` stands for values of one column of which only the bins are known.
            Where the family takes missing values, as the Gaussian does, NaN is one (docs/missing.md).
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n,), or str or int, optional
            Row weights, or the column of `X` that holds them; a weight of w stands for w copies of the row.
        labels : array-like of shape (n,) of int, optional
            The component, from 0, that a row is known to come from; -1 where that is not known. Labelled rows decide
            the start. The rows have to be in memory.

        Returns
        -------
        self
            The fitted estimator. If an error is raised, it stays exactly as it was.

        Raises
        ------
        ValueError
            For options, rows, weights or labels that cannot be; the message names the place.
        TypeError
            For dates, and for sparse matrices unless the family is of counts or categories.
        """
        trial = copy.copy(self)  # a failed fit must leave nothing behind
        trial._fit(X, sample_weight, labels)
        self.__dict__ = trial.__dict__
        return self

    def _fit(self, X: Any, sample_weight: Any, labels: Any) -> None:
        self._validate_params()
        deadline = self._deadline()
        if not self.warm_start:
            self._forget()
        source = with_labels(read_sums(self, X, sample_weight, reset=not hasattr(self, "params_")), labels, self)
        self._check_enough(source)
        model = self._make_model()
        model_of(source, model)  # refuses a family that has no sums over such data before it is asked about them
        if self._is_warm():
            self._check_same(model, "warm_start")
        with self._running(source, warm=self._is_warm()) as checkpoint:
            rows = rows_of(source)
            found, fitted = self._survey(rows, model)
            resumed = checkpoint is not None and checkpoint.saved is not None
            starts = Starts([]) if resumed else self._make_starts(rows, fitted, found)
            results = drive(
                merge(source, fitted.family),
                model_of(source, fitted),
                starts.params,
                agreement=starts.agreement,
                memory=starts.memory if rows is source else None,  # the likelihood of bins bends otherwise
                tol=self.tol,
                max_iter=self.max_iter,
                ascent=self._ascent(),
                deadline=deadline,
                checkpoint=checkpoint,
            )
        tell_restarts(results)
        self._publish(model, best_of(results, model, self.tol))
        self._tell_missing(found)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from one more batch of a stream, by a step of stepwise EM (Cappe & Moulines 2009).

        The first batch is fitted as `fit` does; each further one moves the parameters, the t-th by a step of
        ``t ** -0.6``, whatever its size. Batches should be alike in size, large enough to hold rows of every component
        and drawn at random from the stream. After `fit` or `mixtura.load`, what was fitted counts as the first batch.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self
            With the new parameters; `loglik_` and `result_` are of this batch at the parameters before it.

        Raises
        ------
        ValueError, TypeError
            As `fit`; the estimator then stays exactly as it was.

        Examples
        --------
        >>> import numpy as np
        >>> from mixtura import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> mixture = GaussianMixture(2, random_state=0)
        >>> for _ in range(20):
        ...     batch = np.concatenate([rng.normal(0, 1, 500), rng.normal(9, 1, 500)])
        ...     _ = mixture.partial_fit(batch)
        >>> sorted(mixture.means_[:, 0].round(1).tolist())
        [0.0, 9.0]
        """
        if not hasattr(self, "params_"):
            return self.fit(X, y, sample_weight)
        self._validate_params()
        self._check_same(self._make_model(), "partial_fit")
        source = read(self, X, sample_weight, reset=False)
        batches = getattr(self, "n_batches_", 1)
        with using_threads(self.n_threads):
            found, fitted = self._survey(source, self.model_)
            params, trace = take_in(source, fitted, self.params_, batches)
        if any(event.fatal for event in trace.events):
            raise failure(trace.result(Status.COLLAPSED))
        result = replace(trace.result(Status.STREAM), params=params)
        self._set_fitted(self.model_, result)
        self._tell_missing(found)
        self.n_batches_ = batches + 1
        warn(result, self.tol)
        return self

    def _is_warm(self) -> bool:
        return bool(self.warm_start) and hasattr(self, "params_")

    def _check_same(self, model: Mixture[Any], what: str) -> None:
        """Refuse to go on, by `what`, from parameters of another kind of model."""
        if (before := self.model_.n_components) != model.n_components:
            raise ValueError(
                f"{what} goes on from a fit with n_components={before}, not {model.n_components}: fit a new estimator"
            )
        if (family := type(self.model_.family)) is not type(model.family):
            raise ValueError(f"{what} goes on from a fit of another family, {family.__name__}: fit a new estimator")

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
        warn(result, self.tol)
        if not result.converged and self.max_iter > 0 and result.status is not Status.STOPPED:
            alert(
                "Best performing initialization did not converge. Try different init parameters, or increase "
                f"max_iter, tol, or check for degenerate data. ({result.status.message})",
                ConvergenceWarning,
            )

    def _set_fitted(self, model: Mixture[Any], result: EMResult[MixtureParams[Any]]) -> None:
        super()._set_fitted(model, result)
        self.lower_bounds_ = (result.objective / result.weight).tolist()
        self.lower_bound_ = self.lower_bounds_[-1]

    def _tell_missing(self, found: Survey) -> None:
        """Set how much was missing from the rows that were fitted."""
        self.n_missing_, self.n_empty_ = found.n_missing, found.n_empty

    def _set_params(self, model: Mixture[Any], params: MixtureParams[Any]) -> None:
        """Set what needs no data: a mixture that was derived from a fitted one has this and no more."""
        self.model_, self.params_ = model, params
        self.weights_ = params.weights.copy()  # what users do to it must not reach the frozen value
        for name, value in model.family.attributes(params.components).items():
            setattr(self, name, value)

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

    def predict_to(self, X: Any, path: str | PathLike[str]) -> None:
        """Write label, probabilities and log-density of each row of `X` to a file, as they are found.

        Parameters
        ----------
        X : array-like, table, path or source
            The rows, as for `fit`: they may be more than memory holds.
        path : path
            A `.parquet`, `.csv` or `.npy` file; the last has structured rows. Its columns are ``label``,
            ``probability_0``, ``probability_1``, ... and ``log_density``. It is written whole or not at all.

        Raises
        ------
        ValueError
            For rows that cannot be, and another suffix.
        ImportError
            If pyarrow, which writes Parquet and CSV, is not installed.
        """
        check_is_fitted(self)
        source = read(self, X, reset=False)
        with using_threads(self.n_threads):
            write_predictions(source, self.model_, self.params_, path)

    def score_samples(self, X: Any) -> FloatArray:
        """Return the log-density of each row of `X`, (n,), natural logarithm."""
        return self._posterior(X, "densities").loglik

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

    def _posterior(self, X: Any, wanted: Wanted) -> Posterior:
        """Return what the mixture knows of each row of `X`, after checking them."""
        check_is_fitted(self)
        source = read(self, X, reset=False)
        with using_threads(self.n_threads):
            return Posterior.join(list(posteriors(source, self.model_, self.params_, wanted)))
