"""Memory: a fit holds its data and little else, however many rows there are."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import warnings
import numpy as np
from mixtura import GaussianMixture

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
x = rng.standard_normal((2_000_000, 4))
weight = rng.random(2_000_000) if {weighted} else None


def status(key):
    line = next(line for line in open("/proc/self/status") if line.startswith(key))
    return int(line.split()[1]) / 1024


def fit():
    GaussianMixture(8, covariance_type="{structure}", random_state=0, max_iter=3).fit(x, sample_weight=weight)


fit()  # compiles
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
before = status("VmRSS")
fit()
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to reset the peak")
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_a_fit_of_two_million_rows_takes_less_than_100_mb(structure, weighted):
    script = SCRIPT.format(structure=structure, weighted=weighted)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout) < 100
