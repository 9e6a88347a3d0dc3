"""How kernels are compiled: in less time than by Numba itself, to code that is as fast.

By itself, Numba optimizes every function as a whole, makes machine code of it and loads that, and then optimizes its
code again within every caller. What Python never calls needs none of this: it stays LLVM's text until an outermost
function is compiled, which takes in the text of all that it calls, once, and is optimized with it.

There LLVM's second level is enough: the third one takes one and a half times as long, for the same speed, as vectors
are explicit. And the garbage collector waits: it would go through everything that the compiler makes, again and again.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import llvmlite.binding as llvm
from llvmlite.binding import newpassmanagers
from numba.core import typed_passes, types, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager

# What comes first, as in Numba: after inlining, most counts of references to arrays cancel, and loops are free of them.
CHEAP = {"opt": 0, "cost": "cheap", "loop_vectorize": False, "slp_vectorize": False}
LEVEL = 2  # of LLVM's optimization

# Those of Numba's passes that kernels want: the others look for closures, comprehensions and expressions of arrays.
PASSES = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.IRProcessing,
    untyped_passes.DeadBranchPrune,
    untyped_passes.GenericRewrites,
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    typed_passes.IRLegalization,  # finds the last use of each variable, if references are counted
    typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)


class _Known:
    """What Numba knows of types, which remembers what it finds out about operators and other words.

    By itself it tries all that an operator was ever told to do, at each of the hundreds of places where there is one.
    """

    found: ClassVar[dict[Any, Any]] = {}

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_function_type(self, word: Any, args: Any, kws: Any) -> Any:
        """Return the signature of a call."""
        if kws or (isinstance(word, types.Type) and not isinstance(word, types.Function)):
            return self._context.resolve_function_type(word, args, kws)
        key = word, tuple(args)
        if key not in self.found:
            self.found[key] = self._context.resolve_function_type(word, args, kws)
        return self.found[key]


class _Compiler(CompilerBase):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.state.typingctx = _Known(self.state.typingctx)

    def define_pipelines(self) -> list[PassManager]:
        """Return the passes."""
        passes = PassManager("kernel")
        for step in PASSES:
            if step is not typed_passes.IRLegalization or self.state.flags.nrt:
                passes.add_pass(step, step.__name__)
        passes.finalize()
        return [passes]


class EntryCompiler(_Compiler):
    """A compiler of what Python calls."""

    def compile_extra(self, function: Any) -> Any:
        """Compile a function, and with it all that it calls."""
        library = _Whole(self.state.targetctx.codegen(), function.__qualname__)
        library.enable_object_caching()
        self.state.library = library
        with _no_collection():
            return super().compile_extra(function)


class PartCompiler(_Compiler):
    """A compiler of what is for other kernels only."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.state.library = _Part(self.state.targetctx.codegen(), "part")


class _Whole(JITCodeLibrary):
    """Code that is optimized as a whole, and then machine code."""

    def add_linking_library(self, library: Any) -> None:
        """Take in a library, and the parts that it calls."""
        super().add_linking_library(library)
        if isinstance(library, _Part):
            for called in library._linking_libraries:
                self.add_linking_library(called)

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        _tidy(self._final_module, self._codegen)
        for options in (CHEAP, {"opt": LEVEL}):
            passes, builder = self._codegen._module_pass_manager(**options)
            passes.run(self._final_module, builder)


class _Part(JITCodeLibrary):
    """Code that is linked into that of outermost functions, and nowhere else."""

    text = ""

    def add_ir_module(self, module: Any) -> None:
        """Keep the text of a module."""
        self.text = str(module)

    def finalize(self) -> None:
        """Do nothing yet."""
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        module = llvm.parse_assembly(self.text)
        for function in module.functions:
            if not function.is_declaration:
                function.linkage = "linkonce_odr"
        module.data_layout = self._codegen._data_layout
        return module

    def get_pointer_to_function(self, name: str) -> int:
        """Return 0: there is no machine code."""
        return 0

    @property
    def codegen(self) -> Any:
        """The one who is asked to `set_env`."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Ignore the objects of Python that machine code would refer to."""


def _tidy(module: Any, codegen: Any) -> None:
    """Keep variables in registers, as the inliner wants to see them."""
    passes = newpassmanagers.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    builder = codegen._pass_builder()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


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
