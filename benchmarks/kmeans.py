"""K-means beside scikit-learn's Lloyd, from the same centers: nanoseconds a row and update.

    python -m benchmarks.kmeans [--quick] [--types T ...] [--columns D ...] [--clusters K ...] [--threads M ...]

An update is what a fit of more updates takes longer, of as many more for both as take ours about `LONG` seconds;
medians of alternating fits, with as many threads for both. Both end at the same inertia, or the table says by how much
not.
"""

import argparse
import itertools
import statistics
import sys
import time
import warnings

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.compare import PAUSE, processor
from benchmarks.data import capped, clusters
from mixtura import KMeans

ROWS = 1_000_000
COLUMNS, CLUSTERS, THREADS = (2, 8, 16, 64), (8, 32, 100), (1, 2)
TYPES = ("float64", "float32")
LEAST = 1.0  # times as fast as scikit-learn
LONG = 0.4  # seconds of the updates that are timed: checks, copies and labels of a fit cancel, but not exactly
MORE = range(10, 101)  # as many they may be
ROUNDS = 5


def problem(d, k, dtype):
    """Return rows (n, d) of one cloud, so that centers keep moving, and rows to start from."""
    x = clusters(capped(ROWS), d, k, dtype=dtype, separation=0.1)
    return x, x[np.random.default_rng(0).choice(len(x), k, replace=False)]


def fits(x, start, threads):
    """Return functions of the updates to make, for ours and theirs, that return the fitted estimator."""
    from sklearn.cluster import KMeans as Peer

    given = {"n_clusters": len(start), "init": start, "n_init": 1, "tol": 0.0}

    def ours(updates):
        return KMeans(**given, max_iter=updates, n_threads=threads).fit(x)

    def theirs(updates):
        with threadpool_limits(threads):
            return Peer(**given, max_iter=updates).fit(x)

    return ours, theirs


def seconds(fit, more):
    """Return how long one of so many updates takes, and the inertia in the end."""
    spent, made = [], []
    for updates in (1, 1 + more):
        time.sleep(PAUSE)
        before = time.perf_counter()
        fitted = fit(updates)
        spent.append(time.perf_counter() - before)
        made.append(fitted.n_iter_)
    return (spent[1] - spent[0]) / max(made[1] - made[0], 1), float(fitted.inertia_)


def enough(fit):
    """Return how many updates are to be timed; the first ones compile."""
    fit(1)
    one = seconds(fit, MORE.start)[0]
    return min(max(round(LONG / one), MORE.start), MORE.stop - 1)


def main(arguments=None):
    """Print the table and return 0, or 1 where a figure is below what is to be reached."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.kmeans")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--types", nargs="+", choices=TYPES, default=TYPES, help="of the rows")
    for axis, sizes in {"columns": COLUMNS, "clusters": CLUSTERS, "threads": THREADS}.items():
        parser.add_argument(f"--{axis}", nargs="+", type=int, default=sizes, help="how many")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # a fit that has not converged is a fit
    print(f"{processor()}, {capped(ROWS):,} rows\n")
    print("| rows | d | k | threads | ns a row and update | x scikit-learn | inertia, relative difference |")
    print("|---|---|---|---|---|---|---|")
    reached = True
    for dtype, d, k in itertools.product(options.types, options.columns, options.clusters):
        x, start = problem(d, k, dtype)
        for threads in options.threads:
            ours, theirs = fits(x, start, threads)
            more = enough(ours)
            rounds = [(seconds(ours, more), seconds(theirs, more)) for _ in range(1 if options.quick else ROUNDS)]
            mine, other = (statistics.median(r[i][0] for r in rounds) for i in range(2))
            gap = rounds[0][0][1] / rounds[0][1][1] - 1
            reached &= other / mine >= LEAST
            case = f"{dtype} | {d} | {k} | {threads}"
            print(
                f"| {case} | {mine / len(x) * 1e9:.1f} | {other / mine:.2f} (of {LEAST:g}) | {gap:+.1e} |", flush=True
            )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
