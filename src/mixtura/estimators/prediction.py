"""What a fitted mixture knows of rows: gathered in memory, or written to a file as they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any, TypeVar

import numpy as np

from mixtura._types import Array, IntArray, Wanted
from mixtura.blocks import posterior_rows
from mixtura.grid import Chunk
from mixtura.model import Posterior, RowModel, Source
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.sinks import Write, open_sink
from mixtura.survey import Bad, find_bad, refuse

P = TypeVar("P")

PIECE_VALUES = 1 << 22  # responsibilities that are held at a time on the way to a file


@dataclass(frozen=True)
class Summary:
    """Rows in all, rows by most probable component (k,), and the sum of the log-densities."""

    n_rows: int
    counts: IntArray
    loglik: float


def posteriors(
    source: Source, model: RowModel[P, Any], params: P, wanted: Wanted, most: int | None = None
) -> Iterator[Posterior]:
    """Yield what is wanted of the rows of `source`, at most so many at a time; refuse values that cannot be."""
    step = partial(_step, model, params, n_rows=source.n_rows, wanted=wanted)
    first = 0
    for found, bad in source.map_rows(step, most):
        if bad:
            refuse(bad, first, source, model.family)
        first += len(found.labels)
        yield found


def _step(
    model: RowModel[P, Any], params: P, chunk: Chunk, *, n_rows: int, wanted: Wanted
) -> tuple[Posterior, Bad | None]:
    """Return what a model knows of each row of a chunk, of `n_rows` in all, and the first value that cannot be."""
    d = chunk.x.shape[1]
    compiled = model.compiles(n_rows, d)
    found = posterior_rows(model, params, chunk, compiled=compiled, wanted=wanted)
    if compiled and np.isfinite(found.loglik).all():  # a kernel lets no NaN or infinity pass unseen
        return found, None
    tolerant = model.for_missing()
    bad = find_bad(chunk, tolerant.family)
    if bad is None and np.isnan(found.loglik).any():
        found = posterior_rows(tolerant, params, chunk, compiled=tolerant.compiles(n_rows, d), wanted=wanted)
    if bad is None and compiled:
        _mend(found, tolerant, params, chunk, wanted)
    return found, bad


def _mend(found: Posterior, model: RowModel[P, Any], params: P, chunk: Chunk, wanted: Wanted) -> None:
    """Find by the composed path what is no number to a kernel: rows so far away that squares overflow."""
    odd = np.flatnonzero(~np.isfinite(found.loglik))
    if len(odd):
        again = posterior_rows(model, params, Chunk(chunk.x[odd]), compiled=False, wanted=wanted)
        found.loglik[odd], found.labels[odd] = again.loglik, again.labels
        if wanted == "shares":
            found.resp[odd] = again.resp


def write_predictions(
    source: Source, model: Mixture[Any], params: MixtureParams[Any], path: str | PathLike[str] | None
) -> Summary:
    """Write label, probabilities and log-density of each row as they are found; without a path, only count."""
    k = model.n_components
    counts, loglik, n_rows = np.zeros(k, dtype=np.int64), 0.0, 0
    with ExitStack() as stack:
        write: Write | None = stack.enter_context(open_sink(path, source.n_rows)) if path else None
        wanted: Wanted = "densities" if write is None else "shares"
        for found in posteriors(source, model, params, wanted, PIECE_VALUES // k):
            if write is not None:
                write(_columns(found))
            counts += np.bincount(found.labels, minlength=k)
            loglik += float(found.loglik.sum())
            n_rows += len(found.loglik)
    return Summary(n_rows, counts, loglik)


def _columns(found: Posterior) -> dict[str, Array]:
    return {
        "label": found.labels,
        **{f"probability_{k}": column for k, column in enumerate(found.resp.T.copy())},
        "log_density": found.loglik,
    }
