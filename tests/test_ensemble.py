"""Mixtures side by side: each is what it would be alone."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from mixtura import init
from mixtura.blocks import fold_blocks
from mixtura.em import climb
from mixtura.families import Diag, Full, Gaussian, Poisson, Spherical, Tied
from mixtura.families.fixing import FixedGaussian
from mixtura.families.linalg import invert_lower
from mixtura.generations import _far_apart, children, ranked, run
from mixtura.grid import Chunk
from mixtura.models.ensemble import Ensemble
from mixtura.models.mixture import Mixture
from mixtura.models.weights import Dirichlet, Weighting
from mixtura.priors import NormalInverseWishart, Spread
from mixtura.sources.arrays import ArraySource
from mixtura.survey import survey

STRUCTURES = [Full(), Tied(), Diag(), Spherical()]
PRIORS = [None, Spread(0.5)]
ROWS, MEMBERS, K = 200, 5, 3


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@pytest.fixture
def data(rng):
    """Rows, their weights, and one-hot assignments (members, k, n)."""
    rows = rng.normal(size=(ROWS, 3)) @ rng.normal(size=(3, 3)) + 10
    labels = rng.integers(K, size=(MEMBERS, ROWS))
    return rows, rng.uniform(0.5, 2.0, ROWS), np.eye(K)[labels].transpose(0, 2, 1)


def ensemble_of(structure, prior, rows, weight):
    family = Gaussian(structure, reg_covar=1e-3, prior=prior)
    model = Mixture(family, K, weighting=Weighting(Dirichlet(1.5)))
    source = ArraySource(rows, weight)
    found = init.describe(source, model, survey(source, family))
    return exact(model), found


def begin(ensemble, found, rows, weight, resp):
    """Return the rows as the ensemble takes them, its parameters, and which members collapsed."""
    blank = ensemble.blank(init.blank(ensemble.member, found), len(resp))
    prepared = ensemble.prepare(blank, rows, weight)
    return prepared, *ensemble.from_resp(blank, prepared, resp.reshape(-1, len(rows)))


def prepare(ensemble, params, rows, weight=None):
    """Return the rows as the ensemble of these parameters takes them."""
    return ensemble.prepare(params.components, rows, np.ones(len(rows)) if weight is None else weight)


def exact(model):
    """Return the ensemble of such mixtures with responsibilities of full precision."""
    return replace(Ensemble.of(model), precision=np.float64)


@pytest.mark.parametrize("prior", PRIORS, ids=str)
@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.name)
def test_each_member_goes_where_it_would_alone(data, structure, prior):
    rows, weight, resp = data
    ensemble, found = ensemble_of(structure, prior, rows, weight)
    prepared, params, collapsed = begin(ensemble, found, rows, weight, resp)
    assert not collapsed
    chunk, model = Chunk(rows, weight), ensemble.member
    starts = [model.from_resp(init.blank(model, found), rows, (part * weight).T)[0] for part in resp]
    alone, together = starts, params
    for _ in range(4):
        stats = ensemble.e_step(prepared, together)
        own = [fold_blocks(model, one, chunk, compiled=False).total() for one in alone]
        np.testing.assert_allclose(stats.each, [s.loglik for s in own], rtol=1e-11)
        assert stats.loglik / stats.weight == pytest.approx(np.mean([s.loglik / s.weight for s in own]), rel=1e-11)
        for one, member in zip(alone, ensemble.split(together), strict=True):
            np.testing.assert_allclose(member.weights, one.weights, rtol=1e-10)
            for name in ("means", "covariances", "factors"):
                expected = getattr(one.components, name)
                np.testing.assert_allclose(getattr(member.components, name), expected, rtol=1e-9, atol=1e-12)
        alone = [model.m_step(s, one)[0] for s, one in zip(own, alone, strict=True)]
        together = ensemble.m_step(stats, together)[0]


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.name)
def test_rough_responsibilities_cost_the_sums_no_more_than_their_rounding(data, structure):
    rows, weight, resp = data
    ensemble, found = ensemble_of(structure, None, rows, weight)
    prepared, params, _ = begin(ensemble, found, rows, weight, resp)
    fine, rough = ensemble.e_step(prepared, params), replace(ensemble, precision=np.float32).e_step(prepared, params)
    np.testing.assert_allclose(rough.each, fine.each, rtol=1e-6)
    for name in ("s0", "s1", "s2"):
        one, other = getattr(rough.components, name), getattr(fine.components, name)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * abs(other).max())
    assert not np.array_equal(rough.components.s0, fine.components.s0)


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.name)
def test_joining_is_undone_by_splitting(data, structure):
    rows, weight, resp = data
    ensemble, found = ensemble_of(structure, Spread(), rows, weight)
    model = ensemble.member
    members = [model.from_resp(init.blank(model, found), rows, part.T)[0] for part in resp]
    for member, again in zip(members, ensemble.split(ensemble.join(members)), strict=True):
        assert model.same(member, again)
    _, together, _ = begin(ensemble, found, rows, weight, resp)
    for member in ensemble.split(together):
        model.check(member, 3)


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.name)
def test_a_collapsed_member_is_named(data, structure):
    rows, weight, resp = data
    x = np.where(np.eye(1, 3, 1, dtype=bool), 1.0, rows) if structure.name == "tied" else rows  # a constant column
    alone = resp.copy()
    alone[2] = np.eye(K)[:, [0, *[1, 2] * ((ROWS - 1) // 2), 1]]  # of member 2 one component has one row
    ensemble = Ensemble.of(Mixture(Gaussian(structure), K))
    _, found = ensemble_of(structure, None, rows, weight)
    _, _, collapsed = begin(ensemble, found, x, np.ones(ROWS), alone)
    assert collapsed == (set(range(MEMBERS)) if structure.name == "tied" else {2})


def test_the_loop_serves_an_ensemble(data):
    rows, weight, resp = data
    ensemble, found = ensemble_of(Full(), None, rows, weight)
    prepared, start, _ = begin(ensemble, found, rows, weight, resp)
    result, stats = climb(partial(ensemble.e_step, prepared), ensemble, start, tol=1e-4, max_iter=50)
    assert stats.loglik == result.objective[-1]
    assert not result.failed
    assert (np.diff(result.objective) > -1e-9 * abs(result.objective[0])).all()


def test_what_cannot_be_stacked_has_no_ensemble():
    assert Ensemble.of(Mixture(Poisson(), 2)) is None
    assert Ensemble.of(Mixture(FixedGaussian(fixed_means=(0,)), 2)) is None
    assert Ensemble.of(Mixture(Gaussian().for_missing(), 2)) is None
    assert Ensemble.of(Mixture(Gaussian(prior=NormalInverseWishart()), 2)) is None


@pytest.mark.parametrize("d", [*range(1, 10), 30, 33])
def test_inverses_of_triangles(rng, d):
    lower = np.tril(rng.normal(size=(2, 3, d, d))) / d + np.eye(d)
    inverse = invert_lower(lower)
    np.testing.assert_allclose(inverse, np.linalg.inv(lower), atol=1e-12)
    assert not np.triu(inverse, 1).any()


def test_a_member_with_a_spike_comes_last_however_high_it_is(rng):
    rows = np.concatenate([rng.normal(size=(60, 2)), np.full((5, 2), 0.3)])  # duplicates
    family = Gaussian(Full())
    source = ArraySource(rows)
    model, found = Mixture(family, 2), survey(source, family)
    halves, spike = rows[:, 0] > 0, rows[:, 0] == 0.3
    starts = [
        model.from_resp(init.blank(model, found), rows, np.eye(2)[side.astype(int)])[0] for side in (spike, halves)
    ]
    ensemble = Ensemble.of(model)
    together = ensemble.join(starts)
    ends = ranked(run(ensemble, prepare(ensemble, together, rows), together, tol=1e-3, max_iter=30))
    assert ends[1].height > ends[0].height + 10, "the spike is no temptation: the test shows nothing"
    assert ends[1].collapsed
    assert np.linalg.det(ends[0].params.components.covariances).min() > 1e-3


@pytest.mark.parametrize("apart", [1e2, 1e5, 1e7, 1e9])
@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.name)
def test_narrow_components_have_their_densities_and_moments(rng, structure, apart):
    side = rng.integers(2, size=ROWS)
    rows = rng.normal(size=(ROWS, 2)) @ [[1.0, 0.6], [0.0, 0.8]] + apart * side[:, None]
    family = Gaussian(structure)
    model, found = Mixture(family, 2), survey(ArraySource(rows), family)
    resp = np.eye(2)[side]
    alone, events = model.from_resp(init.blank(model, found), rows, resp)
    assert not events
    ensemble = Ensemble.of(model)
    together = ensemble.join([alone, alone])
    by_products = not together.components.pivot.any()
    assert by_products == (apart <= 1e5), "the test shows only one of the two ways"
    prepared = prepare(ensemble, together, rows)
    density = ensemble.family.joint(together.components, np.zeros(4), prepared.x)
    expected = np.tile(family.log_density(alone.components, rows).T, (2, 1))
    near = expected > expected.max() - 50
    np.testing.assert_allclose(density[near], expected[near], atol=1e-4)
    sums = ensemble.e_step(prepared, together)
    assert sums.components.s0.dtype == np.float64, "counts of float32 are no divisors"
    for member in ensemble.split(ensemble.m_step(sums, together)[0]):
        np.testing.assert_allclose(member.components.covariances, alone.components.covariances, rtol=1e-3)


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.name)
def test_a_pass_that_lost_digits_is_made_again(rng, structure):
    """Wide components meet rows in two narrow clusters: moments about the centre do not carry their width."""
    side = rng.integers(2, size=ROWS)
    rows = rng.normal(size=(ROWS, 2)) + 1e9 * side[:, None]
    family = Gaussian(structure)
    model, found = Mixture(family, 2), survey(ArraySource(rows), family)
    alone, _ = model.from_resp(init.blank(model, found), rows, np.eye(2)[side])
    wide, _ = family._assemble(alone.components, alone.components.means, 1e-3 * family.covariance.identity(2, 2))
    ensemble = Ensemble.of(model)
    start = ensemble.join([replace(alone, components=wide)] * 2)
    assert not start.components.pivot.any()
    prepared = prepare(ensemble, start, rows)
    stats = ensemble.e_step(prepared, start)
    again = ensemble.refine(stats, start)
    assert again is not None
    stats = ensemble.e_step(prepared, again)
    assert ensemble.refine(stats, again) is None
    for member in ensemble.split(ensemble.m_step(stats, again)[0]):
        np.testing.assert_allclose(member.components.covariances, alone.components.covariances, rtol=1e-3)


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.name)
def test_children_have_what_both_parents_found(rng, structure):
    """Four clusters; each parent has one component on two of them, so four components are wasted on three and one."""
    corners = 20.0 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    side = rng.integers(4, size=400)
    rows = rng.normal(size=(400, 2)) + corners[side]
    family, source = Gaussian(structure), ArraySource(rows)
    model, found = Mixture(family, 4), survey(source, family)
    parts = [side * 2 + (rows[:, 0] > corners[side, 0])] * 2
    wasteful = [{0: 0, 1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 3, 7: 3}, {0: 0, 1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 2, 7: 3}]
    resp = [np.eye(4)[[lost[p] for p in part]] for lost, part in zip(wasteful, parts, strict=True)]
    ensemble = Ensemble.of(model)
    starts = [model.from_resp(init.blank(model, found), rows, one)[0] for one in resp]
    together = ensemble.join(starts)
    prepared = prepare(ensemble, together, rows)
    parents = ranked(run(ensemble, prepared, together, tol=1e-6, max_iter=30))
    born = run(ensemble, prepared, children(ensemble, parents, 12, rng), tol=1e-6, max_iter=30)
    assert max(child.height for child in born) > parents[0].height + 50
    top = ranked(born)[0].params
    np.testing.assert_allclose(top.weights, 0.25, atol=0.08)
    for child in born:
        model.check(child.params, 2)


def test_a_child_takes_no_component_twice_and_none_without_weight(rng):
    places = np.array([0.0, 1.0, 2.0, 3.0, 1e3, 2.0])
    weights = np.array([0.2, 0.3, 0.2, 0.3, 0.0, 0.2])
    alike, apart = np.zeros((6, 6)), (places[:, None] - places) ** 2
    for distances in (alike, apart):
        for taken in _far_apart(np.stack([distances] * 30), np.stack([weights] * 30), 4, [rng] * 30):
            assert len(set(taken)) == 4
            assert 4 not in taken


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.name)
def test_components_are_apart_by_the_mean_of_their_covariances(data, structure):
    rows, weight, resp = data
    ensemble, found = ensemble_of(structure, None, rows, weight)
    theta = begin(ensemble, found, rows, weight, resp)[1].components
    within = structure.expand(theta.covariances, K * MEMBERS, 3) if structure.name != "tied" else theta.covariances
    gaps = theta.means[:, None] - theta.means
    expected = np.einsum("abi,ij,abj->ab", gaps, np.linalg.inv(within.mean(axis=0)), gaps)
    np.testing.assert_allclose(ensemble.family.distances(theta), expected, rtol=1e-9, atol=1e-12)


def test_a_child_of_twins_is_their_like(data):
    rows, weight, _ = data
    ensemble, found = ensemble_of(Full(), None, rows, weight)
    model = ensemble.member
    one, _ = model.from_resp(init.blank(model, found), rows, np.eye(K)[rows[:, 0].argsort().argsort() * K // ROWS])
    together = ensemble.join([one, one])
    twins = run(ensemble, prepare(ensemble, together, rows, weight), together, tol=1e-9, max_iter=200)
    child = ensemble.split(children(ensemble, twins, 1, np.random.default_rng(0)))[0]
    order = np.argsort(child.components.means[:, 0])
    same = np.argsort(twins[0].params.components.means[:, 0])
    expected = twins[0].params.components.means[same]  # products of matrices may round each twin in its own way
    np.testing.assert_allclose(child.components.means[order], expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(child.weights[order], twins[0].params.weights[same])


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.name)
def test_candidates_and_children_are_mixtures_with_their_objective(data, structure):
    rows, weight, resp = data
    ensemble, found = ensemble_of(structure, Spread(5.0), rows, weight)
    model = ensemble.member
    prepared, starts, _ = begin(ensemble, found, rows, weight, resp)
    ends = run(ensemble, prepared, starts, tol=1e-3, max_iter=5)
    for end in ends:
        own = fold_blocks(model, end.params, Chunk(rows, weight), compiled=False).total().loglik
        assert end.height == pytest.approx(own + model.log_prior(end.params), rel=1e-11)
        assert abs(model.log_prior(end.params)) > 1, "the prior says nothing: the test shows nothing"
    for child in ensemble.split(children(ensemble, ends, 6, np.random.default_rng(0))):
        model.check(child, 3)
        assert child.weights.sum() == pytest.approx(1.0)
