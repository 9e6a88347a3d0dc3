"""How far a pass over the data has come, for whoever wants to show it or to stop it.

A source reports the rows that it has gone through; listeners of the same context hear of them. A listener may raise:
that abandons the pass.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar

from mixtura.context import setting

Listener = Callable[[int], None]
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("mixtura_listeners", default=())


def listen(listener: Listener) -> AbstractContextManager[None]:
    """Call ``listener(rows)`` each time that a source has gone through so many more rows."""
    return setting(_listeners, (*_listeners.get(), listener))


def unheard() -> AbstractContextManager[None]:
    """Let nobody hear of the passes made inside."""
    return setting(_listeners, ())


def report_rows(rows: int) -> None:
    """Tell the listeners that a pass has gone through so many more rows."""
    for listener in _listeners.get():
        listener(rows)
