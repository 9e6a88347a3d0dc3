"""Compile every kernel, or load it from the cache, before it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mixtura.kernels import gaussian_1d, gaussian_diag, gaussian_full, gaussian_tied


def warm_up() -> Iterator[str]:
    """Run each kernel once on a few rows, and yield its name when it is ready."""
    k, d = 1, 2
    x, unit, matrix = np.zeros((8, d)), np.ones((k, d)), np.eye(d)
    frame, peaks = (np.zeros(d), np.ones(d)), np.zeros(k)
    calls: dict[str, Callable[[], Any]] = {
        "1-D": lambda: gaussian_1d.e_blocks(x[:, 0], None, 0.0, 1.0, unit[:, 0], unit[:, 0], peaks, unit[:, 0]),
        "full": lambda: gaussian_full.e_blocks(x, None, *frame, unit, matrix[None], peaks, unit),
        "tied": lambda: gaussian_tied.e_blocks(x, None, *frame, unit, matrix, peaks, unit),
        "diag, spherical": lambda: gaussian_diag.e_blocks(x, None, *frame, unit, unit, peaks, unit),
    }
    for name, call in calls.items():
        call()
        yield name
