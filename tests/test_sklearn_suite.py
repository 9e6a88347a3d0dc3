"""Run scikit-learn's own tests of its mixtures, with our class in place of theirs.

The modules are loaded afresh from the installed scikit-learn while ``sklearn.mixture.GaussianMixture`` is
ours, so that their imports and their parametrizations hold our class; the copies in ``sys.modules`` are not
touched. Their test functions become this module's, and pytest collects them as it collects any other.

``LEFT_OUT`` lists what does not apply, with the reason. The two tests at the end keep the table honest: it
may name no test that does not exist, and every other test must really have been collected.
"""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import sklearn.mixture
from sklearn.utils.fixes import parse_version

import mixtura
from mixtura.models.collapse import Floor, Raise

pytestmark = [  # their own suite goes on after these warnings; ours makes warnings errors
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::mixtura.exceptions.CollapseWarning"),
]

MODULES = ("sklearn.mixture.tests.test_gaussian_mixture", "sklearn.mixture.tests.test_mixture")

WRITTEN_FOR = "1.9"  # the scikit-learn whose tests LEFT_OUT goes through
HELPERS = "tests the private functions _estimate_* and _compute_*, and no estimator"
COUNT = "asks the private method _n_parameters; test_against_sklearn checks aic and bic instead"
DEVICES = "tests array API dispatch to other devices, which we do not have"
LEFT_OUT = {
    "test_suffstat_sk_full": HELPERS,
    "test_suffstat_sk_tied": HELPERS,
    "test_suffstat_sk_diag": HELPERS,
    "test_gaussian_suffstat_sk_spherical": HELPERS,
    "test_compute_log_det_cholesky": HELPERS,
    "test_gaussian_mixture_log_probabilities": HELPERS,
    "test_gaussian_mixture_precisions_init": "calls the private methods _initialize and _set_parameters",
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": "counts private calls",
    "test_gaussian_mixture_n_parameters": COUNT,
    "test_gaussian_mixture_aic_bic": COUNT,
    "test_check_weights": "wants the least weight to be called the max value; test_bad_input has its cases",
    "test_gaussian_mixture_array_api_compliance": DEVICES,
    "test_gaussian_mixture_raises_where_array_api_not_implemented": DEVICES,
}


class PlainMixture(mixtura.GaussianMixture):
    """Our class with the start that theirs has by default, and EM as it is."""

    def __init__(self, n_components=1, *, covariance_type="full", tol=1e-3, reg_covar=1e-6, max_iter=100, n_init=1,
                 init_params="kmeans", weights_init=None, means_init=None, precisions_init=None, random_state=None,
                 warm_start=False, verbose=0, verbose_interval=10):  # fmt: skip
        super().__init__(
            n_components, covariance_type=covariance_type, tol=tol, reg_covar=reg_covar, max_iter=max_iter,
            n_init=n_init, init_params=init_params, weights_init=weights_init, means_init=means_init,
            precisions_init=precisions_init, random_state=random_state, warm_start=warm_start, verbose=verbose,
            verbose_interval=verbose_interval, acceleration=None,
        )  # fmt: skip

    def _set_fitted(self, model, result):
        super()._set_fitted(model, result)
        self.n_iter_ = max(1, self.n_iter_)  # theirs counts the update that finds nothing to change, too


PlainMixture.__name__ = "GaussianMixture"


class RaisingMixture(PlainMixture):
    """The same with their error for duplicate rows; they demand a fit as soon as something is added to variances."""

    def _make_model(self):
        return replace(super()._make_model(), on_collapse=Floor() if self.reg_covar else Raise())


@pytest.fixture
def global_dtype():
    """Give float64 alone: they run float32 on request, and want its results in float32; ours are float64."""
    return np.float64


@pytest.fixture
def global_random_seed():
    """Give the seed that scikit-learn uses unless told otherwise."""
    return 42


def load_with_ours(name):
    """Return the module ``name`` loaded afresh, with our GaussianMixture wherever it imports theirs."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"{name} is not installed with scikit-learn {sklearn.__version__}: cannot run it")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sklearn.mixture, "GaussianMixture", PlainMixture)
        spec.loader.exec_module(module)
    if module.GaussianMixture is not PlainMixture:
        raise ImportError(f"{name} no longer imports GaussianMixture from sklearn.mixture")
    return module


def without_bayesian(mark):
    """Return a parametrization without the estimators of scikit-learn's variational mixture."""
    if mark.name != "parametrize":
        return mark
    names, values, *rest = mark.args
    kept = [value for value in values if not isinstance(value, sklearn.mixture.BayesianGaussianMixture)]
    if values and not kept:
        raise ValueError(f"nothing is left of the parametrization of {names}")
    return pytest.mark.parametrize(names, kept, *rest, **mark.kwargs).mark


def find_tests(module):
    """Return the test functions of a module by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if name.startswith("test_") and callable(value) and value.__module__ == module.__name__
    }


ALL_TESTS = {}
for _name in MODULES:
    _found = find_tests(load_with_ours(_name))
    assert _found.keys().isdisjoint(ALL_TESTS), "two tests of one name"
    ALL_TESTS |= _found
for _test in ALL_TESTS.values():
    _test.pytestmark = [without_bayesian(mark) for mark in getattr(_test, "pytestmark", [])]
globals().update({name: test for name, test in ALL_TESTS.items() if name not in LEFT_OUT})


def test_regularisation(monkeypatch):
    theirs = ALL_TESTS["test_regularisation"]
    monkeypatch.setitem(theirs.__globals__, "GaussianMixture", RaisingMixture)
    theirs()


def test_every_test_left_out_exists():
    if parse_version(sklearn.__version__) < parse_version(WRITTEN_FOR):
        pytest.skip(f"the table is of scikit-learn {WRITTEN_FOR}; {sklearn.__version__} lacks some of its tests")
    assert LEFT_OUT.keys() <= ALL_TESTS.keys(), f"gone from scikit-learn: {LEFT_OUT.keys() - ALL_TESTS.keys()}"
    assert all(LEFT_OUT.values())


def test_every_other_test_is_collected(request):
    collected = {item.originalname for item in request.node.getparent(pytest.Module).collect()}
    wanted = ALL_TESTS.keys() - LEFT_OUT.keys()
    assert len(wanted) >= 25  # 29 in scikit-learn 1.9: far fewer would mean that we look in the wrong place
    assert wanted <= collected, f"not collected: {wanted - collected}"
