"""`GaussianMixture`: scikit-learn's names and meanings, on data of any size, with weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from numbers import Real
from os import PathLike
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mixtura._types import FloatArray
from mixtura.compression import Compressed
from mixtura.em import State, Status
from mixtura.estimators.base import POLICIES, BaseMixture
from mixtura.estimators.imputing import Imputing
from mixtura.estimators.iterated import QUASI_NEWTON
from mixtura.estimators.joint import JointDensity
from mixtura.estimators.outcome import warn
from mixtura.estimators.starts import check_fixed, check_given, check_means, check_precisions, check_weights
from mixtura.families import Diag, Full, Spherical, Tied
from mixtura.families.conjugate import ComponentPrior, Spread
from mixtura.families.covariance import Covariance
from mixtura.families.fixing import Fixed, FixedGaussian
from mixtura.families.gaussian import Gaussian
from mixtura.init import Starts, blank
from mixtura.model import Source
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.models.weights import Dirichlet, Weighting
from mixtura.search import AUTO
from mixtura.survey import Survey

STRUCTURES: dict[str, Covariance[Any]] = {s.name: s for s in (Full(), Tied(), Diag(), Spherical())}


class GaussianMixture(Imputing, JointDensity):
    """Gaussian mixture fitted by maximum likelihood.

    Parameters
    ----------
    n_components : int, default 1
        Number of components, k.
    covariance_type : {"full", "tied", "diag", "spherical"}, default "full"
        Structure of the covariances.
    tol : float, default 1e-3
        Stop when less than this is left to gain, by estimate, in the mean log-likelihood; with ``acceleration=None``,
        as in scikit-learn, when it changes by less than this in one iteration.
    reg_covar : "auto" or float, default "auto"
        What keeps components from collapsing. "auto" is the prior `priors.Spread()`, by which each covariance has
        0.0001 of a row more, with the covariance of all rows: the same clusters in any units. A number is added to
        every variance at each update, in squared units of the data, as scikit-learn does with 1e-6. With 0, a component
        may collapse: see `on_collapse`.
    max_iter : int, default 100
        Most updates in one restart.
    n_init : int, default 1
        Restarts, of which the best is kept; each pass over the data serves all of them, and those that begin at one
        place, since the search for starts found it again, cost what one does.
    init_params : {"auto", "kmeans", "k-means++", "random", "random_from_data"}, default "auto"
        How to start, on a bounded sample of the rows. "auto" makes short EM runs on the sample from many starts, by
        k-means, k-means++ and random rows, on raw and whitened columns, and goes on from the best; where any of the
        following is given, it stands for "kmeans".
    acceleration : {"quasi-newton", None}, default "quasi-newton"
        How to go from one evaluation to the next. "quasi-newton" extrapolates the EM updates, which takes a fraction of
        the passes where EM is slow (docs/convergence.md); a step that would lower the objective is not taken. None is
        EM as it is; with ``init_params="kmeans"`` as well, it is what scikit-learn does.
    on_collapse : {"floor", "reseed", "drop", "raise"}, default "floor"
        What to do when a component loses its rows or its width: keep it at the floor of what the numbers can carry; let
        it take over one half of the widest component, at most as often as there are components; go on without it, so
        that the fit has fewer; or raise a `FitError`. A `CollapseWarning` and ``result_.events`` name the component,
        the iteration and what was done. Where all collapse at once, the data have no width, and the floor stays.
    compress : bool, default False
        For one column of very many rows: one pass cuts the values into fine cells, EM runs on these, from all starts,
        and passes over the rows go on from the best end, until `tol` is met there (docs/histograms.md). The fit is the
        same, in the time of some passes. `max_iter` and `n_iter_` count the updates by all rows only.
    weights_init : (k,) array, optional
        Weights to start from; they sum to 1.
    means_init : (k, d) array, optional
        Means to start from.
    precisions_init : array, optional
        Inverse covariances to start from, in the shape of `covariance_type`.
    random_state : int, RandomState or None
        Decides the starts and `sample`.
    warm_start : bool, default False
        Start from the parameters of the previous `fit`.
    verbose : int, default 0
        Above 0, print the objective every `verbose_interval` iterations.
    verbose_interval : int, default 10
        See `verbose`.
    n_threads : int, optional
        Most threads to use; all that this process may use by default. Changes no bit of the result.
    checkpoint : path, optional
        A file that holds the state of a fit after every pass. If it is there, a fit of the same data with the same
        options goes on from it and ends with the same bits; another fit is refused. A file that cannot be written
        costs a warning, not the fit.
    component_prior : ComponentPrior, optional
        What is known of means and covariances, such as ``priors.Spread(rows=0.1)``, in the place of what "auto" means.
    weight_prior : Dirichlet, optional
        What is known of the weights, such as ``priors.Dirichlet(2)``.
    fixed : Fixed, optional
        Which weights, means and covariances stay at their start, such as ``priors.Fixed(means=[0], weights=True)``.
    max_time : float, optional
        Seconds after which a fit ends with the best that it has, at least one pass; a pass in progress is abandoned.
    callback : callable, optional
        Called with a `mixtura.em.State` after every evaluation; if it returns something true, the fit ends there.

    Attributes
    ----------
    weights_ : (k,) array
        Mixing weights.
    means_ : (k, d) array
        Component means.
    covariances_, precisions_, precisions_cholesky_ : array
        (k, d, d) for "full", (d, d) for "tied", (k, d) for "diag", (k,) for "spherical".
    loglik_ : float
        Total log-likelihood of the weighted rows at the returned parameters, natural logarithm, all constants.
    converged_ : bool
        Whether `tol` was reached.
    n_iter_ : int
        Updates made in the best restart; ``result_.n_passes`` also counts steps that were not taken.
    lower_bound_, lower_bounds_ : float, list of float
        Objective, log-likelihood and log prior, per unit of weight: the last one, and one for every evaluation.
    result_ : EMResult
        Status, objective, passes and events of the best restart.
    model_, params_ : Mixture, MixtureParams
        The frozen model and its parameters.
    n_missing_, n_empty_ : int
        How many values were missing (NaN) from the rows of the last `fit` or batch, and from how many rows all were.
    n_batches_ : int
        Batches learnt from, after `partial_fit`.
    n_features_in_, feature_names_in_ : int, (d,) array of str
        As in scikit-learn.

    Notes
    -----
    The equations are in docs/formulas.md. Parameters are held in a frame, shifted and scaled to the data, so
    offsets and units cost no digits.

    Examples
    --------
    >>> import numpy as np
    >>> from mixtura import GaussianMixture
    >>> X = np.array([[1.0, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> mixture = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> sorted(mixture.means_[:, 0].round(6).tolist())
    [1.0, 10.0]
    >>> a, b = mixture.predict([[0, 0], [12, 3]])
    >>> bool(a != b)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMixture._parameter_constraints,
        "covariance_type": [StrOptions(set(STRUCTURES))],
        "reg_covar": [StrOptions({AUTO}), Interval(Real, 0.0, None, closed="left")],
        "component_prior": [ComponentPrior, None],
        "compress": ["boolean"],
        "weight_prior": [Dirichlet, None],
        "fixed": [Fixed, None],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float | str = AUTO,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "auto",
        acceleration: str | None = QUASI_NEWTON,
        compress: bool = False,
        on_collapse: str = "floor",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        component_prior: ComponentPrior | None = None,
        weight_prior: Dirichlet | None = None,
        fixed: Fixed | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        checkpoint: str | PathLike[str] | None = None,
        max_time: float | None = None,
        callback: Callable[[State[Any]], Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.acceleration = acceleration
        self.compress = compress
        self.on_collapse = on_collapse
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.component_prior = component_prior
        self.weight_prior = weight_prior
        self.fixed = fixed
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads
        self.checkpoint = checkpoint
        self.max_time = max_time
        self.callback = callback

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _make_model(self) -> Mixture[Any]:
        structure, prior, reg_covar = STRUCTURES[self.covariance_type], self.component_prior, self.reg_covar
        if reg_covar == AUTO:
            prior, reg_covar = prior or Spread(), 0.0
        k, fixed = self.n_components, self.fixed or Fixed()
        means, covariances = check_fixed(fixed, k, structure, self.on_collapse)
        family = (
            FixedGaussian(structure, float(reg_covar), prior, means, covariances)
            if means or covariances
            else Gaussian(structure, float(reg_covar), prior)
        )
        weighting = Weighting(self.weight_prior or Dirichlet(), fixed.among("weights", k))
        return Mixture(family, k, POLICIES[self.on_collapse], weighting=weighting)

    def _make_cold_starts(self, source: Source, model: Mixture[Any], found: Survey) -> Starts:
        family: Any = model.family
        k, d = self.n_components, source.n_features
        weights = None if self.weights_init is None else check_weights(self.weights_init, k)
        means = None if self.means_init is None else check_means(self.means_init, k, d)
        precisions = (
            None
            if self.precisions_init is None
            else check_precisions(self.precisions_init, self.covariance_type, family.covariance.shape(k, d))
        )
        check_given(self.fixed or Fixed(), weights, means, precisions)
        if weights is not None and means is not None and precisions is not None:
            begun = MixtureParams(weights=weights, components=blank(model, found))
            starts = Starts([begun])  # nothing is left to search for
        else:
            given = any(part is not None for part in (weights, means, precisions))
            method = (
                "kmeans" if given and self.init_params == AUTO else self.init_params
            )  # what is given stays as it is
            starts = self._search_starts(source, model, found, method)
        return starts._replace(
            params=[_with_given(family, start, weights, means, precisions) for start in starts.params]
        )

    def _make_starts(self, source: Source, model: Mixture[Any], found: Survey) -> Starts:
        if not self.compress:
            return super()._make_starts(source, model, found)
        compressed = Compressed.of(source, model, found)
        starts = super()._make_starts(compressed.values, compressed.model, found)
        end = compressed.advance(starts, self.tol, self._ascent())
        warn(end, self.tol)  # the passes over the rows will not see them again
        return starts if end.status is Status.DIVERGED else Starts([end.params], end.agreement, end.memory)

    def _check_same(self, model: Mixture[Any], what: str) -> None:
        super()._check_same(model, what)
        before, now = (vars(m.family)["covariance"].name for m in (self.model_, model))
        if before != now:
            raise ValueError(
                f"{what} goes on from a fit with covariance_type={before!r}, not {now!r}: fit a new estimator"
            )

    def to_sklearn(self) -> Any:
        """Return a fitted `sklearn.mixture.GaussianMixture` with the same parameters."""
        from sklearn.mixture import GaussianMixture as Peer

        check_is_fitted(self)
        options = {name: value for name, value in self.get_params().items() if name in Peer().get_params()}
        peer = Peer(
            **{name: value for name, value in options.items() if not (isinstance(value, str) and value == AUTO)}
        )
        for name in (
            "weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "converged_",
            "n_iter_", "lower_bound_", "lower_bounds_", "n_features_in_", "feature_names_in_",
        ):  # fmt: skip
            if hasattr(self, name):
                setattr(
                    peer,
                    name,
                    np.copy(value) if isinstance(value := getattr(self, name), np.ndarray) else value,
                )
        return peer


def _with_given(
    family: Gaussian,
    start: MixtureParams[Any],
    weights: FloatArray | None,
    means: FloatArray | None,
    precisions: FloatArray | None,
) -> MixtureParams[Any]:
    """Return a start with what the user gave in place of what was found."""
    theta = start.components
    if means is not None:
        theta = family.with_means(theta, means)
    if precisions is not None:
        theta = family.with_precisions(theta, precisions)
    return replace(start, components=theta, weights=start.weights if weights is None else weights)
