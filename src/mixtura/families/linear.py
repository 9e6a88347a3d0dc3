"""Families whose log-densities are linear in a few features of the values: one compiled kernel serves them all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from mixtura._types import Array, FloatArray, Wanted
from mixtura.families.base import Composed, MeanSums
from mixtura.grid import Chunk, Derived
from mixtura.kernels.layout import WIDEST, Layout
from mixtura.model import Posterior
from mixtura.stats import Node

T = TypeVar("T")


class Linear(Composed[T]):
    """Components with log-densities ``peak + coefficients . t(x) + h(x)``, whose sums are those of t(x) (formula D25).

    Data that repay it are served by a compiled kernel, others by the composed path of the family.
    """

    def transform(self, x: FloatArray) -> FloatArray:
        """Return the numbers (n, m) that t(x) and h(x) are made of: rows as they are, unless a family says otherwise.

        NaN or infinite where a value cannot be.
        """
        return x

    @abstractmethod
    def layout(self, n_features: int) -> Layout:
        """Return how t(x) and h(x) are made of what `transform` returns."""

    @abstractmethod
    def coefficients(self, theta: T) -> tuple[FloatArray, FloatArray]:
        """Return the coefficients (k, m), -inf for what is impossible, and the peaks (k,)."""

    def scale(self, theta: T) -> FloatArray:
        """Return what these numbers are multiplied by, (m,): ones, unless a family has a unit."""
        return np.ones(len(self.layout(self.n_features(theta)).kinds))

    def gather(self, s0: FloatArray, s1: FloatArray) -> Any:
        """Return counts (k,) and sums of t(x) (k, m) as the sums of the family."""
        return MeanSums(s0=s0, s1=s1)

    def fused(self, n_components: int, n_features: int) -> bool:
        """Tell whether this machine runs the kernel well, and t(x) is narrow enough for it."""
        from mixtura.kernels.simd import has_fma

        return len(self.layout(n_features).columns) <= WIDEST and has_fma()

    def e_blocks(
        self, log_weights: FloatArray, theta: T, chunk: Chunk, negligible: float
    ) -> Iterator[tuple[Node, float, float, Any]]:
        """Run the compiled E-step; no row is left out."""
        from mixtura.kernels import linear

        k = len(log_weights)
        rows = replace(chunk, x=self._transformed(chunk.x))
        for node, sums in linear.e_blocks(rows, *self._density(log_weights, theta)):
            counts, rest = sums[2 : 2 + k], sums[2 + k :].reshape(k, -1)
            yield node, float(sums[0]), float(sums[1]), self.gather(counts, rest)

    def posterior_rows(self, log_weights: FloatArray, theta: T, x: Array, wanted: Wanted) -> Posterior:
        """Run the compiled kernel of the posterior over rows."""
        from mixtura.kernels import linear

        rows = self._transformed(x)
        return Posterior(*linear.posterior_rows(rows, *self._density(log_weights, theta), wanted=wanted))

    def _transformed(self, x: Array) -> Any:
        return Derived(x, self.transform, len(self.layout(x.shape[1]).kinds))

    def _density(self, log_weights: FloatArray, theta: T) -> tuple[FloatArray, Layout, FloatArray, FloatArray]:
        """Return what the kernel makes densities of."""
        coefficients, peaks = self.coefficients(theta)
        return self.scale(theta), self.layout(self.n_features(theta)), coefficients, log_weights + peaks
