"""Outputs that are refused before work is put into their content."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mixtura.cli._errors import CommandError


def check_output(path: str | Path, suffixes: Sequence[str]) -> Path:
    """Refuse a file that could not be written, before work is put into its content.

    Parameters
    ----------
    path : str or Path
    suffixes : sequence of str
        Those allowed.

    Returns
    -------
    Path

    Raises
    ------
    CommandError
        If its suffix is another one, or its directory is missing or read-only.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise CommandError(f"{path}: suffix {path.suffix!r} is none of {', '.join(suffixes)}")
    if path.is_dir():
        raise CommandError(f"{path}: is a directory, expected a file")
    if not path.parent.is_dir():
        raise CommandError(f"{path}: directory {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise CommandError(f"{path}: directory {path.parent} is not writable")
    return path
