"""A progress bar for fits long enough to want one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mixtura.cli._errors import require
from mixtura.em import State, observe

PATIENCE = 1.0  # seconds without a bar; most fits are over by then


class _Bar:
    """The bar: it appears when a timer fires, from whatever has been reported by then."""

    def __init__(self, n_rows: int) -> None:
        progress = require("rich.progress", "cli")
        console = require("rich.console", "cli").Console(stderr=True)
        self._n_rows = n_rows
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[note]}"),
            progress.TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, note="")
        self._lock = threading.Lock()
        self._closed = False

    def show(self) -> None:
        with self._lock:
            if not self._closed:
                self._bar.start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._bar.stop()

    def update(self, state: State[Any]) -> None:
        """Take in one evaluation."""
        note = f"{state.iteration}/{state.max_iter}  log-likelihood {state.objective / self._n_rows:.6f} a row"
        self._bar.update(self._task, description="fitting", total=state.max_iter, completed=state.iteration, note=note)


@contextmanager
def progress(n_rows: int, *, quiet: bool) -> Iterator[None]:
    """Show a bar on the terminal's standard error while a fit runs for more than a second.

    Parameters
    ----------
    n_rows : int
        Rows, for the log-likelihood of one.
    quiet : bool
        Show nothing.
    """
    if quiet or not sys.stderr.isatty():
        yield
        return
    bar: Any = _Bar(n_rows)
    timer = threading.Timer(PATIENCE, bar.show)
    timer.daemon = True
    timer.start()
    try:
        with observe(bar.update):
            yield
    finally:
        timer.cancel()
        bar.close()
