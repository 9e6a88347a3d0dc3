"""`mixtura density`: the table of `fit_density`, its winner in files, and its faults."""

import json

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("rich")

from mixtura import fit_density, load
from mixtura.cli import main
from mixtura.families import Gamma, LogNormal
from mixtura.values import same_bits

FAST = ("--init", "k-means++", "--components", "1,2")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("waits.npy", np.column_stack([rng.gamma(2.0, 3.0, 300), rng.integers(1, 4, 300)]))
    np.save("counts.npy", rng.poisson(4.0, 300))

    def call(*arguments):
        try:
            code = main(["density", *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def test_the_winner_is_that_of_fit_density(run, tmp_path):
    pytest.importorskip("matplotlib")
    options = ("--families", "gamma,log_normal", "--columns", "0", "--weight", "1", *FAST)
    code, out, err = run("waits.npy", *options, "-o", "best.json", "--plot", "density.png")
    assert (code, err) == (0, "")
    data = np.load("waits.npy")
    families = [Gamma(), LogNormal()]
    fit = fit_density(data[:, 0], (1, 2), families, sample_weight=data[:, 1], init_params="k-means++", random_state=0)
    assert out.startswith(str(fit))
    assert f"winner   {fit.selection.winner.name}, by BIC" in out
    assert same_bits(load("best.json").params_, fit.model.params_)
    assert (tmp_path / "density.png").read_bytes().startswith(b"\x89PNG")


def test_counts_in_json(run):
    code, out, _ = run("counts.npy", *FAST, "--criterion", "aic", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["winner"]["family"] == "poisson"
    assert {row["family"] for row in report["candidates"]} == {"poisson", "negative binomial"}
    assert report["criterion"] == "aic"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("waits.npy",), 1, "waits.npy: x has 2 columns, expected one"),
        (("counts.npy", "--families", "gama"), 2, "argument --families: expected some of bernoulli, beta, exponential"),
        (("counts.npy", "--families", "poisson,gamma"), 1, "of another measure"),
        (("counts.npy", "--families", "beta"), 1, "a beta component takes numbers between 0 and 1"),
        (("counts.npy", "--tol", "-1"), 2, "--tol is -1; expected a number from 0"),
        (("counts.npy", "--plot", "x.txt"), 1, "x.txt: suffix '.txt' is none of .png"),
    ],
)
def test_faults_take_one_line(run, arguments, code, words):
    got, out, err = run(*arguments)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert err.startswith("mixtura: error: ")
    assert words in err
