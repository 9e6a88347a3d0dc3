"""Arrow's columns as rows of numbers: what readers of Arrow data share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mixtura._types import Array
from mixtura.sources.columns import Choice
from mixtura.sources.pieces import Columns, held

BATCH_ROWS = 1 << 16  # decoded at a time: they stay in cache until they are copied


def require_arrow(what: str) -> Any:
    """Return pyarrow, or say how to get it."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError(f"{what}: to read this needs pyarrow: pip install 'mixtura[arrow]'") from error
    return pa


def column_dtype(field: Any, what: str) -> np.dtype[Any]:
    """Return the dtype that holds a column of this Arrow field; refuse what are no numbers."""
    from pyarrow import types

    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    if types.is_temporal(kind):
        raise TypeError(
            f"{what}, column {field.name!r} holds dates or times ({kind}): convert it to a number in a unit you choose"
        )
    if types.is_boolean(kind):
        return np.dtype(np.bool_)
    if types.is_integer(kind) or types.is_floating(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    if types.is_decimal(kind) or types.is_null(kind):
        return np.dtype(np.float64)
    raise ValueError(f"{what}, column {field.name!r} holds {kind}, expected numbers: convert or leave it out")


def held_columns(schema: Any, choice: Choice, what: str) -> np.dtype[Any]:
    """Return the dtype that holds the features; refuse columns that are no numbers."""
    wanted = [*choice.features, *([] if choice.weight is None else [choice.weight])]
    dtypes = [column_dtype(schema.field(j), what) for j in wanted]
    return held(*dtypes[: len(choice.features)])


def to_piece(batch: Any, features: Sequence[Any], weight: Any) -> Columns:
    """Return the rows of a record batch or table, of columns by name or position; nulls become NaN."""
    columns = [_to_numpy(batch.column(j)) for j in features]
    return Columns(columns, None if weight is None else _to_numpy(batch.column(weight)), batch.num_rows)


def _to_numpy(column: Any) -> Array:
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if types.is_decimal(column.type) or types.is_null(column.type):
        column = column.cast("float64")
    chunked = hasattr(column, "num_chunks")
    values: Array = column.to_numpy() if chunked else column.to_numpy(zero_copy_only=False)
    return values.astype(np.float64) if values.dtype == object else values


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Name the file in what Arrow has to say of it."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's words
        raise ValueError(f"{what}: damaged, or not what its name says: {error}") from error
