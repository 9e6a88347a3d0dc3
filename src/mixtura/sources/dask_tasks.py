"""Tasks on Dask: on a cluster through `distributed`, or by a scheduler of this process where there is no cluster."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, Protocol

import dask
from dask.delayed import Delayed, delayed
from dask.system import CPU_COUNT

from mixtura.exceptions import ClusterError

PARCEL_BYTES = 1 << 17  # a larger piece of work is a task of its own, which workers pass on, and not part of every task
CHECK_SECONDS = 1.0  # between two looks at whether the cluster still is there
ANSWER_SECONDS = 5.0  # in which a scheduler must answer to count as there
GROUP = 4 * CPU_COUNT  # tasks that a scheduler of this process is given at a time: their results wait for the last

Results = Generator[tuple[int, Any], None, None]


class Tasks(Protocol):
    """Where tasks run; handles stand for values that are there."""

    def hold(self, parts: Sequence[Delayed], /) -> list[Any]:
        """Return handles of delayed values."""

    def map(self, function: Callable[..., Any], work: Any, /, *columns: Sequence[Any]) -> list[Any]:
        """Return handles of ``function(*row, work)`` for each row of `columns`, of which the first are handles."""

    def merge(self, handles: Sequence[Any], function: Callable[[Any], Any], most: int, /) -> list[Any]:
        """Return handles of ``function(values)`` for groups of at most `most` consecutive handles."""

    def results(self, handles: list[Any], grace: float, /) -> Results:
        """Yield number and value of each handle, in any order, and let go of it."""


def find_tasks() -> Tasks:
    """Return where Dask's own settings send tasks: the current client's cluster, or this process."""
    owner = getattr(dask.base.get_scheduler(), "__self__", None)
    return LocalTasks() if owner is None else ClusterTasks(owner)


class LocalTasks:
    """Tasks of a scheduler of this process; what they start from is computed anew each time and takes no memory."""

    def hold(self, parts: Sequence[Delayed]) -> list[Delayed]:
        """Return the delayed values themselves."""
        return list(parts)

    def map(self, function: Callable[..., Any], work: Any, *columns: Sequence[Any]) -> list[Delayed]:
        """Return delayed values of ``function(*row, work)``."""
        return [
            delayed(partial(_call, function, row[1:], work), pure=False)(row[0]) for row in zip(*columns, strict=True)
        ]

    def merge(self, handles: Sequence[Delayed], function: Callable[[Any], Any], most: int) -> list[Delayed]:
        """Return delayed values of ``function(values)`` for groups of at most `most` consecutive handles."""
        return [delayed(function, pure=False)(group) for group in _groups(handles, most)]

    def results(self, handles: list[Delayed], grace: float) -> Results:
        """Compute some at a time; `grace` means nothing here."""
        for start in range(0, len(handles), GROUP):
            yield from enumerate(dask.compute(*handles[start : start + GROUP]), start)


class ClusterTasks:
    """Tasks on a cluster: short, on any worker, of a graph that the scheduler keeps: lost ones are done again.

    Parameters
    ----------
    client : distributed.Client
        Connection to the scheduler.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def hold(self, parts: Sequence[Delayed]) -> list[Any]:
        """Have the values computed and kept on the cluster; return futures."""
        futures: list[Any] = self._client.compute(list(parts))
        return futures

    def map(self, function: Callable[..., Any], work: Any, *columns: Sequence[Any]) -> list[Any]:
        """Submit ``function(*row, work)`` for each row; return futures."""
        from distributed.protocol.pickle import dumps

        if len(dumps(work)) > PARCEL_BYTES:
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": 1 << 60}):
                work = self._client.submit(_Parcel(work), pure=False)
        tasks: list[Any] = self._client.map(partial(_call_last, function), *columns, work=work, pure=False)
        return tasks

    def merge(self, handles: Sequence[Any], function: Callable[[Any], Any], most: int) -> list[Any]:
        """Submit ``function(values)`` for groups of at most `most` consecutive handles; return futures."""
        return [self._client.submit(function, group, pure=False) for group in _groups(handles, most)]

    def results(self, handles: list[Any], grace: float) -> Results:
        """Yield results as they come; raise a `ClusterError` if there has been no worker for `grace` seconds."""
        from distributed import KilledWorker, as_completed

        numbers = {future.key: number for number, future in enumerate(handles)}
        waiting = as_completed(handles)
        try:
            while waiting.count():
                for future, result in self._wait(_next_results(self._client, waiting), grace, waiting):
                    future.release()
                    yield numbers[future.key], result
        except KilledWorker as error:
            raise ClusterError(
                f"a task was given up because the workers that tried it died, out of memory perhaps: {error}"
            ) from error
        except (concurrent.futures.CancelledError, asyncio.CancelledError) as error:
            raise ClusterError(
                f"the tasks of a pass were cancelled: the scheduler at {self._address} was restarted or went away"
            ) from error
        finally:  # what still runs is called off
            waiting.clear()
            for future in handles:
                future.release()

    @property
    def _address(self) -> str:
        return str(getattr(self._client.scheduler, "address", "an unknown address"))

    def _wait(self, awaitable: Any, grace: float, waiting: Any) -> Any:
        """Return the result of a coroutine on the client's event loop, looking after the cluster meanwhile."""
        pending = asyncio.run_coroutine_threadsafe(awaitable, self._client.loop.asyncio_loop)
        seen = time.monotonic()
        try:
            while True:
                try:
                    return pending.result(CHECK_SECONDS)
                except TimeoutError:
                    if pending.done():
                        raise
                if self._has_workers():
                    seen = time.monotonic()
                elif (lost := time.monotonic() - seen) > grace:
                    raise ClusterError(
                        f"the cluster at {self._address} has had no running worker for {lost:.0f} s, "
                        f"with {waiting.count()} tasks to do: start workers, then fit again"
                    )
        finally:
            pending.cancel()

    def _has_workers(self) -> bool:
        """Tell whether a worker takes tasks, as far as the scheduler can be asked."""
        if self._client.status != "running":
            return False
        try:
            return bool(self._client.sync(self._client.scheduler.ncores_running, callback_timeout=ANSWER_SECONDS))
        except OSError:  # of the connection; a timeout is one too
            return False


async def _next_results(client: Any, waiting: Any) -> list[tuple[Any, Any]]:
    """Return all futures that are done, at least one, with their results."""
    batch = [await anext(waiting), *waiting.next_batch(block=False)]
    return list(zip(batch, await client.gather(batch, asynchronous=True), strict=True))


class _Parcel:
    """A task that returns what it was made with."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def __call__(self) -> Any:
        return self._content


def _call(function: Callable[..., Any], rest: tuple[Any, ...], work: Any, first: Any) -> Any:
    return function(first, *rest, work)


def _call_last(function: Callable[..., Any], *row: Any, work: Any) -> Any:
    return function(*row, work)


def _groups(handles: Sequence[Any], most: int) -> list[list[Any]]:
    return [list(handles[start : start + most]) for start in range(0, len(handles), most)]
