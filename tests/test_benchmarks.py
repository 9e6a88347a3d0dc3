"""Every benchmark runs once at a tiny size, so that none rots unseen. asv itself is not needed."""

import importlib
import inspect
import itertools
import subprocess
import sys

import pytest

MODULES = ("fit", "memory", "start")
KINDS = ("time_", "timeraw_", "track_", "peakmem_")


def find():
    """Yield (class, method name, parameter values) of every benchmark, as asv would."""
    for name in MODULES:
        module = importlib.import_module(f"benchmarks.{name}")
        marks = [pytest.mark.slow] if name == "start" else []  # it starts new processes
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if cls.__module__ != module.__name__ or cls.__name__.startswith("_"):
                continue
            for method in (m for m in dir(cls) if m.startswith(KINDS)):
                for values in itertools.product(*getattr(cls, "params", ())):
                    label = "-".join([name, cls.__name__, method, *map(str, values)])
                    yield pytest.param(cls, method, values, id=label, marks=marks)


@pytest.mark.parametrize(("cls", "method", "values"), list(find()))
def test_benchmark_runs(cls, method, values, monkeypatch):
    monkeypatch.setenv("MIXTURA_BENCH_ROWS", "300")
    benchmark = cls()
    try:
        getattr(benchmark, "setup", lambda *_: None)(*values)
    except NotImplementedError as reason:  # how a benchmark tells asv that this machine cannot run it
        pytest.skip(str(reason))
    try:
        result = getattr(benchmark, method)(*values)
    finally:
        getattr(benchmark, "teardown", lambda *_: None)(*values)
    if method.startswith("track_"):
        assert result >= 0
    if method.startswith("timeraw_"):
        subprocess.run([sys.executable, "-c", result], check=True)


def test_a_fit_with_fewer_passes_than_asked_for_is_no_benchmark():
    data = importlib.import_module("benchmarks.data")
    x = data.clusters(300, 1, 1)
    with pytest.raises(RuntimeError, match="updates were made instead of 50"):
        data.fit_passes(x, 50, data.start(x, 1, "full"))
