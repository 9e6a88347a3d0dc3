"""Speed beside scikit-learn and oneDAL: the same rows, the same start, the same number of updates.

    python -m benchmarks.compare [--quick] [--json FILE] [--case NAME ...]

Each library has a process of its own; they take turns, so that a busy machine slows all of them down. A time is what
the updates between a short and a long fit took, divided by rows, components and the updates that were made; start,
checks and imports cancel. A ratio is the median of those of single rounds, since other tenants come and go between
rounds. Before times are compared, all libraries must have come to the same log-likelihood.

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

UPDATES = (1, 5)
SEPARATIONS = (0.25, 0.7, 4.0)  # of the means, in sigmas: true overlap, some, none
PAUSE = 0.3  # seconds before a library's turn: threads of the one before may spin that long for more work
MOST_ROUNDS = 9
SAME = 1e-7  # relative difference between log-likelihoods that counts as the same
LIBRARIES = {"mixtura": "mixtura", "scikit-learn": "sklearn", "oneDAL": "daal4py"}


@dataclass(frozen=True)
class Case:
    """One kind of fit, and how many times faster than scikit-learn and oneDAL it is to be."""

    covariance: str
    n: int
    d: int
    k: int
    sklearn: float
    onedal: float | None

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
    Case("full", 1_000_000, 1, 3, 45, 3),
    Case("full", 1_000_000, 1, 8, 45, 3),
    Case("full", 1_000_000, 1, 32, 45, 3),
    Case("full", 1_000_000, 2, 8, 50, 2),
    Case("full", 200_000, 8, 8, 28, 3),
    Case("full", 100_000, 16, 16, 22, 3),
    Case("full", 50_000, 32, 16, 14, 3),
    Case("full", 50_000, 64, 16, 7, 2.3),
    Case("diag", 200_000, 8, 16, 10, 2),
    Case("diag", 50_000, 64, 16, 10, 2),
    Case("tied", 200_000, 8, 8, 25, None),
    Case("spherical", 200_000, 8, 8, 25, None),
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
    """Answer requests for fits; the rows of the last case are kept."""
    warnings.simplefilter("ignore")  # not converged: that is the point
    wanted, x, options = None, None, None
    while (request := connection.recv()) is not None:
        case, separation, updates = request
        if wanted != (case, separation):
            wanted, x = (case, separation), clusters(case.n, case.d, case.k, separation=separation)
            options = start(x, case.k, case.covariance)
            FITS[library](x, options, 1)  # compiles
        connection.send(FITS[library](x, options, updates))


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


def compare(case, separation, workers, rounds, patience):
    """Return ns per row, component and update of each library in each round; they have to agree on the result.

    After `rounds` more follow, up to `MOST_ROUNDS`, as long as all together took less than `patience` seconds.
    """
    times = {library: [] for library in workers}
    ends, spent, done = {}, 0.0, 0
    while done < rounds or (spent < patience and done < MOST_ROUNDS):
        for library, worker in workers.items():
            time.sleep(PAUSE)
            short, long = (worker.fit(case, separation, updates) for updates in UPDATES)
            if long[1] <= short[1]:
                raise RuntimeError(f"{case.name}: {library} stopped after {long[1]} updates; there is nothing to time")
            times[library].append((long[0] - short[0]) / (long[1] - short[1]) / case.n / case.k * 1e9)
            ends[library] = long[2]
            spent += PAUSE + short[0] + long[0]
        done += 1
    x = clusters(case.n, case.d, case.k, separation=separation)[:50_000]
    found = {library: log_likelihood(x, end, case.covariance) for library, end in ends.items()}
    low, high = min(found.values()), max(found.values())
    if high - low > SAME * abs(high):
        raise RuntimeError(f"{case.name} at separation {separation}: the libraries disagree: {found}")
    return times


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


def summary(case, separation, times, dgemm):
    """Return one line of the table, as a dictionary."""
    ours, others = times["mixtura"], {library: theirs for library, theirs in times.items() if library != "mixtura"}
    line = {"case": case.name, "n": case.n, "separation": separation, "rounds": len(ours)}
    line["ns"] = {library: statistics.median(values) for library, values in times.items()}
    line["ratio"] = {
        library: statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        for library, theirs in others.items()
    }
    line["least"] = {library: case.least(library, separation) for library in line["ratio"]}
    line["reached"] = all(ratio >= (line["least"][library] or 0) for library, ratio in line["ratio"].items())
    if case.is_wide:
        line["share_of_dgemm"] = 2 * case.d * (case.d + 1) / line["ns"]["mixtura"] / dgemm
    return line


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
    print(f"{machine['processor']}, {machine['cores']} cores, dgemm {dgemm:.0f} GFLOP/s\n")
    print("| case | separation | ns per row and component | x scikit-learn | x oneDAL | share of dgemm | reached |")
    print("|---|---|---|---|---|---|---|")
    workers = {library: Worker(library) for library in LIBRARIES if library not in options.without}
    lines = []
    for case in cases:
        able = {name: worker for name, worker in workers.items() if name != "oneDAL" or case.onedal}
        for separation in (0.7,) if options.quick else SEPARATIONS:
            times = compare(case, separation, able, *((1, 6.0) if options.quick else (3, 20.0)))
            if case.is_wide:
                dgemm = dgemm_rate()  # as near to the fits as can be: other tenants come and go
            lines.append(summary(case, separation, times, dgemm))
            print(row(lines[-1]), flush=True)
    for worker in workers.values():
        worker.stop()
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "lines": lines}, indent=2) + "\n")
    return 0 if all(line["reached"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
