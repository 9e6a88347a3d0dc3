"""``mixtura predict``: labels, probabilities and log densities of the rows of a file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from mixtura.cli import _report
from mixtura.cli._errors import CommandError, Exit
from mixtura.cli._read import is_among, open_data
from mixtura.cli._write import check_output
from mixtura.cli.fit import split_names
from mixtura.cli.info import load_model
from mixtura.estimators.prediction import write_predictions
from mixtura.sinks import SINKS
from mixtura.sources.files import has_names


def run(options: Namespace, parser: ArgumentParser) -> int:
    """Predict, write what was asked for, and report.

    Parameters
    ----------
    options : Namespace
        The parsed arguments.
    parser : ArgumentParser
        Not needed here.

    Returns
    -------
    int
        0.
    """
    path = check_output(options.output, tuple(SINKS)) if options.output else None
    if path and is_among(path, options.data):
        raise CommandError(f"{path}: is DATA itself, which would be lost")
    estimator = load_model(options.model)
    data = open_data(options.data, split_names(options.columns) or _model_columns(estimator, options.data))
    source = data.source
    if source.n_features != estimator.n_features_in_:
        raise CommandError(
            f"{data.name}: {source.n_features} columns, but the model has {estimator.n_features_in_}; "
            "choose them with --columns"
        )
    if source.n_rows == 0:
        raise CommandError(f"{data.name}: no rows")
    found = write_predictions(source, estimator.model_, estimator.params_, path)
    report = {
        "model": options.model,
        "data": data.name,
        "rows": found.n_rows,
        "counts": found.counts.tolist(),
        "loglik": found.loglik,
        "mean_loglik": found.loglik / found.n_rows,
        "written": options.output,
    }
    if options.json:
        _report.print_json(report)
    elif not options.quiet:
        _print(report)
    return Exit.OK


def _model_columns(estimator: Any, paths: list[str]) -> list[str] | None:
    """Name the columns that the model was fitted to, if both it and the files know names."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None or not has_names(paths) else [str(name) for name in names]


def _print(report: dict[str, Any]) -> None:
    pairs = {f"component {k}": f"{count:>12,} rows" for k, count in enumerate(report["counts"])}
    pairs["log density"] = f"{report['mean_loglik']:.6f} a row"
    if report["written"]:
        pairs["written"] = report["written"]
    _report.print_pairs(pairs)
