"""What the words of ``simd`` are made with: the type of a vector, and LLVM code for its simplest steps."""

import functools
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, ConcreteTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model
from numpy.typing import NDArray

_TRIPLE, _, _FEATURES = cpu_target.target_context.codegen().magic_tuple()
WIDE = "+avx512f" in _FEATURES  # 32 registers that hold a vector each
SCARCE = _TRIPLE.startswith("x86") and not WIDE  # 16 registers for half of a vector each, and operands in memory
LANES = 8  # the same on every processor: the order of each sum, so every bit of a result, depends on it

Vector: TypeAlias = NDArray[np.float64]  # for a type checker; compiled it is vec8, else _Lanes
Code: TypeAlias = Any  # an LLVM value: llvmlite has no type hints
Emitter: TypeAlias = Callable[..., Code]


# A vector outside the compiler: an array whose ``+=`` makes a new vector. In compiled code, too, ``w += x``
# after ``w = v`` leaves v alone.
_REBINDING = {f"__i{op}__": getattr(np.ndarray, f"__{op}__") for op in ("add", "sub", "mul", "truediv")}
_Lanes = type("_Lanes", (np.ndarray,), _REBINDING)


def lanes(values: Any) -> Vector:
    """Return eight values as a vector outside the compiler: of float32 if they are an array of these."""
    single = getattr(values, "dtype", None) == np.float32
    vector: Vector = np.array(values, dtype=np.float32 if single else np.float64).view(_Lanes)
    return vector


class VectorType(types.Type):
    """Numba's type of a vector."""

    def __init__(self, name: str, element: Any, count: int = LANES) -> None:
        super().__init__(name=name)
        self.code = ir.VectorType(element, count)


F64, F32, I32, I64 = ir.DoubleType(), ir.FloatType(), ir.IntType(32), ir.IntType(64)
vec8, single8 = VectorType("vec8", F64), VectorType("single8", F32)
single16 = VectorType("single16", F32, 2 * LANES)  # of panels only: as large as eight float64
VEC, IVEC = vec8.code, ir.VectorType(I64, LANES)
VECTORS = {types.float64: vec8, types.float32: single8}  # by the numbers of an array


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, numba_type.code)


def compiled(word: Callable[..., Any], result: Any, *arguments: Any) -> Callable[[Emitter], Emitter]:
    """Pair a word with the function that emits its LLVM code.

    Numba then compiles calls of ``word`` with arguments of these types to what ``emit(builder, *values)``
    returns, and never looks into the word's own body.
    """

    def register(emit: Emitter) -> Emitter:
        typing = {"cases": [signature(result, *arguments)]}
        infer_global(word)(type(f"Type_{word.__name__}", (ConcreteTemplate,), typing))
        lower_builtin(word, *arguments)(lambda context, builder, sig, values: emit(builder, *values))
        return emit

    return register


def typing_rule(word: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give Numba the decorated function to type a word by: it maps types of arguments to a signature."""

    def register(rule: Callable[..., Any]) -> Callable[..., Any]:
        def generic(template: Any, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            return rule(*args)

        infer_global(word)(type(f"Type_{word.__name__}", (AbstractTemplate,), {"generic": generic}))
        return rule

    return register


def const(x: float) -> Code:
    """Return x in every lane."""
    return ir.Constant(VEC, [float(x)] * LANES)


def consts(builder: Any, numbers: tuple[float, ...]) -> list[Code]:
    """Return each number in every lane, for a loop that wants more of them than there are registers.

    Where registers are scarce, instructions read them from a table: left to itself, LLVM spreads each over a register
    in every round, and has none left for what changes. It would see through a table of constants; of one that may be
    written to, and be replaced when programs are linked, it knows nothing.
    """
    if not SCARCE:
        return [const(x) for x in numbers]
    name = "vectors_" + "_".join(float(x).hex() for x in numbers)
    table = builder.module.globals.get(name)
    if table is None:
        kind = ir.ArrayType(VEC, len(numbers))
        table = ir.GlobalVariable(builder.module, kind, name)
        table.initializer, table.linkage = ir.Constant(kind, [const(x) for x in numbers]), "linkonce_odr"
    places = (builder.gep(table, [I32(0), I32(i)], inbounds=True) for i in range(len(numbers)))
    return [builder.load(place, typ=VEC) for place in places]


def iconst(x: int) -> Code:
    """Return the 64-bit integer x in every lane."""
    return ir.Constant(IVEC, [x] * LANES)


def emit_splat(builder: Any, x: Code, count: int = LANES) -> Code:
    """Put a number, or an integer, in every lane."""
    undefined = ir.Constant(ir.VectorType(x.type, count), ir.Undefined)
    one = builder.insert_element(undefined, x, I32(0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(I32, count), [0] * count))


def emit_call(builder: Any, name: str, *arguments: Code) -> Code:
    """Call one of LLVM's functions of vectors."""
    kind = ir.FunctionType(arguments[0].type, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def emit_fma(builder: Any, a: Code, b: Code, c: Code) -> Code:
    """Return a * b + c, rounded once."""
    return emit_call(builder, f"llvm.fma.v{a.type.count}f{64 if a.type.element == F64 else 32}", a, b, c)


@functools.cache
def has_fma() -> bool:
    """Whether fused multiply-add is an instruction of the processor that Numba compiles for.

    LLVM itself is asked, by compiling one, so ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` count. The first
    call takes milliseconds.
    """
    triple, name, features = cpu_target.target_context.codegen().magic_tuple()
    module = ir.Module()
    module.triple = triple
    probe = ir.Function(module, ir.FunctionType(VEC, [VEC, VEC, VEC]), "probe")
    builder = ir.IRBuilder(probe.append_basic_block())
    builder.ret(emit_fma(builder, *probe.args))
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=name, features=features)
    assembly = machine.emit_assembly(llvm.parse_assembly(str(module)))
    return re.search(r"\bfma\b", assembly) is None  # libm's function, called where there is no instruction
