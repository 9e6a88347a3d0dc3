"""What users know of the components of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixtura._types import IntArray
from mixtura.model import Source
from mixtura.sources.arrays import ArraySource
from mixtura.sources.labelled import UNKNOWN, LabelledSource


def with_labels(source: Source, labels: Any, estimator: Any) -> Source:
    """Return the rows of `source` with their labels, if there are any; refuse what does not go with labels."""
    if labels is None:
        return source
    if not isinstance(source, ArraySource):
        raise ValueError("labels want the rows in memory, as an array or table: read them first, or leave labels out")
    if getattr(estimator, "compress", False):
        raise ValueError("labels are of rows, which compress=True does away with: give one of them")
    if estimator.on_collapse == "drop":
        raise ValueError("labels are numbers of components, which on_collapse='drop' changes: choose another policy")
    return LabelledSource(source, _check_labels(labels, source.n_rows, estimator.n_components))


def _check_labels(labels: Any, n: int, k: int) -> IntArray:
    """Return labels (n,) as integers, or raise a `ValueError` that names the first row whose label cannot be."""
    found = np.asarray(labels)
    if found.shape != (n,):
        raise ValueError(f"labels: expected one for each of {n} rows, found an array of shape {found.shape}")
    if found.dtype.kind not in "iuf":
        raise ValueError(f"labels hold {found.dtype}, expected numbers of components, and {UNKNOWN} where unknown")
    possible = (found >= UNKNOWN) & (found < k) & (np.floor(found) == found)
    if not possible.all():
        row = int(np.argmin(possible))
        raise ValueError(
            f"label of row {row} is {found[row]}: expected a component from 0 to {k - 1}, or {UNKNOWN} where unknown"
        )
    return found.astype(np.int64)
