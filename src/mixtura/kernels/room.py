"""Memory for the work on a tile: a word beside those of `simd`.

===============================  =================================================================================
``room(rows, columns)``          zeros of float64 that start on a page, of one axis or two
``room(rows, columns, kind)``    the same of another kind, such as ``np.int64``
===============================  =================================================================================

A vector that lies across two lines of the cache takes twice the time to load. NumPy's own ``zeros``, compiled, costs
half a second, since Numba compiles it as a function of many others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import NumbaTypeError
from numba.core.typing.templates import signature
from numba.extending import lower_builtin
from numba.np.arrayobj import make_array, populate_array

from mixtura._types import Array
from mixtura.kernels._vec8 import I32, Code, typing_rule

PAGE = 4096  # bytes


def room(*shape_and_kind: Any) -> Array:
    """Return zeros of a shape, of float64 unless another kind is the last argument."""
    shape = [size for size in shape_and_kind if isinstance(size, (int, np.integer))]
    zeros: Array = np.zeros(shape, *shape_and_kind[len(shape) :])
    return zeros


@typing_rule(room)
def _type_room(*arguments: Any) -> Any:
    shape = [size for size in arguments if isinstance(size, types.Integer)]
    kinds = arguments[len(shape) :]
    if not (1 <= len(shape) <= 2 and len(kinds) <= 1 and all(isinstance(kind, types.DTypeSpec) for kind in kinds)):
        raise NumbaTypeError(f"room wants one size or two, and perhaps a kind of numbers, not {arguments}")
    kind = kinds[0].dtype if kinds else types.float64
    return signature(types.Array(kind, len(shape), "C"), *[types.intp] * len(shape), *kinds)


@lower_builtin(room, types.VarArg(types.Any))
def _emit_room(context: Any, builder: Any, sig: Any, values: Any) -> Code:
    kind, shape = sig.return_type, values[: sig.return_type.ndim]
    element = context.get_data_type(kind.dtype)
    size = context.get_constant(types.intp, context.get_abi_sizeof(element))
    steps = [size]
    for n in reversed(shape[1:]):
        steps.insert(0, builder.mul(steps[0], n))
    length = builder.mul(steps[0], shape[0])
    block = context.nrt.meminfo_alloc_aligned(builder, length, I32(PAGE))
    data = context.nrt.meminfo_data(builder, block)
    cgutils.memset(builder, data, length, 0)
    array = make_array(kind)(context, builder)
    populate_array(
        array,
        data=builder.bitcast(data, ir.PointerType(element)),
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, steps),
        itemsize=size,
        meminfo=block,
    )
    return array._getvalue()
