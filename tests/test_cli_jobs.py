"""The command line in a job: checkpoints, time limits, signals and logs for machines."""

import io
import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("rich")

from mixtura import GaussianMixture, load
from mixtura.cli import main
from mixtura.cli._progress import progress
from mixtura.values import same_bits

SLOW = ("-k", "6", "--tol", "0", "--max-iter", "100000", "--init", "random_from_data")


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("data.npy", np.random.default_rng(0).normal(size=(5000, 3)))
    return tmp_path


def wait_for(path, process):
    for _ in range(600):
        if path.exists():
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)  # the process has to start, and its first pass to end
    raise AssertionError("no checkpoint was written")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_leaves_the_checkpoint_from_which_the_same_command_goes_on(work, number, code, word):
    command = [sys.executable, "-m", "mixtura", "fit", "data.npy", *SLOW, "--checkpoint", "c", "-o", "m.json"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for(work / "c", process)
    time.sleep(0.3)  # into the middle of the fit: a signal at the first pass would prove less
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, "")
    assert err == f"mixtura: {word}; c has the last whole pass, and the same command goes on from it\n"
    assert sorted(p.name for p in work.iterdir()) == ["c", "data.npy"]


def test_the_same_command_goes_on_and_ends_with_the_same_bits(work, capsys):
    options = ["-k", "3", "--tol", "1e-5", "--max-iter", "30", "--quiet"]
    assert main(["fit", "data.npy", *options, "-o", "whole.json"]) in (0, 3)
    assert main(["fit", "data.npy", *options, "--checkpoint", "c", "--max-time", "1e-6", "-o", "part.json"]) == 4
    assert load("part.json").n_iter_ == 0
    code = main(["fit", "data.npy", *options, "--checkpoint", "c", "-o", "resumed.json"])
    assert code == (0 if load("whole.json").converged_ else 3)
    assert same_bits(load("resumed.json").params_, load("whole.json").params_)
    capsys.readouterr()
    assert main(["fit", "data.npy", *options, "--seed", "7", "--checkpoint", "c"]) == 1
    assert "another fit: random_state was 0 there and is 7 here" in capsys.readouterr().err


def test_out_of_time_says_what_to_do(work, capsys):
    assert main(["fit", "data.npy", *SLOW, "--max-time", "0.2"]) == 4
    out, err = capsys.readouterr()
    assert "not converged after" in out
    assert "with --checkpoint the same command goes on" in err


def test_the_log_for_machines_has_a_line_an_iteration(work, capsys):
    arguments = ["fit", "data.npy", "-k", "2", "--max-iter", "5", "--tol", "0", "--n-init", "2", "--log-json", "--json"]
    assert main(arguments) == 3
    out, err = capsys.readouterr()
    report = json.loads(out)
    *lines, warning = err.splitlines()
    assert warning.startswith("mixtura: warning: not converged")
    lines = [json.loads(line) for line in lines]
    for restart in range(2):
        assert [line["iteration"] for line in lines if line["restart"] == restart] == list(range(6))
    best = max(lines, key=lambda line: line["objective"])  # a prior counts in it
    assert best["mean_loglik"] * best["rows"] == pytest.approx(report["loglik"], rel=1e-12)
    assert set(lines[0]) >= {"objective", "mean_loglik", "passes", "rows", "seconds", "max_iter"}


@pytest.mark.parametrize("value", ["0", "-3", "nan", "inf"])
def test_a_time_that_cannot_be_is_a_fault_of_the_command_line(work, capsys, value):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "data.npy", "--max-time", value])
    assert stop.value.code == 2
    assert "--max-time" in capsys.readouterr().err


def test_the_bar_tells_pass_speed_and_time_left(monkeypatch):
    from mixtura.cli import _progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(_progress, "PATIENCE", 0.0)
    monkeypatch.setenv("COLUMNS", "160")
    x = np.random.default_rng(0).normal(size=(500, 2))

    def pause(state):
        time.sleep(0.1)  # the bar is drawn by a thread of its own

    with pytest.warns(match="converge"), progress(500, quiet=False):
        GaussianMixture(2, tol=0.0, max_iter=8, random_state=0, callback=pause).fit(x)
    assert re.search(r"pass \d.*a row +[\d,]+ rows/s +at most 0:00:\d\d left", terminal.getvalue())
