"""``mixtura select``: the table of `mixtura.select`, its model file, its picture, and how it fails."""

import json

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("rich")

from mixtura import load, select
from mixtura.cli import main
from mixtura.values import same_bits

FAST = ("--init", "random_from_data", "--components", "1:3")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in a directory with a file; return its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("data.npy", np.concatenate([rng.normal(0, 1, (200, 2)), rng.normal(9, 1, (200, 2))]))

    def call(*arguments):
        try:
            code = main(["select", *arguments])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def test_the_table_is_printed_and_nothing_written(run, tmp_path):
    code, out, err = run("data.npy", "--covariance", "tied,diag", *FAST)
    assert (code, err) == (0, "")
    chosen = select(np.load("data.npy"), (1, 2, 3), ("tied", "diag"), init_params="random_from_data", random_state=0)
    assert out.startswith(str(chosen))
    assert "winner  tied 2 components, by BIC" in out
    assert [path.name for path in tmp_path.iterdir()] == ["data.npy"]


def test_the_winner_is_written_and_drawn(run):
    pytest.importorskip("matplotlib")
    code, out, _ = run("data.npy", "--covariance", "tied", "-o", "best.json", "--plot", "curves.png", "--quiet", *FAST)
    assert (code, out) == (0, "")
    chosen = select(np.load("data.npy"), (1, 2, 3), "tied", init_params="random_from_data", random_state=0)
    assert same_bits(load("best.json").params_, chosen.best.params_)
    with open("curves.png", "rb") as picture:
        assert picture.read(4) == b"\x89PNG"


def test_json_has_every_candidate_and_the_doubts(run):
    code, out, _ = run(
        "data.npy", "--criterion", "icl", "--covariance", "spherical", "--json", *FAST[:2], "--components", "1,2"
    )
    report = json.loads(out)
    assert code == 0
    assert [row["n_components"] for row in report["candidates"]] == [1, 2]
    assert report["winner"] == report["candidates"][1]
    assert report["winner"]["reversal"] is None
    assert (report["criterion"], report["rows"]) == ("icl", 400)
    assert report["doubts"] == ["spherical 2 components: no larger number was fitted; try more"]


def test_counts(run):
    np.save("counts.npy", np.random.default_rng(2).poisson(np.repeat([1.0, 30.0], 200)))
    code, out, _ = run("counts.npy", "--family", "poisson", "--components", "1:3")
    assert code == 0
    assert "winner  poisson 2 components, by BIC" in out


def test_a_winner_that_has_not_converged_has_its_exit_code(run):
    assert (
        run(
            "data.npy", "--covariance", "full", "--max-iter", "1", "--tol", "0", "--init", "random", "--components", "3"
        )[0]
        == 3
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--components", "0:3"), 2, "argument --components: expected a whole number from 1, got '0'"),
        (("--components", "3:1"), 2, "argument --components: expected ranges that rise, such as 1:10, got '3:1'"),
        (
            ("--covariance", "full,round"),
            2,
            "argument --covariance: expected some of full, tied, diag, spherical, got 'round'",
        ),
        (("--criterion", "mdl"), 2, "argument --criterion: invalid choice: 'mdl'"),
        (("--family", "poisson", "--covariance", "full"), 2, "--covariance goes with --family gaussian only"),
        (("--components", "401"), 1, "no candidate can be fitted: Expected n_samples >= n_components"),
        (("-o", "best.txt"), 1, "best.txt: suffix '.txt' is none of .json"),
    ],
)
def test_faults_take_one_line(run, arguments, code, words):
    got, out, err = run("data.npy", *arguments)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert err.startswith("mixtura: error: ")
    assert words in err
