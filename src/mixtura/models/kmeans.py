"""K-means: each row belongs to the nearest of k centers, and each center is the mean of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np

from mixtura._types import Array, FloatArray, IntArray, Wanted
from mixtura.acceleration import Ascent, Evaluated, Memory, Proposal
from mixtura.blocks import sum_rows
from mixtura.families import Gaussian, Spherical
from mixtura.families.base import digest
from mixtura.families.linalg import HALF_APART, as_columns, is_occupied, quotient, squared_norms, together
from mixtura.frame import Frame
from mixtura.grid import Chunk
from mixtura.model import Event, EventKind, Model, Posterior
from mixtura.models.mixture import COMPILED_WORK
from mixtura.persistence import decode
from mixtura.stats import Node, Stats

FAR = float(np.finfo(np.float64).max)  # how far a start has moved: nobody knows
RESOLVED = 8.0 * float(np.finfo(np.float64).eps)  # of the spread of a center's rows; a smaller move is a rounding


@dataclass(frozen=True, eq=False)
class KMeansParams:
    """The centers of k clusters, and how the last update made them.

    Attributes
    ----------
    frame : Frame
        The coordinates, with one scale for all columns.
    centers : (k, d) array
        In the frame.
    weights : (k,) array
        Shares of all rows that are in each cluster, as of the last update.
    moved : float
        Squared distances over which it moved the centers, their sum, over the mean variance of the columns.
    reseeds : int
        How many clusters without rows were put elsewhere on the way here.
    """

    frame: Frame
    centers: FloatArray
    weights: FloatArray
    moved: float = FAR
    reseeds: int = 0

    @classmethod
    def start(cls, frame: Frame, centers: FloatArray) -> KMeansParams:
        """Return centers (k, d) in a frame to start from."""
        return cls(frame, centers, weights=np.full(len(centers), 1 / len(centers)))


@dataclass(frozen=True, eq=False, kw_only=True)
class KMeansStats(Stats):
    """Counts (k,), and sums (k, d) and squared distances (k,) about the centers; ``loglik`` is minus the inertia."""

    s0: FloatArray
    s1: FloatArray
    s2: FloatArray


@dataclass(frozen=True)
class KMeans:
    """The model of `n_clusters` centers; its objective is minus the inertia (formulas K6 to K9).

    Parameters
    ----------
    n_clusters : int
        Number of centers, k.
    """

    n_clusters: int

    @property
    def family(self) -> Gaussian:
        """The components whose mixture becomes k-means as their variance goes to 0: which rows there are, in words."""
        return Gaussian(Spherical())

    def for_missing(self) -> KMeans:
        """Return this: no row may lack values."""
        return self

    def compiles(self, n_rows: int, n_features: int) -> bool:
        """Tell whether these data repay the compiled kernel and this machine runs it well."""
        if n_rows * self.n_clusters * n_features < COMPILED_WORK:
            return False
        from mixtura.kernels.simd import has_fma

        return has_fma()

    def e_step(self, params: KMeansParams, rows: Chunk | Array) -> KMeansStats:
        """Return the sums over rows, as `Mixture.e_step` does."""
        return sum_rows(self, params, rows, params.centers.shape[1])

    def e_block(self, params: KMeansParams, chunk: Chunk) -> KMeansStats:
        """Return the sums over one block of rows, by composed NumPy."""
        z, k = params.frame.enter(chunk.x), len(params.centers)
        labels = squared_distances(z, params.centers).argmin(axis=1)
        gaps, shares = z.T - np.take(params.centers.T, labels, axis=1), one_hot(labels, k).T
        if chunk.weight is not None:
            shares *= chunk.weight
        squares = (gaps * gaps).sum(axis=0)
        s0, s1, s2 = shares.sum(axis=1), shares @ gaps.T, (shares * squares).sum(axis=1)
        return _stats(params, float(s2.sum()), float(s0.sum()), s0, s1, s2)

    def e_blocks(self, params: KMeansParams, chunk: Chunk) -> Iterator[tuple[Node, KMeansStats]]:
        """Yield the subtrees of the canonical sum over the blocks of a chunk, by the compiled kernel."""
        from mixtura.kernels import lloyd

        k, d = params.centers.shape
        for node, sums in lloyd.e_blocks(chunk, *_kernel_params(params)):
            (inertia, weight), s0, s1, s2 = np.split(sums, [2, 2 + k, 2 + k + k * d])
            yield node, _stats(params, float(inertia), float(weight), s0, s1.reshape(k, d), s2)

    def posterior(self, params: KMeansParams, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return minus the squared distances (n,) of rows to their centers, and a 1 for each row's cluster, (n, k)."""
        distances = squared_distances(params.frame.enter(x), params.centers)
        labels = distances.argmin(axis=1)
        return -distances[np.arange(len(x)), labels] / params.frame.scale[0] ** 2, one_hot(labels, self.n_clusters)

    def posterior_rows(self, params: KMeansParams, chunk: Chunk, wanted: Wanted) -> Posterior:
        """Return the same by the compiled kernel."""
        from mixtura.kernels import nearest

        distances, labels = nearest.assign_rows(chunk.x, *_kernel_params(params), wanted=wanted)
        if wanted == "labels" and (labels < 0).any():  # distances tell what is wrong with a row
            return self.posterior_rows(params, chunk, "densities")
        labels = np.maximum(labels, 0)
        resp = one_hot(labels if wanted == "shares" else labels[:0], self.n_clusters)
        return Posterior(-distances / params.frame.scale[0] ** 2, labels, resp)

    def distances(self, params: KMeansParams, x: FloatArray) -> FloatArray:
        """Return the distances (n, k) of rows to all centers, in the data's own units."""
        squares = squared_distances(params.frame.enter(x), params.centers)
        distances: FloatArray = np.sqrt(squares) / params.frame.scale[0]
        return distances

    def m_step(self, stats: KMeansStats, params: KMeansParams) -> tuple[KMeansParams, Sequence[Event]]:
        """Return the means of the clusters (formula K8), and what was done about those without rows (K9)."""
        step = quotient(stats.s1, stats.s0[:, None])
        spread = quotient(stats.s2, stats.s0)
        step = np.where(np.abs(step) > RESOLVED * np.sqrt(spread)[:, None], step, 0.0)
        spread = np.maximum(spread - (step**2).sum(axis=1), 0.0)
        centers, weights = params.centers + step, stats.s0 / stats.weight
        variance = float(weights @ (spread + ((centers - weights @ centers) ** 2).sum(axis=1))) / centers.shape[1]
        moved = float((step**2).sum()) / variance if variance > 0 else 0.0
        updated = replace(params, centers=centers, weights=weights, moved=moved)
        empty = np.flatnonzero(~is_occupied(stats.s0))
        return reseed(updated, spread, empty) if len(empty) else (updated, [])

    def refine(self, stats: KMeansStats, params: KMeansParams) -> None:
        """Return None: the centers are the pivot."""

    def same(self, a: KMeansParams, b: KMeansParams) -> bool:
        """Tell whether two parameters have the same centers and shares bit for bit."""
        return a.centers.tobytes() == b.centers.tobytes() and a.weights.tobytes() == b.weights.tobytes()

    def log_prior(self, params: KMeansParams) -> float:
        """Return 0: there is no prior."""
        return 0.0

    def expected(self, params: KMeansParams, weight: float = 1.0) -> KMeansStats:
        """Return the statistics, of this total weight, of which `m_step` makes `params`."""
        k = len(params.centers)
        return _stats(params, 0.0, weight, weight * params.weights, np.zeros_like(params.centers), np.zeros(k))

    def decode(self, tree: Any) -> KMeansParams:
        """Return the parameters that `mixtura.persistence.encode` made a tree of."""
        params: KMeansParams = decode(KMeansParams, tree, "parameters")
        return params

    def check(self, params: KMeansParams, n_features: int) -> None:
        """Raise a `ValueError` that names the first thing about parameters from elsewhere that cannot be."""
        k = self.n_clusters
        params.frame.check(n_features)
        if (params.frame.scale != params.frame.scale[0]).any():
            raise ValueError("frame.scale: expected one scale for all columns")
        for name, shape in {"centers": (k, n_features), "weights": (k,), "moved": ()}.items():
            if (found := np.shape(getattr(params, name))) != shape:
                raise ValueError(f"{name}: expected shape {shape}, found {found}")
        if (params.weights < 0).any():
            raise ValueError("weights: expected numbers from 0")


@dataclass(frozen=True)
class Lloyd(Ascent):
    """Lloyd's algorithm: centers go to the means of their rows until they hardly move, as scikit-learn has it."""

    def propose(self, model: Model[Any, Any], here: Evaluated[Any], memory: Memory[Any] | None) -> Proposal[Any]:
        """Go to the means; what is left to gain is taken for how far the last update moved the centers."""
        return Proposal(here.updated, float(here.params.moved))


def reseed(params: KMeansParams, spread: FloatArray, empty: IntArray) -> tuple[KMeansParams, list[Event]]:
    """Let clusters without rows take over one half of that of the largest inertia (formula K9).

    A fit does so at most as often as it has clusters. A cluster stays where it is if no other has two different rows.
    `spread` (k,) has the mean squared distances of the rows of each cluster to their mean.
    """
    (k, d), centers, weights, spread = params.centers.shape, params.centers.copy(), params.weights.copy(), spread.copy()
    allowed, events = params.reseeds + len(empty) <= k, []
    for j in empty:
        event = Event(EventKind.EMPTY, int(j), f"cluster {j} has no rows")
        widest = int(np.argmax(weights * spread))
        if not allowed or weights[widest] * spread[widest] <= 0:
            events.append(event.then(EventKind.EMPTY, "keeps its place"))
            continue
        step = sqrt(HALF_APART * spread[widest] / d) * _direction(d, params.reseeds + int(j))
        centers[[widest, j]] = centers[widest] + np.stack([-step, step])
        weights[[widest, j]] = weights[widest] / 2
        spread[[widest, j]] = spread[widest] - step @ step
        events.append(event.then(EventKind.RESEED, f"took over one half of cluster {widest}"))
    done = sum(event.kind is EventKind.RESEED for event in events)
    return replace(params, centers=centers, weights=weights, reseeds=params.reseeds + done), events


def _direction(d: int, seed: int) -> FloatArray:
    """Return a direction (d,) that no data foresaw, so that rows differ along it; always the same one of a seed."""
    drawn = np.random.default_rng(seed).standard_normal(d)
    direction: FloatArray = drawn / sqrt(drawn @ drawn)
    return direction


def squared_distances(points: FloatArray, centers: FloatArray) -> FloatArray:
    """Return (n, k) squared distances, by differences: an expanded square would cancel."""
    columns = np.ascontiguousarray(points.T)
    gaps = (columns - centers[some, :, None] for some in together(len(centers), columns.size))
    return as_columns(squared_norms(gap) for gap in gaps)


def one_hot(labels: IntArray, k: int) -> FloatArray:
    """Return (n, k) zeros with a 1 for each label."""
    resp = np.zeros((len(labels), k))
    resp[np.arange(len(labels)), labels] = 1.0
    return resp


def _stats(
    params: KMeansParams, inertia: float, weight: float, s0: FloatArray, s1: FloatArray, s2: FloatArray
) -> KMeansStats:
    """Return sums at `params`, with their inertia in the frame."""
    pivot = digest(params.frame.shift, params.frame.scale, params.centers)
    loglik = -inertia / float(params.frame.scale[0]) ** 2
    return KMeansStats(loglik=loglik, weight=weight, pivot=pivot, s0=s0, s1=s1, s2=s2)


def _kernel_params(params: KMeansParams) -> tuple[FloatArray, FloatArray, FloatArray]:
    return params.frame.shift, params.frame.scale, params.centers
