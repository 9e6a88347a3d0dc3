"""Cost of the first use: importing, and the first fit of a new process, with an empty and a filled cache."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.data import capped

ROOT = Path(__file__).resolve().parent.parent

FIRST_FIT = """
import time
import sys
from benchmarks.data import clusters, fit_passes, start
import mixtura.estimators.gaussian_mixture
x = clusters(int(sys.argv[1]), 4, 8)
before = time.perf_counter()
fit_passes(x, 1, start(x, 8, sys.argv[2]))
print(time.perf_counter() - before)
"""


class Import:
    """Importing, each time in a new process; NumPy is what it is compared with."""

    def timeraw_numpy(self):
        return "import numpy"

    def timeraw_mixtura(self):
        return "import mixtura"

    def timeraw_gaussian_mixture(self):
        return "from mixtura import GaussianMixture"


class FirstFit:
    """Seconds of the first fit in a new process, imports aside."""

    params = (["full", "tied", "diag", "spherical"],)
    param_names = ("covariance",)
    timeout = 300
    unit = "s"

    def setup(self, covariance):
        self.folder = tempfile.TemporaryDirectory()
        self.rows = capped(100_000)

    def teardown(self, covariance):
        self.folder.cleanup()

    def track_empty_cache(self, covariance):
        return self._first_fit(covariance)

    def track_filled_cache(self, covariance):
        self._first_fit(covariance)
        return self._first_fit(covariance)

    def _first_fit(self, covariance):
        environment = os.environ | {"NUMBA_CACHE_DIR": self.folder.name, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", FIRST_FIT, str(self.rows), covariance]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return float(done.stdout)
