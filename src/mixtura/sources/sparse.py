"""Rows of a sparse matrix in memory, such as the counts of the words of texts: mostly zeros that are not stored."""

from __future__ import annotations

from functools import cached_property
from hashlib import blake2b
from typing import Any

from mixtura._types import FloatArray, IntArray
from mixtura.grid import BLOCK_ROWS, dense
from mixtura.sources.arrays import ArraySource

CHUNK_VALUES = 1 << 22  # zeros included, of the rows handed out at a time: some are held as they would be if dense


class SparseSource(ArraySource):
    """Rows of a sparse matrix (n, d), of which no more than some are ever held with their zeros.

    Parameters
    ----------
    x : scipy.sparse matrix or array
        Of any format; another than CSR is converted.
    weight : (n,) array, optional
        Row weights.

    Raises
    ------
    ValueError
        If it is not 2-D.
    TypeError
        If it does not hold real numbers.
    """

    def __init__(self, x: Any, weight: FloatArray | None = None) -> None:
        if x.ndim != 2:
            raise ValueError(f"Found sparse array with dim {x.ndim}, expected 2-D rows and columns")
        if x.dtype.kind not in "biuf":
            raise TypeError(f"the data hold {x.dtype}, expected real numbers")
        from scipy.sparse import csr_array

        rows = csr_array(x)
        if not rows.has_canonical_format:  # an entry may be there twice, which stands for the sum
            rows = rows.copy()
            rows.sum_duplicates()
        super().__init__(rows, weight, chunk_rows=max(1, CHUNK_VALUES // max(1, x.shape[1])))

    @cached_property
    def fingerprint(self) -> str:
        """Digest of shape and dtype, and of the first and last block of rows."""
        digest = blake2b(f"sparse {self.x.shape} {self.x.dtype}".encode(), digest_size=16)
        for rows in (slice(BLOCK_ROWS), slice(-BLOCK_ROWS, None)):
            block: Any = self.x[rows]
            for part in (block.indptr, block.indices, block.data):
                digest.update(part.tobytes())
            digest.update(b"" if self.weight is None else self.weight[rows].tobytes())
        return digest.hexdigest()

    def take(self, ranks: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the rows of these ascending ranks among those of positive weight, as an array, with their weights."""
        rows, weight = self.find(ranks)
        return dense(self.x[rows]), weight
