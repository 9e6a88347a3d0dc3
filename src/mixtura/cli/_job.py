"""What a job needs of its process: a log that machines read, and an orderly end when it is told to go."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mixtura.cli._errors import TerminatedError
from mixtura.em import State, observe


@contextmanager
def leaving_on_sigterm() -> Iterator[None]:
    """Raise `TerminatedError` when SIGTERM comes: the checkpoint of the last whole pass stands."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise TerminatedError

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not in the main thread: whoever runs the process looks after its signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def logging_json(n_rows: int, *, wanted: bool) -> Iterator[None]:
    """Write one JSON document a line on standard error after every evaluation of the fits inside, if it is wanted."""
    if not wanted:
        yield
        return

    def write(state: State[Any]) -> None:
        line = {
            "restart": state.restart,
            "iteration": state.iteration,
            "max_iter": state.max_iter,
            "objective": state.objective,
            "mean_loglik": state.loglik / state.weight,
            "passes": state.n_passes,
            "rows": n_rows,
            "seconds": round(state.seconds, 6),
        }
        print(json.dumps(line), file=sys.stderr, flush=True)

    with observe(write):
        yield
