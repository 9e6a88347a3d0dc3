"""What must survive whole: clone, pickle, save and load, bit for bit."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

import mixtura
from compare import assert_close, assert_same_bits
from mixtura import GaussianMixture, MixtureModel
from mixtura.families import Diag, Full, Gaussian, Poisson, Spherical, Tied

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def estimators():
    """Return one estimator of each kind, with options that are not the defaults."""
    for name in ("full", "tied", "diag", "spherical"):
        yield GaussianMixture(3, covariance_type=name, tol=1e-5, reg_covar=1e-4, max_iter=7, n_init=2, random_state=1)
    yield MixtureModel(Poisson(), 2, tol=1e-5, max_iter=7, n_init=2, random_state=1)


def name_of(estimator):
    """Return a short name of an estimator for pytest."""
    return getattr(estimator, "covariance_type", "poisson")


@pytest.fixture(params=list(estimators()), ids=name_of)
def estimator(request):
    """Each estimator, not fitted."""
    return clone(request.param)


@pytest.fixture(scope="module")
def rows():
    """Whole positive numbers, so that every family takes them."""
    rng = np.random.default_rng(8)
    return rng.poisson(np.where(np.arange(300)[:, None] < 120, [2.0, 9.0], [15.0, 4.0])).astype(float)


@pytest.fixture(scope="module", params=list(estimators()), ids=name_of)
def fitted(request, rows):
    """Each estimator, fitted."""
    return clone(request.param).fit(rows)


def assert_same_predictions(one, other, x):
    """Find every prediction equal bit for bit."""
    for method in ("predict", "predict_proba", "score_samples", "score", "aic", "bic"):
        assert_array_equal(getattr(other, method)(x), getattr(one, method)(x), err_msg=method)
    for ours, theirs in zip(one.sample(20, random_state=5), other.sample(20, random_state=5), strict=True):
        assert_array_equal(theirs, ours)


def assert_same_options(one, other):
    """Find the same constructor options; values of no equality of their own by their text."""
    ours, theirs = one.get_params(deep=False), other.get_params(deep=False)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert repr(theirs[name]) == repr(value), name


def test_clone_keeps_the_options_and_no_fit(fitted, fitted_state):
    copy = clone(fitted)
    assert_same_options(fitted, copy)
    assert fitted_state(copy) == {}


def test_options_go_in_and_out(estimator):
    options = estimator.get_params(deep=False)
    assert options["max_iter"] == 7
    assert type(estimator)(**options).get_params(deep=False) == options
    assert estimator.set_params(max_iter=9).max_iter == 9
    assert repr(estimator).startswith(type(estimator).__name__)


def test_pickle(fitted, rows):
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        copy = pickle.loads(pickle.dumps(fitted, protocol))  # noqa: S301 (our own bytes)
        assert_same_bits(fitted, copy)
        assert_same_options(fitted, copy)
        assert_same_predictions(fitted, copy, rows)
        assert copy.result_.status is fitted.result_.status


def test_save_and_load_are_exact(fitted, rows, tmp_path):
    fitted.save(tmp_path / "model.json")
    copy = mixtura.load(tmp_path / "model.json")
    assert type(copy) is type(fitted)
    assert_same_bits(fitted, copy)
    assert_same_options(fitted, copy)
    assert_same_predictions(fitted, copy, rows)
    for name in ("converged_", "n_iter_", "lower_bound_", "loglik_", "n_features_in_"):
        assert getattr(copy, name) == getattr(fitted, name), name


def test_saving_a_loaded_model_writes_the_same_file(fitted, tmp_path):
    fitted.save(tmp_path / "one.json")
    mixtura.load(tmp_path / "one.json").save(tmp_path / "two.json")
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()


NAMES = ["height", "mass", "age"]


def table_of(x):
    """Return a pandas data frame."""
    return pytest.importorskip("pandas").DataFrame(x, columns=NAMES)


def test_save_keeps_names_starts_and_extreme_numbers(structure, tmp_path, make_case):
    case = make_case(structure, d=3)
    scale = np.full(3, 1e150) if structure == "spherical" else np.array([1e150, 1.0, 1e-150])
    options = {
        "covariance_type": structure,
        "reg_covar": 0,
        "random_state": 0,
        "means_init": case.means * scale,
    }
    model = GaussianMixture(3, **options).fit(table_of(case.x * scale))
    model.save(str(tmp_path / "model.json"))
    copy = mixtura.load(str(tmp_path / "model.json"))
    assert list(copy.feature_names_in_) == NAMES
    assert_array_equal(copy.means_init, model.means_init)
    assert_same_bits(model, copy)
    assert_same_predictions(model, copy, table_of(case.x * scale))


def test_a_loaded_model_can_be_fitted_on(structure, tmp_path, make_case):
    case = make_case(structure)
    plain = {**case.start, "tol": 0.0, "acceleration": None}  # what extrapolation has learnt does not outlive a fit
    model = GaussianMixture(**plain, max_iter=2, warm_start=True).fit(case.x)
    model.save(tmp_path / "model.json")
    copy = mixtura.load(tmp_path / "model.json")
    straight = GaussianMixture(**plain, max_iter=4).fit(case.x)
    for resumed in (model.fit(case.x), copy.fit(case.x)):
        assert_close(straight, resumed, rtol=1e-10)


def test_to_sklearn_survives_its_own_pickle(structure, make_case):
    case = make_case(structure)
    model = GaussianMixture(**case.start, max_iter=2, tol=0.0).fit(case.x)
    copy = pickle.loads(pickle.dumps(model.to_sklearn()))  # noqa: S301 (our own bytes)
    assert_array_equal(copy.means_, model.means_)


@pytest.mark.parametrize("covariance", [Full(), Tied(), Diag(), Spherical()], ids=lambda c: c.name)
def test_a_mixture_of_any_family_is_saved_with_its_options(covariance, tmp_path):
    x = np.random.default_rng(3).standard_normal((80, 2))
    model = MixtureModel(Gaussian(covariance, reg_covar=1e-3), 2, random_state=0).fit(x)
    model.save(tmp_path / "model.json")
    loaded = mixtura.load(tmp_path / "model.json")
    assert loaded.family == model.family
    assert np.array_equal(loaded.predict_proba(x), model.predict_proba(x))


def test_a_family_from_elsewhere_is_not_saved(tmp_path):
    class Mine(Gaussian):
        pass

    model = MixtureModel(Mine(), 1).fit([0.0, 1.0, 2.0])
    with pytest.raises(TypeError, match="Mine"):
        model.save(tmp_path / "model.json")
    assert not list(tmp_path.iterdir())
