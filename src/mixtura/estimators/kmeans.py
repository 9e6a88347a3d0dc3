"""`KMeans`: centers of clusters, by Lloyd's algorithm on data of any size."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mixtura import draws
from mixtura import init as starts
from mixtura._types import FloatArray, IntArray, Wanted
from mixtura.alerts import alert
from mixtura.em import EMResult, State, Status, drive, evaluate
from mixtura.estimators.iterated import Iterated, tell_restarts
from mixtura.estimators.outcome import highest, tell
from mixtura.estimators.prediction import PIECE_VALUES, posteriors
from mixtura.estimators.reading import read
from mixtura.estimators.streaming import take_in
from mixtura.exceptions import CollapseWarning
from mixtura.frame import Frame
from mixtura.grid import Chunk
from mixtura.kernels.threads import using_threads
from mixtura.model import Posterior, Source
from mixtura.models import kmeans
from mixtura.models.kmeans import KMeansParams, Lloyd
from mixtura.result import Agreement
from mixtura.sinks import open_sink
from mixtura.sources.arrays import ArraySource
from mixtura.survey import survey

AUTO = "auto"
SPREAD, RANDOM = "k-means++", "random"
MORE_RANDOM = 10  # restarts where rows are drawn without regard to where they are, as in scikit-learn


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, Iterated):
    """K-means clustering: each row belongs to the nearest of k centers, and each center is the mean of its rows.

    Parameters
    ----------
    n_clusters : int, default 8
        Number of clusters, k.
    init : {"k-means++", "random"}, (k, d) array-like or callable, default "k-means++"
        Where the centers start: rows drawn far apart, or anyhow, from a bounded sample of the rows; given centers; or
        ``init(X, n_clusters, random_state)`` of the sample (m, d), which returns centers.
    n_init : int or "auto", default "auto"
        Restarts, of which that of the least inertia is kept; each pass over the data serves all of them. "auto" is 1
        for "k-means++" and given centers, else 10.
    max_iter : int, default 300
        Most updates in one restart.
    tol : float, default 1e-4
        Stop when an update moved the centers by less, in the sum of their squared distances over the mean variance of
        the columns, as in scikit-learn. A fit also ends, whatever `tol`, when an update leaves all centers as they are.
    random_state : int, RandomState or None
        Decides the sample and the start.
    verbose, verbose_interval, n_threads, checkpoint, max_time, callback
        As in `GaussianMixture`. The objective that is told is minus the inertia.

    Attributes
    ----------
    cluster_centers_ : (k, d) array
        The centers, in the data's own units.
    labels_ : (n,) array of int
        The cluster of each row, after a fit to rows in memory. After a fit to files or a cluster there are none:
        `predict_to` writes them as they are found.
    inertia_ : float
        Sum of the weighted squared distances of the rows to their centers.
    n_iter_ : int
        Updates that were made.
    converged_ : bool
        Whether the fit ended by itself, not at a limit.
    result_ : EMResult
        How the fit went; ``result_.objective`` is minus the inertia after each update, ``result_.events`` tell of
        clusters that lost all rows, and ``result_.agreement`` how many restarts came to the least inertia.
    n_features_in_, feature_names_in_, model_, params_
        As in `GaussianMixture`.

    Notes
    -----
    Lloyd's algorithm (formulas K6 to K9), which is EM with hard assignment, on the engine of the mixtures: one pass
    over the rows an update, nothing of size n held, the same bits for any number of threads.

    A cluster that loses all its rows takes over one half of that of the largest inertia. Where there are fewer
    different rows than clusters, some clusters stay without rows; a `CollapseWarning` names them.

    Examples
    --------
    >>> from mixtura import KMeans
    >>> rows = [[1.0, 2.0], [1.0, 4.0], [1.0, 0.0], [10.0, 2.0], [10.0, 4.0], [10.0, 0.0]]
    >>> fit = KMeans(2, random_state=0).fit(rows)
    >>> sorted(fit.cluster_centers_.tolist()), fit.inertia_
    ([[1.0, 2.0], [10.0, 2.0]], 16.0)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{name: kinds for name, kinds in Iterated._parameter_constraints.items() if name != "acceleration"},
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({SPREAD, RANDOM}), callable, "array-like"],
        "n_init": [StrOptions({AUTO}), Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = SPREAD,
        n_init: int | str = AUTO,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = None,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        checkpoint: str | PathLike[str] | None = None,
        max_time: float | None = None,
        callback: Callable[[State[Any]], Any] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads
        self.checkpoint = checkpoint
        self.max_time = max_time
        self.callback = callback

    def _make_model(self) -> kmeans.KMeans:
        return kmeans.KMeans(self.n_clusters)

    @property
    def _n_features_out(self) -> int:
        return self.model_.n_clusters

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the centers, keeping the best of `n_init` restarts.

        Parameters
        ----------
        X : array-like or table of shape (n, d), or vector or series of shape (n,), or what `as_source` takes
            The rows: arrays of any real dtype and strides; tables; paths of files; Dask and Spark data.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n,), or str or int, optional
            Row weights, or the column of `X` that holds them; a weight of w stands for w copies of the row.

        Returns
        -------
        self
            The fitted estimator. If an error is raised, it stays exactly as it was.

        Raises
        ------
        ValueError
            For options, rows, weights or centers that cannot be; the message names the place.
        TypeError
            For sparse matrices, and dates.
        """
        trial = copy.copy(self)  # a failed fit must leave nothing behind
        trial._fit(X, sample_weight)
        self.__dict__ = trial.__dict__
        return self

    def _fit(self, X: Any, sample_weight: Any) -> None:
        self._validate_params()
        deadline = self._deadline()
        self._forget()
        source = read(self, X, sample_weight, reset=True)
        model = self._make_model()
        with self._running(source, warm=False) as checkpoint:
            found = survey(source, model.family)
            frame = model.family.frame(found.low, found.high, found.centre)
            resumed = checkpoint is not None and checkpoint.saved is not None
            results = drive(
                source,
                model,
                [] if resumed else list(self._make_starts(source, frame)),
                tol=self.tol,
                max_iter=self.max_iter,
                ascent=Lloyd(),
                deadline=deadline,
                checkpoint=checkpoint,
            )
            tell_restarts(results)
            best = highest(results)
            resolved = self.tol * abs(best.loglik) / best.weight  # `tol` is a share of the variance
            self._publish(model, replace(best, agreement=Agreement.among(results, resolved)))
            if isinstance(source, ArraySource):
                self.labels_ = self._posterior(source, "labels").labels

    def _make_starts(self, source: Source, frame: Frame) -> Iterator[KMeansParams]:
        """Yield one start for each restart."""
        size = max(starts.SAMPLE_ROWS, starts.SAMPLE_ROWS_A_COMPONENT * self.n_clusters)
        given = not (isinstance(self.init, str) or callable(self.init))
        random = check_random_state(self.random_state)
        for _ in range(1 if given else self._n_restarts()):
            rng = np.random.default_rng(random.randint(np.iinfo(np.int32).max))
            rows, weight = draws.put_in_order(*source.sample(size, rng))
            if len(rows) < self.n_clusters:
                raise ValueError(
                    f"n_samples={len(rows)} should be >= n_clusters={self.n_clusters} (rows of weight 0 do not count)"
                )
            if given or callable(self.init):
                centers = self.init if given else self.init(rows, self.n_clusters, random)
                yield KMeansParams.start(frame, frame.enter(self._check_centers(centers, source.n_features)))
            else:
                draw = draws.spread_out if self.init == SPREAD else draws.draw_rows
                yield KMeansParams.start(frame, draw(frame.enter(rows), weight, self.n_clusters, [rng])[0])

    def _n_restarts(self) -> int:
        if self.n_init == AUTO:
            return 1 if self.init == SPREAD else MORE_RANDOM
        return int(self.n_init)

    def _check_centers(self, centers: Any, d: int) -> FloatArray:
        """Return centers that the user gave, or raise a `ValueError` that tells what is wrong with them."""
        found: FloatArray = np.asarray(centers, dtype=np.float64)
        if found.shape != (self.n_clusters, d):
            raise ValueError(
                f"init: centers of shape {found.shape}, expected (n_clusters, columns) = ({self.n_clusters}, {d})"
            )
        if not np.isfinite(found).all():
            row, column = np.argwhere(~np.isfinite(found))[0]
            raise ValueError(f"init: center {row}, column {column} is {found[row, column]}, expected a finite number")
        return found

    def _publish(self, model: kmeans.KMeans, result: EMResult[KMeansParams]) -> None:
        """Set the fitted attributes and warn of what the user should know."""
        self._set_fitted(model, result)
        if result.events:
            alert(tell(result.events), CollapseWarning)
        if not result.converged and self.max_iter > 0 and result.status is not Status.STOPPED:
            alert(
                f"The fit did not converge: {result.status.message}. Increase max_iter or tol.",
                ConvergenceWarning,
            )

    def _set_params(self, model: kmeans.KMeans, params: KMeansParams) -> None:
        self.model_, self.params_ = model, params
        self.cluster_centers_ = params.frame.leave(params.centers)

    def _set_value(self, loglik: float) -> None:
        self.inertia_ = -loglik

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from one more batch of a stream, by the rule of `GaussianMixture.partial_fit`.

        The first batch is fitted as `fit` does; each further one moves each center towards the mean of its rows in the
        batch. `inertia_` and `result_` then are of this batch, at the centers before it.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self
            With the new centers, and without `labels_`.

        Raises
        ------
        ValueError, TypeError
            As `fit`; the estimator then stays exactly as it was.
        """
        if not hasattr(self, "params_"):
            return self.fit(X, y, sample_weight)
        self._validate_params()
        if self.n_clusters != self.model_.n_clusters:
            raise ValueError(
                f"partial_fit goes on from a fit with n_clusters={self.model_.n_clusters}, not {self.n_clusters}: "
                f"fit a new estimator"
            )
        source = read(self, X, sample_weight, reset=False)
        batches = getattr(self, "n_batches_", 1)
        with using_threads(self.n_threads):
            survey(source, self.model_.family)
            params, trace = take_in(source, self.model_, self.params_, batches)
        self.__dict__.pop("labels_", None)  # those rows are not these
        self._set_fitted(self.model_, replace(trace.result(Status.STREAM), params=params))
        self.n_batches_ = batches + 1
        if trace.events:
            alert(tell(trace.events), CollapseWarning)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> IntArray:
        """Fit to the rows of `X` and return the cluster of each, (n,)."""
        self.fit(X, y, sample_weight)
        return self.labels_ if hasattr(self, "labels_") else self.predict(X)

    def predict(self, X: Any) -> IntArray:
        """Return the number of the nearest center of each row of `X`, (n,): of equally near ones the first."""
        return self._posterior(self._read(X), "labels").labels

    def predict_to(self, X: Any, path: str | PathLike[str]) -> None:
        """Write the cluster of each row of `X`, and its distance to the center, to a file, as they are found.

        Parameters
        ----------
        X : array-like, table, path or source
            The rows, as for `fit`: they may be more than memory holds.
        path : path
            A `.parquet`, `.csv` or `.npy` file; the last has structured rows. Its columns are ``label`` and
            ``distance``. It is written whole or not at all.

        Raises
        ------
        ValueError
            For rows that cannot be, and another suffix.
        ImportError
            If pyarrow, which writes Parquet and CSV, is not installed.
        """
        source = self._read(X)
        with using_threads(self.n_threads), open_sink(path, source.n_rows) as write:
            for found in posteriors(source, self.model_, self.params_, "densities", PIECE_VALUES):
                write({"label": found.labels, "distance": np.sqrt(-found.loglik)})

    def transform(self, X: Any) -> FloatArray:
        """Return the distance of each row of `X` to each center, (n, k)."""
        source, model, params = self._read(X), self.model_, self.params_
        survey(source, model.family)
        return np.concatenate(list(source.map_rows(partial(_distances, model, params))))

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> FloatArray:
        """Fit to the rows of `X` and return their distances to the centers, (n, k)."""
        return self.fit(X, y, sample_weight).transform(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the inertia of the rows of `X`: the higher the better."""
        check_is_fitted(self)
        source = read(self, X, sample_weight, reset=False)
        with using_threads(self.n_threads):
            survey(source, self.model_.family)
            return float(evaluate(source, self.model_, self.params_).loglik)

    def _read(self, X: Any) -> Source:
        check_is_fitted(self)
        return read(self, X, reset=False)

    def _posterior(self, source: Source, wanted: Wanted) -> Posterior:
        """Return what is known of each row, after checking them."""
        with using_threads(self.n_threads):
            return Posterior.join(list(posteriors(source, self.model_, self.params_, wanted)))


def _distances(model: kmeans.KMeans, params: KMeansParams, chunk: Chunk) -> FloatArray:
    return model.distances(params, chunk.packed().x)
