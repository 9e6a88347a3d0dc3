"""Checkpoints: what is killed goes on with the same bits, and what belongs to another fit is refused."""

import errno
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mixtura import GaussianMixture, MixtureModel, persistence
from mixtura.em import Status
from mixtura.exceptions import CheckpointError, CheckpointWarning
from mixtura.families import Poisson
from mixtura.model import Event, EventKind
from mixtura.packing import pack, unpack
from mixtura.result import Trace
from mixtura.sources import ArraySource
from mixtura.values import same_bits

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X = np.random.default_rng(0).normal(size=(900, 2)) + np.repeat([[0.0, 0.0], [1.5, 1.0], [3.0, -1.0]], 300, axis=0)
OPTIONS = {
    "n_components": 3,
    "n_init": 3,
    "random_state": 0,
    "tol": 1e-5,
    "max_iter": 40,
    "init_params": "random_from_data",
}

SCRIPT = """
import os, signal, sys, warnings
import numpy as np
import mixtura.persistence
from mixtura import GaussianMixture
warnings.simplefilter("ignore")
x, path, options, where, count = np.load(sys.argv[1]), sys.argv[2], eval(sys.argv[3]), sys.argv[4], int(sys.argv[5])
left = [count]

def fatal(function, after=False):
    def call(*arguments, **named):
        left[0] -= 1
        result = function(*arguments, **named) if after or left[0] else None
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

after, name = where.startswith("after "), where.split()[-1]
setattr(os, name, fatal(getattr(os, name), after))
GaussianMixture(checkpoint=path, **options).fit(x)
"""


class StoppedError(Exception):
    """Raised by a callback."""


def interrupt(iteration):
    """Return a callback that raises at an iteration of the first restart."""

    def callback(state):
        if state.restart == 0 and state.iteration == iteration:
            raise StoppedError

    return callback


def assert_same_fit(a, b):
    assert same_bits(a.params_, b.params_)
    assert_array_equal(a.result_.objective, b.result_.objective)
    assert (a.result_.status, a.n_iter_, a.result_.n_passes) == (b.result_.status, b.n_iter_, b.result_.n_passes)
    assert a.result_.events == b.result_.events


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_an_interrupted_fit_goes_on_to_the_same_bits(tmp_path, covariance):
    options = OPTIONS | {"covariance_type": covariance, "checkpoint": tmp_path / "fit.ckpt"}
    whole = GaussianMixture(**OPTIONS | {"covariance_type": covariance}).fit(X)
    assert whole.n_iter_ > 6
    for iteration in (0, 3, 5):
        with pytest.raises(StoppedError) as raised:
            GaussianMixture(callback=interrupt(iteration), **options).fit(X)
        assert "fit.ckpt" in "".join(raised.value.__notes__)
    seen = []
    resumed = GaussianMixture(callback=lambda state: seen.append(state.iteration), **options).fit(X)
    assert min(seen) >= 4, "it did not start afresh"
    assert_same_fit(resumed, whole)


def test_a_fit_of_counts_goes_on_as_well(tmp_path):
    x = np.random.default_rng(1).poisson(np.repeat([1.0, 4.0, 7.0], 200))
    options = {"n_components": 3, "random_state": 0, "tol": 0.0, "max_iter": 12}
    with pytest.raises(StoppedError):
        MixtureModel(Poisson(), checkpoint=tmp_path / "c", callback=interrupt(4), **options).fit(x)
    resumed = MixtureModel(Poisson(), checkpoint=tmp_path / "c", **options).fit(x)
    assert_same_fit(resumed, MixtureModel(Poisson(), **options).fit(x))


class FragileSource(ArraySource):
    """Rows that fail in one pass."""

    def __init__(self, x, fatal=0):
        super().__init__(x)
        self._left = fatal

    def chunks(self):
        self._left -= 1
        if self._left == 0:
            raise StoppedError
        return super().chunks()


def test_a_repeat_that_the_model_asked_for_is_not_forgotten(tmp_path, kernels):
    # A start far from the data makes EM evaluate the same parameters again: killed between the two, it goes on.
    far = {
        "means_init": X[:2] + np.array([[25.0, 0.0], [0.0, 0.0]]),
        "n_components": 2,
        "tol": 0.0,
        "max_iter": 5,
        "acceleration": None,
    }
    whole = GaussianMixture(random_state=0, **far).fit(X)
    assert whole.result_.n_passes > whole.n_iter_ + 1, "nothing was evaluated again"
    for fatal in (3, 4, 5, 6):
        options = far | {"random_state": 0, "checkpoint": tmp_path / f"{fatal}"}
        with pytest.raises(StoppedError):
            GaussianMixture(**options).fit(FragileSource(X, fatal))
        assert_same_fit(GaussianMixture(**options).fit(FragileSource(X)), whole)


def test_a_step_that_was_not_taken_is_not_forgotten(tmp_path):
    options = OPTIONS | {"n_init": 1, "random_state": 9}
    whole = GaussianMixture(**options).fit(X)
    assert whole.result_.n_passes > whole.n_iter_ + 1, "every step was taken"
    for fatal in range(2, whole.result_.n_passes + 2):  # the first reading is the survey
        interrupted = options | {"checkpoint": tmp_path / f"{fatal}"}
        with pytest.raises(StoppedError):
            GaussianMixture(**interrupted).fit(FragileSource(X, fatal))
        assert_same_fit(GaussianMixture(**interrupted).fit(FragileSource(X)), whole)


def test_a_finished_fit_is_not_made_again(tmp_path):
    options = OPTIONS | {"checkpoint": tmp_path / "fit.ckpt"}
    first = GaussianMixture(**options).fit(X)
    again = GaussianMixture(callback=interrupt(0), **options).fit(X)
    assert_same_fit(first, again)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"n_components": 2}, "n_components"),
        ({"tol": 1e-4}, "tol"),
        ({"random_state": 1}, "random_state"),
        ({"covariance_type": "diag"}, "covariance_type"),
        ({"means_init": X[:3]}, "means_init"),
    ],
)
def test_other_options_are_refused(tmp_path, changed, word):
    GaussianMixture(checkpoint=tmp_path / "c", **OPTIONS).fit(X)
    with pytest.raises(CheckpointError, match=rf"another fit: {word} was .* remove it or choose another path"):
        GaussianMixture(**OPTIONS | changed | {"checkpoint": tmp_path / "c"}).fit(X)


@pytest.mark.parametrize("rows", [X[:-1], X + 1e-9, np.vstack([X[:-1], [[7.0, 7.0]]])])
def test_other_data_are_refused(tmp_path, rows):
    GaussianMixture(checkpoint=tmp_path / "c", **OPTIONS).fit(X)
    with pytest.raises(CheckpointError, match=r"rows was|fingerprint of the data was"):
        GaussianMixture(checkpoint=tmp_path / "c", **OPTIONS).fit(rows)


def test_another_estimator_or_start_is_refused(tmp_path):
    fitted = GaussianMixture(2, random_state=0, warm_start=True).fit(X)
    fitted.set_params(checkpoint=tmp_path / "c").fit(X)
    with pytest.raises(CheckpointError, match="parameters to start from"):
        GaussianMixture(2, random_state=0, warm_start=True, checkpoint=tmp_path / "c").fit(X)


def test_threads_and_verbosity_are_no_other_options(tmp_path):
    first = GaussianMixture(checkpoint=tmp_path / "c", **OPTIONS).fit(X)
    assert_same_fit(first, GaussianMixture(checkpoint=str(tmp_path / "c"), n_threads=1, max_time=9, **OPTIONS).fit(X))


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-40], lambda b: b[:100] + b"x" + b[101:], lambda b: b"", lambda b: b"{}"]
)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "c"
    GaussianMixture(checkpoint=path, **OPTIONS).fit(X)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match="c is no checkpoint"):
        GaussianMixture(checkpoint=path, **OPTIONS).fit(X)
    assert not list(tmp_path.glob("*.lock"))


def test_two_fits_on_one_path_are_refused(tmp_path):
    path = tmp_path / "c"

    def second(state):
        with pytest.raises(CheckpointError, match="in use by another fit"):
            GaussianMixture(checkpoint=path, **OPTIONS).fit(X)
        refused.append(state.iteration)

    refused = []
    GaussianMixture(checkpoint=path, callback=second, **OPTIONS | {"max_iter": 2}).fit(X)
    assert refused
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"], "no lock and no draft is left"


def test_a_missing_directory_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no directory"):
        GaussianMixture(checkpoint=tmp_path / "nowhere" / "c", **OPTIONS).fit(X)


@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_costs_a_warning_and_not_the_fit(tmp_path, monkeypatch, trouble):
    def fail(*_):
        raise OSError(trouble, os.strerror(trouble))

    monkeypatch.setattr(persistence.os, "fsync", fail)
    with pytest.warns(CheckpointWarning, match=os.strerror(trouble)) as caught:
        fitted = GaussianMixture(checkpoint=tmp_path / "c", **OPTIONS).fit(X)
    assert len([w for w in caught if w.category is CheckpointWarning]) == 1
    assert_same_fit(fitted, GaussianMixture(**OPTIONS).fit(X))
    assert not list(tmp_path.iterdir()), "nothing half-written is left"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize(
    ("where", "count"),
    [("replace", 1), ("after replace", 1), ("fsync", 5), ("after fsync", 6), ("replace", 7), ("after replace", 9)],
)
@pytest.mark.slow
def test_kill_9_between_any_two_writes_loses_nothing(tmp_path, where, count):
    path, data = tmp_path / "c", tmp_path / "x.npy"
    np.save(data, X)
    arguments = [sys.executable, "-c", SCRIPT, data, path, repr(OPTIONS), where, str(count)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckpointWarning)
        resumed = GaussianMixture(checkpoint=path, **OPTIONS).fit(X)
    assert_same_fit(resumed, GaussianMixture(**OPTIONS).fit(X))
    assert [entry.name for entry in tmp_path.iterdir() if entry != data] == ["c"]


def test_a_fit_out_of_time_goes_on_later(tmp_path):
    options = OPTIONS | {"checkpoint": tmp_path / "c"}
    part = GaussianMixture(max_time=1e-9, **options).fit(X)
    assert (part.n_iter_, part.result_.status) == (0, Status.TIME_LIMIT)
    assert_same_fit(GaussianMixture(**options).fit(X), GaussianMixture(**OPTIONS).fit(X))


def test_packed_trees_come_back_with_the_same_bits_and_types():
    tree = {
        "a": [1, 2.5, None, "text", True, float("-inf")],
        "b": {"x": np.array([[1.0, np.nan], [-0.0, 5e-324]]), "n": np.arange(3), "e": np.empty((0, 2))},
    }
    back = unpack(pack(tree))
    assert back["a"] == tree["a"]
    for name, array in tree["b"].items():
        assert back["b"][name].dtype == array.dtype
        assert back["b"][name].tobytes() == array.tobytes()
    with pytest.raises(TypeError, match="object"):
        pack({"x": np.array([None])})


def test_the_record_of_a_fit_comes_back_whole():
    trace = Trace(params=1.0, passes=7, repeats=1)
    for objective in (-3.5, -2.25):
        trace.record(1.0, objective - 1, 900.0, objective)
        trace.report([Event(EventKind.FLOOR, 2, "raised"), Event(EventKind.EMPTY, 0, "emptied")])
    trace.status = Status.STALLED
    back = Trace.from_tree(unpack(pack(trace.to_tree())), 1.0, float)
    assert back == trace
    back.report([Event(EventKind.FLOOR, 2, "raised"), Event(EventKind.FLOOR, 1, "raised")])
    assert [(e.component, e.iteration) for e in back.events] == [(2, 1), (0, 1), (1, 2)], "one continues, one is new"
