"""Mixtures of the families that pomegranate has as well, beside it, from the same start: seconds of one update.

    python -m benchmarks.families [--quick] [--one-thread]

pomegranate computes here in float64, as we do, and in float32, its default. An update is what a fit of more updates
takes longer, by the rows as they are; a whole fit of 20 updates also checks them, and merges those that are equal.
Medians of alternating fits, without a tolerance and acceleration, so that the number of updates is given. First the
log-likelihoods are compared, after as many updates in float64; those of the start for Student's t, whose update theirs
makes as if the rows were normal, of degrees of freedom that it holds fixed. Under its t columns are independent, so one
is compared, of as many numbers as there are in the others.

It needs PyTorch, several gigabytes with what that depends on, so both are in an extra of their own: `peers`.
"""

import argparse
import copy
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.compare import PAUSE, processor
from mixtura import MixtureModel
from mixtura.em import drive
from mixtura.families import (
    Bernoulli,
    Categorical,
    Diag,
    Exponential,
    Full,
    Gamma,
    Gaussian,
    LogNormal,
    Poisson,
    StudentT,
)
from mixtura.kernels.threads import using_threads
from mixtura.sources import ArraySource

COMPONENTS = 8
VALUES, QUICK_VALUES = 160_000, 8_000  # rows times columns
COMPARED = 6  # updates after which likelihoods are
MORE = 20  # updates that are timed: of five, a start of a thread or a sum of garbage made a third
ROUNDS = 5
WHOLE = 20  # updates of a whole fit
CATEGORIES = 4
DOF = 5  # of Student's t, which theirs holds fixed
LEAST = 5  # times faster than pomegranate in float64
SAME = 1e-6  # relative difference between log-likelihoods that counts as the same: theirs has shapes to 1e-4


@dataclass(frozen=True)
class Case:
    """One family.

    Attributes
    ----------
    family : Family
        Ours.
    columns : int
        How many columns the rows have.
    draw : callable
        Makes rows (n, d) of a generator and of places (n, d) between 0 and 1, of which there are few.
    peer : str
        What theirs is called.
    arguments : callable
        Makes its arguments of our fitted attributes.
    same_update : bool
        Whether theirs makes the update of EM.
    lacks : callable
        What their log-density (n,) of rows (n, d) lacks.
    """

    family: Any
    columns: int
    draw: Callable[[np.random.Generator, Any], Any]
    peer: str
    arguments: Callable[[Any], tuple[Any, ...]]
    same_update: bool = True
    lacks: Callable[[Any], Any] = lambda x: np.zeros(len(x))

    @property
    def name(self):
        structure = getattr(self.family, "covariance", None)
        return f"{type(self.family).__name__}{f' {structure.name}' if structure else ''}, d={self.columns}"


def moments(fitted):
    return fitted.means_, fitted.covariances_


CASES = (
    Case(Gaussian(Diag()), 8, lambda rng, at: rng.normal(6 * at), "Normal", moments),
    Case(Gaussian(Full()), 8, lambda rng, at: rng.normal(6 * at), "Normal", moments),
    Case(
        LogNormal(Full()), 8, lambda rng, at: rng.lognormal(3 * at), "LogNormal", moments,
        lacks=lambda x: np.log(x).sum(axis=1),
    ),
    Case(
        StudentT(Diag()), 1, lambda rng, at: 30 * at + rng.standard_t(DOF, at.shape), "StudentT",
        lambda fitted: (np.full(COMPONENTS, DOF), fitted.locations_, fitted.scales_), same_update=False,
    ),
    Case(Exponential(), 8, lambda rng, at: rng.exponential(9**at), "Exponential", lambda fitted: (1 / fitted.rates_,)),
    Case(Gamma(), 8, lambda rng, at: rng.gamma(2 + 8 * at), "Gamma", lambda fitted: (fitted.shapes_, fitted.rates_)),
    Case(Poisson(), 8, lambda rng, at: rng.poisson(12 * at), "Poisson", lambda fitted: (fitted.rates_,)),
    Case(Bernoulli(), 8, lambda rng, at: rng.random(at.shape) < at, "Bernoulli", lambda fitted: (fitted.probs_,)),
    Case(
        Categorical(CATEGORIES), 8, lambda rng, at: rng.binomial(CATEGORIES - 1, at), "Categorical",
        lambda fitted: (fitted.probs_,),
    ),
)  # fmt: skip


def rows(case, values):
    rng, n = np.random.default_rng(case.columns), values // case.columns
    places = rng.random((COMPONENTS, case.columns))
    return case.draw(rng, places[rng.integers(COMPONENTS, size=n)]).astype(np.float64)


class Ours:
    """Our fits of some rows, all from one start."""

    def __init__(self, case, x, threads):
        self.x, self.threads = x, threads
        self.start = MixtureModel(
            case.family, COMPONENTS, init_params="random_from_data", acceleration=None, tol=0, max_iter=0,
            warm_start=True, random_state=0, n_threads=threads,
        ).fit(x)  # fmt: skip
        if isinstance(case.family, StudentT):
            params = self.start.params_
            dofs = np.full(COMPONENTS, float(DOF))
            self.start.params_ = replace(params, components=replace(params.components, dofs=dofs))

    def fit(self, updates):
        """Return the log-likelihood after so many updates by the rows as they are."""
        with using_threads(self.threads):
            return drive(ArraySource(self.x), self.start.model_, [self.start.params_], tol=0, max_iter=updates)[
                0
            ].loglik

    def fit_as_users_do(self, updates):
        """Return the same; the rows are checked, and those that are equal merged."""
        return copy.copy(self.start).set_params(max_iter=updates).fit(self.x).loglik_


class Theirs:
    """Their fits from the start of ours, in one precision."""

    def __init__(self, case, ours, precision):
        import torch

        self.case, self.start, self.dtype = case, ours.start, getattr(torch, precision)
        self.x = torch.tensor(ours.x, dtype=torch.int64 if isinstance(case.family, Categorical) else self.dtype)
        self.lacks = case.lacks(ours.x).sum()

    def fit(self, updates):
        """Return the log-likelihood after so many updates."""
        import torch
        from pomegranate import distributions, gmm

        torch.set_default_dtype(self.dtype)  # in which it keeps its sums
        structure = getattr(self.case.family, "covariance", None)
        options = {"covariance_type": structure.name} if structure else {}
        make = getattr(distributions, self.case.peer)
        parts = [make(*map(self._number, own), **options) for own in zip(*self.case.arguments(self.start), strict=True)]
        mixture = gmm.GeneralMixtureModel(parts, priors=self._number(self.start.weights_))
        for _ in range(updates):
            mixture.summarize(self.x)
            mixture.from_summaries()
        return float(mixture.summarize(self.x)) - self.lacks

    def _number(self, value):
        import torch

        value = np.asarray(value)
        return torch.tensor(value, dtype=self.dtype if value.dtype.kind == "f" else None)


def seconds(fit, clock, updates):
    """Return how long a fit takes."""
    time.sleep(PAUSE)
    before = clock()
    fit(updates)
    return clock() - before


def measure(case, values, rounds, threads):
    """Return the milliseconds of our update, those of theirs over ours, of whole fits, and how likelihoods differ."""
    ours = Ours(case, rows(case, values), threads)
    double, single = (Theirs(case, ours, precision) for precision in ("float64", "float32"))
    compared = COMPARED if case.same_update else 0
    gap = double.fit(compared) / ours.fit(compared) - 1
    clock = time.perf_counter if threads is None else time.process_time
    updates = [
        [(seconds(fit, clock, 1 + MORE) - seconds(fit, clock, 1)) / MORE for fit in (ours.fit, double.fit, single.fit)]
        for _ in range(rounds)
    ]
    fits = [[seconds(fit, clock, WHOLE) for fit in (ours.fit_as_users_do, double.fit)] for _ in range(rounds)]
    mine, theirs, shorter, whole, other = (
        statistics.median(column) for times in (updates, fits) for column in zip(*times, strict=True)
    )
    return 1e3 * mine, theirs / mine, shorter / mine, other / whole, gap


def main(arguments=None):
    """Print the table and return 0, or 1 where a figure is below what is to be reached."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.families")
    parser.add_argument("--quick", action="store_true", help="few rows, one round")
    parser.add_argument("--one-thread", action="store_true", help="one each, and processor time: for a busy machine")
    options = parser.parse_args(arguments)
    if find_spec("pomegranate") is None:
        parser.error("pomegranate is not installed: pip install -e '.[peers]' (several gigabytes, with PyTorch)")
    import torch

    threads = 1 if options.one_thread else None
    torch.set_num_threads(threads or torch.get_num_threads())
    warnings.simplefilter("ignore")  # a fit that has not converged is a fit
    logging.disable(logging.WARNING)
    values, rounds = (QUICK_VALUES, 1) if options.quick else (VALUES, ROUNDS)
    print(f"{processor()}; {values:,} values, k={COMPONENTS}\n")
    print("| family | ms an update | x pomegranate | x in float32 | x a whole fit | apart |\n|---|---|---|---|---|---|")
    reached = True
    for case in CASES:
        mine, double, single, whole, gap = measure(case, values, rounds, threads)
        reached &= double >= LEAST and abs(gap) <= SAME
        print(
            f"| {case.name} | {mine:.2f} | {double:.1f} (of {LEAST}) | {single:.1f} | {whole:.1f} | {gap:+.0e} |",
            flush=True,
        )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
