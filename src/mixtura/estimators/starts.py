"""Checks of what users give to start from; the wording is scikit-learn's, whose tests match it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from mixtura._types import FloatArray
from mixtura.families.covariance import Covariance
from mixtura.families.fixing import Fixed


def check_weights(weights: Any, k: int) -> FloatArray:
    """Return weights (k,) that sum to 1, or raise a `ValueError`."""
    weights = check_array(weights, input_name="weights_init", dtype=np.float64, ensure_2d=False, copy=True)
    _check_shape(weights, (k,), "weights")
    if (weights < 0).any() or (weights > 1).any():
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], "
            f"but got max value {weights.max():.5f}, min value {weights.min():.5f}"
        )
    if abs(1 - weights.sum()) > 1e-6:
        raise ValueError(f"The parameter 'weights' should be normalized, but got sum(weights) = {weights.sum():.5f}")
    return np.asarray(weights)


def check_means(means: Any, k: int, d: int) -> FloatArray:
    """Return finite means (k, d), or raise a `ValueError`."""
    means = check_array(means, input_name="means_init", dtype=np.float64, ensure_2d=False, copy=True)
    if means.shape == (k,) and d == 1:
        means = means[:, None]
    _check_shape(means, (k, d), "means")
    return np.asarray(means)


def check_precisions(precisions: Any, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Return precisions of the structure's shape, symmetric and positive definite, or raise a `ValueError`."""
    precisions = check_array(
        precisions, input_name="precisions_init", dtype=np.float64, ensure_2d=False, allow_nd=True, copy=True
    )
    _check_shape(precisions, shape, f"{name} precision")
    if name in ("diag", "spherical"):
        good = bool((precisions > 0).all())
        expected = "positive"
    else:
        symmetric = np.allclose(precisions, np.swapaxes(precisions, -1, -2), rtol=1e-7, atol=0)
        good = symmetric and bool((np.linalg.eigvalsh(precisions) > 0).all())
        expected = "symmetric, positive-definite"
    if not good:
        raise ValueError(f"'{name} precision' should be {expected}")
    return np.asarray(precisions)


def check_fixed(
    fixed: Fixed, k: int, structure: Covariance[Any], on_collapse: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the components, of k, whose means and covariances are fixed, or raise a `ValueError`."""
    weights, means, covariances = (fixed.among(what, k) for what in ("weights", "means", "covariances"))
    if 0 < len(covariances) < k and structure.n_matrices(k) < k:
        raise ValueError(
            f"Fixed: covariances names some components, but with covariance_type={structure.name!r} all share one: "
            f"fix it for all (True) or for none"
        )
    if (weights or means or covariances) and on_collapse in ("drop", "reseed"):
        raise ValueError(
            f"Fixed: on_collapse={on_collapse!r} would put something else in the place of what is fixed: "
            f"take 'floor' or 'raise'"
        )
    return means, covariances


def check_given(
    fixed: Fixed, weights: FloatArray | None, means: FloatArray | None, precisions: FloatArray | None
) -> None:
    """Raise a `ValueError` unless there is a value for all that is fixed, and something left for other weights."""
    for what, name, value in (
        ("weights", "weights_init", weights),
        ("means", "means_init", means),
        ("covariances", "precisions_init", precisions),
    ):
        if getattr(fixed, what) and value is None:
            raise ValueError(f"Fixed: {what} has no values to keep: give {name}")
    if weights is not None:
        kept = list(fixed.among("weights", len(weights)))
        if 0 < len(kept) < len(weights) and not weights[kept].sum() < 1:
            raise ValueError(
                f"Fixed: weights {kept} sum to {weights[kept].sum():g}, which leaves nothing for the other components"
            )


def _check_shape(array: FloatArray, shape: tuple[int, ...], name: str) -> None:
    if array.shape != shape:
        raise ValueError(f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}")
