"""``mixtura info``: what a model file holds."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from mixtura.cli import _report
from mixtura.cli._errors import CommandError, Exit, one_line


def run(options: Namespace, parser: ArgumentParser) -> int:
    """Describe a model file.

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
    estimator = load_model(options.model)
    description = _report.describe(estimator)
    n_parameters = int(estimator.model_.n_parameters(estimator.params_))
    document = {"model": options.model, "estimator": type(estimator).__name__, "n_parameters": n_parameters}
    document |= description
    if options.json:
        _report.print_json(document)
        return Exit.OK
    _report.print_components(description)
    kind = [text for text in (description["family"], description["covariance"]) if text]
    _report.print_pairs(
        {
            "model": f"{options.model}: {document['estimator']} ({', '.join(kind)})",
            "components": f"{description['n_components']}, {n_parameters:,} parameters",
            "columns": ", ".join(_report.column_names(description)),
        }
    )
    return Exit.OK


def load_model(path: str) -> Any:
    """Load a model file.

    Raises
    ------
    CommandError
        If it is damaged, no model file, or no mixture; missing files raise `OSError`.
    """
    from mixtura import load
    from mixtura.estimators.base import BaseMixture

    try:
        estimator = load(path)
    except ValueError as error:
        text = one_line(error)
        raise CommandError(text if path in text else f"{path}: {text}") from error
    if not isinstance(estimator, BaseMixture):
        kind = type(estimator).__name__
        raise CommandError(f"{path}: is of {kind}, expected a mixture; mixtura.load gives it in Python")
    return estimator
