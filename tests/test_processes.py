"""At home in other people's processes: threads, forks, Dask tasks, Ctrl-C; what may harm runs in one of its own."""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path

import joblib
import numba
import numpy as np
import pytest

import mixtura.kernels
from mixtura import GaussianMixture
from mixtura.kernels.threads import default_threads, share_out, using_threads

COMMON = """
    import hashlib, os, signal, sys, threading, time, warnings
    import numpy as np
    from mixtura import GaussianMixture
    warnings.simplefilter("ignore")
    x = np.random.default_rng(0).standard_normal((100_000, 4)) + 5.0 * (np.arange(100_000) % 3)[:, None]
    options = {"init_params": "kmeans", "tol": 0.0, "max_iter": 3, "random_state": 0}

    def fit(rows=x, threads=2, **other):
        return GaussianMixture(3, n_threads=threads, **options | other).fit(rows)

    def digest(model):
        return hashlib.sha256(b"".join(a.tobytes() for a in (model.means_, model.covariances_))).hexdigest()
"""


def run(script, **environment):
    """Run a script after `COMMON` and return its lines; fail with what it wrote to stderr."""
    source = textwrap.dedent(COMMON) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_fits_at_once_from_several_threads():
    lines = run(
        """
        def default_fit():
            return fit(x[:3000], init_params="auto")
        for make in (fit, default_fit):
            expected = digest(make())
            found = []
            workers = [threading.Thread(target=lambda: found.append(digest(make()))) for _ in range(4)]
            for worker in workers: worker.start()
            for worker in workers: worker.join()
            print(len(found), set(found) == {expected})
        """
    )
    assert lines == ["4 True", "4 True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fit_in_a_forked_child():
    lines = run(
        """
        expected = digest(fit())
        pid = os.fork()
        if pid == 0:
            os._exit(0 if digest(fit()) == expected else 1)
        status = os.waitpid(pid, 0)[1]
        print(os.waitstatus_to_exitcode(status), digest(fit()) == expected)
        """
    )
    assert lines == ["0 True"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_is_heard_within_a_second_and_does_no_harm():
    lines = run(
        """
        expected = digest(fit())
        estimator = GaussianMixture(3, n_threads=2, **options | {"max_iter": 10**6})
        sent = []
        def press():
            time.sleep(1.0)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)
        noise = np.random.default_rng(1).standard_normal((1_000_000, 4))  # does not converge
        threading.Thread(target=press).start()
        try:
            estimator.fit(noise)
        except KeyboardInterrupt:
            print(time.perf_counter() - sent[0] < 1.0)
        print(hasattr(estimator, "means_"), digest(fit()) == expected)
        """
    )
    assert lines == ["True", "False True"]


def test_threads_are_as_many_as_asked():
    lock, running, most = threading.Lock(), 0, 0

    def kernel(begin, end):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    def peak(threads, blocks=100):
        nonlocal most
        most = 0
        with using_threads(threads):
            share_out(kernel, blocks, most=3)
        return most

    assert (peak(1), peak(3, blocks=1)) == (1, 1)
    assert 1 < peak(3) <= 3


def test_a_fit_leaves_the_settings_of_threads_as_they_are():
    threads = default_threads()
    numba.set_num_threads(1)
    try:
        GaussianMixture(2, init_params="kmeans", n_threads=2).fit(np.random.default_rng(0).normal(size=(400_000, 2)))
        assert numba.get_num_threads() == 1
        assert default_threads() == threads == joblib.cpu_count()
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


def test_a_helper_thread_that_fails_is_heard():
    def kernel(begin, end):
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("in a helper")
        time.sleep(0.01)

    with using_threads(2), pytest.raises(ValueError, match="in a helper"):
        share_out(kernel, 100, most=5)


def test_idle_helpers_hold_on_to_no_rows():
    class Kernel:
        def __call__(self, begin, end):
            time.sleep(0.01)

    kernel = Kernel()
    gone = weakref.ref(kernel)
    with using_threads(3):
        share_out(kernel, 10, most=1)
    del kernel
    assert gone() is None


def test_a_dask_task_takes_one_thread():
    pytest.importorskip("distributed")
    lines = run(
        """
        from distributed import Client, LocalCluster
        from mixtura.kernels.threads import default_threads
        expected = digest(fit())
        with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
            with Client(cluster) as client:
                print(client.submit(default_threads).result())
                print(client.submit(lambda: digest(fit(threads=None))).result() == expected)
        """
    )
    assert lines == ["1", "True"]


@pytest.mark.slow
def test_after_warmup_nothing_is_compiled():
    """Signatures are told apart by what a process has loaded, not by files: the cache may be filled by other tests."""
    subprocess.run([sys.executable, "-m", "mixtura", "warmup"], check=True)
    compilations, ready, used = run(
        """
        from numba.core import event
        from mixtura.kernels.cache import KernelCache
        from mixtura.kernels.warmup import warm_up

        def signatures():
            modules = [module for name, module in sys.modules.items() if name.startswith("mixtura.kernels.")]
            found = {id(value): value for module in modules for value in vars(module).values()}.values()
            entries = [value for value in found if isinstance(getattr(value, "_cache", None), KernelCache)]
            return sorted(len(entry.signatures) for entry in entries)

        with event.install_recorder("numba:compile") as compiled:
            list(warm_up())
            print(len(compiled.buffer))
        print(*signatures())
        for covariance_type in ("full", "tied", "diag", "spherical"):
            for rows in (x, x.astype(np.float32), np.asfortranarray(x), x[:, :1], np.tile(x[:50_000], (1, 4))):
                start = "auto" if rows is x else "kmeans"
                model = GaussianMixture(
                    3, covariance_type=covariance_type, init_params=start, max_iter=1, random_state=0)
                model.fit(rows, sample_weight=np.ones(2 * len(rows))[::2])
                model.predict_proba(rows)
        print(*signatures())
        """
    )
    kernels = Path(mixtura.kernels.__file__).parent.glob("*.py")
    entries = sum(kernel.read_text().count("\n@entry_jit\n") for kernel in kernels)
    assert compilations == "0"
    assert ready == used == " ".join(["1"] * entries)


@pytest.fixture
def quota():
    """Make a control group with a quota of one CPU, as a container has; give its directory."""
    root = Path("/sys/fs/cgroup/cpu")
    group = root / f"mixtura-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text("100000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    group.rmdir()


def test_a_containers_quota_bounds_the_threads(quota):
    if shutil.which("unshare") is None or (os.cpu_count() or 1) < 2:
        pytest.skip("needs unshare and two CPUs")
    script = "from mixtura.kernels.threads import allowed_threads; print(allowed_threads())"
    enter = f"echo $$ > {quota}/tasks && mount --bind {quota} {quota.parent} && exec {sys.executable} -c '{script}'"
    inside = subprocess.run(["unshare", "-m", "sh", "-c", enter], capture_output=True, text=True, check=False)
    if inside.returncode and "ermitted" in inside.stderr:
        pytest.skip(f"a mount namespace cannot be had here: {inside.stderr}")
    outside = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert inside.stdout.split() == ["1"], inside.stderr
    assert int(outside.stdout) >= 2
