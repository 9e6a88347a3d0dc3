"""Hidden Markov models by hmmlearn's names, beside hmmlearn itself: same start, same updates, same answers."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from mixtura import CategoricalHMM, GaussianHMM, PoissonHMM, load

STRUCTURES = ("diag", "full", "tied", "spherical")
LENGTHS = [100, 1, 150, 49]
START = np.array([0.6, 0.3, 0.1])
CYCLE = np.array([[0.7, 0.25, 0.05], [0.05, 0.6, 0.35], [0.35, 0.05, 0.6]])  # not reversible
PEER: Any = pytest.importorskip("hmmlearn.hmm")
WITHOUT_PRIOR: dict[str, Any] = {"min_covar": 0, "covars_prior": 0, "covars_weight": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # updates are few


def gaussian_case(structure: str = "diag", **options: Any) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 2)) + 2.0 * rng.integers(0, 3, 300)[:, None]
    covars = {"full": np.tile(np.eye(2), (3, 1, 1)), "tied": np.eye(2), "spherical": np.ones(3)}
    start = {"means_": [[0.0, 0], [2, 2], [4, 4]], "covars_": covars.get(structure, np.ones((3, 2)))}
    options = {"covariance_type": structure, **WITHOUT_PRIOR, **options}
    return x, *both(GaussianHMM, PEER.GaussianHMM, start, options)


def poisson_case(**options: Any) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(2)
    x = rng.poisson(np.array([[1.0, 6.0], [5.0, 2.0], [12.0, 9.0]])[rng.integers(0, 3, 300)])
    return x, *both(PoissonHMM, PEER.PoissonHMM, {"lambdas_": [[2.0, 5.0], [4.0, 4.0], [9.0, 8.0]]}, options)


def category_case(**options: Any) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 4, (300, 1))
    probs = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.2, 0.6], [0.25] * 4]
    return x, *both(CategoricalHMM, PEER.CategoricalHMM, {"emissionprob_": probs}, options)


def both(ours: Any, theirs: Any, start: dict[str, Any], options: dict[str, Any]) -> list[Any]:
    """Return our model and theirs with the same parameters set, of which none is initialized."""
    models = []
    for kind in (ours, theirs):
        model = kind(3, **{"n_iter": 5, "tol": -np.inf, "init_params": "", "random_state": 0, **options})
        for name, value in {"startprob_": START, "transmat_": CYCLE, **start}.items():
            setattr(model, name, np.array(value))
        models.append(model)
    return models


CASES = {
    **{name: (gaussian_case, name) for name in STRUCTURES},
    "poisson": (poisson_case,),
    "categories": (category_case,),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    make, *arguments = request.param
    return make(*arguments)


def assert_same_parameters(ours: Any, theirs: Any) -> None:
    for name in ("startprob_", "transmat_", "means_", "covars_", "lambdas_", "emissionprob_"):
        assert hasattr(ours, name) == hasattr(theirs, name)
        if hasattr(ours, name):
            expected = getattr(theirs, name)
            if name == "covars_" and theirs.covariance_type == "spherical":  # after a fit they return 2 k matrices
                expected = expected[::2]
            assert_allclose(getattr(ours, name), expected, rtol=1e-8, atol=1e-12, err_msg=name)


def assert_same_answers(ours: Any, theirs: Any, x: Any) -> None:
    assert ours.score(x, LENGTHS) == pytest.approx(theirs.score(x, LENGTHS), rel=1e-10)
    for found, expected in zip(ours.score_samples(x, LENGTHS), theirs.score_samples(x, LENGTHS), strict=True):
        assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
    assert_allclose(ours.predict_proba(x, LENGTHS), theirs.predict_proba(x, LENGTHS), rtol=1e-8, atol=1e-12)
    assert_array_equal(ours.predict(x, LENGTHS), theirs.predict(x, LENGTHS))
    for algorithm in ("viterbi", "map"):
        found, expected = ours.decode(x, LENGTHS, algorithm), theirs.decode(x, LENGTHS, algorithm)
        assert found[0] == pytest.approx(expected[0], rel=1e-10)
        assert_array_equal(found[1], expected[1])
    for name in ("aic", "bic"):
        assert getattr(ours, name)(x, LENGTHS) == pytest.approx(getattr(theirs, name)(x, LENGTHS), rel=1e-10)
    assert_allclose(ours.get_stationary_distribution(), theirs.get_stationary_distribution(), rtol=1e-10)


def test_parameters_that_are_set_answer_as_theirs(case):
    x, ours, theirs = case
    theirs.n_features = 4 if hasattr(theirs, "emissionprob_") else x.shape[1]
    assert_same_answers(ours, theirs, x)


def test_the_same_updates_from_the_same_start(case):
    x, ours, theirs = case
    ours.fit(x, LENGTHS)
    theirs.fit(x, LENGTHS)
    assert_same_parameters(ours, theirs)
    assert_same_answers(ours, theirs, x)
    assert_allclose(ours.monitor_.history[:-1], theirs.monitor_.history, rtol=1e-10)
    assert ours.monitor_.iter == theirs.monitor_.iter == 5
    assert ours.loglik_ == pytest.approx(ours.score(x, LENGTHS), rel=1e-12)
    ours.fit(x, LENGTHS)  # nothing is initialized: it goes on
    theirs.fit(x, LENGTHS)
    assert_same_parameters(ours, theirs)


@pytest.mark.parametrize("params", ["st", "m", "c", "sc", "tmc", ""])
@pytest.mark.parametrize("structure", ["full", "diag", "tied"])
def test_what_is_not_in_params_stays(params, structure):
    x, ours, theirs = gaussian_case(structure, params=params)
    if params in ("c", "sc"):  # without "m", they forget to count rows: covariances about means that stay
        theirs.params += "m"
        theirs._do_mstep = lambda stats, update=theirs._do_mstep, means=theirs.means_: (
            setattr(theirs, "params", params), setattr(theirs, "means_", means), update(stats),
            setattr(theirs, "params", params + "m"),
        )  # fmt: skip
    ours.fit(x, LENGTHS)
    theirs.fit(x, LENGTHS)
    assert_same_parameters(ours, theirs)


@pytest.mark.parametrize("make", [poisson_case, category_case])
def test_priors_of_the_chain_are_theirs(make):
    x, ours, theirs = make(startprob_prior=2.0, transmat_prior=1 + 5 * np.eye(3))
    assert_same_parameters(ours.fit(x, LENGTHS), theirs.fit(x, LENGTHS))


def test_tol_is_a_gain_of_the_whole_log_likelihood():
    x, ours, _ = gaussian_case(tol=0.5, n_iter=200)
    history = ours.fit(x, LENGTHS).monitor_.history
    assert ours.monitor_.converged
    gains = np.diff(history)
    assert gains[-1] < 0.5 <= gains[:-1].min()


def test_a_fit_that_finds_its_own_start_is_as_good(case):
    x, ours, theirs = case
    ours.set_params(init_params=ours.params, n_iter=40)
    with pytest.warns(UserWarning, match="startprob_, transmat_, .* had been set, but init_params has 'st"):
        ours.fit(x, LENGTHS)
    theirs.n_iter = 40
    assert ours.score(x, LENGTHS) > theirs.fit(x, LENGTHS).score(x, LENGTHS) - 5.0


def test_parameters_may_be_changed_in_place(case):
    x, ours, theirs = case
    ours.fit(x, LENGTHS)
    theirs.fit(x, LENGTHS)
    for model in (ours, theirs):
        model.transmat_[:] = CYCLE.T / CYCLE.T.sum(axis=1, keepdims=True)
    assert_same_answers(ours, theirs, x)
    with pytest.raises(AttributeError, match="there was none"):
        _ = ours.monitor_


def test_samples(case):
    _, ours, theirs = case
    x, states = ours.sample(2000, random_state=0)
    assert x.shape == (2000, theirs.sample(2)[0].shape[1])
    assert_array_equal(ours.sample(2000, random_state=0)[0], x)
    counts = np.zeros((3, 3))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    assert_allclose(counts / counts.sum(axis=1, keepdims=True), CYCLE, atol=0.07)
    assert {int(ours.sample(1, random_state=seed, currstate=2)[1][0]) for seed in range(20)} == {2}
    with pytest.raises(ValueError, match="currstate is 3, expected a state from 0 to 2"):
        ours.sample(1, currstate=3)


def test_a_saved_model_is_the_same(case, tmp_path):
    x, ours, _ = case
    for fitted in (False, True):
        if fitted:
            ours.fit(x, LENGTHS)
        ours.save(tmp_path / "model.json")
        again = load(tmp_path / "model.json")
        assert type(again) is type(ours)
        assert again.get_params() == ours.get_params()  # tol is -inf, which JSON has no number for
        assert again.score(x, LENGTHS) == ours.score(x, LENGTHS)
        assert_array_equal(again.transmat_, ours.transmat_)
        assert hasattr(again, "result_") == fitted
        assert pickle.loads(pickle.dumps(again)).score(x, LENGTHS) == ours.score(x, LENGTHS)  # noqa: S301


@pytest.mark.parametrize("kind", [GaussianHMM, PoissonHMM, CategoricalHMM])
def test_arguments_are_theirs(kind):
    theirs = getattr(PEER, kind.__name__)(2).get_params()
    ours = kind(2).get_params()
    assert {name: ours[name] for name in theirs} == theirs
    assert set(ours) - set(theirs) == {"n_init", "acceleration", "n_threads"}
    assert clone(kind(3, n_iter=7)).get_params() == kind(3, n_iter=7).get_params()
    with pytest.raises(NotFittedError, match="has no startprob_ yet: call fit, or set its parameters"):
        kind(2).predict([[0]])


def test_a_default_fit_of_the_states_one_knows():
    rng = np.random.default_rng(0)
    states = np.repeat([0, 1, 0, 1], 50)
    x = rng.normal(6.0 * states[:, None], 1.0, (200, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = GaussianHMM(2, "full", random_state=0, n_iter=100).fit(x)
    assert model.covars_.shape == (2, 2, 2)
    labels = model.predict(x)
    assert_array_equal(labels == labels[0], states == 0)
    assert_allclose(np.diag(model.transmat_), 0.98, atol=0.02)


REFUSED: dict[str, tuple[Any, str]] = {
    "means_weight": (GaussianHMM(2, means_weight=1), "means_weight is 1: 0 is taken here, or mixtura.HMM"),
    "covars_prior": (GaussianHMM(2, covars_prior=0.5), "covars_prior is 0.5: 0 or 0.01 is taken here"),
    "lambdas_prior": (PoissonHMM(2, lambdas_prior=1.0), "lambdas_prior is 1.0: 0 is taken here"),
    "emissionprob_prior": (CategoricalHMM(2, emissionprob_prior=2.0), "emissionprob_prior is 2.0: 1 is taken here"),
    "letters": (PoissonHMM(2, params="stm"), "params has 'm', expected letters of 'stl'"),
    "structure": (GaussianHMM(2, "round"), "'covariance_type' parameter of GaussianHMM must be a str among"),
    "prior": (PoissonHMM(2, transmat_prior=0.5), "transmat_prior"),
    "symbols": (CategoricalHMM(2, n_features=2), "takes whole numbers from 0 to 1 only"),
    "algorithm": (PoissonHMM(2, algorithm="best"), "'algorithm' parameter of PoissonHMM"),
}


@pytest.mark.parametrize(("model", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_meaning_is_refused_in_words(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit([[0], [1], [2], [1]])
    assert not hasattr(model, "hmm_")


@pytest.mark.parametrize("model", [GaussianHMM(2), PoissonHMM(2), CategoricalHMM(2)], ids=lambda m: type(m).__name__)
def test_no_rows_at_all_are_refused_in_words(model):
    with pytest.raises(ValueError, match=r"Found array with 0 sample"):
        model.fit(np.empty((0, 1)))


def test_sparse_rows_are_refused_and_a_vector_is_one_column():
    x = np.array([0, 1, 0, 7, 8, 6, 1, 0])
    with pytest.raises((TypeError, ValueError), match="sparse"):
        PoissonHMM(2).fit(csr_array(x[:, None]))
    assert PoissonHMM(2, random_state=0).fit(x).lambdas_.shape == (2, 1)


def test_parameters_that_cannot_be_are_named():
    x, ours, _ = gaussian_case()
    ours.transmat_ = np.full((3, 3), 0.5)
    with pytest.raises(ValueError, match="transmat, row 0: expected probabilities that sum to 1"):
        ours.score(x)
    ours.transmat_, ours.covars_ = CYCLE, np.ones(3)
    with pytest.raises(ValueError, match=r"covars_ has shape \(3,\), expected \(3, 2\) for 'diag'"):
        ours.score(x)


def test_a_chain_that_falls_apart_has_no_one_stationary_distribution():
    model = PoissonHMM(2)
    model.startprob_, model.transmat_, model.lambdas_ = np.array([0.5, 0.5]), np.eye(2), np.array([[1.0], [2.0]])
    with pytest.raises(ValueError, match="several stationary distributions"):
        model.get_stationary_distribution()
