"""Families of counts in independent columns: one compiled kernel serves them all, by tables of the distinct counts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

from mixtura._types import Array, FloatArray, Wanted
from mixtura.families.base import Composed
from mixtura.grid import Chunk
from mixtura.kernels.levels import Levels, Tables
from mixtura.model import Posterior
from mixtura.stats import Node

T = TypeVar("T")


class Tabulated(Composed[T]):
    """Components whose log-densities and statistics are those of each column's count, whatever it is (formula D26).

    Data that repay it are served by a compiled kernel, others by the composed path of the family.
    """

    @abstractmethod
    def tabulate(self, theta: T, levels: Levels) -> Tables:
        """Return what log-densities and sums are made of, for each distinct count."""

    @abstractmethod
    def collect(self, s0: FloatArray, sums: FloatArray) -> Any:
        """Return counts (k,), and the sums (k, m) of one statistic of the tables after another, as the family's."""

    def fused(self, n_components: int, n_features: int) -> bool:
        """Tell whether this machine runs the kernel well."""
        from mixtura.kernels.simd import has_fma

        return has_fma()

    def e_blocks(
        self, log_weights: FloatArray, theta: T, chunk: Chunk, negligible: float
    ) -> Iterator[tuple[Node, float, float, Any]]:
        """Run the compiled E-step; no row is left out."""
        from mixtura.kernels import tabulated

        k = len(log_weights)
        for node, sums in tabulated.e_blocks(chunk, log_weights, partial(self.tabulate, theta)):
            counts, rest = sums[2 : 2 + k], sums[2 + k :].reshape(k, -1)
            yield node, float(sums[0]), float(sums[1]), self.collect(counts, rest)

    def posterior_rows(self, log_weights: FloatArray, theta: T, x: Array, wanted: Wanted) -> Posterior:
        """Run the compiled kernel of the posterior over rows."""
        from mixtura.kernels import tabulated

        return Posterior(*tabulated.posterior_rows(x, log_weights, partial(self.tabulate, theta), wanted=wanted))
