"""Baum-Welch beside hmmlearn, from the same parameters: seconds of one update.

    python -m benchmarks.hmm [--quick] [--threads N]

hmmlearn scales (``implementation="scaling"``), which is its fastest; it uses one thread, but for BLAS. The time of an
update is that between two evaluations of a fit that goes on for a quarter of a second, or four evaluations; the first
third, in which processor and memory wake up, does not count. Medians over alternating fits. Both have the same
log-likelihood at the fourth evaluation, or the table says so.
"""

import argparse
import logging
import sys
import time
import warnings

import numpy as np

import mixtura
from benchmarks.compare import PAUSE, processor
from mixtura.em import observe

STATES = 8
SHAPES = (("one sequence of 1e5", [100_000]), ("1e3 sequences of 1e2", [100] * 1000))
LEAST = 10  # times faster than hmmlearn
EVALUATIONS, SECONDS = 4, 0.25  # of a fit, at least
ROUNDS, MORE_ROUNDS = 2, 9
MOST = 1 << 20  # updates: what ends a fit is the clock
SYMBOLS = 10
WITHOUT_PRIOR = {"min_covar": 0, "covars_prior": 0, "covars_weight": 0}
CASES = (
    *((f"Gaussian, {structure}, d={d}", structure, d) for structure in ("diag", "full") for d in (1, 2, 4, 8)),
    ("Poisson, d=1", "Poisson", 1),
    ("Poisson, d=3", "Poisson", 3),
    (f"categorical, {SYMBOLS} symbols", "Categorical", 1),
)


def problem(kind, d):
    """Return the name of a model, its options, rows (n, d) of a chain that tends to stay, and parameters to start from.

    Parameters
    ----------
    kind : str
        A structure of Gaussian covariances, or the name of another model without its end.
    d : int
        Columns.
    """
    rng = np.random.default_rng(d)
    transmat = 0.8 * np.eye(STATES) + 0.2 * rng.dirichlet(np.ones(STATES), STATES)
    means = 2.0 * rng.normal(size=(STATES, d))
    states = [0]
    for drawn in rng.random(sum(SHAPES[0][1]) - 1):
        states.append(min(int(np.searchsorted(transmat[states[-1]].cumsum(), drawn)), STATES - 1))
    start = {"startprob_": np.full(STATES, 1 / STATES), "transmat_": np.full((STATES, STATES), 1 / STATES)}
    if kind == "Poisson":
        rates = np.exp(means / 2)
        return "PoissonHMM", {}, rng.poisson(rates[states]), {**start, "lambdas_": 1.3 * rates}
    if kind == "Categorical":
        probs = rng.dirichlet(np.ones(SYMBOLS), STATES)
        x = (rng.random((len(states), 1)) > probs.cumsum(axis=1)[states, :-1]).sum(axis=1)[:, None]
        return "CategoricalHMM", {}, x, {**start, "emissionprob_": 0.5 * probs + 0.5 / SYMBOLS}
    unit = np.ones((STATES, d)) if kind == "diag" else np.tile(np.eye(d), (STATES, 1, 1))
    start |= {"means_": means + 0.5 * rng.normal(size=means.shape), "covars_": unit}
    x = means[states] + rng.normal(size=(len(states), d))
    return "GaussianHMM", {"covariance_type": kind, **WITHOUT_PRIOR}, x, start


def fits(kind, d, threads):
    """Return functions of lengths that fit ours and theirs, and return seconds of updates and the log-likelihood."""
    import hmmlearn.base
    import hmmlearn.hmm

    name, options, x, start = problem(kind, d)

    stamps = []

    def is_enough():
        stamps.append(time.perf_counter())
        return len(stamps) > EVALUATIONS and stamps[-1] - stamps[0] > SECONDS

    class Watched(hmmlearn.base.ConvergenceMonitor):
        converged = property(lambda self: is_enough())

    def fit(module, lengths, **more):
        model = getattr(module, name)(STATES, n_iter=MOST, tol=-np.inf, init_params="", **options, **more)
        for attribute, value in start.items():
            setattr(model, attribute, value)
        if module is not mixtura:
            model.monitor_ = Watched(model.tol, model.n_iter, model.verbose)
        stamps.clear()
        time.sleep(PAUSE)
        with observe(lambda _: is_enough()):
            history = model.fit(x, lengths).monitor_.history
        return np.diff(stamps)[len(stamps) // 3 :], list(history)[EVALUATIONS - 1]

    return (
        lambda lengths: fit(mixtura, lengths, n_threads=threads),
        lambda lengths: fit(hmmlearn.hmm, lengths, implementation="scaling"),
    )


def main(arguments=None):
    """Print the table and return 0, or 1 where a figure is below what is to be reached."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.hmm")
    parser.add_argument("--quick", action="store_true", help=f"{ROUNDS} rounds instead of {MORE_ROUNDS}")
    parser.add_argument("--threads", type=int, default=None, help="of ours; by default all")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # a fit that has not converged is a fit
    logging.disable(logging.WARNING)
    print(f"{processor()}, {STATES} states\n")
    print("| model | data | ms an update | x hmmlearn | log-likelihood above |\n|---|---|---|---|---|")
    reached = True
    for case, kind, d in CASES:
        ours, theirs = fits(kind, d, options.threads)
        ours(SHAPES[0][1])  # compiles
        for what, lengths in SHAPES:
            rounds = [(ours(lengths), theirs(lengths)) for _ in range(ROUNDS if options.quick else MORE_ROUNDS)]
            mine, other = (np.median(np.concatenate([fitted[i][0] for fitted in rounds])) for i in range(2))
            gap = rounds[0][0][1] - rounds[0][1][1]
            reached &= other / mine >= LEAST
            print(f"| {case} | {what} | {mine * 1e3:.1f} | {other / mine:.1f} (of {LEAST}) | {gap:+.1e} |", flush=True)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
