"""From what a user passes to a source of rows, with scikit-learn's conventions on names and shapes."""

from __future__ import annotations

import sys
from typing import Any

import narwhals as nw
import numpy as np
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from mixtura.model import Source
from mixtura.sources import as_source
from mixtura.sources.histogram import Histogram
from mixtura.sources.sparse import SparseSource


def read(estimator: Any, X: Any, sample_weight: Any = None, *, reset: bool) -> Source:
    """Return the rows of `X` as a source.

    With `reset`, record the number and names of the features on `estimator`; else check them against it.
    """
    if isinstance(X, Histogram):
        raise ValueError("X is a histogram, which has no rows: fit, score, aic and bic take one, and nothing else")
    return read_sums(estimator, X, sample_weight, reset=reset)


def read_sums(estimator: Any, X: Any, sample_weight: Any = None, *, reset: bool) -> Source:
    """Do the same for what needs sums over rows only, so that a histogram will do."""
    if isinstance(X, Histogram) and sample_weight is not None:
        raise ValueError("sample_weight is given with a histogram, whose counts are its weights: give the counts alone")
    source = as_source(X, weight=sample_weight)
    if isinstance(source, SparseSource) and not get_tags(estimator).input_tags.sparse:
        raise TypeError(
            f"sparse data ({type(X).__name__}) is for a MixtureModel of counts or categories, such as "
            f"families.Multinomial(): pass X.toarray() if it fits in memory"
        )
    shape = (source.n_rows, source.n_features)
    if source.n_features == 0:
        raise ValueError(f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required.")
    if source.n_rows == 0:
        raise ValueError(f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required.")
    validate_data(estimator, _header(X, sample_weight, source), reset=reset, skip_check_array=True)
    return source


def _header(X: Any, sample_weight: Any, source: Source) -> Any:
    """Return something whose columns have the number, and the names if any, of the features."""
    if nw.dependencies.is_into_dataframe(X) and not isinstance(sample_weight, str):
        return X
    # Names come from a table or an Arrow file, so one of these libraries has been imported.
    backend = next((name for name in ("pyarrow", "pandas", "polars") if name in sys.modules), None)
    if source.names is None or backend is None:
        return np.empty((1, source.n_features))
    return nw.from_dict({name: [] for name in source.names}, backend=backend).to_native()
