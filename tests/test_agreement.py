"""What a fit says of its own answer: how many restarts agree, and which components are suspect."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import eigh
from sklearn.exceptions import ConvergenceWarning

from benchmarks.compress import make_rows
from mixtura import GaussianMixture, MixtureModel, load, search, select
from mixtura.em import drive
from mixtura.estimators.outcome import stands_alone
from mixtura.exceptions import CollapseWarning, DisagreementWarning, SpuriousWarning
from mixtura.families import Diag, Full, Gaussian, Poisson, Spherical, Tied
from mixtura.model import EventKind
from mixtura.models import Mixture
from mixtura.priors import Spread
from mixtura.result import ALONE, Agreement

RNG = np.random.default_rng(0)
CLOUDS = np.concatenate([RNG.normal(0, 1, (200, 2)), RNG.normal([7, 0], 1, (200, 2))])
RING = np.concatenate([RNG.normal([np.cos(a), np.sin(a)], 0.03, (60, 2)) for a in np.arange(8) * np.pi / 4])


def ends(*objectives, weight=10.0):
    """Return results that ended there; None for one that failed."""
    return [
        SimpleNamespace(objective=np.array([value]), weight=weight, failed=value is None, agreement=ALONE)
        for value in objectives
    ]


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        ((-5.0,), Agreement(1, 1, 0.0)),
        ((-5.0, -5.0, -5.01), Agreement(3, 3, 0.0)),
        ((-5.0, -5.03, -9.0), Agreement(3, 1, 0.003)),
        ((-9.0, -5.0, -7.0, -5.015), Agreement(4, 2, 0.2)),
    ],
    ids=["one", "all", "alone", "two"],
)
def test_restarts_agree_to_twice_what_the_tolerance_resolves_a_row(objectives, expected):
    found = Agreement.among(ends(*objectives), 1e-3)
    assert (found.n_restarts, found.n_agreeing) == (expected.n_restarts, expected.n_agreeing)
    assert_allclose(found.gap, expected.gap, rtol=1e-9, atol=1e-15)


def test_rounding_is_no_disagreement():
    assert Agreement.among(ends(-1e9, -1e9 + 1e-6), 0.0).n_agreeing == 2


@pytest.mark.parametrize(
    ("agreement", "alone"),
    [
        (Agreement(5, 1, 0.02), True),
        (Agreement(5, 1, 0.005), False),
        (Agreement(5, 2, 0.02), False),
        (Agreement(), False),
    ],
)
def test_a_little_more_is_no_other_answer(agreement, alone):
    assert stands_alone(agreement, 1e-3) is alone


def test_restarts_that_failed_do_not_agree():
    assert Agreement.among(ends(None, -5.0, None), 1e-3) == Agreement(3, 1, 0.0)


def test_a_clear_answer_is_found_by_all_restarts_and_nobody_is_warned():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = GaussianMixture(2, n_init=4, init_params="random_from_data", random_state=0).fit(CLOUDS)
    assert fitted.result_.agreement == Agreement(4, 4, 0.0)


def test_a_best_restart_that_stands_alone_is_warned_of():
    options = {"covariance_type": "spherical", "init_params": "random_from_data", "n_init": 4}
    with pytest.warns(DisagreementWarning, match=r"only one of 4 starts.* the next is 0\.\d+ a row below.*n_init"):
        fitted = GaussianMixture(8, random_state=3, **options).fit(RING)
    agreement = fitted.result_.agreement
    assert (agreement.n_restarts, agreement.n_agreeing) == (4, 1)
    assert 0.01 < agreement.gap < 1


def test_one_start_that_was_not_searched_for_says_nothing():
    fitted = GaussianMixture(8, init_params="kmeans", random_state=0).fit(RING)
    assert fitted.result_.agreement == ALONE
    assert "start" not in str(fitted.result_)
    assert GaussianMixture(1).fit(RING).result_.agreement == ALONE


def test_of_one_start_the_search_tells_how_far_its_last_runs_agree():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = GaussianMixture(8, random_state=0).fit(RING)
    assert fitted.result_.agreement == Agreement(3, 3, 0.0)
    assert str(fitted.result_).splitlines()[-1] == "3 of 3 starts came to the best objective"


def noise():
    """Return rows without clusters: the likelihood of many components has many optima."""
    return np.random.default_rng(3).normal(size=(150, 6))


def test_the_search_tells_of_other_optima():
    """Its last runs by hand: from each of the candidates that it kept, to their end on the same rows."""
    x, ended = noise(), []

    def noted(*args, **options):
        results = drive(*args, **options)
        ended.append([float(result.objective[-1]) for result in results if not result.events])
        return results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "drive", noted)
        with pytest.warns(DisagreementWarning) as told:
            fitted = GaussianMixture(5, random_state=0).fit(x)
    last = np.sort(ended[-1])[::-1] / len(x)
    assert last[0] - last[1] > 0.01, "the runs must not end at one optimum"
    assert any("only one of 3 starts" in str(warning.message) for warning in told)
    found = fitted.result_.agreement
    assert (found.n_restarts, found.n_agreeing) == (len(last), 1)
    assert_allclose(found.gap, last[0] - last[1], rtol=1e-12)
    assert f"1 of {len(last)} starts came to the best objective, the next {found.gap:.2g} a row below" in str(
        fitted.result_
    )


def test_where_the_last_runs_stop_is_no_disagreement():
    """Of a flat likelihood, with a tolerance that is finer than that of the search."""
    x = make_rows(20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = GaussianMixture(5, tol=1e-8, max_iter=1000, random_state=1).fit(x)
    assert fitted.result_.agreement == Agreement(3, 3, 0.0)


def test_restarts_count_where_there_are_some():
    agreement = GaussianMixture(5, n_init=4, random_state=0).fit(noise()).result_.agreement
    assert agreement.n_restarts == 4


def test_agreement_outlives_an_interruption(tmp_path):
    options = {"n_components": 5, "random_state": 0, "tol": 1e-6}
    whole = GaussianMixture(**options).fit(noise()).result_.agreement
    cut = GaussianMixture(checkpoint=tmp_path / "c", max_time=1e-9, **options)
    with pytest.warns(ConvergenceWarning, match="time limit"):
        assert cut.fit(noise()).result_.agreement == whole
    assert cut.set_params(max_time=None).fit(noise()).result_.agreement == whole
    assert whole != ALONE


@pytest.mark.filterwarnings("ignore::mixtura.exceptions.SelectionWarning")
def test_candidates_of_a_selection_have_their_own():
    for candidate in select(noise(), (2, 5), "full", random_state=0).candidates:
        alone = GaussianMixture(candidate.n_components, tol=candidate.estimator.tol, random_state=0).fit(noise())
        assert candidate.estimator.result_.agreement == alone.result_.agreement
        assert alone.result_.agreement.n_restarts == 3


def test_agreement_and_suspects_are_saved(tmp_path):
    with pytest.warns(SpuriousWarning):
        fitted = GaussianMixture(3, n_init=2, random_state=0).fit(with_pair())
    fitted.save(tmp_path / "m.json")
    again = load(tmp_path / "m.json")
    assert again.result_.agreement == fitted.result_.agreement
    assert again.result_.events == fitted.result_.events


def with_pair():
    """Return two clouds and, far away, two rows, which a third component takes for itself."""
    return np.concatenate([CLOUDS, [[30.0, 30.0], [30.01, 30.0]]])


@pytest.mark.parametrize("structure", ["full", "diag", "spherical"])
def test_a_component_of_two_rows_is_suspect(structure):
    with pytest.warns(SpuriousWarning, match=r"component \d has the weight of 2 rows, too few for a width"):
        fitted = GaussianMixture(3, covariance_type=structure, random_state=0).fit(with_pair())
    (event,) = fitted.result_.events
    assert (event.kind, event.component) == (EventKind.SPURIOUS, int(np.argmin(fitted.weights_)))
    assert event.iteration == fitted.n_iter_


def test_a_shared_covariance_needs_no_rows_of_one_component():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianMixture(3, covariance_type="tied", random_state=0).fit(with_pair())


def test_weights_are_rows():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = with_pair()
        GaussianMixture(3, random_state=0, reg_covar=1e-2).fit(x, sample_weight=np.where(x[:, 0] > 20, 50.0, 1.0))


def test_rows_almost_in_a_plane_are_suspect():
    line = np.column_stack([np.linspace(20, 22, 8), np.linspace(3, 1, 8)])
    line += 1e-3 * np.random.default_rng(1).normal(size=line.shape)
    with pytest.warns(SpuriousWarning, match=r"weight of 8 rows and a width of 0\.00\d of that of all components in"):
        GaussianMixture(3, reg_covar=1e-6, random_state=0).fit(np.concatenate([CLOUDS, line]))
    with warnings.catch_warnings():  # a prior keeps them wide
        warnings.simplefilter("error")
        GaussianMixture(3, random_state=0, component_prior=Spread(0.01)).fit(np.concatenate([CLOUDS, line]))


def test_a_narrow_component_of_many_rows_is_not_suspect_unless_it_is_singular():
    tight = np.random.default_rng(2).normal(20, 1e-3, (100, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianMixture(3, random_state=0, reg_covar=0).fit(np.concatenate([CLOUDS, tight]))
    with pytest.warns(SpuriousWarning, match="weight of 100 rows and a width of"):
        GaussianMixture(3, random_state=0, reg_covar=0).fit(np.concatenate([CLOUDS, 20 + (tight - 20) * 1e-2]))


@pytest.mark.parametrize("structure", [Full(), Diag(), Spherical(), Tied()], ids=lambda structure: structure.name)
def test_the_width_is_the_least_root_beside_the_pooled_covariance(structure):
    """The roots by scipy's generalized eigenvalues; the verdict turns where the least of them crosses the bound."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3))
    fitted = GaussianMixture(3, covariance_type=structure.name, random_state=0).fit(x)
    family, theta = fitted.model_.family, fitted.params_.components
    matrices = structure.expand(theta.covariances, 3, 3)
    for j in range(3):
        for scale in (1.0, 1e-3, 1e-5):
            pooled = np.einsum("k,kij->ij", fitted.weights_, matrices)
            least = eigh(matrices[j], pooled, eigvals_only=True)[0]
            found = {event.component for event in family.suspects(theta, 12 * fitted.weights_ / fitted.weights_.max())}
            enough = structure.least_rows(3) + 0.5 if structure.name != "tied" else 0.0
            few = 12 * fitted.weights_[j] / fitted.weights_.max() < enough
            assert (j in found) == (few or least < 1e-3)
            if structure.name == "tied":
                break
            matrices = matrices.copy()
            matrices[j] *= scale
            shaped = {"full": matrices, "diag": np.diagonal(matrices, axis1=1, axis2=2), "spherical": matrices[:, 0, 0]}
            covariances = shaped[structure.name]
            _, factors, _ = structure.factorize(covariances, theta.frame.floor)
            theta = type(theta)(**vars(theta) | {"covariances": covariances, "factors": factors})


def test_verdicts_do_not_depend_on_units():
    x, scale = with_pair(), np.array([1e-6, 1e3])
    with pytest.warns(SpuriousWarning):
        fitted = GaussianMixture(3, random_state=0).fit(x)
    theta = fitted.params_.components
    start = {"weights_init": fitted.weights_, "means_init": fitted.means_ * scale, "max_iter": 0, "reg_covar": 0}
    precisions = fitted.precisions_ / scale[:, None] / scale
    scaled = GaussianMixture(3, precisions_init=precisions, **start).fit(x * scale)
    counts = len(x) * fitted.weights_
    family = fitted.model_.family
    told = [[event.message for event in family.suspects(t, counts)] for t in (theta, scaled.params_.components)]
    assert told[0] == told[1]


def test_families_without_spurious_maxima_are_not_asked():
    assert Mixture(Poisson(), 2).suspects(MixtureModel(Poisson(), 2).fit([1, 2, 9, 8]).params_, 4.0) == ()


def test_clean_data_raise_no_alarm():
    """Well-specified fits of 40 rows a component, of every structure."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        x = np.concatenate([rng.normal(4 * j, 1, (40, 3)) for j in range(3)])
        for structure in ("full", "tied", "diag", "spherical"):
            with warnings.catch_warnings():
                warnings.simplefilter("error", CollapseWarning)
                GaussianMixture(3, covariance_type=structure, random_state=0).fit(x)


def test_what_was_floored_is_told_once():
    clump = np.concatenate([CLOUDS, np.full((20, 2), 20.0)])
    with pytest.warns(CollapseWarning) as told:
        fitted = GaussianMixture(3, reg_covar=0, init_params="kmeans", random_state=0, max_iter=300).fit(clump)
    assert [warning.category for warning in told] == [CollapseWarning]
    assert {event.kind for event in fitted.result_.events} == {EventKind.FLOOR}
    assert isinstance(Gaussian().suspects(fitted.params_.components, 420 * fitted.weights_)[0].message, str)
