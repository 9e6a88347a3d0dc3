"""Baum-Welch beside hmmlearn, from the same parameters: seconds of one update.

    python -m benchmarks.hmm [--quick]

hmmlearn scales (``implementation="scaling"``), which is its fastest. An update is what a fit of more updates takes
longer; medians of alternating fits. Both end at the same log-likelihood, or the table says so.
"""

import argparse
import logging
import statistics
import sys
import time
import warnings

import numpy as np

from benchmarks.compare import PAUSE, processor
from mixtura import HMM
from mixtura.families import Diag, Full, Gaussian

STATES = 8
SHAPES = (("one sequence of 1e5", [100_000]), ("1e3 sequences of 1e2", [100] * 1000))
LEAST = 10  # times faster than hmmlearn
MORE = 4  # updates that are timed


def problem(d):
    """Return rows (n, d) of a chain that tends to stay, and parameters to start from."""
    rng = np.random.default_rng(d)
    transmat = 0.8 * np.eye(STATES) + 0.2 * rng.dirichlet(np.ones(STATES), STATES)
    means = 2.0 * rng.normal(size=(STATES, d))
    states = [0]
    for drawn in rng.random(sum(SHAPES[0][1]) - 1):
        states.append(min(int(np.searchsorted(transmat[states[-1]].cumsum(), drawn)), STATES - 1))
    x = means[states] + rng.normal(size=(len(states), d))
    return x, means + 0.5 * rng.normal(size=means.shape), np.full((STATES, STATES), 1 / STATES)


def fits(structure, d):
    """Return functions of the updates to make, for ours and theirs, that fit and return the log-likelihood."""
    from hmmlearn.hmm import GaussianHMM as Peer

    x, means, transmat = problem(d)
    start = np.full(STATES, 1 / STATES)
    unit = np.ones((STATES, d)) if structure.name == "diag" else np.tile(np.eye(d), (STATES, 1, 1))

    def ours(updates, lengths):
        given = {"means": means, "covariances": unit}
        return HMM(
            Gaussian(structure), STATES, startprob_init=start, transmat_init=transmat, emissions_init=given,
            max_iter=updates, tol=0.0, acceleration=None,
        ).fit(x, lengths).loglik_  # fmt: skip

    def theirs(updates, lengths):
        peer = Peer(
            STATES, structure.name, min_covar=0, covars_prior=0, covars_weight=0, init_params="", n_iter=updates,
            tol=-np.inf, implementation="scaling",
        )  # fmt: skip
        peer.startprob_, peer.transmat_, peer.means_, peer.covars_ = start, transmat, means, unit
        return peer.fit(x, lengths).monitor_.history[-1]

    return ours, theirs


def seconds(fit, lengths):
    """Return how long one update takes, and the log-likelihood in the end."""
    spent = []
    for updates in (1, 1 + MORE):
        time.sleep(PAUSE)
        before = time.perf_counter()
        loglik = fit(updates, lengths)
        spent.append(time.perf_counter() - before)
    return (spent[1] - spent[0]) / MORE, loglik


def main(arguments=None):
    """Print the table and return 0, or 1 where a figure is below what is to be reached."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.hmm")
    parser.add_argument("--quick", action="store_true", help="one round")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # a fit that has not converged is a fit
    logging.disable(logging.WARNING)
    print(f"{processor()}\n\n| k=8, Gaussian | ms an update | x hmmlearn | log-likelihood above |\n|---|---|---|---|")
    reached = True
    for structure, d in ((Diag(), 1), (Diag(), 4), (Full(), 4)):
        ours, theirs = fits(structure, d)
        ours(1, SHAPES[0][1])  # compiles
        for what, lengths in SHAPES:
            rounds = [(seconds(ours, lengths), seconds(theirs, lengths)) for _ in range(1 if options.quick else 5)]
            mine, other = (statistics.median(r[i][0] for r in rounds) for i in range(2))
            gap = ours(MORE, lengths) - rounds[0][1][1]  # theirs is evaluated before the last update
            reached &= other / mine >= LEAST
            case = f"{structure.name}, d={d}, {what}"
            print(f"| {case} | {mine * 1e3:.1f} | {other / mine:.1f} (of {LEAST}) | {gap:+.1e} |", flush=True)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
