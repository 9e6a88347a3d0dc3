"""How kernels are compiled: in less time than by Numba itself, to code that is as fast.

By itself, Numba optimizes every function as a whole, makes machine code of it and loads that, and then optimizes its
code again within every caller. What Python never calls needs none of the first: it is tidied up, which the inliner
wants to see, and optimized in the outermost function, with all that was inlined there.

There LLVM's second level is enough: the third one takes one and a half times as long, for the same speed, as vectors
are explicit. And the garbage collector waits: it would go through everything that the compiler makes, again and again.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite.binding import newpassmanagers
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

# What comes first, as in Numba: after inlining, most counts of references to arrays cancel, and loops are free of them.
CHEAP = {"opt": 0, "cost": "cheap", "loop_vectorize": False, "slp_vectorize": False}
LEVEL = 2  # of LLVM's optimization


class EntryCompiler(Compiler):
    """Numba's compiler, for what Python calls."""

    def compile_extra(self, function: Any) -> Any:
        """Compile a function, and with it all that it calls."""
        library = _Whole(self.state.targetctx.codegen(), function.__qualname__)
        library.enable_object_caching()
        self.state.library = library
        with _no_collection():
            return super().compile_extra(function)


class PartCompiler(Compiler):
    """Numba's compiler, but what comes out is for other kernels only."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.state.library = _Part(self.state.targetctx.codegen(), "part")


class _Whole(JITCodeLibrary):
    """Code that is optimized as a whole, and then machine code."""

    def _optimize_final_module(self) -> None:
        for options in (CHEAP, {"opt": LEVEL}):
            passes, builder = self._codegen._module_pass_manager(**options)
            passes.run(self._final_module, builder)


class _Part(JITCodeLibrary):
    """Code that is linked into that of its callers, and nowhere else."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout
        passes = newpassmanagers.create_new_function_pass_manager()
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
        builder = self._codegen._pass_builder()
        for function in module.functions:
            if not function.is_declaration:
                passes.run(function, builder)

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


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from starting by itself."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
