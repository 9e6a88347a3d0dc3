"""Arguments, dispatch, and what becomes of errors."""

from __future__ import annotations

import argparse
import io
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import NoReturn

from mixtura.cli._errors import CommandError, Exit, TerminatedError, one_line

DATA_HELP = "rows and columns of numbers: .npy, .csv, .parquet or .feather files, directories of them, or patterns"
STRUCTURES = ("full", "tied", "diag", "spherical")
FAMILIES = {  # those that need no more than a name, and their classes
    "bernoulli": "Bernoulli",
    "beta": "Beta",
    "exponential": "Exponential",
    "gamma": "Gamma",
    "gaussian": "Gaussian",
    "log_normal": "LogNormal",
    "multinomial": "Multinomial",
    "negative_binomial": "NegativeBinomial",
    "poisson": "Poisson",
    "student_t": "StudentT",
    "von_mises": "VonMises",
}
EPILOG = """\
exit codes:
  0  done
  1  the data, the model or a file is at fault: one line on standard error says which
  2  the command line is at fault
  3  a model was fitted and written, but the fit has not converged
  4  the same, because --max-time ran out: with --checkpoint, the same command goes on
  130, 143  interrupted, terminated: with --checkpoint, the same command goes on from the last whole pass
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(Exit.USAGE, f"mixtura: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        The exit code: 0 done, 1 an error in data, model or a file, 3 fitted but not converged, 4 out of time,
        130 interrupted, 143 terminated.
        A fault in the arguments themselves raises `SystemExit` with 2, as `argparse` does.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or pipe without ± gets ?, not an error
            stream.reconfigure(errors="replace")
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        command = import_module(f"mixtura.cli.{options.command}")
        return int(command.run(options, parser))
    except BrokenPipeError:  # the reader of a pipe has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.ERROR
    except KeyboardInterrupt:
        return _leave("interrupted", options, Exit.INTERRUPTED)
    except TerminatedError:
        return _leave("terminated", options, Exit.TERMINATED)
    except (CommandError, ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        print(f"mixtura: error: {one_line(error)}", file=sys.stderr)
        return Exit.ERROR


def _leave(how: str, options: argparse.Namespace, code: Exit) -> int:
    checkpoint = getattr(options, "checkpoint", None)
    kept = f"; {checkpoint} has the last whole pass, and the same command goes on from it" if checkpoint else ""
    print(f"mixtura: {how}{kept}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mixtura",
        description="Fit mixture models to the rows of files.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_fit, _add_select, _add_density, _add_predict, _add_info, _add_demo, _add_doctor, _add_warmup):
        command = add(commands)
        command.description = textwrap.fill(command.description or "", 79)
        command.epilog = EPILOG
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.add_argument("--json", action="store_true", help="print one JSON document, nothing else")
    return parser


class _Version(argparse.Action):
    """Print the version, looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from mixtura import __version__

        print(f"mixtura {__version__}")
        parser.exit()


def _add_fit(commands: argparse._SubParsersAction[_Parser]) -> argparse.ArgumentParser:
    fit = commands.add_parser(
        "fit",
        help="fit a mixture to the rows of files",
        description="Fit a mixture to the rows of one or more files, and print its components. "
        "Nothing is written unless -o or --plot names a file.",
    )
    fit.add_argument("data", metavar="DATA", nargs="+", help=DATA_HELP)
    fit.add_argument("-k", type=_count, default=1, metavar="K", help="number of components (default: 1)")
    _add_family(fit)
    fit.add_argument(
        "--covariance",
        choices=STRUCTURES,
        help="structure of Gaussian components (default: full)",
    )
    _add_columns(fit)
    _add_fit_options(fit)
    _add_reg_covar(fit)
    fit.add_argument("-o", dest="output", metavar="MODEL.json", help="write the model to this file")
    fit.add_argument("--plot", metavar="FIT.png", help="draw the fit into a .png, .pdf or .svg file")
    fit.add_argument("--quiet", action="store_true", help="print errors only")
    return fit


def _add_select(commands: argparse._SubParsersAction[_Parser]) -> argparse.ArgumentParser:
    select = commands.add_parser(
        "select",
        help="choose the number of components",
        description="Fit mixtures of several numbers of components and structures to the rows of one or more files, "
        "all in the same passes over them, print them from the best to the worst, and say whether the best is stable. "
        "Nothing is written unless -o or --plot names a file.",
    )
    select.add_argument("data", metavar="DATA", nargs="+", help=DATA_HELP)
    _add_components(select, "1:10")
    _add_family(select)
    select.add_argument(
        "--covariance",
        dest="covariances",
        type=_structures,
        metavar="A,B",
        help=f"structures of Gaussian components, among {', '.join(STRUCTURES)} (default: all)",
    )
    _add_columns(select)
    _add_fit_options(select, tol=None, max_iter=1000)
    _add_reg_covar(select)
    select.add_argument("--plot", metavar="CURVES.png", help="draw the criterion into a .png, .pdf or .svg file")
    select.set_defaults(k=1, covariance=None)  # of the estimator that stands for all candidates
    return select


def _add_density(commands: argparse._SubParsersAction[_Parser]) -> argparse.ArgumentParser:
    density = commands.add_parser(
        "density",
        help="estimate the density of one column",
        description="Fit mixtures of several families and numbers of components to one column, all in the same passes "
        "over it, and print them from the best to the worst. Counts are fitted by families of counts. "
        "Nothing is written unless -o or --plot names a file.",
    )
    density.add_argument("data", metavar="DATA", nargs="+", help=DATA_HELP)
    _add_components(density, "1:5")
    density.add_argument(
        "--families",
        type=_families,
        metavar="A,B",
        help=f"what to try, among {', '.join(FAMILIES)} (default: what suits the values)",
    )
    _add_columns(density)
    _add_fit_options(density, tol=None, max_iter=1000)
    density.add_argument("--plot", metavar="DENSITY.png", help="draw the best into a .png, .pdf or .svg file")
    return density


def _add_family(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--family",
        choices=tuple(FAMILIES),
        default="gaussian",
        metavar="F",
        help=f"of the components: {', '.join(FAMILIES)} (default: gaussian)",
    )


def _add_components(command: argparse.ArgumentParser, default: str) -> None:
    """Add what commands have that choose among candidates."""
    command.add_argument(
        "--components",
        type=_counts,
        default=default,
        metavar="K,K:K",
        help=f"numbers of components, and ranges with both ends, such as 1:4,8 (default: {default})",
    )
    command.add_argument(
        "--criterion", choices=("bic", "icl", "aic"), default="bic", help="the lowest wins (default: bic)"
    )
    command.add_argument(
        "-o", "--output", dest="output", metavar="MODEL.json", help="write the best model to this file"
    )
    command.add_argument("--quiet", action="store_true", help="print errors only")


def _add_fit_options(fit: argparse.ArgumentParser, tol: float | None = 1e-3, max_iter: int = 100) -> None:
    fit.add_argument("--weight", metavar="W", help="column of row weights: 2 counts a row twice")
    inits = ("auto", "kmeans", "k-means++", "random", "random_from_data")
    fit.add_argument("--init", choices=inits, default="auto", help="how to start (default: auto, the best of many)")
    fit.add_argument(
        "--n-init", type=_count, default=1, metavar="N", help="starts, of which the best is kept (default: 1)"
    )
    fit.add_argument("--seed", type=int, default=0, help="of the starts (default: 0)")
    fit.add_argument(
        "--tol",
        type=float,
        default=tol,
        help=f"stop when the log-likelihood gains less a row (default: {tol or 'a tenth over all rows'})",
    )
    fit.add_argument(
        "--max-iter", type=_count, default=max_iter, metavar="N", help="most updates (default: %(default)s)"
    )
    fit.add_argument(
        "--on-collapse",
        choices=("floor", "reseed", "drop", "raise"),
        default="floor",
        help="what to do with a component that loses its rows or its width (default: floor, keep it)",
    )
    fit.add_argument("--threads", type=_count, metavar="N", help="threads (default: as many as it may use)")
    fit.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="write the state of the fit to this file after every pass, and go on from it if it is there",
    )
    fit.add_argument(
        "--max-time", type=float, metavar="SECONDS", help="stop then with the best model so far (default: no limit)"
    )
    fit.add_argument(
        "--log-json", action="store_true", help="write one line of JSON on standard error for each iteration"
    )


def _add_reg_covar(fit: argparse.ArgumentParser) -> None:
    fit.add_argument(
        "--reg-covar",
        type=float,
        metavar="R",
        help="added to Gaussian variances (default: a thousandth of a row of the data's own covariance)",
    )


def _add_predict(commands: argparse._SubParsersAction[_Parser]) -> argparse.ArgumentParser:
    predict = commands.add_parser(
        "predict",
        help="assign the rows of files to components",
        description="Write for each row: label (the most probable component), probability_0, probability_1, "
        "... and log_density. Without -o, only print how many rows each component gets.",
    )
    predict.add_argument("model", metavar="MODEL", help="a model file, as fit writes it")
    predict.add_argument("data", metavar="DATA", nargs="+", help=DATA_HELP)
    _add_columns(predict)
    predict.add_argument(
        "-o",
        dest="output",
        metavar="OUT",
        help="a .parquet, .csv or .npy file; .npy holds structured rows with these field names",
    )
    predict.add_argument("--quiet", action="store_true", help="print errors only")
    return predict


def _add_info(commands: argparse._SubParsersAction[_Parser]) -> argparse.ArgumentParser:
    info = commands.add_parser("info", help="describe a model file", description="Print what a model file holds.")
    info.add_argument("model", metavar="MODEL", help="a model file, as fit writes it")
    return info


def _add_demo(commands: argparse._SubParsersAction[_Parser]) -> argparse.ArgumentParser:
    demo = commands.add_parser(
        "demo",
        help="fit the colors of a photograph",
        description="Fit 8 Gaussian components to the colors of a photograph, 273,280 pixels, and write "
        "model.json, segments.png (every pixel in the mean color of its component) and fit.png.",
    )
    demo.add_argument("--out", default="mixtura-demo", metavar="DIR", help="where to write (default: mixtura-demo)")
    return demo


def _add_doctor(commands: argparse._SubParsersAction[_Parser]) -> argparse.ArgumentParser:
    return commands.add_parser(
        "doctor",
        help="report on this installation",
        description="Print versions, threads, the cache of compiled code and the processor; fit a small "
        "mixture as a test.",
    )


def _add_warmup(commands: argparse._SubParsersAction[_Parser]) -> argparse.ArgumentParser:
    return commands.add_parser(
        "warmup",
        help="compile the kernels now",
        description="Compile every kernel into the cache (NUMBA_CACHE_DIR says where), so that no fit waits for it: "
        "a line for a Dockerfile, or for what a worker runs first.",
    )


def _add_columns(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--columns",
        metavar="A,B",
        help="columns to use, by name, or by number from 0 for .npy (default: all, or those of MODEL)",
    )


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return value


def _counts(text: str) -> list[int]:
    """Read numbers and ranges with both ends: 1:4,8."""
    counts: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        counts += range(_count(first), _count(last or first) + 1)
    if not counts:
        raise argparse.ArgumentTypeError(f"expected ranges that rise, such as 1:10, got {text!r}")
    return counts


def _structures(text: str) -> list[str]:
    return _some_of(STRUCTURES, text)


def _families(text: str) -> list[str]:
    return _some_of(FAMILIES, text)


def _some_of(known: Iterable[str], text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, got {name!r}")
    return names
