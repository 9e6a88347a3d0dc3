"""Components that lose their rows or their width: what each policy makes of them, and that nothing else changes."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import halfnorm

from mixtura import GaussianMixture, MixtureModel, load
from mixtura.acceleration import QuasiNewton
from mixtura.em import Status, drive
from mixtura.exceptions import CollapseWarning, FitError, ModelFileError
from mixtura.families import Bernoulli, Categorical, Diag, Full, Gaussian, Poisson, Product, Spherical, Tied
from mixtura.families.bernoulli import BernoulliParams
from mixtura.families.categorical import CategoricalParams
from mixtura.families.poisson import PoissonParams
from mixtura.frame import Frame
from mixtura.model import SHARED, EventKind
from mixtura.models import Mixture, MixtureParams
from mixtura.models.collapse import Drop, Floor, Raise, Reseed
from mixtura.search import _ends
from mixtura.sources import ArraySource
from mixtura.values import leaves, same_bits

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::mixtura.exceptions.CollapseWarning"),
]
RNG = np.random.default_rng(0)
CLOUDS = np.concatenate([RNG.normal(0, 1, (150, 2)), RNG.normal(6, 1.5, (150, 2))])
CLUMP = np.concatenate([CLOUDS, np.full((20, 2), 20.0)])  # its last rows leave a component of their own no width
OWN = ["full", "diag", "spherical"]  # structures in which a component has a covariance of its own
own = pytest.mark.parametrize("structure", OWN)
either = pytest.mark.parametrize("acceleration", [None, "quasi-newton"])


def on_clump(policy, structure="full", **options):
    start = {"init_params": "kmeans", "random_state": 0, "reg_covar": 0, "max_iter": 300, "tol": 1e-6}
    return GaussianMixture(3, covariance_type=structure, on_collapse=policy, **start | options)


def far_off(policy, **options):
    """Return a mixture whose last component starts where no row is."""
    start = {"weights_init": [0.4, 0.4, 0.2], "means_init": [[0.0, 0], [1, 1], [1e4, 1e4]],
             "precisions_init": [np.eye(2)] * 3, "reg_covar": 0, "max_iter": 300, "tol": 1e-6}  # fmt: skip
    return GaussianMixture(3, on_collapse=policy, **start | options)


def kinds(fitted):
    return [event.kind for event in fitted.result_.events]


def assert_falls_only_at_events(result):
    objective = result.objective
    falls = np.flatnonzero(np.diff(objective) < -1e-12 * np.abs(objective).max()) + 1
    assert set(falls.tolist()) <= {event.iteration for event in result.events}


@own
@either
def test_the_default_keeps_the_component_at_the_floor(structure, acceleration):
    with pytest.warns(CollapseWarning, match=r"component \d collapsed.* and was raised to the floor in iteration \d+"):
        fitted = on_clump("floor", structure, acceleration=acceleration).fit(CLUMP)
    assert set(kinds(fitted)) == {EventKind.FLOOR}
    assert_allclose(fitted.weights_.min(), 20 / 320, rtol=1e-6)


@own
@either
def test_reseed_puts_it_into_one_half_of_the_widest(structure, acceleration):
    with pytest.warns(CollapseWarning, match=r"collapsed.* and took over one half of component \d in iteration \d+"):
        fitted = on_clump("reseed", structure, acceleration=acceleration).fit(CLUMP)
    assert EventKind.RESEED in kinds(fitted)
    assert fitted.converged_
    assert fitted.means_.shape == (3, 2)
    assert np.isfinite(fitted.covariances_).all()
    assert_falls_only_at_events(fitted.result_)
    assert fitted.score(CLUMP) * len(CLUMP) == pytest.approx(fitted.loglik_, rel=1e-12)


@own
@either
def test_drop_goes_on_without_it(structure, acceleration):
    with pytest.warns(CollapseWarning, match=r"collapsed.* and was dropped in iteration \d+"):
        fitted = on_clump("drop", structure, acceleration=acceleration).fit(CLUMP)
    assert kinds(fitted) == [EventKind.DROP]
    assert fitted.converged_
    assert [len(fitted.weights_), len(fitted.means_), fitted.predict_proba(CLUMP).shape[1]] == [2, 2, 2]
    assert_allclose(fitted.weights_.sum(), 1, rtol=1e-12)
    assert_falls_only_at_events(fitted.result_)
    smaller = GaussianMixture(2, covariance_type=structure, reg_covar=0).fit(CLUMP)
    assert fitted.bic(CLUMP) == pytest.approx(
        smaller.model_.n_parameters(smaller.params_) * np.log(len(CLUMP)) - 2 * fitted.loglik_, rel=1e-12
    )


@own
def test_raise_names_component_iteration_and_remedy(structure, fitted_state):
    estimator = on_clump("raise", structure)
    with pytest.raises(FitError, match=r"increase reg_covar.*component \d collapsed.*in iteration \d+;.*on_collapse"):
        estimator.fit(CLUMP)
    assert fitted_state(estimator) == {}
    assert estimator.set_params(reg_covar=1e-3).fit(CLUMP).converged_


@either
def test_a_component_without_rows_is_a_collapse_too(acceleration):
    fits = {policy: far_off(policy, acceleration=acceleration).fit(CLOUDS) for policy in ("floor", "reseed", "drop")}
    told = {policy: fitted.result_.events[0].message for policy, fitted in fits.items()}
    assert told == {
        "floor": "component 2 lost all its rows and keeps its last parameters",
        "reseed": "component 2 lost all its rows and took over one half of component 1",
        "drop": "component 2 lost all its rows and was dropped",
    }
    assert all(fitted.result_.events[0].iteration == 1 for fitted in fits.values())
    assert_array_equal(fits["floor"].means_[2], [1e4, 1e4])
    assert fits["reseed"].loglik_ > fits["floor"].loglik_ + 1
    with pytest.raises(FitError, match="component 2 lost all its rows in iteration 1"):
        far_off("raise", acceleration=acceleration).fit(CLOUDS)


def test_a_mixture_that_dropped_a_component_without_rows_goes_on_as_one_that_never_had_it():
    dropped = far_off("drop", acceleration=None, max_iter=40, tol=0).fit(CLOUDS)
    start = {"weights_init": [0.5, 0.5], "means_init": [[0.0, 0], [1, 1]], "precisions_init": [np.eye(2)] * 2}
    never = GaussianMixture(2, acceleration=None, reg_covar=0, max_iter=40, tol=0, **start).fit(CLOUDS)
    assert_allclose(dropped.means_, never.means_, rtol=1e-9)
    assert_allclose(dropped.result_.objective[1:], never.result_.objective[1:], rtol=1e-12)


@pytest.mark.parametrize("policy", ["floor", "reseed", "drop", "raise"])
def test_what_all_share_keeps_the_floor(policy):
    line = np.column_stack([CLOUDS[:, 0], 2 * CLOUDS[:, 0]])
    estimator = GaussianMixture(2, covariance_type="tied", reg_covar=0, on_collapse=policy, random_state=0)
    if policy == "raise":
        with pytest.raises(FitError, match="the shared covariance collapsed in iteration"):
            estimator.fit(line)
        return
    fitted = estimator.fit(line)
    assert {(event.kind, event.component) for event in fitted.result_.events} == {(EventKind.FLOOR, SHARED)}
    assert len(fitted.weights_) == 2


@own
@pytest.mark.parametrize("policy", ["reseed", "drop"])
def test_where_all_collapse_it_is_the_data_and_none_is_replaced(structure, policy):
    constant = np.repeat([[0.0, 3.0], [5.0, 3.0]], 30, axis=0)
    options = {"init_params": "kmeans", "reg_covar": 0, "random_state": 0}
    fitted = GaussianMixture(2, covariance_type=structure, on_collapse=policy, **options).fit(constant)
    assert set(kinds(fitted)) == {EventKind.FLOOR}
    assert_allclose(fitted.weights_, [0.5, 0.5])


def test_components_are_reseeded_as_often_as_there_are_of_them_and_no_more():
    points = np.repeat(np.array([[0.0, 0], [1, 5], [7, 2], [4, 4]]), [40, 3, 3, 3], axis=0)
    points[:40] += np.random.default_rng(1).normal(size=(40, 2)) * 0.1
    fitted = GaussianMixture(4, reg_covar=0, on_collapse="reseed", init_params="kmeans", random_state=0).fit(points)
    assert fitted.converged_
    assert 0 < kinds(fitted).count(EventKind.RESEED) <= 4
    assert EventKind.FLOOR in kinds(fitted)
    assert fitted.params_.reseeds == kinds(fitted).count(EventKind.RESEED)


@pytest.mark.parametrize("structure", [Full(), Diag(), Spherical(), Tied()])
def test_halves_are_a_normal_distribution_cut_in_two(structure):
    """Weights, means and covariances of the halves add to those of the whole; the distances are scipy's."""
    family = Gaussian(structure)
    blank = family.blank(Frame.identity(3), 3)
    root = np.random.default_rng(2).normal(size=(3, 3))
    matrices = np.stack([s * (root @ root.T + np.diag([1.0, 9, 2])) for s in (1.0, 4, 4)])
    shaped = {"full": matrices, "tied": matrices[1], "diag": np.diagonal(matrices, axis1=1, axis2=2),
              "spherical": np.array([2.0, 5, 5])}[structure.name]  # fmt: skip
    means = np.array([[0.0, 0, 0], [1, 2, 3], [1, 2, 3]])
    whole = replace(blank, means=means, covariances=shaped)
    parted = family.part(whole, 1, 2)
    before, after = (structure.expand(theta.covariances, 3, 3) for theta in (whole, parted))
    assert_array_equal(parted.means[0], means[0])
    assert_allclose(after[0], before[0], rtol=1e-14)
    assert_allclose(parted.means[1] + parted.means[2], 2 * means[1], rtol=1e-12)
    step = parted.means[2] - means[1]
    widest = np.linalg.eigvalsh(before[1])[-1]
    assert_allclose(np.linalg.norm(step), halfnorm.mean() * np.sqrt(widest), rtol=1e-12)
    assert_allclose(before[1] @ step, widest * step, rtol=1e-9)
    if structure.name == "tied":
        assert_allclose(after[1], before[1], rtol=1e-14)
        return
    assert_allclose(after[1], after[2], rtol=1e-14)
    lost = before[1] - after[1]
    assert_allclose(np.trace(lost), step @ step, rtol=1e-12)
    if structure.name != "spherical":
        assert_allclose(lost, np.outer(step, step), atol=1e-12)
        along = step / np.linalg.norm(step)
        assert_allclose(along @ after[1] @ along, halfnorm.var() * widest, rtol=1e-12)


def test_the_component_of_the_most_scatter_is_halved_and_the_weights_are_shared():
    family = Gaussian(Diag())
    blank = family.blank(Frame.identity(1), 4)
    theta = replace(blank, means=np.array([[0.0], [10], [20], [30]]), covariances=np.array([[1.0], [4], [9], [1]]))
    params = MixtureParams(weights=np.array([0.3, 0.5, 0.1, 0.1]), components=theta, reseeds=1)
    stats = Mixture(family, 4).expected(params)
    narrowed = replace(stats, components=replace(stats.components, s2=stats.components.s2 * [[1], [1], [1], [0]]))
    updated, (event,) = Mixture(family, 4, Reseed()).m_step(narrowed, params)
    assert (event.component, event.message.split()[-1], updated.reseeds) == (3, "1", 2)  # 0.5 * 4 is most
    assert_allclose(updated.weights, [0.3, 0.3, 0.1, 0.3])
    assert_allclose(updated.components.means[:, 0], [0, 10 - 2 * halfnorm.mean(), 20, 10 + 2 * halfnorm.mean()])
    assert_allclose(updated.components.covariances[:, 0], [1, 4 * halfnorm.var(), 9, 4 * halfnorm.var()])


@pytest.mark.parametrize("ascent", [None, QuasiNewton()])
def test_counts_are_reseeded_and_dropped_as_well(ascent):
    x = np.random.default_rng(3).poisson(np.repeat([2.0, 30.0], 100))[:, None].astype(float)
    start = MixtureParams(np.array([0.5, 0.3, 0.2]), PoissonParams(np.array([[2.0], [1.0], [1e9]])))
    options = {"tol": 1e-9, "max_iter": 500} | ({} if ascent is None else {"ascent": ascent})
    (reseeded,) = drive(ArraySource(x), Mixture(Poisson(), 3, Reseed()), [start], **options)
    (dropped,) = drive(ArraySource(x), Mixture(Poisson(), 3, Drop()), [start], **options)
    assert [event.kind for event in reseeded.events] == [EventKind.RESEED]
    assert len(dropped.params.weights) == 2
    assert reseeded.converged
    assert dropped.converged
    assert reseeded.loglik > dropped.loglik - 1e-6
    assert_allclose(np.sort(dropped.params.components.rates[:, 0]), [2, 30], rtol=0.1)


@pytest.mark.parametrize(
    ("family", "theta"),
    [
        (Bernoulli(), BernoulliParams(np.array([[0.2, 0.9], [0.7, 0.5], [0.7, 0.5]]))),
        (Categorical(3), CategoricalParams(np.array([[[0.2, 0.3, 0.5]], [[0.1, 0.1, 0.8]], [[1.0, 0, 0]]]))),
        (Product([Poisson(), Bernoulli()]), (PoissonParams(np.array([[2.0], [5], [7]])),
                                             BernoulliParams(np.array([[0.2], [0.9], [0.4]])))),
    ],
    ids=["bernoulli", "categorical", "product"],
)  # fmt: skip
def test_components_of_every_family_can_be_dropped(family, theta):
    stats = Mixture(family, 3).expected(MixtureParams(np.array([0.75, 0.25, 0.0]), theta))
    before = MixtureParams(np.array([0.5, 0.3, 0.2]), theta)
    after, (event,) = Mixture(family, 3, Drop()).m_step(stats, before)
    assert (event.kind, event.component) == (EventKind.DROP, 2)
    assert_allclose(after.weights, [0.75, 0.25])
    for left, all_three in zip(leaves(after.components), leaves(theta), strict=True):
        assert_allclose(left, all_three[:2], rtol=1e-12)


def test_halves_of_yes_and_no_answers_lie_a_row_apart():
    family, theta = Bernoulli(), BernoulliParams(np.array([[0.1, 0.2], [0.5, 0.5], [0.5, 0.5]]))
    parted = family.part(theta, 1, 2)
    assert_allclose(parted.probs[0], theta.probs[0], rtol=1e-12)
    assert_allclose(parted.probs[1] + parted.probs[2], 1)
    assert_allclose(parted.probs[2], np.sin(np.pi / 4 + halfnorm.mean() / 2) ** 2)


@pytest.mark.parametrize("policy", ["reseed", "drop"])
@either
def test_what_is_killed_goes_on_with_the_same_bits(policy, acceleration, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(state):
        if state.iteration == stopped_at:
            raise StoppedError

    options = {"acceleration": acceleration, "max_iter": 8, "tol": 0}
    whole = far_off(policy, **options).fit(CLOUDS)
    for stopped_at in (0, 1, 5):
        path = tmp_path / f"{stopped_at}.ckpt"
        with pytest.raises(StoppedError):
            far_off(policy, callback=stop, checkpoint=path, **options).fit(CLOUDS)
        resumed = far_off(policy, checkpoint=path, **options).fit(CLOUDS)
        assert same_bits(resumed.params_, whole.params_)
        assert_array_equal(resumed.result_.objective, whole.result_.objective)
        assert resumed.result_.events == whole.result_.events
    assert whole.result_.events
    assert whole.n_iter_ > 5


def test_restarts_may_end_with_different_numbers_of_components():
    estimator = on_clump("drop", n_init=6, init_params="random_from_data")
    sizes = {}
    estimator.set_params(callback=lambda state: sizes.__setitem__(state.restart, len(state.params.weights)))
    fitted = estimator.fit(CLUMP)
    assert set(sizes.values()) == {2, 3}
    assert len(fitted.weights_) in {2, 3}


def test_one_restart_that_collapses_does_not_end_the_others():
    options = {"init_params": "random_from_data", "random_state": 0, "reg_covar": 0}
    sound = GaussianMixture(3, on_collapse="raise", n_init=6, **options).fit(CLUMP)
    assert not sound.result_.events


def test_the_search_leaves_collapse_to_the_fit():
    """No component is gone before the fit begins: nobody would be told."""
    clumps = np.repeat([[0.0, 0], [1, 1], [9, 9]], 20, axis=0)
    begun = []
    options = {"reg_covar": 0, "on_collapse": "drop", "random_state": 0}
    fitted = GaussianMixture(5, callback=lambda state: begun.append(state.params.weights), **options).fit(clumps)
    assert len(begun[0]) == 5
    assert len(fitted.weights_) == 5 - kinds(fitted).count(EventKind.DROP)
    emptied, floored = far_off("floor").fit(CLOUDS).result_, on_clump("floor").fit(CLUMP).result_
    sound = far_off("floor", means_init=[[0.0, 0], [1, 1], [3, 3]]).fit(CLOUDS).result_
    assert _ends([emptied, floored, sound]) == [sound.params, floored.params]


def test_a_mixture_that_dropped_components_can_do_all_that_others_can(tmp_path):
    fitted = on_clump("drop").fit(CLUMP)
    fitted.save(tmp_path / "m.json")
    again = load(tmp_path / "m.json")
    assert same_bits(again.params_, fitted.params_)
    assert again.result_.events == fitted.result_.events
    assert_array_equal(again.predict(CLUMP), fitted.predict(CLUMP))
    assert fitted.sample(50)[1].max() == 1
    assert fitted.marginal(0).means_.shape == (2, 1)
    assert fitted.to_sklearn().predict_proba(CLUMP).shape == (len(CLUMP), 2)
    assert again.partial_fit(CLUMP).means_.shape == (2, 2)
    warm = GaussianMixture(**fitted.get_params() | {"warm_start": True}).fit(CLUMP)
    assert warm.fit(CLUMP).means_.shape == (2, 2)
    text = (tmp_path / "m.json").read_text(encoding="utf-8").replace('"on_collapse": "drop"', '"on_collapse": "floor"')
    (tmp_path / "m.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelFileError, match=r"weights: expected shape \(3,\), found \(2,\)"):
        load(tmp_path / "m.json")


def test_a_stream_raises_where_it_collapses_only():
    batch = np.full((40, 1), 2.0)  # two of these values are nowhere near the third component
    poisson = MixtureModel(Poisson(), 2, random_state=0, on_collapse="raise").fit([1, 0, 1, 2, 60, 55, 50, 61])
    assert poisson.partial_fit(batch).n_batches_ == 2, "the sums of before hold rows of it"
    with pytest.warns(CollapseWarning):
        floored = on_clump("floor").fit(CLUMP)
    floored.set_params(on_collapse="raise")
    floored.model_ = replace(floored.model_, on_collapse=Raise())
    before = floored.params_
    with pytest.raises(FitError, match="collapsed"):
        floored.partial_fit(CLUMP)
    assert floored.params_ is before


def test_a_restart_is_not_taken_for_the_end():
    """Plain EM stops by its last gain, of which one across a reseed says nothing."""
    settled = far_off("reseed", acceleration=None, tol=20).fit(CLOUDS)  # more than the first gain
    assert abs(np.diff(settled.result_.objective)[0]) < 20 * len(CLOUDS)
    assert settled.n_iter_ == 2


def test_models_with_a_policy_travel():
    for policy in (Floor(), Reseed(), Drop(), Raise()):
        model = Mixture(Gaussian(), 2, policy)
        assert pickle.loads(pickle.dumps(model)) == model  # noqa: S301  # our own


def test_impossible_policies_are_refused_in_words():
    class Bare:
        name = "bare"

    for policy, method in ((Drop(), "take"), (Reseed(), "take")):
        with pytest.raises(TypeError, match=f"'{policy.name}' needs a family with the method '{method}'.*bare"):
            Mixture(Bare(), 2, policy)
    with pytest.raises(ValueError, match=r"'on_collapse' parameter.*must be a str among"):
        GaussianMixture(on_collapse="ignore").fit(CLOUDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert far_off("raise", means_init=[[0.0, 0], [1, 1], [3, 3]]).fit(CLOUDS).result_.status is Status.CONVERGED
