"""Data and helpers that several test modules share, as fixtures."""

import random
import signal
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pytest

from mixtura import GaussianMixture
from mixtura.families import Gaussian

STRUCTURES = ("full", "tied", "diag", "spherical")


def pytest_configure(config):
    """Let fits of few rows and few restarts go unremarked, which tests make; and hear Ctrl-C, which tests send."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for work in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for remark in ("SpuriousWarning", "DisagreementWarning"):
        config.addinivalue_line("filterwarnings", f"ignore::mixtura.exceptions.{remark}")


def pytest_addoption(parser):
    parser.addoption("--most-cases", type=int, metavar="N", help="of each test, run N cases drawn by its name, or all")


def pytest_collection_modifyitems(config, items):
    """Leave out the cases that ``--most-cases`` does not draw, but for scikit-learn's: each of those is a test."""
    most = config.getoption("most_cases", None)
    if most is None:
        return
    cases = defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    drawn = set()
    for test, of_test in cases.items():
        every = len(of_test) <= most or test.endswith("test_generic_checks")
        drawn.update(of_test if every else random.Random(test).sample(of_test, most))
    config.hook.pytest_deselected(items=[item for item in items if item not in drawn])
    items[:] = [item for item in items if item in drawn]


@dataclass(frozen=True)
class Truth:
    """A Gaussian mixture, written out: weights (k,), means (k, d), full covariances (k, d, d)."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def draw(self, n, rng):
        """Return (rows, labels)."""
        labels = rng.choice(len(self.weights), size=n, p=self.weights)
        lower = np.linalg.cholesky(self.covariances)
        noise = rng.standard_normal((n, self.means.shape[1]))
        return self.means[labels] + np.einsum("nab,nb->na", lower[labels], noise), labels


def random_spd(rng, d, size=None):
    """Return random well-conditioned covariance matrices (size, d, d), or one (d, d)."""
    draws = rng.standard_normal((1 if size is None else size, d, d))
    out = draws @ draws.transpose(0, 2, 1) / d + 0.5 * np.eye(d)
    return out[0] if size is None else out


def random_truth(rng, k, d, separation=4.0):
    """Return a random mixture whose means are spread by ``separation``."""
    return Truth(rng.dirichlet(np.full(k, 10.0)), separation * rng.standard_normal((k, d)), random_spd(rng, d, k))


def random_covariances(rng, structure, k, d):
    """Return random valid covariances in the shape that the structure has in scikit-learn."""
    if structure == "full":
        return random_spd(rng, d, k)
    if structure == "tied":
        return random_spd(rng, d)
    return rng.uniform(0.5, 2.0, size=(k, d) if structure == "diag" else k)


def inverse(covariances, structure):
    """Return the precisions that belong to covariances of this structure."""
    return np.linalg.inv(covariances) if structure in ("full", "tied") else 1.0 / covariances


@dataclass(frozen=True)
class Case:
    """Rows of a mixture, and a random valid start that is not the truth."""

    structure: str
    x: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def start(self):
        """Constructor options that give an estimator this start."""
        return {
            "n_components": len(self.weights),
            "covariance_type": self.structure,
            "weights_init": self.weights,
            "means_init": self.means,
            "precisions_init": inverse(self.covariances, self.structure),
        }


@pytest.fixture(params=STRUCTURES)
def structure(request):
    """Each covariance structure in turn."""
    return request.param


@pytest.fixture
def kernels(monkeypatch):
    """The compiled path of the E-step, whatever the size of the data."""
    from mixtura.models import mixture

    if not Gaussian().fused(2, 2):
        pytest.skip("this machine does not run the kernels")  # no FMA: fits take the composed path, which is tested
    monkeypatch.setattr(mixture, "COMPILED_WORK", 0)


@pytest.fixture(params=["composed", "compiled"])
def path(request, monkeypatch):
    """Each path of the E-step in turn, whatever the size of the data."""
    from mixtura.models import mixture

    if request.param == "compiled":
        request.getfixturevalue("kernels")
        return request.param
    monkeypatch.setattr(mixture, "COMPILED_WORK", 1 << 62)
    return request.param


@pytest.fixture
def make_case():
    """Build a ``Case``: ``make_case(structure, n=300, k=3, d=2, seed=0, separation=4.0)``."""

    def build(structure, n=300, k=3, d=2, seed=0, separation=4.0):
        rng = np.random.default_rng([seed, n, k, d])
        x, _ = random_truth(rng, k, d, separation).draw(n, rng)
        chosen = x[rng.choice(n, size=k, replace=False)]
        return Case(
            structure=structure,
            x=x,
            weights=rng.dirichlet(np.full(k, 5.0)),
            means=chosen + 0.1 * rng.standard_normal((k, d)),
            covariances=random_covariances(rng, structure, k, d),
        )

    return build


UNITS_OF_PRECISIONS = {
    "full": lambda units: np.outer(units, units),
    "tied": lambda units: np.outer(units, units),
    "diag": np.square,
    "spherical": lambda units: 1.0,
}


@pytest.fixture
def make_mixture(make_case):
    """Build a mixture with random parameters, in units that differ by column, and rows near it."""

    def build(structure, d=3, k=3, seed=0, offset=0.0, names=None):
        case = make_case(structure, n=200, k=k, d=d, seed=seed, separation=1.5)
        units = np.ones(d) if structure == "spherical" else np.resize([1.0, 40.0, 0.03], d)
        start = case.start
        start["means_init"] = case.means * units + offset
        start["precisions_init"] = start["precisions_init"] / UNITS_OF_PRECISIONS[structure](units)
        x = case.x * units + offset
        mixture = GaussianMixture(**start, max_iter=0).fit(x)
        if names is not None:
            mixture.feature_names_in_ = np.array(names, dtype=object)
        return mixture, x

    return build


@pytest.fixture
def fitted_state():
    """Return the fitted attributes of an estimator: everything that ends in one underscore."""

    def read(estimator):
        return {name: value for name, value in vars(estimator).items() if name.endswith("_") and name[0] != "_"}

    return read
