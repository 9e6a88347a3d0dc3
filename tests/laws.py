"""What every model must obey, as functions that raise `AssertionError`.

They take any model of the protocol `mixtura.model.Model`, so a family or model from elsewhere can be put to them too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mixtura.em import drive
from mixtura.grid import Chunk
from mixtura.sources import ArraySource
from mixtura.values import leaves, same_bits

ROUNDING = 1e-12  # relative, of sums over some thousand rows in another order


def assert_close(a: Any, b: Any, rtol: float = ROUNDING) -> None:
    """Compare two nested values array by array, relative to the largest entry of each."""
    for x, y in zip(leaves(a), leaves(b), strict=True):
        if x.dtype.kind == "f":
            np.testing.assert_allclose(x, y, rtol=0, atol=rtol * max(np.abs(y).max(initial=0.0), 1e-300))


def objective_never_falls(model: Any, params: Any, x: Any, weight: Any = None, updates: int = 25) -> None:
    """Rule 4: an update may lower the objective by rounding only."""
    (result,) = drive(ArraySource(x, weight), model, [params], tol=0.0, max_iter=updates)
    assert len(result.objective) > 2, "the start must not be a fixed point"
    assert np.diff(result.objective).min() >= -1e-12 * np.abs(result.objective).max()
    assert result.objective[-1] - result.objective[0] > 1e-3, "the start must not be the optimum"


def stats_add(model: Any, params: Any, x: Any, weight: Any, cuts: list[int]) -> None:
    """The sums of the parts are the sums of the whole."""
    whole = model.e_step(params, Chunk(x, weight))
    edges = [0, *sorted(cuts), len(x)]
    parts = [
        model.e_step(params, Chunk(x[a:b], None if weight is None else weight[a:b]))
        for a, b in itertools.pairwise(edges)
        if b > a
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert_close(total, whole)


def chunks_change_no_bit(fold: Callable[[ArraySource], Any], x: Any, weight: Any, chunk_rows: int) -> None:
    """Rule 3: however the rows are handed out, the sum has the same bits."""
    assert same_bits(fold(ArraySource(x, weight, chunk_rows=chunk_rows)), fold(ArraySource(x, weight)))


def row_order_is_rounding(model: Any, params: Any, x: Any, weight: Any, order: Any) -> None:
    """Another order of the rows changes sums by rounding only."""
    shuffled = model.e_step(params, Chunk(x[order], None if weight is None else weight[order]))
    assert_close(shuffled, model.e_step(params, Chunk(x, weight)))


def weights_are_copies(model: Any, params: Any, x: Any, counts: Any) -> None:
    """A weight of w stands for w copies of the row, and a weight of 0 for none."""
    weighted = model.e_step(params, Chunk(x, counts.astype(np.float64)))
    assert_close(weighted, model.e_step(params, Chunk(np.repeat(x, counts, axis=0))))


def resuming_changes_no_bit(model: Any, params: Any, x: Any, weight: Any) -> None:
    """Stopping after some updates and going on is the same as not stopping."""
    source = ArraySource(x, weight)
    (whole,) = drive(source, model, [params], tol=0.0, max_iter=6)
    (half,) = drive(source, model, [params], tol=0.0, max_iter=2)
    (resumed,) = drive(source, model, [half.params], tol=0.0, max_iter=4)
    assert same_bits(whole.params, resumed.params)
    assert np.array_equal(whole.objective[2:], resumed.objective)


def company_changes_no_bit(model: Any, starts: list[Any], x: Any) -> None:
    """A fit that shares its passes with others ends as it does alone."""
    source = ArraySource(x)
    together = drive(source, model, starts, max_iter=5)
    for start, shared in zip(starts, together, strict=True):
        (alone,) = drive(source, model, [start], max_iter=5)
        assert same_bits(alone.params, shared.params)


def stationary(
    objective: Callable[[Any], float], optimum: Any, directions: Iterator[Callable[[float], Any]], step: float = 1e-4
) -> None:
    """At an optimum the objective is flat along every feasible direction, and lower on both sides."""
    here = objective(optimum)
    for move in directions:
        ahead, behind = objective(move(step)), objective(move(-step))
        slope, bend = (ahead - behind) / (2 * step), (ahead - 2 * here + behind) / step**2
        assert bend < 0, "not a maximum along this direction"
        # The distance to the maximum along the direction, in its own units, is slope / bend.
        assert abs(slope / bend) < 1e-6, f"slope {slope:g} at bend {bend:g}"
