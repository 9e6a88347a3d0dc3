"""``mixtura density``: from a file with one column to the mixture that describes it best."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mixtura.cli.fit import check_options, fit_options, make_family, save_plot
from mixtura.cli.select import choose_and_report
from mixtura.model import Source
from mixtura.selection import Selection, fit_density


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
    families = options.families and [make_family(name) for name in options.families]
    given = {name: value for name, value in fit_options(options).items() if value is not None}

    def choose(source: Source) -> Selection:
        return fit_density(source, options.components, families, criterion=options.criterion, **given).selection

    return choose_and_report(options, choose, _draw)


def _draw(selection: Selection, source: Source, path: Path) -> None:
    save_plot(selection.best, source, path)
