"""The search for a start: the best of many short runs on a sample, and nobody hears of it."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import scale

from mixtura import GaussianMixture, MixtureModel, search
from mixtura.draws import draw_rows
from mixtura.em import drive
from mixtura.families import Gaussian, Poisson
from mixtura.init import nearest, settle
from mixtura.models.kmeans import one_hot
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.search import _ends, _noise
from mixtura.seeding import WAYS, one_by_one, side_by_side, whitened
from mixtura.survey import _reduce

RINGS = 8  # clusters on a circle: k-means often ends with two centres in one of them


def circle(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.integers(0, RINGS, n) * 2 * np.pi / RINGS
    return 10 * np.column_stack([np.cos(angle), np.sin(angle)]) + rng.normal(size=(n, 2))


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_the_best_of_many_is_found_from_every_seed(structure):
    x = circle()
    options = {"n_components": RINGS, "covariance_type": structure}
    fits = [GaussianMixture(random_state=seed, **options).fit(x) for seed in range(8)]
    best = max(fit.loglik_ for fit in fits)
    assert min(fit.loglik_ for fit in fits) > best - 1e-3 * len(x)
    one_start = [GaussianMixture(init_params="random_from_data", random_state=s, **options).fit(x) for s in range(8)]
    assert min(fit.loglik_ for fit in one_start) < best - 0.1 * len(x), "one start is as good: the test shows nothing"


def test_on_small_data_the_default_is_as_good_as_ten_restarts_by_kmeans():
    """Slow EM ranks starts late: of few that are soon left out, the best is not among them."""
    digits = PCA(8, svd_solver="full").fit_transform(scale(load_digits().data))
    options = {"n_components": 2, "covariance_type": "tied"}
    ten = GaussianMixture(n_init=10, init_params="kmeans", random_state=0, **options).fit(digits)
    for seed in range(2):
        assert GaussianMixture(random_state=seed, **options).fit(digits).loglik_ > ten.loglik_ - 1e-3 * len(digits)


def test_stretched_clusters_are_found_by_whitened_columns():
    rng = np.random.default_rng(1)
    x = np.column_stack([np.repeat([0.0, 1.0], 500), np.zeros(1000)]) + rng.normal(size=(1000, 2)) * [0.1, 50.0]
    fitted = GaussianMixture(2, covariance_type="tied", random_state=0).fit(x)
    assert_allclose(np.sort(fitted.means_[:, 0]), [0, 1], atol=0.05)


def test_the_search_is_not_observed(capsys):
    states = []
    GaussianMixture(3, random_state=0, verbose=1, verbose_interval=1, callback=states.append).fit(circle())
    assert [state.iteration for state in states] == list(range(len(states)))
    assert len(capsys.readouterr().out.splitlines()) == len(states)


def test_what_is_given_stays_as_it_is():
    x, means = circle(), circle(3)
    fitted = GaussianMixture(3, means_init=means, max_iter=0).fit(x)
    assert_allclose(fitted.means_, means, rtol=1e-12)


def test_several_starts_come_best_first():
    x = circle()
    states = []
    GaussianMixture(RINGS, n_init=4, random_state=0, callback=states.append).fit(x)
    begun = [s.objective for s in states if s.iteration == 0]
    assert len(begun) == 4
    assert (np.diff(begun) <= 1e-10 * abs(begun[0])).all()  # objectives that differ by rounding tie


def test_counts_are_searched_as_well_and_one_component_needs_no_search():
    x = np.random.default_rng(2).poisson(np.repeat([1.0, 9.0, 30.0], 300))
    fitted = MixtureModel(Poisson(), 3, random_state=0).fit(x)
    assert_allclose(np.sort(fitted.rates_[:, 0]), [1, 9, 30], rtol=0.1)
    assert GaussianMixture(1).fit(x).n_iter_ == 1


def test_whitened_rows_have_unit_variances_and_no_correlations():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) * [1.0, 1e-6, 1e9] + 1e3
    weight = rng.integers(0, 3, 500).astype(float)
    z = whitened(x, weight)
    assert_allclose((z * weight[:, None]).T @ z / weight.sum(), np.eye(3), atol=1e-8)
    constant = np.column_stack([x[:, 0], np.full(500, 7.0)])
    assert whitened(constant, weight).shape == (500, 1)
    assert_array_equal(whitened(np.full((5, 2), 3.0), np.ones(5)), np.zeros((5, 2)))


def test_the_optimum_of_a_sample_lacks_as_much_as_the_noise_says():
    rng = np.random.default_rng(4)
    n, m, d = 20000, 500, 3
    x = rng.normal(size=(n, d))
    of_all = GaussianMixture(1, reg_covar=0.0).fit(x)
    lacks = []
    for _ in range(100):
        of_some = GaussianMixture(1, reg_covar=0.0).fit(x[rng.choice(n, m, replace=False)])
        lacks.append(of_all.score(x) - of_some.score(x))
    expected = _noise(Mixture(Gaussian(), 1), of_all.params_, m, n)
    assert_allclose(np.mean(lacks), expected, rtol=0.2)  # its standard error is 5 % of it
    assert _noise(Mixture(Gaussian(), 1), of_all.params_, n, n) == 0


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 1000])
def test_a_range_is_that_of_each_column(n):
    x = np.random.default_rng(n).normal(size=(n, 3))
    assert_array_equal(_reduce(np.minimum, x, np.inf), x.min(axis=0, initial=np.inf))
    assert_array_equal(_reduce(np.maximum, x, -np.inf), x.max(axis=0, initial=-np.inf))


def test_what_a_sample_cannot_tell_the_next_one_does():
    x = circle(100_000)
    fitted = GaussianMixture(RINGS, random_state=0).fit(x)
    centres = 10 * np.exp(2j * np.pi * np.arange(RINGS) / RINGS)
    found = fitted.means_ @ [1, 1j]
    assert_allclose(np.abs(found[:, None] - centres).min(axis=0), 0, atol=0.05)
    assert fitted.result_.n_passes <= 4, "what came from the sample was no start"


def test_a_sample_of_rows_that_repay_the_kernel_has_it_too(monkeypatch):
    asked = []

    def noted(source, model, starts, **options):
        asked.append(model.compiles(source.n_rows, source.n_features))
        return drive(source, model, starts, **options)

    monkeypatch.setattr(search, "drive", noted)
    for n in (20_000, 200_000):
        GaussianMixture(6, max_iter=1, random_state=0).fit(circle(n))
    few, many = asked[: len(asked) // 2], asked[len(asked) // 2 :]
    assert not any(few)
    assert all(many) == Gaussian().fused(6, 2)


def test_of_ends_that_differ_by_rounding_the_first_stands_for_all():
    def ended(height, *, failed=False, events=()):
        params = MixtureParams(weights=np.ones(1), components=None)
        return SimpleNamespace(params=params, objective=np.array([-1e6, height]), failed=failed, events=events)

    best, like, apart, gone, collapsed = (
        ended(-500.0),
        ended(-500.0 - 1e-5),
        ended(-500.0 - 9e-5),
        ended(-400.0, failed=True),
        ended(-400.0, events=["floor"]),
    )
    found = _ends([like, gone, collapsed, apart, best])
    expected = [like.params, like.params, apart.params, collapsed.params]  # those that tie are in their order
    assert len(found) == len(expected)
    assert all(one is other for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("n_init", [1, 3])
def test_candidates_that_came_to_the_same_end_go_on_as_one_and_count_as_they_are(monkeypatch, n_init):
    x, runs = circle(20_000), []

    def noted(source, model, starts, **options):
        runs.append(len(starts))
        return drive(source, model, starts, **options)

    def fitted():
        runs.clear()
        return GaussianMixture(RINGS, n_init=n_init, random_state=0).fit(x)

    monkeypatch.setattr(search, "drive", noted)
    together = fitted()
    assert len(runs) == 3
    assert runs[-1] == 1
    monkeypatch.setattr(search, "resolution", lambda _: -1.0)
    apart = fitted()
    assert runs[-1] == 2 * n_init
    assert together.result_.agreement == apart.result_.agreement
    assert together.result_.agreement.n_agreeing == max(2, n_init)
    assert_allclose(together.loglik_, apart.loglik_, rtol=1e-9)


def test_where_all_short_runs_diverge_the_best_start_is_gone_on_from(monkeypatch):
    x = circle()
    best = GaussianMixture(RINGS, random_state=0).fit(x).score(x)
    monkeypatch.setattr(search, "run", lambda *_, **__: [])
    for seed in range(3):
        assert_allclose(GaussianMixture(RINGS, random_state=seed).fit(x).score(x), best, atol=1e-3)


def test_rows_drawn_to_start_from_are_different_values():
    """Of data that are mostly one value; where there are fewer values than components, each is there."""
    points = np.concatenate([np.zeros((950, 2)), np.arange(10.0).reshape(5, 2) + 1, np.arange(90.0).reshape(45, 2)])
    weight = np.ones(len(points))
    for seed in range(20):
        drawn = draw_rows(points, weight, 6, [np.random.default_rng(seed)])[0]
        assert len(np.unique(drawn, axis=0)) == 6
    few = draw_rows(points[945:952], np.array([1.0, 1, 1, 1, 1, 1, 0]), 3, [np.random.default_rng(0)])[0]
    assert_array_equal(np.unique(few, axis=0), [[0.0, 0.0], [1.0, 2.0]])


@pytest.mark.parametrize("even", [False, True], ids=["clusters", "even"])
def test_assignments_made_side_by_side_are_those_made_one_by_one(even):
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(m, 1.0, (60, 3)) for m in ([0, 0, 0], [6, 0, 0], [0, 9, 0], [0, 0, 40])])
    if even:
        x = rng.random((240, 3))  # k-means takes many iterations
    weight = rng.uniform(0.5, 2.0, len(x))
    apart = list(one_by_one(x, weight, 4, 15, np.random.default_rng(0)))
    together = side_by_side(x, weight, 4, 15, np.random.default_rng(0))
    for i, (one, other) in enumerate(zip(apart, (one_hot(own, 4) for own in together), strict=True)):
        if WAYS[i % len(WAYS)].settles:
            assert inertia(x, weight, other) <= 1.02 * inertia(x, weight, one)
        else:
            assert_array_equal(one, other)


def test_kmeans_of_a_start_goes_on_until_no_row_changes_its_group():
    rng = np.random.default_rng(5)
    points, weight = rng.random((500, 2)), rng.uniform(0.5, 2.0, 500)
    labels = settle(points, weight, points[:6])
    centres = [np.average(points[labels == j], axis=0, weights=weight[labels == j]) for j in range(6)]
    assert_array_equal(labels, nearest(points, np.array(centres)))


def inertia(x, weight, resp):
    means = (resp * weight[:, None]).T @ x / (resp * weight[:, None]).sum(axis=0)[:, None]
    return weight @ ((x - means[resp.argmax(axis=1)]) ** 2).sum(axis=1)
