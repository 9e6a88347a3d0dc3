"""`GaussianHMM`, `PoissonHMM`, `CategoricalHMM`: `HMM` by the names and arguments that hmmlearn has."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from mixtura._types import FloatArray
from mixtura.estimators.hmm import HMM
from mixtura.estimators.settable import NamedHMM, without_prior
from mixtura.families import Categorical, Diag, Full, Gaussian, Poisson, Spherical, Tied
from mixtura.families.covariance import Covariance
from mixtura.families.fixing import FixedGaussian

STRUCTURES: dict[str, type[Covariance[Any]]] = {kind.name: kind for kind in (Spherical, Diag, Full, Tied)}
MOST_SYMBOLS = 1 << 20  # a larger number is no symbol


class GaussianHMM(NamedHMM):
    """Hidden Markov model of Gaussian states, by hmmlearn's names: a drop-in for ``hmmlearn.hmm.GaussianHMM``.

    Parameters
    ----------
    n_components : int, default 1
        States, k.
    covariance_type : {"diag", "full", "tied", "spherical"}, default "diag"
        Structure of the covariances.
    min_covar, implementation
        Accepted, without effect: no variance falls below a floor of rounding, and nothing under- or overflows.
    startprob_prior, transmat_prior : float or array, default 1.0
        Dirichlet parameters from 1, of the first states (k,) and of the transitions (k, k); 1 is maximum likelihood.
    means_prior, means_weight, covars_prior, covars_weight
        As they are by default, or 0: this is maximum likelihood. `HMM` takes ``Gaussian(prior=...)``.
    algorithm : {"viterbi", "map"}, default "viterbi"
        What `decode` and `predict` find: the best path, or the best state of each row.
    random_state : int, RandomState or None
        Decides starts and samples.
    n_iter : int, default 10
        Most updates.
    tol : float, default 1e-2
        Stop when the log-likelihood has gained less than this. What is below 0 stops nothing.
    verbose : bool, default False
        Whether to print each iteration.
    params, init_params : str, default "stmc"
        What is updated, and what is initialized: ``s`` startprob_, ``t`` transmat_, ``m`` means_, ``c`` covars_. What
        is set before a fit and not initialized is where it starts.
    n_init : int, default 1
        Restarts, of which the best is kept.
    acceleration : {None, "quasi-newton"}, default None
        "quasi-newton" takes fewer iterations, which then are not Baum-Welch's.
    n_threads : int, optional
        Most threads.

    Attributes
    ----------
    startprob_ : (k,) array
        Probabilities of the first state.
    transmat_ : (k, k) array
        Probabilities of the next state (column) after each (row).
    means_ : (k, d) array
        Means.
    covars_ : (k, d, d) array
        Covariances, as matrices whatever the structure. To set them: (k, d) for "diag", (k,) for "spherical", (d, d)
        for "tied".
    monitor_ : ConvergenceMonitor
        How the fit went.
    loglik_, converged_, n_iter_, result_, model_, params_, n_features_in_, feature_names_in_
        As in `HMM`; ``hmm_`` is the `HMM` of the parameters.

    Examples
    --------
    >>> from mixtura import GaussianHMM
    >>> X = [[0.1], [-0.2], [0.0], [5.1], [4.8], [5.0], [0.2], [-0.1], [5.2], [4.9]]
    >>> model = GaussianHMM(2, n_iter=50, random_state=0).fit(X, lengths=[6, 4])
    >>> states = model.predict(X, lengths=[6, 4])
    >>> (states == states[0]).astype(int).tolist()
    [1, 1, 1, 0, 0, 0, 1, 1, 0, 0]
    """

    covariance_type: str
    min_covar: float
    means_prior: Any
    means_weight: Any
    covars_prior: Any
    covars_weight: Any

    _emissions: ClassVar[dict[str, str]] = {"means_": "means", "_covars_": "covariances"}
    _letters: ClassVar[dict[str, str]] = {"s": "startprob_", "t": "transmat_", "m": "means_", "c": "_covars_"}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **NamedHMM._parameter_constraints,
        "covariance_type": [StrOptions(set(STRUCTURES))],
    }

    def __init__(
        self,
        n_components: int = 1,
        covariance_type: str = "diag",
        min_covar: float = 1e-3,
        startprob_prior: Any = 1.0,
        transmat_prior: Any = 1.0,
        means_prior: Any = 0,
        means_weight: Any = 0,
        covars_prior: Any = 1e-2,
        covars_weight: Any = 1,
        algorithm: str = "viterbi",
        random_state: Any = None,
        n_iter: int = 10,
        tol: float = 1e-2,
        verbose: bool = False,
        params: str = "stmc",
        init_params: str = "stmc",
        implementation: str = "log",
        *,
        n_init: int = 1,
        acceleration: str | None = None,
        n_threads: int | None = None,
    ) -> None:
        self._keep(locals())

    def _make_family(self) -> Gaussian:
        for name, allowed in {"means_weight": (0,), "covars_prior": (0, 1e-2), "covars_weight": (0, 1)}.items():
            without_prior(name, getattr(self, name), allowed, "mixtura.HMM with Gaussian(prior=...)")
        structure, everyone = STRUCTURES[self.covariance_type](), tuple(range(self.n_components))
        if {"m", "c"} <= set(self.params) or not {"m", "c"} & set(self.params):
            return Gaussian(structure)
        if "m" in self.params:
            return FixedGaussian(structure, fixed_covariances=everyone)
        return FixedGaussian(structure, fixed_means=everyone)

    def _frame(self, family: Any, values: Mapping[str, Any], d: int) -> Any:
        means = np.asarray(values["means_"]).reshape(-1, d)
        found = np.asarray(values["_covars_"])
        if found.shape != (shape := family.covariance.shape(self.n_components, d)):
            raise ValueError(f"covars_ has shape {found.shape}, expected {shape} for {self.covariance_type!r}")
        spread = np.sqrt(np.abs(family.covariance.variances(found, self.n_components, d)))
        return family.frame((means - spread).min(axis=0), (means + spread).max(axis=0), means.mean(axis=0))

    @property
    def covars_(self) -> FloatArray:
        """Covariances, (k, d, d), whatever the structure."""
        if "_covars_" not in vars(self):
            raise AttributeError("covars_ is known after a fit, or once it is set")
        k, d = np.atleast_2d(self.means_).shape
        matrices = STRUCTURES[self.covariance_type]().expand(self._covars_, k, d)
        return np.array(matrices)

    @covars_.setter
    def covars_(self, values: Any) -> None:
        self._covars_ = np.array(values, dtype=np.float64)


class PoissonHMM(NamedHMM):
    """Hidden Markov model of independent counts, by hmmlearn's names: a drop-in for ``hmmlearn.hmm.PoissonHMM``.

    Parameters
    ----------
    n_components : int, default 1
        States, k.
    startprob_prior, transmat_prior, algorithm, random_state, n_iter, tol, verbose, implementation
        As in `GaussianHMM`.
    lambdas_prior, lambdas_weight
        As they are by default: this is maximum likelihood.
    params, init_params : str, default "stl"
        As in `GaussianHMM`; ``l`` is lambdas_.
    n_init, acceleration, n_threads
        As in `GaussianHMM`.

    Attributes
    ----------
    startprob_, transmat_
        As in `GaussianHMM`, and all else but means_ and covars_.
    lambdas_ : (k, d) array
        Expected counts.

    Examples
    --------
    >>> from mixtura import PoissonHMM
    >>> counts = [[1], [0], [1], [9], [8], [11], [9], [1], [0], [0], [2], [10], [9]]
    >>> model = PoissonHMM(2, n_iter=50, random_state=0).fit(counts, lengths=[7, 6])
    >>> sorted(model.lambdas_[:, 0].round(1).tolist())
    [0.7, 9.3]
    """

    lambdas_prior: Any
    lambdas_weight: Any

    _emissions: ClassVar[dict[str, str]] = {"lambdas_": "rates"}
    _letters: ClassVar[dict[str, str]] = {"s": "startprob_", "t": "transmat_", "l": "lambdas_"}

    def __init__(
        self,
        n_components: int = 1,
        startprob_prior: Any = 1.0,
        transmat_prior: Any = 1.0,
        lambdas_prior: Any = 0.0,
        lambdas_weight: Any = 0.0,
        algorithm: str = "viterbi",
        random_state: Any = None,
        n_iter: int = 10,
        tol: float = 1e-2,
        verbose: bool = False,
        params: str = "stl",
        init_params: str = "stl",
        implementation: str = "log",
        *,
        n_init: int = 1,
        acceleration: str | None = None,
        n_threads: int | None = None,
    ) -> None:
        self._keep(locals())

    def _make_family(self) -> Poisson:
        for name in ("lambdas_prior", "lambdas_weight"):
            without_prior(name, getattr(self, name), (0,), "mixtura.HMM with a family of yours: Poisson has no prior")
        return Poisson()


class CategoricalHMM(NamedHMM):
    """Hidden Markov model of symbols, by hmmlearn's names: a drop-in for ``hmmlearn.hmm.CategoricalHMM``.

    Parameters
    ----------
    n_components : int, default 1
        States, k.
    startprob_prior, transmat_prior, algorithm, random_state, n_iter, tol, verbose, implementation
        As in `GaussianHMM`.
    emissionprob_prior
        As it is by default: this is maximum likelihood.
    n_features : int, optional
        Symbols, m, numbered from 0; by default as many as `emissionprob_` has, or the rows of the first fit, which
        sets it.
    params, init_params : str, default "ste"
        As in `GaussianHMM`; ``e`` is emissionprob_.
    n_init, acceleration, n_threads
        As in `GaussianHMM`.

    Attributes
    ----------
    startprob_, transmat_
        As in `GaussianHMM`, and all else but means_ and covars_.
    emissionprob_ : (k, m) array
        Probabilities of the symbols.

    Examples
    --------
    >>> from mixtura import CategoricalHMM
    >>> symbols = [[0], [1], [0], [2], [2], [2], [1], [0], [2], [2]]
    >>> model = CategoricalHMM(2, n_iter=100, random_state=0).fit(symbols)
    >>> model.emissionprob_.shape
    (2, 3)
    """

    emissionprob_prior: Any
    n_features: int | None

    _emissions: ClassVar[dict[str, str]] = {"emissionprob_": "probs"}
    _letters: ClassVar[dict[str, str]] = {"s": "startprob_", "t": "transmat_", "e": "emissionprob_"}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **NamedHMM._parameter_constraints,
        "n_features": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int = 1,
        startprob_prior: Any = 1.0,
        transmat_prior: Any = 1.0,
        *,
        emissionprob_prior: Any = 1.0,
        n_features: int | None = None,
        algorithm: str = "viterbi",
        random_state: Any = None,
        n_iter: int = 10,
        tol: float = 1e-2,
        verbose: bool = False,
        params: str = "ste",
        init_params: str = "ste",
        implementation: str = "log",
        n_init: int = 1,
        acceleration: str | None = None,
        n_threads: int | None = None,
    ) -> None:
        self._keep(locals())

    def _make_family(self) -> Categorical:
        without_prior(
            "emissionprob_prior",
            self.emissionprob_prior,
            (1,),
            "a family of yours in mixtura.HMM: Categorical has no prior",
        )
        if self.n_features is None:
            raise ValueError("n_features is not known: give it, fit the model, or set emissionprob_")
        return Categorical(int(self.n_features))

    def _look_at(self, X: Any) -> None:
        if self.n_features is None and "emissionprob_" in vars(self) and "e" not in self.init_params:
            self.n_features = np.shape(self.emissionprob_)[1]
        if self.n_features is None:
            most = float(np.max(np.asarray(X, dtype=np.float64), initial=0.0))
            if not most < MOST_SYMBOLS:
                raise ValueError(f"symbols are whole numbers from 0 to m - 1, found {most}")
            self.n_features = int(most) + 1

    def _stored(self, name: str) -> Any:
        """Return a parameter as a family takes it: each row has one symbol."""
        values = super()._stored(name)
        return values[:, None] if name == "emissionprob_" else values

    def _assemble(self, values: Mapping[str, Any]) -> HMM:
        if self.n_features is None:
            self.n_features = values["emissionprob_"].shape[-1]
        return super()._assemble(values)
