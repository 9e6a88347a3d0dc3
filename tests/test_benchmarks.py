"""Every benchmark runs once at a tiny size, so that none rots unseen. asv itself is not needed."""

import importlib
import inspect
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

MODULES = ("fit", "memory", "start")
KINDS = ("time_", "timeraw_", "track_", "peakmem_")


def find():
    """Yield (class, method name, parameter values) of every benchmark, as asv would."""
    for name in MODULES:
        module = importlib.import_module(f"benchmarks.{name}")
        marks = [pytest.mark.slow] if name == "start" else []  # it starts new processes: one case shows that they start
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if cls.__module__ != module.__name__ or cls.__name__.startswith("_"):
                continue
            for method in (m for m in dir(cls) if m.startswith(KINDS)):
                cases = itertools.product(*getattr(cls, "params", ()))
                for values in itertools.islice(cases, 1) if name == "start" else cases:
                    label = "-".join([name, cls.__name__, method, *map(str, values)])
                    yield pytest.param(cls, method, values, id=label, marks=marks)


@pytest.mark.parametrize(("cls", "method", "values"), list(find()))
def test_benchmark_runs(cls, method, values, monkeypatch):
    monkeypatch.setenv("MIXTURA_BENCH_ROWS", "300")
    benchmark = cls()
    try:
        getattr(benchmark, "setup", lambda *_: None)(*values)
    except NotImplementedError as reason:  # how a benchmark tells asv that this machine cannot run it
        pytest.skip(str(reason))  # asv leaves it out there, too
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


# ---------------------------------------------------------------- comparison with other libraries


@pytest.fixture
def comparison():
    return importlib.import_module("benchmarks.compare")


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_the_referee_agrees_with_scikit_learn(comparison, covariance):
    x = np.random.default_rng(0).standard_normal((200, 3)) + 4.0 * (np.arange(200) % 2)[:, None]
    fitted = GaussianMixture(2, covariance_type=covariance, random_state=0).fit(x)
    parameters = fitted.weights_, fitted.means_, fitted.covariances_
    np.testing.assert_allclose(comparison.log_likelihood(x, parameters, covariance), fitted.score(x), rtol=1e-12)


class FixedWorker:
    """Answers every request with the same fit."""

    def __init__(self, seconds, mean):
        self.seconds, self.parameters = seconds, (np.ones(1), np.array([[mean]]), np.ones((1, 1, 1)))

    def fit(self, case, separation, updates):
        return self.seconds * updates, updates, self.parameters


@pytest.fixture
def trial(comparison, monkeypatch):
    """Make a trial of scikit-learn, three times as slow and with this mean, beside ours."""
    monkeypatch.setattr(comparison, "PAUSE", 0.0)

    def make(mean=0.0):
        workers = {"mixtura": FixedWorker(1e-6, 0.0), "scikit-learn": FixedWorker(3e-6, mean)}
        return comparison.Trial(comparison.Case("full", 1000, 1, 1, 2.0, None), 0.7, workers)

    return make


def test_times_are_compared_only_of_equal_results(comparison, trial):
    same = trial()
    comparison.compare([same], rounds=3, patience=0.0)
    assert same.times == {"mixtura": pytest.approx([1.0] * 3), "scikit-learn": pytest.approx([3.0] * 3)}
    assert same.line()["ratio"] == {"scikit-learn": pytest.approx(3.0)}
    assert same.line()["reached"]
    with pytest.raises(RuntimeError, match="the libraries disagree"):
        comparison.compare([trial(mean=0.1)], rounds=1, patience=0.0)


def test_a_ratio_is_the_median_of_those_of_rounds(trial):
    found = trial()
    found.times = {"mixtura": [1.0, 4.0, 2.0], "scikit-learn": [3.0, 16.0, 4.0]}
    assert found.line()["ns"] == {"mixtura": 2.0, "scikit-learn": 4.0}
    assert found.line()["ratio"] == {"scikit-learn": 3.0}


def test_rounds_go_on_while_there_is_time(comparison, trial):
    for patience, rounds in ((0.0, 2), (1e9, comparison.MOST_ROUNDS)):
        found = trial()
        comparison.compare([found], rounds=2, patience=patience)
        assert len(found.times["mixtura"]) == rounds


@pytest.mark.slow
def test_comparison_runs(comparison, monkeypatch, capsys, tmp_path):
    cases = [comparison.Case(c, 2000, 2, 2, 0.001, None) for c in ("full", "tied", "diag", "spherical")]
    monkeypatch.setattr(comparison, "CASES", cases)
    monkeypatch.setattr(comparison, "MOST_ROUNDS", 2)
    code = comparison.main(["--quick", "--json", str(tmp_path / "figures.json")])
    lines = json.loads((tmp_path / "figures.json").read_text())["lines"]
    assert [line["case"] for line in lines] == [case.name for case in cases]
    reached = [line["reached"] for line in lines]  # so few rows take no time that could be told
    assert code == (0 if all(reached) else 1)
    out = capsys.readouterr().out
    assert (out.count("| yes |"), out.count("| **no** |")) == (sum(reached), 4 - sum(reached))


@pytest.mark.parametrize(
    ("sklearn", "onedal", "reached"), [(50.0, 3.0, True), (49.0, 3.0, False), (50.0, 2.9, False), (None, 3.0, True)]
)
def test_a_figure_is_reached_against_every_library_that_is_there(comparison, sklearn, onedal, reached):
    times = {"mixtura": 1.0, "scikit-learn": sklearn, "oneDAL": onedal}
    trial = comparison.Trial(comparison.Case("full", 1000, 2, 8, 50, 3), 0.7, {})
    trial.times = {library: [ns] for library, ns in times.items() if ns is not None}
    assert trial.line()["reached"] is reached


def test_convergence_runs(monkeypatch, capsys):
    convergence = importlib.import_module("benchmarks.convergence")
    x = importlib.import_module("benchmarks.data").galaxies()
    monkeypatch.setattr(convergence, "cases", lambda: iter([("galaxies", x, 4, "tied"), ("galaxies", x, 6, "tied")]))
    assert convergence.main() == 0
    assert capsys.readouterr().out.count("| galaxies | tied |") == 2


def test_kmeans_runs(monkeypatch, capsys):
    kmeans = importlib.import_module("benchmarks.kmeans")
    monkeypatch.setenv("MIXTURA_BENCH_ROWS", "3000")
    for name, value in {"PAUSE": 0.0, "COLUMNS": (2,), "CLUSTERS": (3,), "LEAST": 0.0}.items():
        monkeypatch.setattr(kmeans, name, value)
    assert kmeans.main(["--quick"]) in (0, 1)  # so few rows take no time
    out = capsys.readouterr().out
    assert all(f"| {kind} | 2 | 3 | {threads} |" in out for kind in ("float64", "float32") for threads in (1, 2))


def test_everyday_runs(monkeypatch, capsys):
    everyday = importlib.import_module("benchmarks.everyday")
    monkeypatch.setenv("MIXTURA_BENCH_ROWS", "400")
    for name, value in {"PAUSE": 0.0, "SHAPES": ((2, 2, 400),), "FITS": (1.0,)}.items():
        monkeypatch.setattr(everyday, name, value)
    everyday.main(["--quick"])
    out = capsys.readouterr().out
    assert out.count("x scikit-learn") == 2
    assert all(f"| {method}, {kind}, d=2, k=2 |" in out for method in everyday.METHODS for kind in ("full", "tied"))
    assert "| default fit, separation 1, seed 0 |" in out


def test_scaling_runs(monkeypatch, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    scaling = importlib.import_module("benchmarks.scaling")
    small = {"ROWS": (300, 600), "COMPONENTS": (1, 2), "COLUMNS": (1, 9), "THREADED": ((2, 2, 300),)}
    monkeypatch.setenv("MIXTURA_BENCH_ROWS", "600")
    for name, value in small.items():
        monkeypatch.setattr(scaling, name, value)
    table, plot = tmp_path / "table.md", tmp_path / "plot.png"
    assert scaling.main(["--quick", "--table", str(table), "--plot", str(plot)]) == 0
    assert table.read_text() in capsys.readouterr().out
    assert "| d=2, k=2 |" in table.read_text()
    assert plot.stat().st_size > 0


def test_large_runs(monkeypatch, capsys):
    pytest.importorskip("pyarrow")
    large = importlib.import_module("benchmarks.large")
    for name, value in {
        "LEAST_RATIO": 0.0,
        "MOST_MB": np.inf,
        "measure_apart": large.measure,
    }.items():  # no process of their own
        monkeypatch.setattr(large, name, value)
    assert large.main(["--rows", "3000", "--updates", "2", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert "3,000 rows x 4 float32" in out
    assert all(f"| {kind} |" in out for kind in large.KINDS)


def test_clusters_runs(monkeypatch, capsys):
    pytest.importorskip("distributed")
    benchmark = importlib.import_module("benchmarks.clusters")
    monkeypatch.setenv("MIXTURA_BENCH_ROWS", "4000")
    for name, value in {"OVERHEAD_PARTITIONS": (2, 4), "SHAPES": ((2, 2),)}.items():
        monkeypatch.setattr(benchmark, name, value)
    assert benchmark.main(["--quick"]) == 0
    assert "| 1e+11 | 1000 | 4000 |" in capsys.readouterr().out


def test_the_cost_model_adds_up():
    benchmark = importlib.import_module("benchmarks.clusters")
    constants = benchmark.Constants(row=1e-7, task=1e-3, fold=1e-4, latency=0.01, size=10**6)
    partitions, rows, tasks, sums, total = benchmark.predict(1e9, 100, constants)
    assert partitions == 400
    assert rows == pytest.approx(1.0)
    assert tasks == pytest.approx(0.450)  # 400 partitions, and 50 that add up eight each
    assert sums == pytest.approx(50 * (1e-4 + 1e-3))
    assert total == pytest.approx(0.01 + 1.0 + sums)


def test_answers_are_counted_as_they_fell():
    answers = importlib.import_module("benchmarks.answers")

    def record(ours, theirs, *, floor=False):
        peers = {str(n): {"loglik": theirs, "floor": False, "seconds": 1.0} for n in (1, 10)}
        mine = {"loglik": ours, "floor": floor, "seconds": 2.0}
        return {"data": "x", "rows": 9, "columns": 1, "structure": "full", "k": 2, "ours": mine, "peers": peers}

    records = [record(-1.0, -2.0), record(-1.0, -1.0005), record(-3.0, -2.0), record(-0.5, -2.0, floor=True)]
    assert [answers.outcome(r, 1) for r in records] == ["win", "tie", "loss", "floor"]
    total = answers.summarize(records, (1, 10))[-1]
    assert total == "| all |  |  | 1 / 1 / 1 | 1 / 1 / 1 | 1 : 0/0 | 8.0 | 4.0 | 4.0 |"
    assert answers.losses(records, (1,)) == ["x, full, K=2: 1 behind n_init=1"]


def test_an_answer_at_the_floor_is_seen():
    answers = importlib.import_module("benchmarks.answers")
    x = np.concatenate([np.random.default_rng(0).normal(size=(50, 2)), [[30.0, 30.0]]])
    start = {"reg_covar": 1e-6, "means_init": [[0, 0], [30, 30]], "random_state": 0}
    assert answers.fit(GaussianMixture(2, **start), x)["floor"]
    assert not answers.fit(GaussianMixture(1, reg_covar=1e-6), x)["floor"]


def test_families_tells_what_it_lacks(monkeypatch, capsys):
    families = importlib.import_module("benchmarks.families")
    monkeypatch.setattr(families, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        families.main([])
    assert "pip install -e '.[peers]'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_families_fits_what_it_compares():
    families = importlib.import_module("benchmarks.families")
    for case in families.CASES:
        ours = families.Ours(case, families.rows(case, 3200), threads=1)
        assert ours.fit(2) == pytest.approx(ours.fit_as_users_do(2), rel=1e-12)


def test_families_runs(monkeypatch, capsys):
    pytest.importorskip("pomegranate")
    families = importlib.import_module("benchmarks.families")
    monkeypatch.setattr(families, "LEAST", 0)
    monkeypatch.setattr(families, "PAUSE", 0)
    assert families.main(["--quick"]) == 0
    assert all(f"| {case.name} |" in capsys.readouterr().out for case in families.CASES[:1])
