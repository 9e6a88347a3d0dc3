"""Parameters of the states of a hidden Markov model, by the names that users know them by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.families import Gaussian

THEIR_NAMES = {"covariances_": "covars_", "rates_": "lambdas_"}  # hmmlearn's


FIXED = {"startprob": "startprob", "transmat": "transmat", "emissions": "components"}  # and their fields


def fixed_fields(names: Sequence[str]) -> tuple[str, ...]:
    """Return the fields of the parameters that an option `fixed` means, or raise a `ValueError`."""
    if unknown := [name for name in names if name not in FIXED]:
        raise ValueError(f"fixed has {unknown[0]!r}, expected some of {', '.join(FIXED)}")
    return tuple(FIXED[name] for name in names)


def by_their_names(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return fitted attributes, those that hmmlearn has also by its names."""
    more = {THEIR_NAMES[name]: value for name, value in attributes.items() if name in THEIR_NAMES}
    probs = attributes.get("probs_")
    if probs is not None and probs.ndim == 3 and probs.shape[1] == 1:
        more["emissionprob_"] = probs[:, 0]
    return {**attributes, **more}


def are_all(family: Any, theta: Any, given: Mapping[str, Any]) -> bool:
    """Tell whether the user gave all parameters of the states."""
    if isinstance(family, Gaussian):
        return {"means", "covariances"} <= set(given)
    return is_dataclass(theta) and {field.name for field in fields(theta)} <= set(given)


def with_given(family: Any, theta: Any, given: Mapping[str, Any], k: int, d: int) -> Any:
    """Return parameters with what the user gave in their place, or raise a `ValueError` that names what cannot be."""
    arrays = {name: np.array(value, dtype=np.float64) for name, value in given.items()}
    if isinstance(family, Gaussian):
        return _gaussian(family, theta, arrays, k, d)
    for name, values in arrays.items():
        if not isinstance(getattr(theta, name, None), np.ndarray):
            raise ValueError(f"emissions_init has {name!r}, which the family {family.name!r} has not")
        if not np.isfinite(values).all():
            raise ValueError(f"emissions_init: {name} has values that are not finite")
    theta = replace(theta, **arrays)
    family.check(theta, k, d)
    return theta


def _gaussian(family: Gaussian, theta: Any, arrays: Mapping[str, FloatArray], k: int, d: int) -> Any:
    """Return Gaussian parameters with means (k, d) and covariances, in the shape of the structure, that were given."""
    structure = family.covariance
    expected = {"means": (k, d), "covariances": structure.shape(k, d)}
    for name, values in arrays.items():
        if name not in expected:
            raise ValueError(f"emissions_init has {name!r}, expected 'means' or 'covariances'")
        if values.shape != expected[name] or not np.isfinite(values).all():
            raise ValueError(f"emissions_init: {name} has shape {values.shape}, expected finite {expected[name]}")
    if "means" in arrays:
        theta = family.with_means(theta, arrays["means"])
    if "covariances" in arrays:
        inverse = np.reciprocal if structure.name in ("diag", "spherical") else np.linalg.inv
        try:
            theta = family.with_precisions(theta, np.asarray(inverse(arrays["covariances"]), dtype=np.float64))
        except (ValueError, np.linalg.LinAlgError):
            raise ValueError("emissions_init: covariances must be positive definite") from None
    return theta
