"""What users call every day, beside scikit-learn: prediction, and a whole fit with default settings.

    python -m benchmarks.everyday [--quick]

Both libraries predict from the same parameters; medians of alternating calls. A whole fit starts as each library does
by default, so the log-likelihood that it reaches is shown as well.
"""

import argparse
import statistics
import sys
import time
import warnings

from benchmarks.compare import PAUSE, processor
from benchmarks.data import capped, clusters, fit_passes, start

METHODS = ("predict", "predict_proba", "score_samples")
SHAPES = ((1, 8, 1_000_000), (2, 8, 1_000_000), (8, 8, 1_000_000), (16, 16, 500_000))  # fewer time the pause's end
LEAST = 10  # times faster than scikit-learn that prediction is to be
FITS = (0.7, 2.0, 4.0)  # separations
LEAST_FIT = 15


def seconds(call, *arguments):
    """Return how long a call took, and what it returned."""
    time.sleep(PAUSE)
    before = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - before, result


def predictions(rounds):
    """Yield (what, ns a row, ratio, least) of each method, structure and shape."""
    for d, k, n in SHAPES:
        for covariance in ("full", "tied", "diag", "spherical"):
            x = clusters(capped(n), d, k)
            ours = fit_passes(x, 1, start(x, k, covariance))
            theirs = ours.to_sklearn()
            for method in METHODS:
                getattr(ours, method)(x)  # compiles
                pairs = [[seconds(getattr(m, method), x)[0] for m in (ours, theirs)] for _ in range(rounds)]
                mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
                yield f"{method}, {covariance}, d={d}, k={k}", mine / len(x) * 1e9, other / mine, LEAST


def whole_fits(seeds):
    """Yield (what, seconds, ratio, least, by how much our mean log-likelihood is higher) of default fits."""
    from sklearn.mixture import GaussianMixture as Peer

    from mixtura import GaussianMixture

    warnings.simplefilter("ignore")  # a fit that has not converged is a fit
    for separation in FITS:
        x = clusters(capped(1_000_000), 8, 8, separation=separation)
        GaussianMixture(8, max_iter=1).fit(x)  # compiles
        for seed in range(seeds):
            mine, ours = seconds(GaussianMixture(8, random_state=seed).fit, x)
            other, theirs = seconds(Peer(8, random_state=seed).fit, x)
            gain = ours.score(x) - theirs.score(x)
            yield f"default fit, separation {separation:g}, seed {seed}", mine, other / mine, LEAST_FIT, gain


def main(arguments=None):
    """Print both tables and return 0, or 1 where a figure is below what is to be reached."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.everyday")
    parser.add_argument("--quick", action="store_true", help="one round and one seed")
    options = parser.parse_args(arguments)
    print(f"{processor()}\n\n| prediction | ns a row | x scikit-learn |\n|---|---|---|")
    reached = True
    for what, ns, ratio, least in predictions(1 if options.quick else 5):
        reached &= ratio >= least
        print(f"| {what} | {ns:.1f} | {ratio:.1f} (of {least}) |", flush=True)
    print("\n| n=1,000,000, d=8, k=8 | seconds | x scikit-learn | mean log-likelihood above |\n|---|---|---|---|")
    for what, spent, ratio, least, gain in whole_fits(1 if options.quick else 3):
        reached &= ratio >= least
        print(f"| {what} | {spent:.2f} | {ratio:.1f} (of {least}) | {gain:+.2e} |", flush=True)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
