"""Every law on every row of the table."""

from __future__ import annotations

import itertools
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cases
import laws
from mixtura import init
from mixtura.acceleration import QuasiNewton
from mixtura.blocks import fold_blocks
from mixtura.em import Job, drive, drive_jobs
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.sources import ArraySource
from mixtura.stats import Forest, Stats
from mixtura.survey import survey
from mixtura.values import leaves, same_bits

every_case = pytest.mark.parametrize("case", cases.CASES.values(), ids=cases.CASES.keys())
weighting = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])


def _weight(weighted: bool, n: int) -> Any:
    return np.random.default_rng(5).gamma(1.0, size=n) if weighted else None


@every_case
@weighting
def test_the_objective_never_falls(case, weighted):
    x = case.rows(2000)
    laws.objective_never_falls(case.model, case.start(x), x, _weight(weighted, 2000))


@every_case
@weighting
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 1500), max_size=5))
def test_stats_of_parts_add_to_those_of_the_whole(case, weighted, cuts):
    x = case.rows(1500)
    laws.stats_add(case.model, case.start(x), x, _weight(weighted, 1500), cuts)


@every_case
@settings(max_examples=10, deadline=None)
@given(chunk_rows=st.integers(1, 9 * BLOCK_ROWS))
def test_chunks_change_no_bit(case, chunk_rows):
    x = case.rows(7 * BLOCK_ROWS + 13)
    step = partial(fold_blocks, case.model, case.start(x), compiled=False)
    laws.chunks_change_no_bit(lambda source: source.fold([step])[0], x, None, chunk_rows)


@every_case
@weighting
def test_the_order_of_rows_is_rounding(case, weighted):
    x = case.rows(1500)
    order = np.random.default_rng(2).permutation(1500)
    laws.row_order_is_rounding(case.model, case.start(x), x, _weight(weighted, 1500), order)


@every_case
def test_weights_are_copies(case):
    x = case.rows(800)
    counts = np.random.default_rng(3).integers(0, 4, 800)
    laws.weights_are_copies(case.model, case.start(x), x, counts)


@every_case
def test_resuming_changes_no_bit(case):
    x = case.rows(3000)
    laws.resuming_changes_no_bit(case.model, case.start(x), x, _weight(True, 3000))


@every_case
def test_company_changes_no_bit(case):
    x = case.rows(1200)
    laws.company_changes_no_bit(case.model, [case.start(x, seed) for seed in range(3)], x)


def test_company_of_other_models_changes_no_bit():
    """Fits of different models share their passes, and each ends as it does alone."""
    x = cases.CASES["gaussian-full"].rows(1200)
    table = [cases.CASES[f"gaussian-{name}"] for name in ("full", "tied", "diag", "spherical")]
    models = [replace(case.model, n_components=k) for k, case in enumerate(table, start=2)]
    starts = [replace(case, model=model).start(x) for case, model in zip(table, models, strict=True)]
    jobs = [Job(model, start) for model, start in zip(models, starts, strict=True)]
    source = Counted(x)
    together = drive_jobs(source, jobs, max_iter=30, ascent=QuasiNewton())
    assert source.passes == max(result.n_passes for result in together)
    assert len({result.n_passes for result in together}) > 1, "all end together: the test shows less than it could"
    for model, start, shared in zip(models, starts, together, strict=True):
        (alone,) = drive(ArraySource(x), model, [start], max_iter=30, ascent=QuasiNewton())
        assert same_bits(alone.params, shared.params)
        assert alone.status is shared.status


class Counted(ArraySource):
    """Rows that count how often they are summed over."""

    passes = 0

    def fold(self, steps):
        self.passes += 1
        return super().fold(steps)


@pytest.mark.parametrize("name", [name for name, case in cases.CASES.items() if case.symmetric])
def test_components_may_be_permuted(name):
    """The update of permuted components is the permuted update."""
    case = cases.CASES[name]
    x = case.rows(1000)
    params, order = case.start(x), np.array([2, 0, 1])
    updated, _ = case.model.m_step(case.model.e_step(params, Chunk(x)), params)
    permuted = _permute(params, order)
    again, _ = case.model.m_step(case.model.e_step(permuted, Chunk(x)), permuted)
    laws.assert_close(again, _permute(updated, order), rtol=1e-11)


@pytest.mark.parametrize("name", [name for name, case in cases.CASES.items() if case.affine])
def test_updates_commute_with_affine_maps(name):
    """Fitting shifted and rescaled data gives the shifted and rescaled fit, and the same responsibilities."""
    case = cases.CASES[name]
    x = case.rows(1500)
    scale = np.array([1e-3, 40.0, 3e5, 1.0])[: x.shape[1]] if case.affine == "columns" else np.full(x.shape[1], 40.0)
    shift = np.array([5.0, -1e4, 1e8, 0.0])[: x.shape[1]]
    _, resp = case.model.posterior(case.start(x), x)
    plain, mapped = (_fit_from_resp(case.model, rows, resp) for rows in (x, x * scale + shift))
    np.testing.assert_allclose(mapped.params.weights, plain.params.weights, rtol=1e-7)
    found = case.model.family.attributes(mapped.params.components)["means_"]
    expected = case.model.family.attributes(plain.params.components)["means_"]
    np.testing.assert_allclose((found - shift) / scale, expected, rtol=1e-6)
    expected_loglik = plain.objective - len(x) * np.log(scale).sum()
    np.testing.assert_allclose(mapped.objective, expected_loglik, rtol=1e-8)


@every_case
def test_the_optimum_is_flat_in_every_feasible_direction(case):
    x = case.rows(1500)
    (fitted,) = drive(ArraySource(x), case.model, [case.start(x)], tol=1e-15, max_iter=20_000)
    assert fitted.converged

    def objective(params: Any) -> float:
        return float(case.model.e_step(params, Chunk(x)).loglik) + case.model.log_prior(params)

    rng = np.random.default_rng(4)
    for _ in range(3):
        laws.stationary(objective, fitted.params, case.directions(fitted.params, rng))


@every_case
def test_rows_of_known_components_are_looked_at_again_where_that_is_of_use(case):
    """A second look at them changes something just where they hide more than their component, or digits were lost."""
    x = case.values(case.rows(2000))
    model, source = case.model, ArraySource(x)
    blank = init.blank(model, init.describe(source, model, survey(source, model.family)))
    resp = np.random.default_rng(2).dirichlet(np.full(3, 0.5), len(x))
    once, _ = model.family.update(model.sums_of(blank, x, resp), blank)
    twice, _ = model.family.update(model.sums_of(once, x, resp), once)
    laws.assert_close(model.from_resp(blank, x, resp)[0].components, twice, rtol=1e-10)
    assert model.family.has_unseen != all(
        np.allclose(a, b, rtol=1e-8, atol=1e-8) for a, b in zip(leaves(once), leaves(twice), strict=True)
    )


def test_stats_about_another_pivot_are_refused():
    case = cases.CASES["gaussian-full"]
    x = case.rows(500)
    first = case.model.e_step(case.start(x, 1), Chunk(x))
    second = case.model.e_step(case.start(x, 2), Chunk(x))
    with pytest.raises(ValueError, match="different pivots"):
        first + second


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(1, 40))
def test_the_tree_has_the_same_bits_in_any_order(data, n):
    """Blocks that arrive in any order, in runs of any length, add up to the same bits."""
    values = np.random.default_rng(n).normal(size=n) * 10.0 ** np.arange(n)
    blocks = [Stats(loglik=value, weight=1.0) for value in values]
    straight: Forest[Stats] = Forest()
    for b, block in enumerate(blocks):
        straight.insert(0, b, block)
    edges = sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=8))})
    runs = data.draw(st.permutations(list(itertools.pairwise(edges))))
    forest: Forest[Stats] = Forest()
    for a, b in runs:
        part: Forest[Stats] = Forest()
        for block in range(a, b):
            part.insert(0, block, blocks[block])
        forest.merge(part)
    assert forest.total().loglik == straight.total().loglik
    assert forest.total().weight == n


def test_the_tree_refuses_gaps_and_repeats():
    stats = Stats(loglik=1.0, weight=1.0)
    forest: Forest[Stats] = Forest()
    forest.insert(0, 4, stats)
    with pytest.raises(ValueError, match="block 0 is missing"):
        forest.total()
    with pytest.raises(ValueError, match="added twice"):
        forest.insert(0, 4, stats)
    with pytest.raises(ValueError, match="no blocks"):
        Forest().total()


def _fit_from_resp(model: Any, x: Any, resp: Any) -> Any:
    """Fit for ten updates from given responsibilities, which do not depend on the units of the rows."""
    found = init.describe(ArraySource(x), model, survey(ArraySource(x), model.family))
    blank = init.blank(model, found)
    start, _ = model.from_resp(blank, x, resp)
    (result,) = drive(ArraySource(x), model, [start], tol=0.0, max_iter=10)
    return result


def _permute(params: Any, order: Any) -> Any:
    """Reorder every array that has one entry a component (no case has as many columns as components)."""
    if isinstance(params, tuple):
        return tuple(_permute(part, order) for part in params)
    if is_dataclass(params):
        return replace(params, **{f.name: _permute(getattr(params, f.name), order) for f in fields(params)})
    return params[order] if np.ndim(params) and len(params) == len(order) else params
