"""Dask: the same bits whatever the workers do, the same fit as in memory, and an end to everything."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixtura import GaussianMixture, as_source
from mixtura.exceptions import ClusterError, SourceChangedError
from mixtura.grid import BLOCK_ROWS
from mixtura.progress import listen
from mixtura.sources import ArraySource

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

from mixtura.sources import dask as sources_dask
from mixtura.sources import dask_tasks
from mixtura.sources.dask import DaskSource

N = 20 * BLOCK_ROWS + 77
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 3)) + 1.5 * RNG.integers(0, 3, N)[:, None]
WEIGHT = RNG.integers(0, 3, N).astype(np.float64)
WEIGHT[:5000] = 0.0  # the first partition has no weight at all
CHUNK = 4321  # rows of a partition: no multiple of anything

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",  # the number of iterations is fixed
    "ignore::ResourceWarning",  # sockets of workers that were killed
)


def make(**options):
    """Return a mixture whose start is soon made: a default one, a search in memory, is left to one of the tests."""
    return GaussianMixture(3, **{"random_state": 0, "tol": 0.0, "max_iter": 8, "init_params": "kmeans", **options})


def delayed_sources(chunk=CHUNK):
    return [dask.delayed(ArraySource)(X[start : start + chunk]) for start in range(0, N, chunk)]


def fitted_bits(mixture):
    return (
        b"".join(a.tobytes() for a in (mixture.means_, mixture.covariances_, mixture.weights_))
        + str(mixture.loglik_).encode()
    )


def wait_until(condition, otherwise):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


@pytest.fixture(scope="module")
def client():
    """Connect to two workers, each a process with one thread."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def undisturbed():
    """Return the bits of a fit by a scheduler of this process."""
    with dask.config.set(scheduler="synchronous"):
        return fitted_bits(make().fit(da.from_array(X, chunks=(CHUNK, 3)), sample_weight=WEIGHT))


# ---------------------------------------------------------------- the same fit as in memory


@pytest.mark.parametrize(("structure", "init_params"), [("full", "auto"), ("diag", "kmeans")])
def test_an_array_gives_the_fit_of_memory(structure, init_params, path):
    x, w = da.from_array(X, chunks=(CHUNK, 2)), da.from_array(WEIGHT, chunks=1000)
    options = {"covariance_type": structure, "init_params": init_params}
    here, there = (make(**options).fit(rows, sample_weight=weight) for rows, weight in ((X, WEIGHT), (x, w)))
    assert_allclose(there.loglik_, here.loglik_, rtol=1e-10)
    assert_allclose(there.means_, here.means_, rtol=1e-10, atol=1e-12)
    assert_allclose(there.covariances_, here.covariances_, rtol=1e-10, atol=1e-12)
    assert_allclose(there.score(x, sample_weight=w), here.score(X, sample_weight=WEIGHT), rtol=1e-10)
    assert_array_equal(here.predict(x), here.predict(X))
    assert_allclose(here.predict_proba(x), here.predict_proba(X), rtol=1e-12, atol=1e-300)
    assert_array_equal(here.score_samples(x), here.score_samples(X))


@pytest.mark.parametrize("n", [7, 4000, 10**6])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_a_sample_is_that_of_memory(n, weight):
    here = ArraySource(X, weight).sample(n, np.random.default_rng(1))
    there = as_source(da.from_array(X, chunks=(CHUNK, 3)), weight=weight).sample(n, np.random.default_rng(1))
    for a, b in zip(here, there, strict=True):
        assert_array_equal(a, b)


def test_a_data_frame_goes_by_names():
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    table = pd.DataFrame(X, columns=["a", "b", "c"]).assign(w=WEIGHT, text="no number")
    frame = dd.from_pandas(table, npartitions=4, sort=False)
    numbers = frame[["a", "b", "c", "w"]]
    here = make().fit(X[:, :2], sample_weight=WEIGHT)
    for source in (as_source(frame, columns=["a", "b"], weight="w"), as_source(numbers[["a", "b"]], weight=frame["w"])):
        assert source.names == ("a", "b")
        assert_allclose(make().fit(source).means_, here.means_, rtol=1e-10)
    assert as_source(numbers, weight="w").names == ("a", "b", "c")
    mixture = make().fit(numbers[["a", "b"]], sample_weight=frame["w"])
    assert mixture.feature_names_in_.tolist() == ["a", "b"]
    assert_array_equal(mixture.predict(numbers[["a", "b"]]), mixture.predict(table[["a", "b"]]))
    with pytest.raises(ValueError, match=r"feature names"):
        mixture.predict(numbers[["b", "a"]])
    assert as_source(frame["a"]).n_features == 1
    with pytest.raises(ValueError, match=r"column 'text' holds"):
        make().fit(frame)
    with pytest.raises(ValueError, match=r"no column 'z'"):
        as_source(frame, columns=["z"])
    with pytest.raises(ValueError, match=r"name the column"):
        as_source(numbers, weight=WEIGHT)


def test_partitions_without_rows_do_no_harm():
    x = da.concatenate([da.from_array(X, chunks=(CHUNK, 3)), da.zeros((0, 3), chunks=(1, 3))])
    x = x[x[:, 0] > -1.5]  # of unknown lengths
    emptied = da.concatenate([x[x[:, 0] > 1e9], x])
    kept = X[X[:, 0] > -1.5]
    assert_allclose(make().fit(emptied).means_, make().fit(kept).means_, rtol=1e-10)
    source = as_source(emptied)
    assert source.n_rows == len(kept)
    with pytest.raises(ValueError, match=r"0 sample"):
        make().fit(x[x[:, 0] > 1e9])


# ---------------------------------------------------------------- errors name the place


def test_values_may_be_missing():
    x = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    rows = da.from_array(x, chunks=(CHUNK, 3))
    fitted, alone = make().fit(rows), make().fit(x)
    assert_allclose(fitted.score(rows), fitted.score(x), rtol=1e-9)
    assert fitted.n_missing_ == alone.n_missing_ == np.isnan(x).sum()
    assert_allclose(fitted.impute(rows), fitted.impute(x), rtol=1e-9)


def test_a_bad_value_is_named_by_partition_and_row():
    x = X.copy()
    x[2 * CHUNK + 17, 1] = np.inf
    with pytest.raises(ValueError, match=r"partition 2, row 17, column 1 is inf"):
        make().fit(da.from_array(x, chunks=(CHUNK, 3)))


def test_bad_weights_are_named():
    x, w = da.from_array(X, chunks=(CHUNK, 3)), WEIGHT.copy()
    w[CHUNK + 3] = -1.0
    with pytest.raises(ValueError, match=r"sample_weight of partition 1, row 3 is -1"):
        make().fit(x, sample_weight=w)
    with pytest.raises(ValueError, match=r"all sample_weight are zero"):
        make().fit(x, sample_weight=np.zeros(N))
    with pytest.raises(ValueError, match=r"shape \(5,\)"):
        make().fit(x, sample_weight=da.ones(5))
    with pytest.raises(ValueError, match=r"partition both alike"):
        make().fit(x[x[:, 0] > 0], sample_weight=da.ones(N, chunks=10_000))


def test_partitions_of_unequal_columns_are_refused():
    parts = [dask.delayed(ArraySource)(X), dask.delayed(ArraySource)(X[:, :2])]
    with pytest.raises(ValueError, match=r"partition 1 has 2 columns and partition 0 has 3"):
        DaskSource(parts)


class Changing:
    """Rows that are others each time that they are made."""

    def __init__(self, path, change):
        self.path, self.change = path, change

    def __call__(self):
        with open(self.path, "a") as file:  # whoever makes them: a counter that all processes see
            file.write("x")
        return self.change(X[:5000], os.path.getsize(self.path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, times: x[: 5000 - times], r"partition 1 had 4999 rows in the first pass and has 4998 now"),
        (lambda x, times: x + times, r"partition 1 has other rows than in the first pass"),
    ],
)
def test_a_partition_that_changes_is_refused(tmp_path, change, words):
    parts = [dask.delayed(X), dask.delayed(Changing(tmp_path / "count", change), pure=False)()]
    source = DaskSource([dask.delayed(ArraySource)(part) for part in parts])
    with pytest.raises(SourceChangedError, match=words):
        make().fit(source)


def test_the_fingerprint_tells_rows_and_partitions_apart():
    def fingerprint(x, chunk=CHUNK):
        return as_source(da.from_array(x, chunks=(chunk, 3))).fingerprint

    other = X.copy()
    other[CHUNK, 0] += 1.0
    assert fingerprint(X) == fingerprint(X.copy())
    assert len({fingerprint(X), fingerprint(X, 5000), fingerprint(other)}) == 3


# ---------------------------------------------------------------- on a cluster


@pytest.mark.parametrize("way", ["flat", "tree", "parcel"])
def test_a_cluster_gives_the_same_bits_as_this_process(client, undisturbed, way, monkeypatch):
    if way == "tree":
        monkeypatch.setattr(sources_dask, "TREE_BYTES", 0)
        monkeypatch.setattr(sources_dask, "FAN_IN", 2)
    if way == "parcel":
        monkeypatch.setattr(dask_tasks, "PARCEL_BYTES", 0)
    assert fitted_bits(make().fit(da.from_array(X, chunks=(CHUNK, 3)), sample_weight=WEIGHT)) == undisturbed


def test_no_row_travels_to_the_driver(client, monkeypatch):
    sizes = []
    results = dask_tasks.ClusterTasks.results

    def weigh(self, handles, grace):
        for number, value in results(self, handles, grace):
            sizes.append(len(pickle.dumps(value)))
            yield number, value

    source = as_source(da.from_array(X, chunks=(CHUNK, 3)))
    monkeypatch.setattr(dask_tasks.ClusterTasks, "results", weigh)
    start = {"weights_init": np.full(3, 1 / 3), "means_init": X[:3], "precisions_init": np.tile(np.eye(3), (3, 1, 1))}
    make(**start).fit(source)
    rows = 4096 * 3 * 8  # what the survey looks at
    assert sum(sizes) < 2 * rows + 10 * len(sizes) * 1000
    assert np.median(sizes) < 3000


def test_rows_gone_through_are_reported(client):
    heard = []
    source = as_source(da.from_array(X, chunks=(CHUNK, 3)))
    with listen(heard.append):
        list(source.map_rows(len))
        assert sum(heard) == N
        make(max_iter=1).fit(source)
    assert sum(heard) == 5 * N  # the survey, what the prior is measured by, and two evaluations
    assert set(heard) <= {CHUNK, N % CHUNK}


def test_rows_of_tasks_in_this_thread_are_reported_once():
    heard = []
    with dask.config.set(scheduler="synchronous"), listen(heard.append):
        list(as_source(da.from_array(X, chunks=(CHUNK, 3))).map_rows(len))
    assert heard == [CHUNK] * (N // CHUNK) + [N % CHUNK]


def test_a_predicted_row_stays_in_its_place(client):
    mixture = make().fit(X)
    x = da.from_array(X, chunks=(CHUNK, 3))
    assert_array_equal(mixture.predict(x), mixture.predict(X))


class KillOnce:
    """A callback that kills one worker, the hard way, after some evaluations."""

    def __init__(self, client):
        self.client, self.killed = client, False

    def __call__(self, state):
        if state.iteration >= 3 and not self.killed:
            self.killed = True
            pids = sorted(self.client.run(os.getpid).values())
            # In the middle of the next pass, not between two.
            threading.Timer(0.02, os.kill, (pids[0], signal.SIGKILL)).start()


def test_a_killed_worker_changes_no_bit(undisturbed):
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        kill = KillOnce(client)
        before = set(client.run(os.getpid).values())
        x = da.from_array(X, chunks=(CHUNK, 3))
        mixture = make(callback=kill).fit(x, sample_weight=WEIGHT)
        assert fitted_bits(mixture) == undisturbed
        wait_until(
            lambda: set(client.run(os.getpid).values()) != before,  # the manager of the worker has started another
            "no worker was killed: this test shows nothing",
        )


@pytest.fixture
def bare_workers():
    """Connect to a scheduler with two workers that nobody restarts; give the client and the processes."""
    options = {"n_workers": 0, "dashboard_address": ":0", "processes": True}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        command = [sys.executable, "-W", "ignore", "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        command += ["--no-nanny", "--nthreads", "1", "--no-dashboard"]
        workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
        try:
            client.wait_for_workers(2, timeout=60)
            yield client, workers
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


def test_without_workers_a_fit_ends_with_one_clear_error_and_goes_on(bare_workers, monkeypatch, tmp_path, undisturbed):
    _, workers = bare_workers
    monkeypatch.setattr(DaskSource, "grace_seconds", 2.0)

    def kill_all(state):
        for worker in workers:
            worker.kill()

    began = time.monotonic()
    x, checkpoint = da.from_array(X, chunks=(CHUNK, 3)), tmp_path / "fit.ckpt"
    with pytest.raises(ClusterError, match=r"no running worker for \d+ s, with 5 tasks to do: start workers") as raised:
        make(callback=kill_all, checkpoint=checkpoint).fit(x, sample_weight=WEIGHT)
    assert time.monotonic() - began < 30
    assert "fit.ckpt" in "".join(raised.value.__notes__)
    seen = []
    with dask.config.set(scheduler="synchronous"):  # the next job, without a cluster
        resumed = make(callback=lambda s: seen.append(s.iteration), checkpoint=checkpoint).fit(x, sample_weight=WEIGHT)
    assert min(seen) == 1
    assert fitted_bits(resumed) == undisturbed


def test_without_a_scheduler_a_fit_ends_with_one_clear_error(monkeypatch):
    monkeypatch.setattr(DaskSource, "grace_seconds", 2.0)
    with dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
        command = [sys.executable, "-W", "ignore", "-m", "distributed.cli.dask_scheduler"]
        command += ["--port", "0", "--no-dashboard", "--host", "127.0.0.1"]
        scheduler = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            address = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at:" in line)
            with distributed.Client(address, timeout=30), warnings.catch_warnings():
                worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard", "--no-nanny"]
                worker = subprocess.Popen(worker, stderr=subprocess.DEVNULL)
                try:
                    with pytest.raises(ClusterError, match=r"no running worker|cancelled"):
                        make(callback=lambda state: scheduler.kill()).fit(da.from_array(X, chunks=(CHUNK, 3)))
                finally:
                    worker.kill()
                    worker.wait()
        finally:
            scheduler.kill()
            scheduler.wait()
            scheduler.stderr.close()


def _slow(x):
    time.sleep(0.5)
    return ArraySource(x)


def test_an_interrupt_calls_off_what_runs(client):
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        DaskSource([dask.delayed(_slow, pure=False)(X[:2000]) for _ in range(100)])  # would take 25 s
    wait_until(lambda: not any(client.processing().values()), "the tasks go on")


def test_an_abandoned_pass_calls_off_what_runs(client):
    source = as_source(da.from_array(X, chunks=(500, 3)))

    def stop(rows):
        raise TimeoutError("out of time")

    with listen(stop), pytest.raises(TimeoutError, match="out of time"):
        make().fit(source)
    assert sum(source.map_rows(len)) == N  # a later pass works
    wait_until(lambda: not any(key.startswith("_call_last") for key in client.futures), "futures are left")


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_files_are_partitions(client, tmp_path, kind, undisturbed):
    paths = []
    for number, start in enumerate(range(0, N, CHUNK)):
        rows = np.column_stack([X, WEIGHT])[start : start + CHUNK]
        paths.append(tmp_path / f"{number}.{kind}")
        if kind == "npy":
            np.save(paths[-1], rows)
        else:
            pa = pytest.importorskip("pyarrow")
            parquet = pytest.importorskip("pyarrow.parquet")
            parquet.write_table(pa.table({name: rows[:, j] for j, name in enumerate("abcw")}), paths[-1])
    # The first file has no weight at all: it is left out here, since a file alone may not be so.
    source = DaskSource.from_files(paths[1:], weight=3 if kind == "npy" else "w")
    here = make().fit(da.from_array(X[CHUNK:], chunks=(CHUNK, 3)), sample_weight=WEIGHT[CHUNK:])
    assert fitted_bits(make().fit(source)) == fitted_bits(here)
    assert source.locate(CHUNK + 3) == f"{paths[2]}, row 3"
    if kind == "npy":
        np.save(paths[3], np.ones((77, 4)))
        with pytest.raises(SourceChangedError, match=r"3\.npy.*changed"):
            make().fit(source)
