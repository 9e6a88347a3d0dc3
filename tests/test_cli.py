"""The command line: what it writes, prints and returns, and how it fails."""

from __future__ import annotations

import io
import json
import runpy
import sys
import time
import warnings

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pytest.importorskip("rich")

import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from mixtura import HMM, GaussianMixture, MixtureModel, families, load
from mixtura.cli import main
from mixtura.cli._main import FAMILIES
from mixtura.cli._progress import progress
from mixtura.exceptions import CollapseWarning
from mixtura.grid import BLOCK_ROWS

FAST = ("--tol", "0.01", "--init", "random_from_data", "--max-iter", "50")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 400)
    return pa.table(
        {
            "a": rng.normal(size=400) + 8 * group,
            "b": rng.normal(size=400) - 5 * group,
            "w": rng.integers(1, 4, 400).astype(float),
            "kind": ["x" if g else "y" for g in group],
        }
    )


@pytest.fixture
def work(tmp_path, monkeypatch, table):
    """A directory with the same data in three files, as the current one."""
    monkeypatch.chdir(tmp_path)
    parquet.write_table(table, "data.parquet")
    arrow_csv.write_csv(table, "data.csv")
    np.save("data.npy", np.column_stack([table["a"], table["b"], table["w"]]))
    np.save("line.npy", table["a"].to_numpy())
    return tmp_path


@pytest.fixture
def run(capsys, work):
    """Run the command line; return its exit code, output and errors."""

    def call(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def model(run):
    assert run("fit", "data.csv", "-k", 2, "--columns", "a,b", "-o", "model.json", "--quiet", *FAST)[0] == 0
    return "model.json"


def assert_error(result, *words, code=1):
    """One line on standard error with all the words, nothing on standard output."""
    got, out, err = result
    assert (got, out) == (code, "")
    assert err.startswith("mixtura: error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    for word in words:
        assert word in err


# --- fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["data.csv", "data.parquet"])
def test_fit_prints_a_table_and_writes_nothing(run, work, data):
    before = sorted(work.iterdir())
    code, out, err = run("fit", data, "-k", 2, "--columns", "a,b", *FAST)
    assert (code, err) == (0, "")
    for word in ("component", "weight", "a", "b", "±", "log-likelihood", "BIC", "rows/s", "converged"):
        assert word in out
    assert sorted(work.iterdir()) == before


def test_the_three_formats_give_the_same_fit(run):
    reports = []
    for data, columns, weight in [
        ("data.csv", "a,b", "w"),
        ("data.parquet", "a,b", "w"),
        ("data.npy", "0,1", "2"),
    ]:
        code, out, _ = run("fit", data, "-k", 2, "--columns", columns, "--weight", weight, "--json", *FAST)
        assert code == 0
        reports.append(json.loads(out))
    for report in reports[1:]:
        assert report["loglik"] == reports[0]["loglik"]
        assert report["means"] == reports[0]["means"]
    assert reports[0]["columns"] == ["a", "b"]
    assert reports[2]["columns"] == ["0", "1"]


def test_fit_json_is_one_document_that_agrees_with_the_model(run, table):
    code, out, err = run("fit", "data.parquet", "-k", 2, "--columns", "a,b", "-o", "m.json", "--json", *FAST)
    assert (code, err) == (0, "")
    report = json.loads(out)
    fitted = load("m.json")
    X = table.select(["a", "b"])
    assert report["means"] == fitted.means_.tolist()
    assert report["weights"] == fitted.weights_.tolist()
    assert report["loglik"] == pytest.approx(fitted.score(X) * 400)
    assert report["bic"] == pytest.approx(fitted.bic(X))
    assert report["aic"] == pytest.approx(fitted.aic(X))
    assert report["rows"] == 400
    assert report["status"] == "converged"
    assert report["passes"] >= report["iterations"] + 1
    assert report["written"] == "m.json"


def test_fit_tells_how_many_starts_agree(run):
    arguments = ("fit", "data.csv", "-k", 2, "--columns", "a,b")
    assert "3 of 3 starts came to the best objective\n" in run(*arguments)[1]
    report = json.loads(run(*arguments, "--json")[1])
    assert report["agreement"] == {"n_restarts": 3, "n_agreeing": 3, "gap": 0.0}
    assert "starts came" not in run(*arguments, *FAST)[1], "of one start there is nothing to tell"


def test_fit_counts_weights(run, table):
    _, out, _ = run("fit", "data.csv", "--columns", "a", "--weight", "w", "--json", *FAST)
    report = json.loads(out)
    a, w = table["a"].to_numpy(), table["w"].to_numpy()
    assert report["means"][0][0] == pytest.approx(np.average(a, weights=w))
    assert report["weight"] == w.sum()


def test_fit_takes_a_vector(run):
    code, out, _ = run("fit", "line.npy", "-k", 2, "--json", *FAST)
    assert code == 0
    assert np.shape(json.loads(out)["means"]) == (2, 1)


def test_fit_by_default_takes_all_columns_but_the_weight(run, table, work):
    arrow_csv.write_csv(table.select(["a", "w", "b"]), "numbers.csv")
    code, out, _ = run("fit", "numbers.csv", "--weight", "w", "--json", *FAST)
    assert code == 0
    assert json.loads(out)["columns"] == ["a", "b"]


@pytest.mark.parametrize("text", ["a;b\n1;2\n3;5\n2;2\n", "a\tb\n1\t2\n3\t5\n2\t2\n", "\ufeffa,b\n1,2\n3,5\n2,2\n"])
def test_csv_separators_and_byte_order_mark(run, work, text):
    (work / "other.csv").write_text(text, encoding="utf-8")
    code, out, _ = run("fit", "other.csv", "--json")
    assert code == 0
    assert json.loads(out)["columns"] == ["a", "b"]


def test_csv_without_a_header_loses_no_row(run, work):
    (work / "bare.csv").write_text("1,2\n3,5\n2,2\n")
    code, out, _ = run("fit", "bare.csv", "--columns", "1", "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["rows"], report["columns"]) == (3, ["1"])
    assert report["means"] == [[3.0]]


def test_fit_of_counts(run, work):
    np.save("counts.npy", np.random.default_rng(0).poisson([2, 9], (200, 2)))
    code, out, _ = run("fit", "counts.npy", "-k", 2, "--family", "poisson", "-o", "m.json", "--json", *FAST)
    assert code == 0
    report = json.loads(out)
    assert (report["family"], report["covariance"]) == ("poisson", None)
    assert run("info", "m.json")[0] == 0


def test_every_family_that_needs_only_a_name_has_one():
    named = {getattr(families, kind)().name.lower().replace(" ", "_").replace("-", "_") for kind in FAMILIES.values()}
    assert named == set(FAMILIES)
    needy = {"Categorical", "Product", "ZeroInflated"} | {"Diag", "Full", "Spherical", "Tied"}  # these are structures
    assert set(FAMILIES.values()) == set(families.__all__) - needy


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_fit_of_every_family(run, work, family):
    rows = np.random.default_rng(0).beta(2, 3, (200, 2)) + 1e-3
    if family in ("bernoulli", "multinomial", "negative_binomial", "poisson"):
        rows = (rows > 0.4).astype(float)
    np.save("rows.npy", rows)
    code, out, err = run("fit", "rows.npy", "-k", 2, "--family", family, "-o", "m.json", *FAST)
    assert (code, err) == (0, "")
    estimator, kind = load("m.json"), FAMILIES[family]
    assert type(estimator.model_.family).__name__ == kind
    described = json.loads(run("info", "m.json", "--json")[1])
    if family in ("gaussian", "poisson"):
        assert "(mean ± sd)" in out
        assert "parameters" not in described
        return
    own = estimator.model_.family.attributes(estimator.params_.components)
    assert {f"{name}_" for name in described["parameters"]} == set(own)
    for name, values in described["parameters"].items():
        assert values == own[f"{name}_"].tolist()
        if own[f"{name}_"].ndim == 2:
            assert f"{name} 0" in out
            row = next(line.split() for line in out.splitlines() if line.split()[:1] == ["1"])
            assert {f"{value:.5g}" for value in values[1]} <= set(row), "of the second component"


def test_info_of_parts_and_of_what_makes_no_table(run, work):
    family = families.Product([families.Exponential(), families.Categorical(3)])
    MixtureModel(family).fit([[1.0, 0], [3.0, 2]]).save("parts.json")
    code, out, err = run("info", "parts.json")
    assert (code, err) == (0, "")
    assert "parts[0].rates" in out
    assert "0.5" in out
    described = json.loads(run("info", "parts.json", "--json")[1])
    assert described["parameters"] == {"parts": [{"rates": [[0.5]]}, {"probs": [[[0.5, 0.0, 0.5]]]}]}


@pytest.mark.parametrize("command", [("info", "chain.json"), ("predict", "chain.json", "line.npy")])
def test_a_chain_is_refused(run, work, command):
    HMM(families.Gaussian(), 1).fit([1.0, 2.0, 4.0]).save("chain.json")
    assert_error(run(*command), "chain.json: is of HMM, expected a mixture")


def test_pairs_of_other_families_are_refused_before_the_fit(run, work):
    pytest.importorskip("matplotlib")
    result = run("fit", "data.npy", "--family", "student_t", "--plot", "fit.png", "-o", "m.json")
    assert_error(result, "--plot: several columns are drawn of gaussian components only, not of student_t")
    assert not (work / "m.json").exists()


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_fit_plots(run, work, suffix):
    pytest.importorskip("matplotlib")
    code, out, err = run("fit", "data.npy", "-k", 2, "--weight", "2", "--plot", f"fit.{suffix}", *FAST)
    assert (code, err) == (0, "")
    assert f"fit.{suffix}" in out
    assert (work / f"fit.{suffix}").stat().st_size > 5000


def test_many_columns_stay_within_the_terminal(run, work):
    np.save("wide.npy", np.random.default_rng(0).normal(size=(300, 64)))
    code, out, _ = run("fit", "wide.npy", "-k", 3, "--covariance", "diag", "--tol", "0.1")
    assert code == 0
    table = [line for line in out.splitlines() if "±" in line]
    assert all(len(line) <= 80 for line in table)
    assert "more columns" in out


def test_many_components_are_cut_to_the_heaviest(run, work):
    np.save("long.npy", np.arange(500.0))
    code, out, _ = run("fit", "long.npy", "-k", 45, "--tol", "10", "--init", "random_from_data")
    assert code == 0
    assert "5 lighter components" in out


def test_not_converged_is_exit_code_3_with_everything_written(run, work):
    code, out, err = run("fit", "data.npy", "-k", 3, "--max-iter", 1, "--tol", "0", "-o", "m.json", "--json")
    assert code == 3
    assert json.loads(out)["converged"] is False
    assert err.startswith("mixtura: warning: not converged: ")
    assert err.count("\n") == 1
    assert len(load("m.json").weights_) == 3


def test_what_the_library_warns_of_is_told_once_on_standard_error(run, monkeypatch):
    fit = GaussianMixture.fit

    def warning(self, *arguments, **options):
        for _ in range(2):
            warnings.warn("component 0 collapsed\nin iteration 3", CollapseWarning, stacklevel=2)
        return fit(self, *arguments, **options)

    monkeypatch.setattr(GaussianMixture, "fit", warning)
    code, out, err = run("fit", "line.npy", "--json")
    assert (code, err) == (0, "mixtura: warning: component 0 collapsed in iteration 3\n")
    assert json.loads(out)["warnings"] == ["component 0 collapsed in iteration 3"]


def test_a_terminal_without_unicode_gets_no_error(work, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["fit", "line.npy", "-k", "2", *FAST]) == 0
    stream.flush()
    assert b"?" in stream.buffer.getvalue()


def test_quiet_prints_nothing(run):
    assert run("fit", "line.npy", "-k", 2, "--quiet", *FAST) == (0, "", "")


def test_a_seed_repeats_a_fit(run):
    fits = [run("fit", "data.npy", "-k", 3, "--seed", seed, "--json", *FAST)[1] for seed in (1, 1, 2)]
    first, again, other = (json.loads(fit)["means"] for fit in fits)
    assert first == again
    assert first != other


# --- what can be wrong with a fit -------------------------------------------------------------------


def test_missing_file(run):
    assert_error(run("fit", "nope.csv"), "nope.csv", "No such file")


def test_directory_as_data(run, work):
    (work / "dir.csv").mkdir()
    assert_error(run("fit", "dir.csv"), "dir.csv", "directory")


def test_wrong_suffix(run, work):
    (work / "data.xlsx").write_text("")
    assert_error(run("fit", "data.xlsx"), "'.xlsx'", ".npy, .parquet")


@pytest.mark.parametrize("name", ["bad.npy", "bad.parquet"])
def test_damaged_file(run, work, name):
    (work / name).write_bytes(b"this is no such file")
    assert_error(run("fit", name), name, "damaged")


def test_cut_off_file(run, work):
    content = (work / "data.npy").read_bytes()
    (work / "cut.npy").write_bytes(content[: len(content) // 2])
    assert_error(run("fit", "cut.npy"), "cut.npy", "truncated")


def test_pickled_array_is_not_opened(run, work):
    np.save("objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    assert_error(run("fit", "objects.npy"), "objects.npy")


def test_ragged_csv(run, work):
    (work / "ragged.csv").write_text("a,b\n1,2\n3\n")
    assert_error(run("fit", "ragged.csv"), "ragged.csv")


def test_empty_csv(run, work):
    (work / "empty.csv").write_text("")
    assert_error(run("fit", "empty.csv"), "empty.csv", "expected rows")


def test_csv_without_rows(run, work):
    (work / "headed.csv").write_text("a,b\n")
    assert_error(run("fit", "headed.csv"), "headed.csv")


@pytest.mark.parametrize("data", ["data.csv", "data.parquet"])
def test_unknown_column_lists_those_there_are(run, data):
    assert_error(run("fit", data, "--columns", "a,zzz"), "'zzz'", "'a', 'b', 'w', 'kind'")
    assert_error(run("fit", data, "--columns", "a", "--weight", "zzz"), "'zzz'", "'a', 'b', 'w', 'kind'")


def test_unknown_number_of_a_column(run):
    assert_error(run("fit", "data.npy", "--columns", "0,7"), "no column 7", "0 to 2")


def test_column_named_twice(run):
    assert_error(run("fit", "data.csv", "--columns", "a,a"), "twice")
    assert_error(run("fit", "data.csv", "--columns", "a,w", "--weight", "w"), "twice")


def test_text_column(run):
    assert_error(run("fit", "data.csv"), "data.csv", "'kind'", "numbers")


def test_empty_cells_are_missing_values(run, work):
    rows = np.random.default_rng(0).normal(size=(50, 2)).round(3).tolist()
    cells = [[repr(a), "" if i % 7 == 0 else repr(b)] for i, (a, b) in enumerate(rows)]
    (work / "gaps.csv").write_text("a,b\n" + "\n".join(map(",".join, cells)) + "\n")
    assert run("fit", "gaps.csv", "-k", 1, "-o", "m.json")[0] == 0
    assert run("predict", "m.json", "gaps.csv", "-o", "labels.csv")[0] == 0
    assert len((work / "labels.csv").read_text().splitlines()) == 51


def test_a_column_of_empty_cells_is_named(run, work):
    (work / "gap.csv").write_text("a,b\n1,\n3,\n2,\n")
    assert_error(run("fit", "gap.csv"), "column 'b'", "missing")


def test_infinity_names_row_and_column(run, work):
    X = np.ones((5, 3))
    X[3, 1] = np.inf
    np.save("inf.npy", X)
    assert_error(run("fit", "inf.npy"), "inf.npy", "row 3", "column 1")


def test_fewer_rows_than_components(run, work):
    np.save("few.npy", np.arange(3.0))
    assert_error(run("fit", "few.npy", "-k", 5), "few.npy", "5")


@pytest.mark.parametrize("option", ["-o", "--plot"])
def test_outputs_are_refused_before_the_fit(run, work, monkeypatch, option):
    if option == "--plot":
        pytest.importorskip("matplotlib")

    def never(*_, **__):
        raise AssertionError("the fit was begun")

    monkeypatch.setattr("mixtura.cli.fit.fit_and_describe", never)
    good = "m.json" if option == "-o" else "fit.png"
    assert_error(run("fit", "line.npy", option, f"missing/{good}"), "missing", "does not exist")
    assert_error(run("fit", "line.npy", option, "out.xyz"), "'.xyz'", good[-4:])
    (work / good).mkdir()
    assert_error(run("fit", "line.npy", option, good), "directory")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("fit",),
        ("fit", "line.npy", "-k", "0"),
        ("fit", "line.npy", "-k", "two"),
        ("fit", "line.npy", "--covariance", "round"),
        ("fit", "line.npy", "--tol", "-1"),
        ("fit", "line.npy", "--tol", "nan"),
        ("fit", "line.npy", "--family", "poisson", "--covariance", "full"),
        ("fit", "line.npy", "--family", "poisson", "--reg-covar", "1"),
    ],
)
def test_usage(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("mixtura: error: ")
    assert err.count("\n") == 1


def test_a_failed_write_leaves_the_old_file_and_no_draft(run, work, monkeypatch):
    (work / "m.json").write_text("old")

    def broken(self, path):
        with open(path, "w") as stream:
            stream.write("half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("mixtura.GaussianMixture.save", broken)
    before = sorted(work.iterdir())
    assert_error(run("fit", "line.npy", "-o", "m.json"), "No space left")
    assert (work / "m.json").read_text() == "old"
    assert sorted(work.iterdir()) == before


def test_a_failed_fit_writes_nothing(run, work):
    np.save("inf.npy", np.array([1.0, np.inf, 2.0]))
    before = sorted(work.iterdir())
    assert run("fit", "inf.npy", "-o", "m.json")[0] == 1
    assert sorted(work.iterdir()) == before


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("rich.console", ("fit", "line.npy"), "cli"),
        ("pyarrow", ("fit", "data.csv", "--columns", "a"), "arrow"),
        ("matplotlib", ("fit", "line.npy", "--plot", "fit.png"), "plot"),
    ],
)
def test_a_missing_extra_is_named(run, monkeypatch, module, arguments, extra):
    monkeypatch.setitem(sys.modules, module, None)
    assert_error(run(*arguments), f"mixtura[{extra}]", "pip install")


def test_interruption_is_no_traceback(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mixtura.cli.fit.fit_and_describe", interrupted)
    assert run("fit", "line.npy") == (130, "", "mixtura: interrupted\n")


# --- predict ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["parquet", "csv", "npy"])
def test_predict_writes_labels_probabilities_and_log_density(run, model, table, suffix):
    code, out, err = run("predict", model, "data.parquet", "-o", f"out.{suffix}")
    assert (code, err) == (0, "")
    assert "component 0" in out
    if suffix == "npy":
        found = np.load("out.npy")
        names = found.dtype.names
    else:
        found = parquet.read_table("out.parquet") if suffix == "parquet" else arrow_csv.read_csv("out.csv")
        names = tuple(found.column_names)
    assert names == ("label", "probability_0", "probability_1", "log_density")
    fitted, X = load(model), table.select(["a", "b"])
    np.testing.assert_array_equal(found["label"], fitted.predict(X))
    np.testing.assert_allclose(found["probability_1"], fitted.predict_proba(X)[:, 1], atol=1e-15)
    np.testing.assert_allclose(found["log_density"], fitted.score_samples(X), rtol=1e-12)


def test_predict_in_blocks_is_predict_at_once(run, model, monkeypatch):
    np.save("long.npy", np.random.default_rng(0).normal(size=(3 * BLOCK_ROWS + 5, 2)) * 4)
    run("predict", model, "long.npy", "-o", "once.npy")
    monkeypatch.setattr("mixtura.estimators.prediction.PIECE_VALUES", 2)  # so a piece is one block
    for suffix in ("npy", "parquet"):
        assert run("predict", model, "long.npy", "-o", f"blocks.{suffix}")[0] == 0
    once = np.load("once.npy")
    np.testing.assert_array_equal(np.load("blocks.npy"), once)
    np.testing.assert_array_equal(parquet.read_table("blocks.parquet")["log_density"], once["log_density"])


def test_predict_without_output_only_counts(run, work, model):
    before = sorted(work.iterdir())
    code, out, _ = run("predict", model, "data.csv", "--json")
    assert code == 0
    report = json.loads(out)
    assert sum(report["counts"]) == report["rows"] == 400
    assert sorted(work.iterdir()) == before


def test_predict_finds_columns_by_name_or_takes_given_ones(run, model, work, table):
    parquet.write_table(table.select(["kind", "b", "a"]), "turned.parquet")
    one = run("predict", model, "data.csv", "--json")[1]
    turned = run("predict", model, "turned.parquet", "--json")[1]
    given = run("predict", model, "data.npy", "--columns", "0,1", "--json")[1]
    assert json.loads(one)["counts"] == json.loads(turned)["counts"] == json.loads(given)["counts"]


def test_predict_names_what_is_missing(run, model, work, table):
    parquet.write_table(table.select(["a", "w"]), "short.parquet")
    assert_error(run("predict", model, "short.parquet"), "'b'", "'a', 'w'")
    assert_error(run("predict", model, "data.npy"), "data.npy", "3 columns", "2", "--columns")


def test_predict_names_the_bad_row_of_the_file(run, model, work, monkeypatch):
    monkeypatch.setattr("mixtura.estimators.prediction.PIECE_VALUES", 2)
    X = np.zeros((3 * BLOCK_ROWS, 2))
    X[2 * BLOCK_ROWS + 25, 1] = np.inf
    np.save("inf.npy", X)
    before = sorted(work.iterdir())
    assert_error(run("predict", model, "inf.npy", "-o", "out.parquet"), "inf.npy", "row 2073", "column 1")
    assert sorted(work.iterdir()) == before


def test_predict_of_no_rows(run, model, work):
    (work / "headed.csv").write_text("a,b\n")
    assert run("predict", model, "headed.csv")[0] == 1


def test_predict_does_not_overwrite_its_data(run, work, model):
    before = (work / "data.csv").read_bytes()
    assert_error(run("predict", model, "data.csv", "-o", "data.csv"), "DATA itself")
    assert (work / "data.csv").read_bytes() == before


def test_predict_refuses_outputs_early(run, model):
    assert_error(run("predict", model, "data.csv", "-o", "missing/out.csv"), "does not exist")
    assert_error(run("predict", model, "data.csv", "-o", "out.json"), "'.json'", ".parquet, .csv, .npy")


# --- info, doctor, warmup, demo -----------------------------------------------------------------------------


def test_info(run, model):
    code, out, err = run("info", model)
    assert (code, err) == (0, "")
    for word in ("GaussianMixture", "gaussian, full", "a, b", "11 parameters"):
        assert word in out
    report = json.loads(run("info", model, "--json")[1])
    assert report["columns"] == ["a", "b"]
    assert report["n_parameters"] == 11
    assert report["weights"] == load(model).weights_.tolist()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "something else"}', '{"weights": [1]}'])
@pytest.mark.parametrize("command", ["info", "predict"])
def test_damaged_model(run, work, command, text):
    (work / "bad.json").write_text(text)
    assert_error(run(command, "bad.json", *(["data.csv"] if command == "predict" else [])), "bad.json")


def test_missing_model(run):
    assert_error(run("info", "nope.json"), "nope.json", "No such file")


def test_doctor(run):
    code, out, err = run("doctor", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["packages"]["numpy"] == np.__version__
    assert report["test"]["passed"] is True
    assert report["threads"] >= 1
    for key in ("python", "cores", "cache", "fma", "processor"):
        assert key in report
    code, out, _ = run("doctor")
    assert code == 0
    for word in ("numba", "threads", "cores", "cache", "test fit"):
        assert word in out


def test_warmup(run, monkeypatch):
    code, out, err = run("warmup", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert list(report["seconds"]) == [
        "diag, one column", "spherical", "full", "full, many columns", "tied", "k-means",
        "values missing", "cells of one column", "hidden Markov chains", "counts, categories, waiting times",
        "gamma", "student t", "counts by tables",
    ]  # fmt: skip
    code, out, _ = run("warmup")
    assert code == 0
    assert report["directory"] in out
    monkeypatch.setattr("mixtura.kernels.simd.has_fma", lambda: False)
    assert_error(run("warmup"), "no fused multiply-add")


def test_demo(run, work, monkeypatch):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr("mixtura.cli.demo.OPTIONS", {"n_components": 3, "tol": 0.1, "random_state": 0})
    code, out, err = run("demo", "--out", "new/place", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["rows"] == 273_280
    assert report["columns"] == ["red", "green", "blue"]
    fitted = load(report["written"])
    picture = np.asarray(image.open(report["segments"]))
    segmented = picture[:427, -640:]  # at the upper right
    segmented = segmented.reshape(-1, 3)
    colors = {tuple(color) for color in np.unique(segmented, axis=0)}
    assert colors == {tuple(color) for color in np.round(fitted.means_).astype(int)}
    assert np.asarray(image.open(report["plot"])).shape[0] > 500


def test_demo_refuses_a_file_as_directory(run):
    assert_error(run("demo", "--out", "data.csv"), "data.csv", "expected a directory")


# --- the rest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", "fit", "predict", "info", "demo", "doctor", "warmup"])
def test_help_explains_exit_codes(run, command):
    code, out, _ = run(*filter(None, [command]), "--help")
    assert code == 0
    assert "exit codes:" in out
    assert "not converged" in out


def test_version(run):
    from mixtura import __version__

    assert run("--version")[:2] == (0, f"mixtura {__version__}\n")


def test_python_dash_m(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mixtura", "--version"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("mixtura", run_name="__main__")
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("mixtura ")


def test_the_bar_appears_only_when_a_fit_lasts(monkeypatch, capsys):
    from mixtura.cli import _progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    X = np.random.default_rng(0).normal(size=(200, 2))
    for patience, expected in ((60.0, False), (0.0, True)):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setattr(_progress, "PATIENCE", patience)
        with progress(200, quiet=False):
            GaussianMixture(1).fit(X)
            for _ in range(50 if expected else 0):
                if terminal.getvalue():
                    break
                time.sleep(0.02)  # the bar is drawn by a thread of its own
        assert bool(terminal.getvalue().strip()) is expected
