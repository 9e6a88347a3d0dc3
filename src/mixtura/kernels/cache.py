"""The compile cache of the kernels: private, named by what it was compiled from, and never in the way.

Numba names a cache file by the function that it holds and the time stamp of that function's file, so an edit in a
callee goes unseen, and it raises when a file is damaged or the disk is full. Here the directory is named by a hash of
all kernel sources and versions, and whatever goes wrong costs one warning and a recompilation.
"""

from __future__ import annotations

import os
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from mixtura.alerts import alert


@cache
def directory() -> Path:
    """Return where compiled kernels are kept: under ``NUMBA_CACHE_DIR``, or the user's cache directory."""
    given = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "mixtura" / f"kernels-{_digest()}"


def _digest() -> str:
    """Digest everything that a compiled kernel depends on, but for the processor, which Numba looks after."""
    digest = blake2b(digest_size=8)
    for package in ("mixtura", "numba", "llvmlite", "numpy"):
        digest.update(version(package).encode())
    here = Path(__file__).parent
    for source in (*sorted(here.glob("*.py")), here.parent / "grid.py"):
        digest.update(source.read_bytes())
    return digest.hexdigest()


class _Locator(_CacheLocator):
    """Tells Numba the directory; the hash in its name stands for the age of the sources."""

    def __init__(self, function: Any) -> None:
        self._disambiguator = str(function.__code__.co_firstlineno)

    def get_cache_path(self) -> str:
        return str(directory())

    def ensure_cache_path(self) -> None:
        directory().mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds pickles: nobody else may write there

    def get_source_stamp(self) -> str:
        return ""

    def get_disambiguator(self) -> str:
        return self._disambiguator


class _Impl(CompileResultCacheImpl):
    def __init__(self, function: Any) -> None:
        self._locator = _Locator(function)
        module = function.__module__.rpartition(".")[2]
        self._filename_base = self.get_filename_base(f"{module}.{function.__qualname__}", "")


class KernelCache(FunctionCache):
    """Numba's cache of one function, in our directory and behind a guard."""

    _impl_class = _Impl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function from the cache; None if it is not there or cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # noqa: BLE001  # a damaged pickle can raise anything
            _warn(f"cannot be read ({type(error).__name__}: {error})")
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the compiled function to the cache if that is possible."""
        try:
            super().save_overload(sig, data)
        except Exception as error:  # noqa: BLE001  # a full disk, a read-only one, ...
            _warn(f"cannot be written ({type(error).__name__}: {error})")


@cache
def _warn(what: str) -> None:
    """Warn once of each trouble."""
    alert(
        f"the cache of compiled kernels in {directory()} {what}; they are compiled anew in this process. "
        f"Set NUMBA_CACHE_DIR to a directory that can be written, or remove this one",
        RuntimeWarning,
    )
