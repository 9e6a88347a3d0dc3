"""The kernels of hidden Markov chains: few states and many, lifted vectors, rows that are alike, memory used again."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from laws import assert_close
from mixtura.arena import Arena, lined, reusing
from mixtura.em import evaluate
from mixtura.families import Bernoulli, Categorical, Diag, Full, Gaussian, Poisson, Spherical, Tied
from mixtura.grid import Sequences
from mixtura.kernels.threads import using_threads
from mixtura.models import chain
from mixtura.models.hmm import HiddenMarkov, HMMParams
from mixtura.sources.sequences import SequenceSource
from mixtura.values import same_bits

if not Gaussian().fused(2, 2):
    pytest.skip("this machine does not run the kernels", allow_module_level=True)

from mixtura.kernels import alike, markov, segments, states
from mixtura.kernels.markov_narrow import NarrowChain
from mixtura.kernels.segments import Bounds

LENGTHS = np.array([1, 2, 3, 4, 5, 40, 301, 1, 1000])
STARTS = np.concatenate([[0], LENGTHS.cumsum()])
N = int(STARTS[-1])


def a_chain(k: int, seed: int = 0) -> Any:
    """Return densities (n, k), what was taken out of them, weights, and a chain that is not reversible."""
    rng = np.random.default_rng(seed)
    transmat = rng.dirichlet(np.full(k, 0.3), k)
    density = rng.random((N, k)) ** 8
    density /= density.max(axis=1, keepdims=True)
    return density, rng.normal(size=N), rng.random(len(LENGTHS)), rng.dirichlet(np.ones(k)), transmat


def in_logarithms(density: Any, top: Any, weight: Any, start: Any, transmat: Any) -> Any:
    """Return what `smooth` does, from the composed chain."""
    loglik, resp, transitions = np.empty(len(weight)), np.empty(density.shape), np.zeros(transmat.shape)
    with np.errstate(divide="ignore"):
        logs = np.log(start), np.log(transmat), np.log(density) + top[:, None]
    for m, w in enumerate(weight):
        rows = slice(STARTS[m], STARTS[m + 1])
        found = chain.smooth(*logs[:2], logs[2][rows])
        loglik[m], resp[rows] = found.loglik, w * found.resp
        transitions += w * found.transitions
    return loglik, resp, transitions


def smooth(density: Any, top: Any, starts: Any, weight: Any, start: Any, transmat: Any) -> Any:
    """Return what the kernel for so many states finds."""
    return markov.prepare(start, transmat).smooth(states.widened(density), top, Bounds(starts), weight)


@pytest.mark.parametrize(
    ("kind", "k"), [*((NarrowChain, k) for k in (1, 2, 3, 7, 8)), *((markov.WideChain, k) for k in (1, 2, 8, 9, 17))]
)
def test_the_chain_is_that_in_logarithms(kind, k):
    density, top, weight, *shares = a_chain(k)
    expected = in_logarithms(density, top, weight, *shares)
    found = kind.of(*shares).smooth(states.widened(density), top, Bounds(STARTS), weight)
    for ours, theirs in zip(found, expected, strict=True):
        assert_allclose(ours, theirs, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("factor", [1e-30, 1e-70])
def test_vectors_that_become_small_are_lifted_without_rounding(factor):
    density, top, *rest = a_chain(5)
    plain = smooth(density, top, STARTS, *rest)
    small = smooth(factor * density, top - np.log(factor), STARTS, *rest)
    for ours, theirs in zip(small, plain, strict=True):
        assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("power", [3, 20, 45, 50, 55, 300])
def test_rows_against_the_chain_are_exact_or_want_logarithms(power):
    # The state never changes, and the rows ask for the second one, then for the first: neither pass sees it coming.
    n, against = 12, 10.0**-power
    density = np.where(np.arange(n)[:, None] < n / 2, [against, 1.0], [1.0, against / 2])
    problem = np.zeros(n), np.array([0, n]), np.ones(1), np.array([0.5, 0.5]), np.eye(2)
    (loglik,), resp, _ = smooth(density, *problem)
    assert np.isnan(loglik) == (power > 48)
    if power < 48:
        assert_allclose(resp, np.tile(np.array([64.0, 1.0]) / 65, (n, 1)), rtol=1e-12)
        assert loglik == pytest.approx(np.log(65 / 128) - 6 * power * np.log(10), rel=1e-12)


def test_a_sequence_that_wants_logarithms_is_in_none_of_the_sums():
    density, top, weight, start, transmat = a_chain(4)
    lost = density.copy()
    lost[[STARTS[5], STARTS[7] - 1]] = 0.0  # the first row of one, the last row of another
    loglik, _, transitions = smooth(lost, top, STARTS, weight, start, transmat)
    assert_array_equal(np.flatnonzero(np.isnan(loglik)), [5, 6])
    spared = np.where(np.isnan(loglik), 0.0, weight)
    expected = smooth(density, top, STARTS, spared, start, transmat)
    assert_allclose(transitions, expected[2], rtol=1e-12)


@pytest.fixture
def cuts(monkeypatch):
    """Make long of a sequence of 2048 rows; return a list that is told how many cuts each run of the kernels makes."""
    told: list[int] = []
    cut = NarrowChain._find_cuts

    def listen(self: Any, emission: Any, rows: Any) -> Any:
        found, known = cut(self, emission, rows)
        told.append(int(known.sum()))
        return found, known

    monkeypatch.setattr(segments, "SEGMENT", 1024)
    monkeypatch.setattr(NarrowChain, "_find_cuts", listen)
    return told


def both(density: Any, starts: Any, startprob: Any, transmat: Any, monkeypatch: Any) -> Any:
    """Return what is found of sequences with cuts, and without."""
    narrow, rng = NarrowChain.of(startprob, transmat), np.random.default_rng(0)
    top, weight = rng.normal(size=len(density)), 0.5 + rng.random(len(starts) - 1)
    found = narrow.smooth(states.widened(density), top, Bounds(starts), weight)
    monkeypatch.setattr(segments, "SEGMENT", len(density))
    return found, narrow.smooth(states.widened(density), top, Bounds(starts), weight)


@pytest.mark.parametrize("k", [1, 2, 5, 8])
@pytest.mark.parametrize("lengths", [[5000], [7, 300, 4100], [2047], [3000, 5, 4500, 3]], ids=str)
def test_long_sequences_are_cut_where_the_chain_forgets(k, lengths, cuts, monkeypatch):
    starts, rng = np.concatenate([[0], np.cumsum(lengths)]), np.random.default_rng(k)
    density = rng.random((starts[-1], k)) ** 4
    shares = rng.dirichlet(np.ones(k)), rng.dirichlet(np.full(k, 0.5), k)
    cut, whole = both(density, starts, *shares, monkeypatch)
    assert cuts == [sum(max(n // 1024 - 1, 0) for n in lengths), 0]
    assert_allclose(cut[0], whole[0], rtol=1e-12)
    assert_allclose(cut[1], whole[1], rtol=1e-10, atol=1e-14)
    assert_allclose(cut[2], whole[2], rtol=1e-11)


@pytest.mark.parametrize(
    "transmat",
    [np.eye(2), [[0.99, 0.01], [0.02, 0.98]], [[0.5, 0.5], [0.0, 1.0]]],
    ids=["states that stay", "slow", "no way back"],
)
@pytest.mark.parametrize("impossible", [False, True])
def test_what_is_not_forgotten_is_not_cut(transmat, impossible, cuts, monkeypatch):
    density = np.ones((4000, 2))
    if impossible:
        density[1025::512, 1] = 0.0  # the second state, soon after the margins begin
        transmat = np.where(np.eye(2) > 0, transmat, 0.0) / np.diag(transmat)
    cut, whole = both(density, np.array([0, 4000]), np.array([0.5, 0.5]), np.asarray(transmat), monkeypatch)
    assert cuts == [0, 0]
    for ours, theirs in zip(cut, whole, strict=True):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize("told", [slice(0, 1024), slice(1024, 2048), slice(0, 2048)], ids=["before", "after", "both"])
def test_a_cut_wants_rows_on_both_sides_that_tell_the_state(told, cuts, monkeypatch):
    density, transmat = np.ones((2048, 2)), np.array([[0.999, 0.001], [0.002, 0.998]])
    density[told] = np.random.default_rng(0).permutation([[1.0, 1e-3], [1e-3, 1.0]] * 1024)[told]
    both(density, np.array([0, 2048]), np.array([0.5, 0.5]), transmat, monkeypatch)
    assert cuts == [int(told == slice(0, 2048)), 0]


def test_a_sequence_that_is_cut_and_wants_logarithms_is_in_none_of_the_sums(cuts, monkeypatch):
    rng, starts = np.random.default_rng(0), np.array([0, 3500, 7000, 7010])
    density, transmat = rng.random((7010, 3)) ** 4, rng.dirichlet(np.ones(3), 3)
    density[2500] = 0.0
    cut, whole = both(density, starts, np.full(3, 1 / 3), transmat, monkeypatch)
    assert cuts == [4, 0]
    assert_array_equal(np.isnan(cut[0]), [True, False, False])
    assert_allclose(cut[0][1:], whole[0][1:], rtol=1e-12)
    assert_allclose(cut[1][3500:], whole[1][3500:], rtol=1e-10, atol=1e-14)
    assert_allclose(cut[2], whole[2], rtol=1e-11)


@pytest.mark.parametrize("structure", [Full(), Diag(), Tied(), Spherical()], ids=lambda s: s.name)
@pytest.mark.parametrize("d", [1, 2, 5, states.WIDEST + 1])
@pytest.mark.parametrize("k", [3, 8, 11])
def test_densities_of_states_are_those_of_the_family(structure, d, k):
    rng, family = np.random.default_rng(d), Gaussian(structure)
    x = rng.normal(size=(301, d)) * 5 + 1e4
    theta = family.blank(family.frame(x.min(axis=0), x.max(axis=0), np.median(x, axis=0)), k)
    theta = family.with_means(theta, x[:k])
    theta, _ = family.update(family.suffstats(theta, x, rng.dirichlet(np.ones(k), len(x))), theta)
    density, top = family.states(theta).densities(x)
    assert density.shape == (301, -(-k // 8) * 8)
    assert_array_equal(density[:, k:], 0.0)
    largest = density.max(axis=1)
    assert ((largest <= 1) & (largest >= 1 / k)).all()
    with np.errstate(divide="ignore"):
        assert_allclose(np.log(density[:, :k]) + top[:, None], family.log_density(theta, x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 1023, 1024, 1025, 2050])
def test_moments_of_any_number_of_rows(n):
    rng = np.random.default_rng(n)
    x, resp, pivot = rng.normal(size=(n, 3)), rng.random((n, 2)), rng.normal(size=(2, 3))
    s0, s1, s2 = states.Moments.about(np.zeros(3), np.ones(3), pivot, 3).over(x, resp)
    gaps = x[:, None] - pivot
    assert_allclose(s0, resp.sum(axis=0), rtol=1e-12)
    assert_allclose(s1, np.einsum("nk,nki->ki", resp, gaps), rtol=1e-10, atol=1e-12)
    assert_allclose(s2, np.einsum("nk,nki,nkj->kij", resp, gaps, gaps), rtol=1e-10, atol=1e-12)


def test_rows_that_are_alike_are_found():
    rng = np.random.default_rng(0)
    x = rng.integers(0, [3, 5], (500, 2)).astype(float)
    x[x[:, 0] == 1, 1] = 2.0  # not every pair occurs
    found = alike.find_alike(x)
    assert found is not None
    assert found.n_codes == 15
    values, counts = np.unique(x, axis=0, return_counts=True)
    assert_array_equal(found.values, values)
    back = np.full((15, 2), np.nan)
    back[found.present] = found.values
    assert_array_equal(back[found.codes], x)
    assert_array_equal(alike.tally(np.ones((500, 1)), found)[:, 0], counts)


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_that_are_alike_are_looked_up_and_tallied_in_pieces(threads):
    rng, n = np.random.default_rng(0), 2 * states.PIECE + 77
    x, resp, logs = rng.integers(0, 3, (n, 1)).astype(float), rng.random((n, 2)), np.log(rng.random((3, 2)))
    found = alike.find_alike(x)
    assert found is not None
    with using_threads(threads):
        sums, (density, top) = alike.tally(resp, found), alike.look_up(logs, found)
    assert_allclose(sums, [resp[x[:, 0] == value].sum(axis=0) for value in range(3)], rtol=1e-12)
    assert_allclose(np.log(density[:, :2]) + top[:, None], logs[x[:, 0].astype(int)], rtol=1e-12)


def test_what_was_made_of_rows_serves_other_parameters():
    family, rng = Poisson(), np.random.default_rng(0)
    rows = Sequences(rng.integers(0, 9, (N, 1)).astype(float), lengths=LENGTHS)
    shares, theta = rng.dirichlet(np.ones(3), 4), family.blank(family.frame(*np.zeros((3, 1))), 3)
    for _ in range(3):
        theta, _ = family.update(family.suffstats(theta, rows.x, rng.dirichlet(np.ones(3), N)), theta)
        params: HMMParams[Any] = HMMParams(shares[0], shares[1:], theta, np.full(3, 1 / 3), np.full(3, 0.3))
        again, anew = (evaluate_block(family, params, part) for part in (rows, replace(rows, made={})))
        assert again.to_bytes() == anew.to_bytes()
    assert len(rows.blocks[0].made) == 2


def evaluate_block(family: Any, params: Any, rows: Sequences) -> Any:
    """Return the sums over one block, by kernels."""
    ((_, stats),) = HiddenMarkov(family, 3).e_blocks(params, rows)
    return stats


def test_segments_are_those_of_the_cuts_of_each_pass():
    bounds = Bounds(np.array([0, 5, 5 * segments.SEGMENT]))
    cuts = np.array([True, False, True])
    for known in (cuts, ~cuts, cuts, np.zeros(3, dtype=bool)):
        expected = segments.Segments.between(bounds.starts, bounds.tried[known])
        for ours, theirs in zip(bounds.segments(known), expected, strict=True):
            assert_array_equal(ours, theirs)


@pytest.mark.parametrize("bad", [-1.0, 0.5, np.nan, np.inf, 100.0, 1e300])
def test_rows_of_other_values_are_not_looked_up(bad):
    x = np.zeros((500, 1))
    x[250] = bad
    assert alike.find_alike(x) is None


@pytest.mark.parametrize("family", [Poisson(), Bernoulli(), Categorical(2)], ids=lambda family: family.name)
@pytest.mark.parametrize("d", [1, 3])
def test_sums_over_rows_that_are_alike_are_those_over_all(family, d):
    rng = np.random.default_rng(d)
    x = rng.integers(0, 2, (N, d)).astype(float)
    blank = family.blank(family.frame(*np.zeros((3, d))), 3)
    theta, _ = family.update(family.suffstats(blank, x, rng.dirichlet(np.ones(3), N)), blank)
    shares = rng.dirichlet(np.ones(3), 4)
    params: HMMParams[Any] = HMMParams(shares[0], shares[1:], theta, np.full(3, 1 / 3), np.full(3, 0.3))
    model, rows = HiddenMarkov(family, 3), Sequences(x, rng.random(len(LENGTHS)), lengths=LENGTHS)
    assert alike.find_alike(x) is not None
    ((_, compiled),) = model.e_blocks(params, rows)
    assert_close(compiled, model.e_block(params, rows))


def test_a_pass_that_works_in_used_memory_has_the_same_bits():
    family, rng = Gaussian(Full()), np.random.default_rng(0)
    x = rng.normal(size=(N, 2))
    theta = family.with_means(family.blank(family.frame(*np.zeros((2, 2)), np.ones(2)), 3), x[:3])
    shares = rng.dirichlet(np.ones(3), 4)
    params: HMMParams[Any] = HMMParams(shares[0], shares[1:], theta, np.full(3, 1 / 3), np.full(3, 0.3))
    model, rows = HiddenMarkov(family, 3), Sequences(x, lengths=LENGTHS)
    first, second, third = (next(iter(model.e_blocks(params, rows)))[1] for _ in range(3))
    assert len(rows.idle) == 1
    ((_, other),) = model.e_blocks(params, replace(rows, idle=deque()))
    for again in (second, third, other):
        assert again.to_bytes() == first.to_bytes()


@pytest.mark.parametrize("lengths", [[3 * segments.SEGMENT + 100], [700] * 80], ids=["long", "many"])
def test_threads_change_no_bit(lengths):
    family, rng = Gaussian(Full()), np.random.default_rng(0)
    x = rng.normal(size=(sum(lengths), 2))
    theta = family.with_means(family.blank(family.frame(*np.zeros((2, 2)), np.ones(2)), 3), x[:3])
    shares = rng.dirichlet(np.ones(3), 4)
    params: HMMParams[Any] = HMMParams(shares[0], shares[1:], theta, np.full(3, 1 / 3), np.full(3, 0.3))
    source, model = SequenceSource(x, np.array(lengths)), HiddenMarkov(family, 3)
    found = []
    for threads in (1, 2, 5):
        with using_threads(threads):
            found.append(evaluate(source, model, params))
    assert same_bits(found[0], found[1])
    assert same_bits(found[0], found[2])


def test_an_arena_gives_memory_once():
    idle: deque[Arena] = deque()
    for _ in range(3):
        with reusing(idle):
            arrays = [lined(5, 8), lined(3), lined(2, 16)]
            for number, array in enumerate(arrays):
                array.fill(number)
            for number, array in enumerate(arrays):
                assert_array_equal(array, number)
                assert array.ctypes.data % 64 == 0
        assert len(idle) == 1
    assert not np.shares_memory(lined(5, 8), arrays[0])


def test_an_arena_gives_to_a_block_what_the_one_before_had():
    idle: deque[Arena] = deque()
    with reusing(idle):
        large, small = lined(100, 8), lined(8)
    with reusing(idle):
        little, again = lined(8), lined(90, 8)  # in another order
    assert np.shares_memory(little, small)
    assert np.shares_memory(again, large)
