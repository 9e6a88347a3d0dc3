"""A file with all that a fit needs to go on, written after every pass, for the one fit that it belongs to.

It is replaced as a whole, so a job that is killed at any moment leaves the state after a pass. While a fit runs, the
file is locked: a second job on the same path is refused.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import IO, Any, Self

from mixtura.alerts import alert
from mixtura.exceptions import CheckpointError, CheckpointWarning
from mixtura.packing import pack, unpack
from mixtura.persistence import drafts, write_atomically


class Checkpoint:
    """The checkpoint of one fit, to be used in a ``with`` block.

    Parameters
    ----------
    path : path
        Where to write.
    identity : mapping of str to plain values
        What makes the fit what it is: its data, model and options. A file of another fit is refused.

    Attributes
    ----------
    saved : tree or None
        The last state that an earlier run wrote.
    """

    def __init__(self, path: str | PathLike[str], identity: Mapping[str, Any]) -> None:
        self.path = Path(fspath(path))
        self._identity = dict(identity)
        self._lock: IO[bytes] | None = None
        self._troubled = False
        self.saved: Any = None

    def __enter__(self) -> Self:
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint {self.path}: there is no directory {self.path.parent}")
        self._acquire()
        try:
            self.saved = self._read()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._release()
        if isinstance(error, Exception) and not self._troubled:
            error.add_note(f"the same fit with checkpoint {str(self.path)!r} goes on from its last whole pass")

    def save(self, state: Any) -> None:
        """Write a state in place of the last one; where that is not possible, warn once and go on."""
        try:
            write_atomically(self.path, pack({"identity": self._identity, "state": state}))
        except OSError as error:
            self._warn(error)

    def _read(self) -> Any:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            tree = unpack(data)
            identity, state = tree["identity"], tree["state"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.path} is no checkpoint: {error}; remove it or choose another path") from None
        for name in sorted({*identity, *self._identity}):
            there, here = identity.get(name), self._identity.get(name)
            if there != here:
                raise CheckpointError(
                    f"{self.path} is the checkpoint of another fit: {name} was {there!r} there and is {here!r} here; "
                    f"remove it or choose another path"
                )
        return state

    def _acquire(self) -> None:
        """Lock a file beside the checkpoint: the system frees it when this process ends, however it ends."""
        name = self.path.with_name(f"{self.path.name}.lock")
        while self._lock is None:
            try:
                handle = name.open("ab")
            except OSError as error:
                self._warn(error)
                return
            if not _try_lock(handle):
                handle.close()
                raise CheckpointError(f"{self.path} is in use by another fit: wait for it, or choose another path")
            if _is_at(handle, name):
                self._lock = handle
            else:  # removed between the two calls by the fit that held it
                handle.close()
        for draft in drafts(self.path):
            draft.unlink(missing_ok=True)

    def _release(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._lock.name)
            self._lock.close()
            self._lock = None

    def _warn(self, error: OSError) -> None:
        if not self._troubled:
            self._troubled = True
            alert(
                f"checkpoint {self.path} cannot be written ({error.strerror or error}): the fit goes on without",
                CheckpointWarning,
            )


def _is_at(handle: IO[bytes], name: Path) -> bool:
    """Tell whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), name.stat())
    except FileNotFoundError:
        return False


def _try_lock(handle: IO[bytes]) -> bool:
    """Lock an open file for this process alone, unless it is locked."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        lock: Any = vars(msvcrt)
        try:
            lock["locking"](handle.fileno(), lock["LK_NBLCK"], 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
