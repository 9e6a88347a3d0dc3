"""How a function is compiled that only other kernels call.

By itself, Numba optimizes every function as a whole, makes machine code of it and loads that, and then optimizes its
code again within every caller. What Python never calls needs none of the first: it is tidied up, which the inliner
wants to see, and optimized in the outermost function, with all that was inlined there.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class PartCompiler(Compiler):
    """Numba's compiler, but what comes out is for other kernels only."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.state.library = _Part(self.state.targetctx.codegen(), "part")


class _Part(JITCodeLibrary):
    """Code that is linked into that of its callers, and nowhere else."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return 0: there is no machine code."""
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        """The one who is asked to `set_env`."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Ignore the objects of Python that machine code would refer to."""
