"""A progress bar for fits long enough to want one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from mixtura.cli._errors import require
from mixtura.em import State, observe
from mixtura.progress import listen

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
        self._state: State[Any] | None = None
        self._seconds_a_pass = 0.0
        self._rows, self._pass_begun = 0, time.monotonic()  # of the pass that is being made

    def show(self) -> None:
        with self._lock:
            if not self._closed:
                self._bar.start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._bar.stop()

    def advance(self, rows: int) -> None:
        """Take in that a pass has gone through so many more rows."""
        self._rows = min(self._rows + rows, self._n_rows)
        self._draw()

    def update(self, state: State[Any]) -> None:
        """Take in one evaluation, and with it the end of a pass."""
        now = time.monotonic()
        self._state, self._seconds_a_pass = state, now - self._pass_begun
        self._rows, self._pass_begun = 0, now
        self._draw()

    def _draw(self) -> None:
        spent = time.monotonic() - self._pass_begun
        rows, seconds = (self._rows, spent) if self._rows else (self._n_rows, self._seconds_a_pass)
        rate = rows / seconds if seconds > 0 else 0.0
        if (state := self._state) is None:
            self._bar.update(self._task, description="starting", note=f"{rate:,.0f} rows/s")
            return
        done = (state.iteration + 1) * self._n_rows + self._rows
        total = (state.max_iter + 1) * self._n_rows
        left = timedelta(seconds=round((total - done) / rate)) if rate else "?"
        note = f"{state.loglik / state.weight:.6f} a row  {rate:,.0f} rows/s  at most {left} left"
        description = f"pass {state.n_passes + 1}"
        self._bar.update(self._task, description=description, total=total, completed=done, note=note)


@contextmanager
def progress(n_rows: int, *, quiet: bool) -> Iterator[None]:
    """Show a bar on the terminal's standard error while a fit runs for more than a second.

    It tells the pass, the mean log-likelihood, rows a second, and the time left if all iterations are needed.

    Parameters
    ----------
    n_rows : int
        Rows of a pass.
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
        with observe(bar.update), listen(bar.advance):
            yield
    finally:
        timer.cancel()
        bar.close()
