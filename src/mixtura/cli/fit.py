"""``mixtura fit``: from a file of rows to a fitted model."""

from __future__ import annotations

import csv
import math
import sys
import time
import warnings
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mixtura.cli import _report
from mixtura.cli._errors import CommandError, Exit, naming, require
from mixtura.cli._job import leaving_on_sigterm, logging_json
from mixtura.cli._main import FAMILIES
from mixtura.cli._progress import progress
from mixtura.cli._read import Data, open_data
from mixtura.cli._write import check_output
from mixtura.em import State, Status, observe
from mixtura.model import Source
from mixtura.persistence import replacing
from mixtura.result import ALONE, Agreement

PICTURES = (".png", ".pdf", ".svg")
MODELS = (".json",)
PICTURE_ROWS = 1_000_000  # more cannot be seen
_ADVICE = {
    Status.ITERATION_LIMIT: "; try a larger --max-iter or --tol",
    Status.TIME_LIMIT: "; with --checkpoint the same command goes on",
}


def run(options: Namespace, parser: ArgumentParser) -> int:
    """Fit, write what was asked for, and report.

    Parameters
    ----------
    options : Namespace
        The parsed arguments.
    parser : ArgumentParser
        Takes errors that concern several arguments.

    Returns
    -------
    int
        0; 3 if the fit has not converged, 4 if that is for lack of time.
    """
    check_options(options, parser)
    model_path = check_output(options.output, MODELS) if options.output else None
    plot_path = check_output(options.plot, PICTURES) if options.plot else None
    if plot_path:
        require("matplotlib", "plot")
    estimator = make_estimator(options)
    quiet = options.quiet or options.json or options.log_json
    with leaving_on_sigterm():
        data = open_data(options.data, split_names(options.columns), options.weight)
        if plot_path and options.family != "gaussian" and data.source.n_features > 1:
            raise CommandError(
                f"--plot: several columns are drawn of gaussian components only, not of {options.family}"
            )
        with logging_json(data.source.n_rows, wanted=options.log_json):
            report, notes = fit_and_describe(estimator, data, quiet=quiet)
    report |= {"seed": options.seed, "written": options.output, "plot": options.plot}
    if model_path:
        with replacing(model_path) as draft:
            estimator.save(draft)
    if plot_path:
        save_plot(estimator, data.source, plot_path)
    if options.json:
        _report.print_json(report)
    elif not options.quiet:
        print_fit(report, {name: report[name] for name in ("written", "plot") if report[name]})
    if not options.quiet:
        for note in notes:
            print(f"mixtura: warning: {note}", file=sys.stderr)
    return exit_code(estimator)


def exit_code(estimator: Any) -> Exit:
    """Return what the outcome of a fit is as an exit code."""
    if estimator.converged_:
        return Exit.OK
    return Exit.TIME_LIMIT if estimator.result_.status is Status.TIME_LIMIT else Exit.NOT_CONVERGED


def fit_and_describe(estimator: Any, data: Data, *, quiet: bool) -> tuple[dict[str, Any], list[str]]:
    """Fit an estimator under a progress bar.

    Parameters
    ----------
    estimator : estimator
        Is fitted.
    data : Data
    quiet : bool
        Show no bar.

    Returns
    -------
    report : dict
        The components and how the fit went.
    notes : list of str
        What the user should be warned of.
    """
    clock, source = _Clock(), data.source
    with (
        naming(data.name),
        warnings.catch_warnings(record=True) as caught,
        progress(source.n_rows, quiet=quiet),
        observe(clock.tick),
    ):
        warnings.simplefilter("always")
        estimator.fit(source)
    clock.stop()
    notes = [" ".join(str(w.message).split()) for w in caught if w.category.__name__ != "ConvergenceWarning"]
    notes = list(dict.fromkeys(notes))
    if not estimator.converged_:
        advice = _ADVICE.get(estimator.result_.status, "")
        notes.append(f"not converged: {estimator.result_.status.message}{advice}")
    report = {
        "data": data.name,
        "rows": source.n_rows,
        **_report.describe(estimator),
        "columns": data.columns,
        **_outcome(estimator),
        "seconds": clock.total,
        "seconds_to_start": clock.to_start,
        "rows_per_second": source.n_rows * clock.passes_per_second,
        "warnings": notes,
    }
    return report, notes


class _Clock:
    """Times a fit: until its first evaluation (start, compilation), and the passes after that."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._first: dict[int, float] = {}  # when each iteration was first evaluated, in any restart
        self.total = 0.0

    def tick(self, state: State[Any]) -> None:
        """Take in one evaluation."""
        self._first.setdefault(state.iteration, time.perf_counter() - self._begun)

    def stop(self) -> None:
        """Stop the clock."""
        self.total = time.perf_counter() - self._begun

    @property
    def to_start(self) -> float:
        """Seconds until the first evaluation."""
        return min(self._first.values(), default=self.total)

    @property
    def passes_per_second(self) -> float:
        """Passes a second once it runs; of a fit with one pass, that one, its start included."""
        first, last = min(self._first, default=0), max(self._first, default=0)
        return (last - first) / (self._first[last] - self._first[first]) if last > first else 1 / self.total


def _outcome(estimator: Any) -> dict[str, Any]:
    """Describe how a fit went, in plain values."""
    result = estimator.result_
    loglik, weight = float(estimator.loglik_), float(result.weight)
    n_parameters = int(estimator.model_.n_parameters(estimator.params_))
    return {
        "status": result.status.name.lower(),
        "message": result.status.message,
        "converged": bool(estimator.converged_),
        "iterations": int(estimator.n_iter_),
        "passes": int(result.n_passes),
        "agreement": asdict(result.agreement),
        "weight": weight,
        "loglik": loglik,
        "mean_loglik": loglik / weight,
        "n_parameters": n_parameters,
        "aic": 2.0 * n_parameters - 2.0 * loglik,
        "bic": n_parameters * math.log(weight) - 2.0 * loglik,
    }


def print_fit(report: dict[str, Any], files: dict[str, str]) -> None:
    """Print the table of components, how the fit went, and which files were written."""
    _report.print_components(report)
    agreement = Agreement(**report["agreement"])
    kind = report["family"] if report["covariance"] is None else f"{report['family']}, {report['covariance']}"
    _report.print_pairs(
        {
            "model": f"{counted(report['n_components'], 'component')} ({kind}), "
            f"{counted(report['n_parameters'], 'parameter')}",
            "data": f"{report['data']}: {counted(report['rows'], 'row')}, {counted(len(report['columns']), 'column')}",
            "status": f"{'converged' if report['converged'] else 'not converged'} after "
            f"{counted(report['iterations'], 'iteration')}: {report['message']}",
            "log-likelihood": f"{report['loglik']:,.3f}   ({report['mean_loglik']:.6f} a row)",
            **({} if agreement == ALONE else {"agreement": str(agreement)}),
            "BIC": f"{report['bic']:,.3f}",
            "time": f"{report['seconds']:.2f} s: {report['seconds_to_start']:.2f} s to start, then "
            f"{counted(report['passes'], 'pass', 'passes')} at {report['rows_per_second']:,.0f} rows/s",
            **files,
        }
    )


def counted(n: int, noun: str, nouns: str = "") -> str:
    """Write a number of things."""
    return f"{n:,} {noun if n == 1 else nouns or noun + 's'}"


def save_plot(estimator: Any, source: Source, path: Path) -> None:
    """Draw a fit into a file, over a sample of the rows where these are too many to see."""
    from mixtura import plot

    rows, weight = source.sample(PICTURE_ROWS, np.random.default_rng(0))
    display = plot.prepare(estimator, rows, sample_weight=weight)
    with replacing(path) as draft:
        plot.save(display, draft)


def split_names(columns: str | None) -> list[str] | None:
    """Split the names of columns at commas; quotes protect a comma inside a name."""
    if columns is None:
        return None
    return [name.strip() for name in next(csv.reader([columns], skipinitialspace=True))]


def check_options(options: Namespace, parser: ArgumentParser) -> None:
    """Refuse numbers that cannot be, and options of another family."""
    if getattr(options, "family", "gaussian") != "gaussian":
        for option in ("covariance", "reg_covar"):
            if getattr(options, option) is not None:
                parser.error(f"--{option.replace('_', '-')} goes with --family gaussian only")
    if options.max_time is not None and not 0 < options.max_time < math.inf:
        parser.error(f"--max-time is {options.max_time:g}; expected a number of seconds above 0")
    for option in ("tol", "reg_covar"):
        value = getattr(options, option, None)
        if value is not None and not 0 <= value < math.inf:
            parser.error(f"--{option.replace('_', '-')} is {value:g}; expected a number from 0")


def make_estimator(options: Namespace) -> Any:
    """Return the estimator that the options describe."""
    given = {name: value for name, value in fit_options(options).items() if value is not None}
    common = {"n_components": options.k, **given}
    if options.family != "gaussian":
        from mixtura import MixtureModel

        return MixtureModel(make_family(options.family), **common)
    from mixtura import GaussianMixture

    reg_covar = "auto" if options.reg_covar is None else options.reg_covar
    return GaussianMixture(covariance_type=options.covariance or "full", reg_covar=reg_covar, **common)


def make_family(name: str) -> Any:
    """Return the family of this name."""
    from mixtura import families

    return getattr(families, FAMILIES[name])()


def fit_options(options: Namespace) -> dict[str, Any]:
    """Return the options that all estimators take."""
    return {
        "tol": options.tol,
        "max_iter": options.max_iter,
        "n_init": options.n_init,
        "init_params": options.init,
        "on_collapse": options.on_collapse,
        "random_state": options.seed,
        "n_threads": options.threads,
        "checkpoint": options.checkpoint,
        "max_time": options.max_time,
    }
