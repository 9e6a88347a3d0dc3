"""Fit Gaussian mixtures, and other latent-variable models, by the EM algorithm on data of any size.

Names are imported when they are first used, so that ``import mixtura`` costs little more than Python itself.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixtura import em, families
    from mixtura.estimators.gaussian_mixture import GaussianMixture
    from mixtura.estimators.hmm import HMM
    from mixtura.estimators.kmeans import KMeans
    from mixtura.estimators.loading import load
    from mixtura.estimators.mixture_model import MixtureModel
    from mixtura.estimators.named_hmm import CategoricalHMM, GaussianHMM, PoissonHMM
    from mixtura.selection import MixtureIC, bootstrap_lrt, fit_density, select
    from mixtura.sources import as_source
    from mixtura.sources.histogram import Histogram
    from mixtura.stats import Stats

    __version__: str

__all__ = [
    "HMM",
    "CategoricalHMM",
    "GaussianHMM",
    "GaussianMixture",
    "Histogram",
    "KMeans",
    "MixtureIC",
    "MixtureModel",
    "PoissonHMM",
    "Stats",
    "__version__",
    "as_source",
    "bootstrap_lrt",
    "em",
    "families",
    "fit_density",
    "load",
    "select",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent unless the application asks

_MODULES = ("em", "families")
_HOMES = {
    "HMM": "mixtura.estimators.hmm",
    "CategoricalHMM": "mixtura.estimators.named_hmm",
    "GaussianHMM": "mixtura.estimators.named_hmm",
    "GaussianMixture": "mixtura.estimators.gaussian_mixture",
    "Histogram": "mixtura.sources.histogram",
    "KMeans": "mixtura.estimators.kmeans",
    "MixtureIC": "mixtura.selection",
    "MixtureModel": "mixtura.estimators.mixture_model",
    "PoissonHMM": "mixtura.estimators.named_hmm",
    "Stats": "mixtura.stats",
    "as_source": "mixtura.sources",
    "bootstrap_lrt": "mixtura.selection",
    "fit_density": "mixtura.selection",
    "load": "mixtura.estimators.loading",
    "select": "mixtura.selection",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"mixtura.{name}")
    if name == "__version__":
        return import_module("importlib.metadata").version("mixtura")
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mixtura' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
