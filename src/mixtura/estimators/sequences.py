"""From what a user passes to sequences of rows, with errors that name the sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.estimators.reading import read
from mixtura.sources.arrays import ArraySource
from mixtura.sources.sequences import SequenceSource


def read_sequences(
    estimator: Any, X: Any, lengths: Any = None, sample_weight: Any = None, *, reset: bool
) -> SequenceSource:
    """Return the rows of `X` as sequences of these lengths (m,), with weights (m,).

    With `reset`, record the number and names of the features on `estimator`; else check them against it.
    """
    source = read(estimator, X, reset=reset)
    if not isinstance(source, ArraySource):
        raise TypeError(
            f"sequences are read from memory, not from a {type(X).__name__}: give an array or a table of all rows"
        )
    checked = check_lengths(lengths, source.n_rows)
    weight = None if sample_weight is None else check_weights(sample_weight, len(checked))
    return SequenceSource(source.x, checked, weight, source.names)


def check_lengths(lengths: Any, n_rows: int) -> IntArray:
    """Return the lengths (m,) of sequences that have `n_rows` rows together, or raise a `ValueError`."""
    if lengths is None:
        return np.array([n_rows])
    given = np.asarray(lengths)
    if given.ndim != 1 or given.dtype.kind not in "iuf" or not (given == np.floor(given)).all():
        raise ValueError(f"lengths: expected a vector of whole numbers, found {lengths!r}")
    if len(empty := np.flatnonzero(given < 1)):
        i = int(empty[0])
        raise ValueError(f"sequence {i} has length {given[i]}, expected at least one row: leave out empty sequences")
    if (total := int(given.sum())) != n_rows:
        raise ValueError(f"the lengths of {len(given)} sequences sum to {total}, but X has {n_rows} rows")
    return given.astype(np.int64)


def check_weights(weights: Any, n_sequences: int) -> FloatArray:
    """Return the weights (m,) of sequences, or raise a `ValueError`."""
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (n_sequences,):
        raise ValueError(
            f"sample_weight has shape {given.shape}, expected ({n_sequences},): one weight for each sequence"
        )
    if len(bad := np.flatnonzero(~(np.isfinite(given) & (given >= 0)))):
        i = int(bad[0])
        raise ValueError(f"sample_weight of sequence {i} is {given[i]}, expected a finite number from 0")
    if not given.any():
        raise ValueError("sample_weight is 0 for every sequence: there is nothing to fit")
    return given
