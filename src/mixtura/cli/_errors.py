"""What can go wrong on the command line, in one line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from importlib import import_module
from typing import Any


class Exit(IntEnum):
    """Exit codes; ``mixtura --help`` explains them to users."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_CONVERGED = 3
    TIME_LIMIT = 4
    INTERRUPTED = 130
    TERMINATED = 143


class CommandError(Exception):
    """A fault of the data, the model or a file; its text is the line that the user reads."""


class TerminatedError(BaseException):
    """SIGTERM has come; no ``except Exception`` may swallow it."""


def require(module: str, extra: str) -> Any:
    """Import what an extra brings.

    Parameters
    ----------
    module : str
        Dotted name.
    extra : str
        The extra of this package that installs it.

    Returns
    -------
    module

    Raises
    ------
    CommandError
        If it is not installed; the text is the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise CommandError(f'{package} is missing: pip install "mixtura[{extra}]"') from error


def one_line(error: BaseException) -> str:
    """Write an error as one line."""
    if isinstance(error, MemoryError):
        return "not enough memory for these data"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    told = "; ".join([str(error), *getattr(error, "__notes__", [])])
    return " ".join(told.split()) or type(error).__name__


@contextmanager
def naming(data: str) -> Iterator[None]:
    """Put the name of the data before an error that does not name them."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if data in str(error):
            raise
        raise CommandError(f"{data}: {one_line(error)}") from error
