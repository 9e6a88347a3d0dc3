"""What the words of ``panel`` are made with: the shape of a panel, its type, and its vectors as LLVM holds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.errors import NumbaTypeError
from numba.core.imputils import lower_constant, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import register_model, typeof_impl

from mixtura.kernels._memory import WORD, address
from mixtura.kernels._vec8 import I64, LANES, VECTORS, WIDE, Code, Vector, VectorType, single16

# Two instructions a cycle, four cycles long, want eight sums at a time: eight of the registers of 512 bits; or, where
# a vector takes two of only 16 registers of 256 bits, four.
ACCUMULATORS = 8 if WIDE else 4
FILLED = 16 if WIDE else 4  # half of the registers: where there are many, what is read once does for more sums
CIRCLE = LANES // 2 + 1  # rotations of a vector after which all pairs of lanes have met

Panel: TypeAlias = tuple[Vector, ...]


@dataclass(frozen=True)
class Shape:
    """How many rows of how many vectors a panel has; `Shape.of(rows)` fills half of the registers.

    A vector has eight numbers; or sixteen, if they are of float32: as many as a register of eight float64 holds.
    """

    rows: int
    vectors: int
    lanes: int = LANES

    @classmethod
    def of(cls, rows: int) -> Shape:
        """Return the panel that fills half of the registers and has this many rows."""
        return cls(rows, FILLED // rows)

    @property
    def width(self) -> int:
        """The values that lie side by side."""
        return self.lanes * self.vectors

    def vector(self, array_type: Any) -> Any:
        """Return Numba's type of a vector of an array's numbers."""
        narrow = VECTORS[array_type.dtype]
        if self.lanes == LANES:
            return narrow
        if narrow.code.element != single16.code.element:
            raise NumbaTypeError(f"a vector of {self.lanes} wants float32, not {array_type}")
        return single16


class ShapeType(types.Type):
    """Numba's type of a shape: the compiler knows its numbers, and no code carries them."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        super().__init__(name=str(shape))


@typeof_impl.register(Shape)
def _typeof_shape(shape: Shape, context: Any) -> ShapeType:
    return ShapeType(shape)


register_model(ShapeType)(models.OpaqueModel)


@infer_getattr
class _ShapeAttributes(AttributeTemplate):
    key = ShapeType

    def resolve_rows(self, shape_type: Any) -> Any:
        return types.intp

    def resolve_width(self, shape_type: Any) -> Any:
        return types.intp


@lower_getattr_generic(ShapeType)
def _emit_attribute(context: Any, builder: Any, shape_type: Any, value: Any, name: str) -> Code:
    return context.get_constant(types.intp, getattr(shape_type.shape, name))


@lower_constant(ShapeType)
def _constant_shape(context: Any, builder: Any, shape_type: Any, value: Any) -> Code:
    return context.get_dummy_value()


def is_panel(value: Any) -> bool:
    """Tell whether a type of Numba is that of a panel."""
    return isinstance(value, types.UniTuple) and isinstance(value.dtype, VectorType)


def is_panel_of(array_type: Any, value: Any) -> bool:
    """Tell whether a type of Numba is that of a panel of an array's numbers."""
    return is_panel(value) and value.dtype.code.element == VECTORS[array_type.dtype].code.element


def pack_panel(builder: Any, rows: Iterable[Code]) -> Code:
    """Return vectors as a panel."""
    rows = list(rows)
    packed = ir.Constant(ir.ArrayType(rows[0].type, len(rows)), ir.Undefined)
    for p, row in enumerate(rows):
        packed = builder.insert_value(packed, row, p)
    return packed


def unpack_panel(builder: Any, rows: Code) -> list[Code]:
    """Return the vectors of a panel."""
    return [builder.extract_value(rows, p) for p in range(rows.type.count)]


def numbers_of(context: Any, builder: Any, array_type: Any, array: Code, index: list[Code], count: int) -> list[Code]:
    """Load `count` numbers of a row of an array from the index on."""
    start = address(context, builder, array_type, array, tuple(index), [1] * (len(index) - 1) + [count])
    element = VECTORS[array_type.dtype].code.element
    places = (builder.gep(start, [I64(p)], inbounds=True, source_etype=element) for p in range(count))
    return [builder.load(place, align=WORD, typ=element) for place in places]


def places_of(context: Any, builder: Any, array_type: Any, values: tuple[Code, ...], shape: Shape) -> list[Code]:
    """Return the addresses of the vectors of a panel whose first one is at ``array[i, j]``."""
    array, i, j = values
    found, vector = [], shape.vector(array_type).code
    for p in range(shape.rows):
        index = (builder.add(i, I64(p), flags=["nsw"]), j)
        start = address(context, builder, array_type, array, index, [1, shape.width])
        indices = ([I64(shape.lanes * q)] for q in range(shape.vectors))
        steps = (builder.gep(start, index, inbounds=True, source_etype=vector.element) for index in indices)
        found += [builder.bitcast(step, vector.as_pointer()) for step in steps]
    return found
