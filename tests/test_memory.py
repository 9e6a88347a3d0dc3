"""Memory: a fit holds its data and little else, however many rows there are."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mixtura.grid import CHUNK_ROWS

CHUNK_MB = CHUNK_ROWS * 4 * 8 / 2**20  # of four columns

SCRIPT = """
import sys, warnings
import numpy as np
from mixtura import GaussianMixture

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
x = rng.standard_normal((2_000_000, 4))
weight = rng.random(2_000_000) if sys.argv[1] == "weighted" else None


def status(key):
    line = next(line for line in open("/proc/self/status") if line.startswith(key))
    return int(line.split()[1]) / 1024


def fit(structure):
    GaussianMixture(8, covariance_type=structure, random_state=0, max_iter=3).fit(x, sample_weight=weight)


for structure in ("full", "tied", "diag", "spherical"):
    fit(structure)  # compiles
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    before = status("VmRSS")
    fit(structure)
    print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to reset the peak")
@pytest.mark.parametrize("weighted", ["plain", "weighted"])
def test_a_fit_of_two_million_rows_takes_less_than_100_mb(weighted):
    done = subprocess.run([sys.executable, "-c", SCRIPT, weighted], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peaks = [float(line) for line in done.stdout.splitlines()]
    assert len(peaks) == 4
    assert all(0 <= peak < 100 for peak in peaks), peaks


STREAM_SCRIPT = """
import sys, warnings
from mixtura import GaussianMixture

warnings.simplefilter("ignore")
small, large = sys.argv[1:]


def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def fit(path):
    GaussianMixture(4, random_state=0, max_iter=2).fit(path)


fit(small)
before = peak()
fit(large)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to read the peak")
@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_a_fit_of_a_file_takes_no_more_memory_for_more_rows(kind, tmp_path):
    paths = []
    for n in (2_000_000, 12_000_000):  # 64 and 384 MB
        x = np.random.default_rng(0).standard_normal((n, 4))
        paths.append(tmp_path / f"{n}.{kind}")
        if kind == "npy":
            np.save(paths[-1], x)
        else:
            pa = pytest.importorskip("pyarrow")
            pytest.importorskip("pyarrow.parquet").write_table(pa.table(dict(zip("abcd", x.T, strict=True))), paths[-1])
    done = subprocess.run(
        [sys.executable, "-c", STREAM_SCRIPT, *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 3 * CHUNK_MB  # of those read ahead; how many there are at the peak hangs on timing
