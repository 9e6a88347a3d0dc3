"""Trees of arrays as bytes: exact, checked against damage, and read without trust.

A tree is nested dicts, lists and plain values with arrays at any place. Its bytes are a magic number, the length of a
JSON text, that text, the arrays, and a digest of all this.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import numpy as np

MAGIC = b"MIXTURA\x01"  # ends in the version
DIGEST_BYTES = 16
ARRAY = "__array__"  # key of a place that an array takes


def pack(tree: Any) -> bytes:
    """Return a tree as bytes."""
    arrays: list[Any] = []
    text = json.dumps(_without_arrays(tree, arrays))
    kinds = [[array.dtype.str, list(array.shape)] for array in arrays]
    head = json.dumps({"tree": text, "arrays": kinds}).encode()
    body = b"".join([MAGIC, len(head).to_bytes(8, "little"), head, *(array.tobytes() for array in arrays)])
    return body + blake2b(body, digest_size=DIGEST_BYTES).digest()


def unpack(data: bytes) -> Any:
    """Return the tree that `pack` turned into bytes; raise `ValueError` if they are damaged or something else."""
    body, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if not body.startswith(MAGIC):
        raise ValueError("not written by this library, or by another version of it")
    if blake2b(body, digest_size=DIGEST_BYTES).digest() != digest:
        raise ValueError("damaged: its digest is not that of its content")
    at = len(MAGIC) + 8
    end = at + int.from_bytes(body[len(MAGIC) : at], "little")
    head = json.loads(body[at:end])
    arrays = []
    for name, shape in head["arrays"]:
        dtype = np.dtype(name)
        begin, end = end, end + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        arrays.append(np.frombuffer(body[begin:end], dtype).reshape(shape).copy())
    return _with_arrays(json.loads(head["tree"]), arrays)


def _without_arrays(tree: Any, arrays: list[Any]) -> Any:
    if isinstance(tree, dict):
        return {key: _without_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_without_arrays(value, arrays) for value in tree]
    if isinstance(tree, np.ndarray):
        if tree.dtype.kind not in "biuf":
            raise TypeError(f"an array of {tree.dtype} cannot be packed, only numbers can")
        arrays.append(tree)
        return {ARRAY: len(arrays) - 1}
    return tree.item() if isinstance(tree, np.generic) else tree


def _with_arrays(tree: Any, arrays: list[Any]) -> Any:
    if isinstance(tree, dict):
        if set(tree) == {ARRAY}:
            return arrays[tree[ARRAY]]
        return {key: _with_arrays(value, arrays) for key, value in tree.items()}
    return [_with_arrays(value, arrays) for value in tree] if isinstance(tree, list) else tree
