"""Checks of what users give to start from; the wording is scikit-learn's, whose tests match it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from mixtura._types import FloatArray


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


def _check_shape(array: FloatArray, shape: tuple[int, ...], name: str) -> None:
    if array.shape != shape:
        raise ValueError(f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}")
