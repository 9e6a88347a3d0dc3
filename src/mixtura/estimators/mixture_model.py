"""`MixtureModel`: a mixture of any family."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any, ClassVar

from mixtura.em import State
from mixtura.estimators.base import POLICIES, BaseMixture
from mixtura.estimators.iterated import QUASI_NEWTON
from mixtura.estimators.one_column import OneColumn
from mixtura.model import COUNTING
from mixtura.models.mixture import Mixture
from mixtura.models.weights import Dirichlet, Weighting


class MixtureModel(OneColumn):
    """Mixture of one family fitted by maximum likelihood.

    Parameters
    ----------
    family : Family
        Distribution of a component, such as `families.Poisson()`.
    n_components : int, default 1
        Number of components, k.
    tol, max_iter, n_init, init_params, acceleration, on_collapse, weight_prior, random_state, warm_start, verbose, \
    verbose_interval, n_threads, checkpoint, max_time, callback
        As in `GaussianMixture`.

    Attributes
    ----------
    weights_ : (k,) array
        Mixing weights.
    rates_, means_, ... : array
        Whatever the family's parameters are called, in the data's own units.
    loglik_, converged_, n_iter_, lower_bound_, lower_bounds_, result_, model_, params_
        As in `GaussianMixture`.

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import Poisson
    >>> mixture = MixtureModel(Poisson(), 2, random_state=0).fit([0, 1, 0, 2, 1, 19, 22, 20])
    >>> sorted(mixture.rates_[:, 0].round(3).tolist())
    [0.8, 20.333]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMixture._parameter_constraints,
        "family": [object],
        "weight_prior": [Dirichlet, None],
    }

    def __init__(
        self,
        family: Any,
        n_components: int = 1,
        *,
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "auto",
        acceleration: str | None = QUASI_NEWTON,
        on_collapse: str = "floor",
        weight_prior: Dirichlet | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        checkpoint: str | PathLike[str] | None = None,
        max_time: float | None = None,
        callback: Callable[[State[Any]], Any] | None = None,
    ) -> None:
        self.family = family
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.acceleration = acceleration
        self.on_collapse = on_collapse
        self.weight_prior = weight_prior
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
        tags.input_tags.sparse = getattr(self.family, "measure", None) == COUNTING
        tags.input_tags.allow_nan = hasattr(self.family, "for_missing")
        return tags

    def _make_model(self) -> Mixture[Any]:
        if isinstance(self.family, type) or not hasattr(self.family, "log_density"):
            raise TypeError(f"family is {self.family!r}, expected an object such as mixtura.families.Poisson()")
        weighting = Weighting(self.weight_prior or Dirichlet())
        return Mixture(self.family, self.n_components, POLICIES[self.on_collapse], weighting=weighting)
