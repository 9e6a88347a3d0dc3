"""How far a pass over the data has come, for whoever wants to show it or to stop it.

A source reports the rows that it has gone through; listeners of the same context hear of them. A listener may raise:
that abandons the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int], None]
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("mixtura_listeners", default=())


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Call ``listener(rows)`` each time that a source has gone through so many more rows."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


@contextmanager
def unheard() -> Iterator[None]:
    """Let nobody hear of the passes made inside."""
    token = _listeners.set(())
    try:
        yield
    finally:
        _listeners.reset(token)


def report_rows(rows: int) -> None:
    """Tell the listeners that a pass has gone through so many more rows."""
    for listener in _listeners.get():
        listener(rows)
