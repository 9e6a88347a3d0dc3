"""Fits of one column with `compress=True`, in passes of EM over the rows, beside fits by rows alone.

    python -m benchmarks.compress [--rows N ...]

A pass is one update of EM by all rows, measured on the same array. What the fit by rows takes depends on how slow EM
is there; that with compress=True takes four passes at most from 1e8 rows on, where what is the same for any number of
rows no longer counts. The error is the Newton step left to the maximum by all rows, that of the worst parameter.
"""

import argparse
import statistics
import sys
import time

import numpy as np

from benchmarks.compare import processor
from mixtura import GaussianMixture
from mixtura.em import observe

WEIGHTS = np.array([0.15, 0.25, 0.2, 0.25, 0.15])
MEANS = np.array([-4.0, -1.5, 0.0, 2.5, 6.0])
SDS = np.array([1.0, 0.6, 1.2, 0.7, 1.5])
MOST_PASSES = 4
MOST_ERROR = 1e-6  # of parameters, relative; of means, in the smallest deviation
COUNTED = 10**8  # rows from which the passes are to be so few
PART = 1 << 20


def make_rows(n):
    """Return values from five overlapping components, in float32: a hundred million take 0.4 GB."""
    rng = np.random.default_rng(0)
    x = np.empty(n, np.float32)
    for begin in range(0, n, PART):
        labels = rng.choice(len(WEIGHTS), min(PART, n - begin), p=WEIGHTS)
        x[begin : begin + PART] = MEANS[labels] + SDS[labels] * rng.standard_normal(len(labels))
    return x


def seconds_of_a_pass(x, updates=5):
    """Return the median time between evaluations."""
    times = []
    start = {
        "weights_init": WEIGHTS,
        "means_init": MEANS[:, None],
        "precisions_init": (1 / SDS**2)[:, None, None],
    }
    with observe(lambda *_: times.append(time.perf_counter())):
        GaussianMixture(len(WEIGHTS), **start, max_iter=updates, tol=0, acceleration=None).fit(x)
    return statistics.median(np.diff(times))


def seconds_of_a_fit(x, **options):
    begin = time.perf_counter()
    fitted = GaussianMixture(len(WEIGHTS), random_state=0, reg_covar=0, **options).fit(x)
    return time.perf_counter() - begin, fitted


def largest_error(fitted, x):
    """Return how far a parameter may be from the maximum by all rows, relative; a mean, in deviations."""
    sure = fitted.standard_errors(x)
    relative = (
        (sure.weights / fitted.weights_).max(),
        (sure.covariances / fitted.covariances_).max(),
        sure.means.max() / np.sqrt(fitted.covariances_.min()),
    )
    return sure.distance * max(relative)


def main(arguments=None):
    """Print the table and return 0, or 1 where a figure is not as it is to be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.compress")
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 1e7, 1e8])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    print(f"{processor()}; one column, k={len(WEIGHTS)}\n")
    print("| rows | ms of a pass | by rows, passes | with compress=True, passes | EM's own | error |")
    print("|---|---|---|---|---|---|")
    seconds_of_a_fit(make_rows(PART), compress=True)  # loads kernels
    reached = True
    for rows in map(int, options.rows):
        x = make_rows(rows)
        passes = [seconds_of_a_pass(x) for _ in range(options.rounds)]
        fits = [seconds_of_a_fit(x, compress=True) for _ in range(options.rounds)]
        ratio = statistics.median(fit[0] / one for fit, one in zip(fits, passes, strict=True))
        one, fitted = statistics.median(passes), fits[0][1]
        plain, _ = seconds_of_a_fit(x)
        error = largest_error(fitted, x)
        reached &= error <= MOST_ERROR and (rows < COUNTED or ratio <= MOST_PASSES)
        own = fitted.result_.n_passes
        print(f"| {rows:,} | {1e3 * one:.1f} | {plain / one:.1f} | {ratio:.1f} | {own} | {error:.0e} |", flush=True)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
