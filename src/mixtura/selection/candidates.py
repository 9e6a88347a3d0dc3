"""Estimators that differ in what is tried and in nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from mixtura.estimators.base import BaseMixture
from mixtura.estimators.gaussian_mixture import GaussianMixture

PATIENT = 1000  # most updates: fits that are compared go further than others


def make_template(estimator: Any, options: Mapping[str, Any] = MappingProxyType({})) -> BaseMixture:
    """Return an unfitted estimator with these options; a patient `GaussianMixture` where there is none."""
    template: BaseMixture = clone(GaussianMixture(max_iter=PATIENT) if estimator is None else estimator).set_params(
        **options
    )
    return template


def make_candidates(template: BaseMixture, tried: Sequence[Mapping[str, Any]]) -> list[BaseMixture]:
    """Return one estimator for each of the options that are tried, all with one seed: they start from one sample.

    Raises
    ------
    ValueError
        For an option of the template that cannot be.
    """
    seed = template.random_state
    if not isinstance(seed, Integral):
        seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
    candidates = [make_template(template, {**options, "random_state": seed, "checkpoint": None}) for options in tried]
    candidates[0]._validate_params()
    return candidates


def tell_columns(estimators: Sequence[BaseMixture], reader: Any) -> None:
    """Set the number and the names of the columns to those of the estimator that read the rows."""
    for estimator in estimators:
        for name in {"n_features_in_", "feature_names_in_"} & vars(reader).keys():
            setattr(estimator, name, getattr(reader, name))
