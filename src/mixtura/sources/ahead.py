"""Reading ahead: one thread gets what comes next while this one computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 2  # pieces that wait at most: more would only hold memory


def read_ahead(items: Generator[T, None, None], depth: int = DEPTH) -> Generator[T, None, None]:
    """Yield `items`, which another thread iterates, at most `depth` ahead of the one that is asked for.

    What iterating raises is raised here. When this generator is closed, so are `items`, and the thread has ended.
    """
    shelf: _Shelf[T] = _Shelf(items, depth)
    thread = Thread(target=shelf.fill, name="mixtura_read_ahead", daemon=True)
    thread.start()
    try:
        yield from shelf
    finally:
        shelf.abandon()
        thread.join()


class _Shelf(Generic[T]):
    """A bounded place between the thread that reads and the one that computes."""

    def __init__(self, items: Generator[T, None, None], depth: int) -> None:
        self._items, self._depth = items, depth
        self._waiting: deque[T] = deque()
        self._changed = Condition()
        self._ended = self._abandoned = False
        self._error: BaseException | None = None

    def fill(self) -> None:
        """Put items here until there are no more, or nobody wants them."""
        error: BaseException | None = None
        try:
            for item in self._items:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._waiting) < self._depth or self._abandoned)
                    if self._abandoned:
                        break
                    self._waiting.append(item)
                    self._changed.notify_all()
            self._items.close()
        except BaseException as raised:  # noqa: BLE001  # raised again by the thread that computes
            error = raised
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                item = self._waiting.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Let the thread end."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
