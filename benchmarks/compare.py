"""Speed beside scikit-learn and oneDAL: the same rows, the same start, the same number of updates.

    python -m benchmarks.compare [--quick] [--json FILE] [--case NAME ...]

Each library has a process of its own; they take turns, so that a busy machine slows all of them down. A time is what
the updates between a short and a long fit took, divided by rows, components and the updates that were made; start,
checks and imports cancel. Rounds go through all cases, and a ratio is the median of those of single rounds: so other
tenants of the machine, who come and go, meet one round of a case and not all. Before times are compared, all libraries
must have come to the same log-likelihood.

oneDAL is `daal4py`, from the package scikit-learn-intelex; a library that is not installed is left out, by name.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.data import clusters, start

SHORT = 1  # updates of the short fit
SEPARATIONS = (0.25, 0.7, 4.0)  # of the means, in sigmas: true overlap, some, none
PAUSE = 0.3  # seconds before a library's turn: threads of the one before may spin that long for more work
MOST_ROUNDS = 9
SAME = 1e-7  # relative difference between log-likelihoods that counts as the same
LIBRARIES = {"mixtura": "mixtura", "scikit-learn": "sklearn", "oneDAL": "daal4py"}


@dataclass(frozen=True)
class Case:
    """One kind of fit, and how many times faster than scikit-learn and oneDAL it is to be.

    Of fits that take milliseconds more updates are timed, since processors take some to wake up.
    """

    covariance: str
    n: int
    d: int
    k: int
    sklearn: float
    onedal: float | None
    updates: int = 4  # that are timed

    @property
    def name(self):
        return f"{self.d}-D {self.covariance} k={self.k}"

    @property
    def is_wide(self):
        """Whether most of the work is products of matrices."""
        return self.covariance == "full" and self.d >= 16

    def least(self, library, separation):
        """Return the ratio to reach; twice as much where clusters are separated and dimensions many."""
        ratio = self.sklearn if library == "scikit-learn" else self.onedal
        return ratio and ratio * (2 if separation == 4.0 and self.is_wide else 1)


CASES = [
    Case("full", 1_000_000, 1, 3, 45, 3, updates=12),
    Case("full", 1_000_000, 1, 8, 45, 3),
    Case("full", 1_000_000, 1, 32, 45, 3),
    Case("full", 1_000_000, 2, 8, 50, 2),
    Case("full", 200_000, 8, 8, 28, 3, updates=12),
    Case("full", 100_000, 16, 16, 22, 3),
    Case("full", 50_000, 32, 16, 14, 3),
    Case("full", 50_000, 64, 16, 7, 2.3),
    Case("diag", 200_000, 8, 16, 10, 2, updates=12),
    Case("diag", 50_000, 64, 16, 10, 2, updates=12),
    Case("tied", 200_000, 8, 8, 25, None, updates=12),
    Case("spherical", 200_000, 8, 8, 25, None, updates=12),
]


# ---------------------------------------------------------------- one fit by each library


def fit_estimator(estimator_class, x, options, updates):
    """Return seconds, updates made, and weights, means and covariances, of a fit in scikit-learn's manner."""
    estimator = estimator_class(tol=0.0, reg_covar=0.0, max_iter=updates, **options)
    before = time.perf_counter()
    estimator.fit(x)
    seconds = time.perf_counter() - before
    return seconds, estimator.n_iter_, (estimator.weights_, estimator.means_, estimator.covariances_)


def fit_mixtura(x, options, updates):
    from mixtura import GaussianMixture

    return fit_estimator(GaussianMixture, x, {**options, "acceleration": None}, updates)


def fit_sklearn(x, options, updates):
    from sklearn.mixture import GaussianMixture

    return fit_estimator(GaussianMixture, x, options, updates)


def fit_onedal(x, options, updates):
    import daal4py

    k, d = options["means_init"].shape
    full = options["covariance_type"] == "full"
    covariances = [np.eye(d) if full else np.ones((1, d)) for _ in range(k)]
    algorithm = daal4py.em_gmm(
        nComponents=k,
        maxIterations=updates,
        accuracyThreshold=0.0,
        covarianceStorage="full" if full else "diagonal",
    )
    before = time.perf_counter()
    result = algorithm.compute(x, options["weights_init"].reshape(1, -1), options["means_init"], covariances)
    seconds = time.perf_counter() - before
    found = np.array(result.covariances).reshape((k, d, d) if full else (k, d))
    return seconds, int(np.ravel(result.nIterations)[0]), (result.weights.ravel(), result.means, found)


FITS = {"mixtura": fit_mixtura, "scikit-learn": fit_sklearn, "oneDAL": fit_onedal}


def serve(connection, library):
    """Answer requests for fits; the rows of each case are kept."""
    warnings.simplefilter("ignore")  # not converged: that is the point
    kept = {}
    while (request := connection.recv()) is not None:
        case, separation, updates = request
        if (case, separation) not in kept:
            x = clusters(case.n, case.d, case.k, separation=separation)
            kept[case, separation] = x, start(x, case.k, case.covariance)
            FITS[library](*kept[case, separation], 1)  # compiles
        connection.send(FITS[library](*kept[case, separation], updates))


class Worker:
    """A process that fits with one library."""

    def __init__(self, library):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, library), daemon=True)
        self.process.start()
        theirs.close()  # if the process dies, `recv` then says so

    def fit(self, *request):
        self.connection.send(request)
        return self.connection.recv()

    def stop(self):
        self.connection.send(None)
        self.process.join()


# ---------------------------------------------------------------- comparison


def log_likelihood(x, parameters, covariance):
    """Return the mean log-density of rows, by plain NumPy: no library judges itself."""
    weights, means, covariances = parameters
    k, d = means.shape
    joint = np.empty((len(x), k))
    for j in range(k):
        own = covariances if covariance == "tied" else covariances[j]
        matrix = own if covariance in ("full", "tied") else np.diag(np.broadcast_to(own, d))
        root = np.linalg.cholesky(matrix)
        y = np.linalg.solve(root, (x - means[j]).T)
        joint[:, j] = np.log(weights[j]) - 0.5 * (y**2).sum(axis=0) - np.log(np.diag(root)).sum()
    top = joint.max(axis=1)
    return float((top + np.log(np.exp(joint - top[:, None]).sum(axis=1))).mean() - d / 2 * np.log(2 * np.pi))


class Trial:
    """A case at a separation, and what its rounds have found so far.

    Attributes
    ----------
    times : dict
        By library: ns per row, component and update, in each round.
    share : list
        Of the rate of dgemm, in each round; empty where few columns make no use of such products.
    seconds : float
        What the fits took.
    """

    def __init__(self, case, separation, workers):
        self.case, self.separation = case, separation
        self.workers = {name: worker for name, worker in workers.items() if name != "oneDAL" or case.onedal}
        self.times = {library: [] for library in self.workers}
        self.share, self.seconds = [], 0.0
        self._ends = {}

    def turn(self):
        """Let each library fit once more."""
        for library, worker in self.workers.items():
            time.sleep(PAUSE)
            lengths = (SHORT, SHORT + self.case.updates)
            short, long = (worker.fit(self.case, self.separation, updates) for updates in lengths)
            if long[1] <= short[1]:
                raise RuntimeError(
                    f"{self.case.name}: {library} stopped after {long[1]} updates; there is nothing to time"
                )
            update = (long[0] - short[0]) / (long[1] - short[1])
            self.times[library].append(update / self.case.n / self.case.k * 1e9)
            self._ends[library] = long[2]
            self.seconds += PAUSE + short[0] + long[0]
        if self.case.is_wide:
            self.share.append(2 * self.case.d * (self.case.d + 1) / self.times["mixtura"][-1] / dgemm_rate(rounds=3))

    def agree(self):
        """Raise an error unless all libraries have come to the same log-likelihood."""
        x = clusters(self.case.n, self.case.d, self.case.k, separation=self.separation)[:50_000]
        found = {library: log_likelihood(x, end, self.case.covariance) for library, end in self._ends.items()}
        low, high = min(found.values()), max(found.values())
        if high - low > SAME * abs(high):
            raise RuntimeError(f"{self.case.name} at separation {self.separation}: the libraries disagree: {found}")

    def line(self):
        """Return a line of the table, as a dictionary."""
        ours, others = self.times["mixtura"], [library for library in self.times if library != "mixtura"]
        line = {"case": self.case.name, "n": self.case.n, "separation": self.separation, "rounds": len(ours)}
        line["ns"] = {library: statistics.median(values) for library, values in self.times.items()}
        line["ratio"] = {
            library: statistics.median(b / a for a, b in zip(ours, self.times[library], strict=True))
            for library in others
        }
        line["least"] = {library: self.case.least(library, self.separation) for library in others}
        line["reached"] = all(ratio >= (line["least"][library] or 0) for library, ratio in line["ratio"].items())
        if self.share:
            line["share_of_dgemm"] = statistics.median(self.share)
        return line


def compare(trials, rounds, patience):
    """Give each trial so many rounds, up to `MOST_ROUNDS` while its fits took less than `patience` seconds."""
    for done in range(MOST_ROUNDS):
        left = [trial for trial in trials if done < rounds or trial.seconds < patience]
        for trial in left:
            print(f"round {done + 1}, {trial.case.name} at {trial.separation:g} {'':20}", end="\r", file=sys.stderr)
            trial.turn()
            if done == 0:
                trial.agree()


def dgemm_rate(n=2000, rounds=9):
    """Return the GFLOP/s at which NumPy multiplies two matrices."""
    a = np.random.default_rng(0).standard_normal((n, n))
    seconds = []
    for _ in range(rounds):
        before = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - before)
    return 2 * n**3 / statistics.median(seconds) / 1e9


def processor():
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def row(line):
    """Return one line of the table, as Markdown."""
    cells = [line["case"], f"{line['separation']:g}", f"{line['ns']['mixtura']:.2f}"]
    for library in ("scikit-learn", "oneDAL"):
        ratio, least = line["ratio"].get(library), line["least"].get(library)
        cells.append("-" if ratio is None else f"{ratio:.1f}" + (f" (of {least:g})" if least else ""))
    cells.append(f"{line['share_of_dgemm']:.0%}" if "share_of_dgemm" in line else "")
    return "| " + " | ".join([*cells, "yes" if line["reached"] else "**no**"]) + " |"


def main(arguments=None):
    """Print the table and return 0, or 1 where a figure is below what is to be reached."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.compare")
    parser.add_argument("--quick", action="store_true", help="few rounds at separation 0.7: under 3 minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--case", action="append", metavar="NAME", help="only cases whose name contains NAME")
    parser.add_argument("--without", action="append", default=[], choices=[*LIBRARIES][1:], help="leave a library out")
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if not options.case or any(part in case.name for part in options.case)]
    if not cases:
        parser.error(f"no case is called {options.case}; there are: {', '.join(case.name for case in CASES)}")
    for library, module in LIBRARIES.items():
        if find_spec(module) is None:
            print(f"{library} is not installed and left out", file=sys.stderr)
            options.without.append(library)

    dgemm = dgemm_rate()
    machine = {"processor": processor(), "cores": os.cpu_count(), "dgemm": dgemm}
    workers = {library: Worker(library) for library in LIBRARIES if library not in options.without}
    separations = (0.7,) if options.quick else SEPARATIONS
    trials = [Trial(case, separation, workers) for case in cases for separation in separations]
    compare(trials, *((1, 5.0) if options.quick else (2, 12.0)))
    for worker in workers.values():
        worker.stop()
    lines = [trial.line() for trial in trials]
    print(f"{machine['processor']}, {machine['cores']} cores, dgemm {dgemm:.0f} GFLOP/s\n")
    print("| case | separation | ns per row and component | x scikit-learn | x oneDAL | share of dgemm | reached |")
    print("|---|---|---|---|---|---|---|")
    for line in lines:
        print(row(line))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "lines": lines}, indent=2) + "\n")
    return 0 if all(line["reached"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
