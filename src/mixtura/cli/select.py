"""``mixtura select``: from a file of rows to the number of components, and the structure of their covariances."""

from __future__ import annotations

import sys
import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixtura.cli import _report
from mixtura.cli._errors import naming, require
from mixtura.cli._job import leaving_on_sigterm, logging_json
from mixtura.cli._progress import progress
from mixtura.cli._read import Data, open_data
from mixtura.cli._write import check_output
from mixtura.cli.fit import MODELS, PICTURES, check_options, counted, exit_code, make_estimator, split_names
from mixtura.exceptions import SelectionWarning
from mixtura.model import Source
from mixtura.persistence import replacing
from mixtura.selection import MixtureIC, Selection


def run(options: Namespace, parser: ArgumentParser) -> int:
    """Fit all candidates, write what was asked for, and print the table.

    Parameters
    ----------
    options : Namespace
        The parsed arguments.
    parser : ArgumentParser
        Takes errors that concern several arguments.

    Returns
    -------
    int
        0; 3 if the winner has not converged, 4 if that is for lack of time.
    """
    check_options(options, parser)
    if options.family != "gaussian" and options.covariances is not None:
        parser.error("--covariance goes with --family gaussian only")
    chooser = MixtureIC(
        make_estimator(options),
        n_components=options.components,
        covariance_types=options.covariances,
        criterion=options.criterion,
        tol=options.tol,
    )
    return choose_and_report(options, lambda source: chooser.fit(source).selection_, _draw)


def _draw(selection: Selection, source: Source, path: Path) -> None:
    from mixtura import plot

    with replacing(path) as draft:
        plot.save(plot.CriterionDisplay.compute(selection), draft)


def choose_and_report(
    options: Namespace, choose: Callable[[Source], Selection], draw: Callable[[Selection, Source, Path], None]
) -> int:
    """Choose among candidates, write what was asked for, and print the table.

    Parameters
    ----------
    options : Namespace
        The parsed arguments.
    choose : callable
        Returns the selection for the rows of a source.
    draw : callable
        Draws what was selected into a file.

    Returns
    -------
    int
        The exit code.
    """
    model_path = check_output(options.output, MODELS) if options.output else None
    plot_path = check_output(options.plot, PICTURES) if options.plot else None
    if plot_path:
        require("matplotlib", "plot")
    quiet = options.quiet or options.json or options.log_json
    begun = time.perf_counter()
    with leaving_on_sigterm():
        data = open_data(options.data, split_names(options.columns), options.weight)
        with logging_json(data.source.n_rows, wanted=options.log_json):
            selection, notes = _choose(choose, data, quiet=quiet)
    seconds = time.perf_counter() - begun
    if model_path:
        with replacing(model_path) as draft:
            selection.best.save(draft)
    if plot_path:
        draw(selection, data.source, plot_path)
    if options.json:
        _report.print_json(_describe(selection, data, options) | {"seconds": seconds, "warnings": notes})
    elif not options.quiet:
        _print(selection, data, options, seconds)
    if not options.quiet:
        for note in notes:
            print(f"mixtura: warning: {note}", file=sys.stderr)
    return exit_code(selection.best)


def _choose(choose: Callable[[Source], Selection], data: Data, *, quiet: bool) -> tuple[Selection, list[str]]:
    """Choose under a progress bar; return what to warn the user of besides the doubts, which are in the table."""
    with (
        naming(data.name),
        warnings.catch_warnings(record=True) as caught,
        progress(data.source.n_rows, quiet=quiet),
    ):
        warnings.simplefilter("always")
        selection = choose(data.source)
    notes = [" ".join(str(w.message).split()) for w in caught if not issubclass(w.category, SelectionWarning)]
    return selection, list(dict.fromkeys(notes))


def _describe(selection: Selection, data: Data, options: Namespace) -> dict[str, Any]:
    """Describe a selection in plain values."""
    columns = selection.to_dict()
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return {
        "data": data.name,
        "rows": data.source.n_rows,
        "columns": data.columns,
        "criterion": selection.criterion,
        "winner": rows[selection.candidates.index(selection.winner)],
        "candidates": rows,
        "doubts": list(selection.doubts),
        "seed": options.seed,
        "written": options.output,
        "plot": options.plot,
    }


def _print(selection: Selection, data: Data, options: Namespace, seconds: float) -> None:
    """Print the table, what won, and which files were written."""
    print(selection)
    files = {name: path for name, path in (("written", options.output), ("plot", options.plot)) if path}
    rows, columns = counted(data.source.n_rows, "row"), counted(len(data.columns), "column")
    _report.print_pairs(
        {
            "winner": f"{selection.winner.name}, by {selection.criterion.upper()}",
            "data": f"{data.name}: {rows}, {columns}",
            "time": f"{seconds:.2f} s for {counted(len(selection.candidates), 'candidate')}",
            **files,
        }
    )
