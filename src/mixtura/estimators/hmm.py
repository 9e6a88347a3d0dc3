"""`HMM`: a hidden Markov model of any family, fitted by Baum-Welch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mixtura import init
from mixtura._types import FloatArray, IntArray
from mixtura.alerts import alert
from mixtura.em import EMResult, State, Status, drive
from mixtura.estimators.emissions import are_all, by_their_names, fixed_fields, with_given
from mixtura.estimators.iterated import QUASI_NEWTON, Iterated, tell_restarts
from mixtura.estimators.outcome import highest, tell
from mixtura.estimators.sequences import read_sequences
from mixtura.exceptions import CollapseWarning
from mixtura.grid import BLOCK_ROWS, Chunk, Sequences
from mixtura.kernels.threads import using_threads
from mixtura.models.hmm import ChainPrior, HiddenMarkov, HMMParams, check_probabilities
from mixtura.models.mixture import Mixture
from mixtura.sources.sequences import SequenceSource
from mixtura.survey import Survey, find_bad, refuse, survey


class HMM(Iterated):
    """Hidden Markov model: each row of a sequence comes from a state, and the states from a Markov chain.

    Parameters
    ----------
    family : Family
        Distribution of a row in a state, such as `families.Gaussian(Full())`.
    n_states : int, default 1
        Number of states, k.
    startprob_prior, transmat_prior : float or array, default 1.0
        Dirichlet parameters, from 1, of first states (k,) and transitions (k, k): less 1, they are counts that are
        added. 1 is maximum likelihood.
    startprob_init, transmat_init : (k,), (k, k) array, optional
        Where to start; uniform by default. A probability of 0 stays 0, so a band of positive ones is a banded chain.
    emissions_init : dict of str to array, optional
        Parameters of the states to start from, by their attributes' names without the last underscore, such as
        ``{"means": ...}``; what is not given is found by `init_params`.
    fixed : sequence of {"startprob", "transmat", "emissions"}, default ()
        What stays as it started.
    tol : float, default 1e-4
        Stop when less than this is left to gain, by estimate, in the log-likelihood per row.
    max_iter : int, default 100
        Most updates in one restart.
    n_init : int, default 1
        Restarts, of which the best is kept; each pass over the data serves all of them.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}, default "kmeans"
        How states are found to start from, as if rows were in no order.
    acceleration, random_state, verbose, verbose_interval, n_threads, checkpoint, max_time, callback
        As in `GaussianMixture`.

    Attributes
    ----------
    startprob_ : (k,) array
        Probabilities of the first state.
    transmat_ : (k, k) array
        Probabilities of the next state (column) after each (row).
    means_, rates_, probs_, ... : array
        Whatever the family's parameters are called, in the data's own units; also by hmmlearn's names ``covars_``,
        ``lambdas_`` and ``emissionprob_``.
    loglik_ : float
        Total log-likelihood of the weighted sequences at the returned parameters, natural logarithm, all constants.
    converged_, n_iter_, result_, model_, params_, n_features_in_, feature_names_in_
        As in `GaussianMixture`.

    Examples
    --------
    >>> from mixtura import HMM
    >>> from mixtura.families import Poisson
    >>> counts = [1, 0, 1, 9, 8, 11, 9, 1, 0, 0, 2, 10, 9]
    >>> hmm = HMM(Poisson(), 2, random_state=0).fit(counts, lengths=[7, 6])
    >>> states = hmm.predict(counts, lengths=[7, 6])
    >>> (states == states[0]).astype(int).tolist()
    [1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Iterated._parameter_constraints,
        "family": [object],
        "n_states": [Interval(Integral, 1, None, closed="left")],
        "startprob_prior": [Interval(Real, 1.0, None, closed="left"), "array-like"],
        "transmat_prior": [Interval(Real, 1.0, None, closed="left"), "array-like"],
        "startprob_init": ["array-like", None],
        "transmat_init": ["array-like", None],
        "emissions_init": [dict, None],
        "fixed": [list, tuple],
        "init_params": [StrOptions(set(init.METHODS))],
    }

    def __init__(
        self,
        family: Any,
        n_states: int = 1,
        *,
        startprob_prior: Any = 1.0,
        transmat_prior: Any = 1.0,
        startprob_init: Any = None,
        transmat_init: Any = None,
        emissions_init: dict[str, Any] | None = None,
        fixed: Any = (),
        tol: float = 1e-4,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        acceleration: str | None = QUASI_NEWTON,
        random_state: Any = None,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        checkpoint: str | PathLike[str] | None = None,
        max_time: float | None = None,
        callback: Callable[[State[Any]], Any] | None = None,
    ) -> None:
        self.family = family
        self.n_states = n_states
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.startprob_init = startprob_init
        self.transmat_init = transmat_init
        self.emissions_init = emissions_init
        self.fixed = fixed
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.acceleration = acceleration
        self.random_state = random_state
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads
        self.checkpoint = checkpoint
        self.max_time = max_time
        self.callback = callback

    def _make_model(self) -> HiddenMarkov[Any]:
        if isinstance(self.family, type) or not hasattr(self.family, "log_density"):
            raise TypeError(f"family is {self.family!r}, expected an object such as mixtura.families.Poisson()")
        prior = ChainPrior(self.startprob_prior, self.transmat_prior)
        return HiddenMarkov(self.family, self.n_states, prior, fixed_fields(self.fixed))

    def fit(self, X: Any, lengths: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the parameters by EM (Baum-Welch), keeping the best of `n_init` restarts.

        Parameters
        ----------
        X : array-like or table of shape (n, d), or vector or series of shape (n,)
            The rows of all sequences, one sequence after another. Where the family takes missing values, as the
            Gaussian does, NaN is one; a row of NaN alone has density 1 in every state.
        lengths : (m,) array of int, optional
            Rows of each sequence, n together; by default all rows are one sequence.
        sample_weight : (m,) array, optional
            Weights of the sequences; a weight of w stands for w copies of the sequence.

        Returns
        -------
        self
            The fitted estimator. If an error is raised, it stays exactly as it was.

        Raises
        ------
        ValueError
            For options, rows, lengths or weights that cannot be; the message names the place.
        TypeError
            For what is not in memory: sequences are not read from files or clusters.
        """
        trial = copy.copy(self)  # a failed fit must leave nothing behind
        trial._fit(X, lengths, sample_weight)
        self.__dict__ = trial.__dict__
        return self

    def _fit(self, X: Any, lengths: Any, sample_weight: Any) -> None:
        self._validate_params()
        deadline = self._deadline()
        self._forget()
        source = read_sequences(self, X, lengths, sample_weight, reset=True)
        model = self._make_model()
        if source.n_positive < self.n_states:
            raise ValueError(
                f"Expected n_samples >= n_states but got n_states = {self.n_states}, n_samples = {source.n_positive} "
                f"(rows of weight 0 do not count)"
            )
        with self._running(source, warm=False) as checkpoint:
            tolerant = model.for_missing()
            found = survey(source.rows, tolerant.family)
            fitted = tolerant if found.n_missing else model
            resumed = checkpoint is not None and checkpoint.saved is not None
            results = drive(
                source,
                fitted,
                [] if resumed else list(self._make_starts(source, fitted, found)),
                tol=self.tol,
                max_iter=self.max_iter,
                ascent=self._ascent(),
                deadline=deadline,
                checkpoint=checkpoint,
            )
        tell_restarts(results)
        self._publish(model, highest(results))

    def _make_starts(self, source: SequenceSource, model: HiddenMarkov[Any], found: Survey) -> Iterator[HMMParams[Any]]:
        """Yield one start for each of `n_init` restarts: the states as components, of a chain that forgets."""
        k = self.n_states
        startprob = _given_probabilities("startprob_init", self.startprob_init, (k,))
        transmat = _given_probabilities("transmat_init", self.transmat_init, (k, k))
        mixture, given = Mixture(model.family, k), self.emissions_init or {}
        random = check_random_state(self.random_state)
        for _ in range(self.n_init):
            rng = np.random.default_rng(random.randint(np.iinfo(np.int32).max))
            theta, shares = init.blank(mixture, found), np.full(k, 1 / k)
            if not are_all(model.family, theta, given):
                start = init.start(source.rows, mixture, found, self.init_params, rng)
                theta, shares = start.components, start.weights
            components = with_given(model.family, theta, given, k, source.n_features)
            exits = shares * (1 - source.n_sequences / source.n_rows)
            yield HMMParams(startprob, transmat, components, visits=shares, exits=exits)

    def _publish(self, model: HiddenMarkov[Any], result: EMResult[HMMParams[Any]]) -> None:
        """Set the fitted attributes and warn of what the user should know."""
        self._set_fitted(model, result)
        if result.events:
            alert(tell(result.events), CollapseWarning)
        if not result.converged and self.max_iter > 0 and result.status is not Status.STOPPED:
            alert(
                f"The fit did not converge: {result.status.message}. Allow more iterations, "
                "or a larger tol, or check the data.",
                ConvergenceWarning,
            )

    def _set_params(self, model: HiddenMarkov[Any], params: HMMParams[Any]) -> None:
        self.model_, self.params_ = model, params
        self.startprob_, self.transmat_ = params.startprob.copy(), params.transmat.copy()
        for name, value in by_their_names(model.family.attributes(params.components)).items():
            setattr(self, name, value)

    def predict(self, X: Any, lengths: Any = None) -> IntArray:
        """Return the states (n,) of the most probable path of each sequence (Viterbi)."""
        return self.decode(X, lengths)[1]

    def decode(self, X: Any, lengths: Any = None, algorithm: str = "viterbi") -> tuple[float, IntArray]:
        """Return the states that are most probable, and how probable they are.

        Parameters
        ----------
        X : array-like or table of shape (n, d), or vector of shape (n,)
            The rows.
        lengths : (m,) array of int, optional
            Rows of each sequence.
        algorithm : {"viterbi", "map"}
            The path of each sequence that is most probable as a whole, or the most probable state of each row.

        Returns
        -------
        log_prob : float
            Log-probability of the rows and the paths; for "map" the sum of the states' probabilities, as in hmmlearn.
        states : (n,) array of int
            The states.

        Raises
        ------
        ValueError
            For another algorithm, and for rows or lengths that cannot be.
        """
        if algorithm == "map":
            resp = self.predict_proba(X, lengths)
            return float(resp.max(axis=1).sum()), resp.argmax(axis=1)
        if algorithm != "viterbi":
            raise ValueError(f"algorithm is {algorithm!r}, expected 'viterbi' or 'map'")
        blocks = self._blocks(X, lengths)
        found = [model.best_paths(self.params_, block, compiled=compiled) for model, block, compiled in blocks]
        return float(sum(scores.sum() for scores, _ in found)), np.concatenate([path for _, path in found])

    def predict_proba(self, X: Any, lengths: Any = None) -> FloatArray:
        """Return the probability (n, k) of each state for each row, given all rows of its sequence."""
        return self.score_samples(X, lengths)[1]

    def score(self, X: Any, lengths: Any = None) -> float:
        """Return the total log-likelihood of the sequences, natural logarithm."""
        return self.score_samples(X, lengths)[0]

    def score_samples(self, X: Any, lengths: Any = None) -> tuple[float, FloatArray]:
        """Return the total log-likelihood of the sequences and the probabilities (n, k) of the states of their rows."""
        blocks = self._blocks(X, lengths)
        found = [model.smooth(self.params_, block, compiled=compiled) for model, block, compiled in blocks]
        return float(sum(loglik.sum() for loglik, _, _ in found)), np.concatenate([resp for _, resp, _ in found])

    def _blocks(self, X: Any, lengths: Any) -> Iterator[tuple[HiddenMarkov[Any], Sequences, bool]]:
        """Yield checked sequences block by block, with the model for them and whether it is compiled."""
        check_is_fitted(self)
        source = read_sequences(self, X, lengths, reset=False)
        tolerant = self.model_.for_missing()
        rows = Chunk(source.rows.x)
        if bad := find_bad(rows, tolerant.family):
            refuse(bad, 0, source, tolerant.family)
        model = tolerant if tolerant is not self.model_ and np.isnan(rows.x).any() else self.model_
        compiled = model.compiles(source.n_rows, source.n_features)
        with using_threads(self.n_threads):
            for chunk in source.chunks():
                for block in chunk.split(BLOCK_ROWS):
                    yield model, block.packed(), compiled

    def sample(self, n_samples: Any = 1, random_state: Any = None) -> tuple[FloatArray, IntArray]:
        """Draw one sequence of `n_samples` rows; return them (n_samples, d), and their states (n_samples,)."""
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples is {n_samples!r}, expected a whole number from 1")
        random = check_random_state(self.random_state if random_state is None else random_state)
        rng = np.random.default_rng(random.randint(np.iinfo(np.int32).max))
        return self.model_.sample(self.params_, int(n_samples), rng)

    def get_stationary_distribution(self) -> FloatArray:
        """Return the shares (k,) of the states in the long run: the distribution that a step leaves as it is.

        Raises
        ------
        ValueError
            If there are several: the chain has states that never lead to one another.
        """
        check_is_fitted(self)
        k = len(self.transmat_)
        steady = np.vstack([self.transmat_.T - np.eye(k), np.ones((1, k))])
        shares, _, rank, _ = np.linalg.lstsq(steady, np.eye(k + 1)[k])
        if rank < k:
            raise ValueError("there are several stationary distributions: some states never lead to one another")
        stationary: FloatArray = np.maximum(shares, 0.0) / np.maximum(shares, 0.0).sum()
        return stationary

    def aic(self, X: Any, lengths: Any = None) -> float:
        """Return the Akaike information criterion (formula O4), the lower the better."""
        return 2 * self.model_.n_parameters(self.params_) - 2 * self.score(X, lengths)

    def bic(self, X: Any, lengths: Any = None) -> float:
        """Return the Bayesian information criterion (formula O4), by the number of rows; the lower the better."""
        loglik, resp = self.score_samples(X, lengths)
        return self.model_.n_parameters(self.params_) * math.log(len(resp)) - 2 * loglik


def _given_probabilities(name: str, values: Any, shape: tuple[int, ...]) -> FloatArray:
    """Return probabilities to start from: those given, made to sum to 1, or equal ones."""
    if values is None:
        return np.full(shape, 1 / shape[-1])
    given = np.asarray(values, dtype=np.float64)
    check_probabilities(name, given, shape)
    probabilities: FloatArray = given / given.sum(axis=-1, keepdims=True)
    return probabilities
