"""Speed of fits of a fixed number of passes; the compiler has done its work before the clock starts."""

import statistics
import time

import numpy as np

from benchmarks.data import capped, clusters, fit_passes, start

UPDATES = 4  # and so five evaluations

# d, k, and rows such that one fit takes about as long in each
SHAPES = {
    "1d-k8": (1, 8, 1_000_000),
    "2d-k8": (2, 8, 500_000),
    "8d-k8": (8, 8, 100_000),
    "32d-k16": (32, 16, 20_000),
}


class _Fit:
    timeout = 300

    def prepare(self, shape, covariance_type, dtype="float64"):
        d, k, rows = SHAPES[shape]
        self.x = clusters(capped(rows), d, k, dtype)
        self.options = start(self.x, k, covariance_type)
        self.weight = None
        fit_passes(self.x, 1, self.options)  # compiles


class Covariance(_Fit):
    """Each covariance structure at each shape."""

    params = (list(SHAPES), ["full", "tied", "diag", "spherical"])
    param_names = ("shape", "covariance")

    def setup(self, shape, covariance):
        self.prepare(shape, covariance)

    def time_fit(self, shape, covariance):
        fit_passes(self.x, UPDATES, self.options)


class _PairTime:
    """ns of one update for a row and component: a difference of two fits, so that start and checks cancel."""

    timeout = 300
    unit = "ns"
    values = 1_600_000  # rows times columns
    updates = (1, 4)
    rounds = 3

    def prepare(self, covariance, d, k, dtype="float64", threads=None):
        self.x, self.k = clusters(capped(self.values // d), d, k, dtype), k
        self.options = start(self.x, k, covariance) | {"n_threads": threads}
        fit_passes(self.x, 1, self.options)  # compiles

    def measure(self):
        seconds = []
        for _ in range(self.rounds):
            clock = [time.perf_counter()]
            for updates in self.updates:
                fit_passes(self.x, updates, self.options)
                clock.append(time.perf_counter())
            seconds.append((clock[2] - clock[1]) - (clock[1] - clock[0]))
        pairs = len(self.x) * self.k * (self.updates[1] - self.updates[0])
        return max(0.0, statistics.median(seconds)) / pairs * 1e9


class Missing(_PairTime):
    """Of rows with eight columns that lack a share of their values."""

    params = (["full", "tied", "diag", "spherical"], [0.0, 0.1, 0.3], [20_000, 100_000, 1_000_000])
    param_names = ("covariance", "share", "rows")

    def setup(self, covariance, share, rows):
        self.values = 8 * rows
        self.prepare(covariance, 8, 8)
        self.x = np.where(np.random.default_rng(0).random(self.x.shape) < share, np.nan, self.x)
        fit_passes(self.x, 1, self.options)  # compiles

    def track_update(self, covariance, share, rows):
        return self.measure()


class PairTime(_PairTime):
    """By structure, columns and components."""

    params = (["full", "tied", "diag", "spherical"], [1, 2, 8, 16, 64], [4, 16])
    param_names = ("covariance", "d", "k")

    def setup(self, covariance, d, k):
        self.prepare(covariance, d, k)

    def track_update(self, covariance, d, k):
        return self.measure()


class PairTimeByInput(_PairTime):
    """By dtype and threads."""

    params = ([2, 16], ["float64", "float32"], [1, 2])
    param_names = ("d", "dtype", "threads")

    def setup(self, d, dtype, threads):
        self.prepare("full", d, 8, dtype, threads)

    def track_update(self, d, dtype, threads):
        return self.measure()


class Input(_Fit):
    """What the rows are made of, and how they lie in memory."""

    params = (["float64", "float32", "int64", "fortran", "strided"],)
    param_names = ("rows",)

    def setup(self, rows):
        dtype = rows if rows in ("float64", "float32") else "float64"
        self.prepare("8d-k8", "full", dtype)
        if rows == "int64":
            self.x = np.rint(100 * self.x).astype(np.int64)
            self.options = start(self.x, 8, "full")
            self.options["precisions_init"] = self.options["precisions_init"] / 100**2
        elif rows == "fortran":
            self.x = np.asfortranarray(self.x)
        elif rows == "strided":
            self.x = np.repeat(self.x, 2, axis=0)[::2]

    def time_fit(self, rows):
        fit_passes(self.x, UPDATES, self.options)


class Weighted(_Fit):
    """Row weights."""

    def setup(self):
        self.prepare("2d-k8", "full")
        self.weight = np.random.default_rng(0).uniform(0.5, 1.5, len(self.x))
        fit_passes(self.x, 1, self.options, self.weight)

    def time_fit(self):
        fit_passes(self.x, UPDATES, self.options, self.weight)


class Predict(_Fit):
    """Prediction on the data that were fitted."""

    params = (["predict", "predict_proba", "score_samples"], ["1d-k8", "8d-k8"], ["full", "tied", "diag", "spherical"])
    param_names = ("method", "shape", "covariance")

    def setup(self, method, shape, covariance):
        self.prepare(shape, covariance)
        self.call = getattr(fit_passes(self.x, 1, self.options), method)
        self.call(self.x)

    def time_call(self, method, shape, covariance):
        self.call(self.x)


class Start(_Fit):
    """Every way to start, with one update behind it."""

    params = (["kmeans", "k-means++", "random", "random_from_data"],)
    param_names = ("init_params",)

    def setup(self, init_params):
        self.prepare("8d-k8", "full")
        self.options = {"n_components": 8, "init_params": init_params, "random_state": 0}
        fit_passes(self.x, 1, self.options)

    def time_fit(self, init_params):
        fit_passes(self.x, 1, self.options)


class SmallData:
    """300 rows, which must not wait for a compiler."""

    params = (["full", "tied", "diag", "spherical"],)
    param_names = ("covariance",)

    def setup(self, covariance):
        self.x = clusters(300, 2, 3)
        self.options = start(self.x, 3, covariance)
        fit_passes(self.x, 1, self.options)  # imports

    def time_fit(self, covariance):
        fit_passes(self.x, UPDATES, self.options)
