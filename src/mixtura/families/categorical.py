"""The categorical family: one of m categories in each column, which latent class analysis is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.families.base import MeanSums, expect, is_whole, whole_from_1
from mixtura.families.linalg import log_or_never
from mixtura.families.linear import Linear
from mixtura.families.powers import log_powers
from mixtura.families.sphere import OnSphere
from mixtura.frame import Frame
from mixtura.kernels.layout import Layout
from mixtura.model import COUNTING, Event

NORMALIZED = 1e-9  # how far from 1 probabilities from elsewhere may sum


@dataclass(frozen=True, eq=False)
class CategoricalParams:
    """Probabilities of m categories in k components and d columns, (k, d, m); the last axis sums to 1."""

    probs: FloatArray


@dataclass(frozen=True)
class Categorical(OnSphere[CategoricalParams], Linear[CategoricalParams]):
    """Independent categories, numbered from 0, in each column (formula D4).

    A fitted mixture has ``probs_`` (k, d, m). A category that no row of a component has gets probability 0 there, which
    is its maximum-likelihood estimate; a category that was never seen at all is impossible under the fit, so a row that
    has it later has log-density -inf. Columns of different numbers of categories are a `Product` of these.

    Parameters
    ----------
    n_categories : int
        Number of categories, m, of every column.

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import Categorical
    >>> answers = [[0, 0], [0, 1], [2, 2], [2, 1]] * 5
    >>> classes = MixtureModel(Categorical(3), 2, tol=1e-9, random_state=0).fit(answers)
    >>> sorted(classes.probs_[:, 0].round(3).tolist())
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """

    n_categories: int
    name: ClassVar[str] = "categorical"
    measure: ClassVar[str] = COUNTING
    params_type: ClassVar[type[CategoricalParams]] = CategoricalParams

    def __post_init__(self) -> None:
        whole_from_1("n_categories", self.n_categories)

    @property
    def support(self) -> str:
        """The possible values, in words."""
        return f"whole numbers from 0 to {self.n_categories - 1}"

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are categories."""
        return is_whole(x) & (x < self.n_categories)

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> CategoricalParams:
        """Return equal probabilities."""
        shape = (n_components, len(frame.shift), self.n_categories)
        return CategoricalParams(probs=np.full(shape, 1 / self.n_categories))

    def log_density(self, theta: CategoricalParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-probabilities (formula D4)."""
        chosen = self.statistic(theta, x)
        return log_powers(chosen.reshape(len(x), -1), theta.probs.reshape(len(theta.probs), -1))

    def layout(self, n_features: int) -> Layout:
        """Return the categories as features, column after column."""
        return Layout.of_categories(n_features, self.n_categories)

    def coefficients(self, theta: CategoricalParams) -> tuple[FloatArray, FloatArray]:
        """Return the logarithms of the probabilities."""
        k = len(theta.probs)
        return log_or_never(theta.probs).reshape(k, -1), np.zeros(k)

    def gather(self, s0: FloatArray, s1: FloatArray) -> MeanSums:
        """Return the counts, and those of each category, (k, d, m)."""
        return MeanSums(s0=s0, s1=s1.reshape(len(s0), -1, self.n_categories))

    def statistic(self, theta: CategoricalParams, x: FloatArray) -> FloatArray:
        """Return 1 for the category that a value is, 0 for the others, (n, d, m)."""
        chosen: BoolArray = x[:, :, None] == np.arange(self.n_categories)
        return chosen.astype(np.float64)

    def mean(self, theta: CategoricalParams) -> FloatArray:
        """Return the probabilities."""
        return theta.probs

    def from_mean(self, mean: FloatArray, theta: CategoricalParams) -> tuple[CategoricalParams, list[Event]]:
        """Return the shares of the categories as probabilities."""
        return CategoricalParams(probs=mean / mean.sum(axis=-1, keepdims=True)), []

    def shares(self, theta: CategoricalParams) -> FloatArray:
        """Return the probabilities."""
        return theta.probs

    def with_shares(self, theta: CategoricalParams, shares: FloatArray) -> CategoricalParams:
        """Return these probabilities."""
        return CategoricalParams(probs=shares)

    def sample(self, theta: CategoricalParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row of categories from the component named by each of `labels` (n,)."""
        bounds = theta.probs.cumsum(axis=-1)
        drawn = rng.random((len(labels), theta.probs.shape[1], 1)) * bounds[labels, :, -1:]
        rows: FloatArray = (drawn >= bounds[labels, :, :-1]).sum(axis=-1).astype(np.float64)
        return rows

    def n_features(self, theta: CategoricalParams) -> int:
        """Return the number of columns."""
        return int(theta.probs.shape[1])

    def n_parameters(self, theta: CategoricalParams) -> int:
        """Return the number of free probabilities: m - 1 in each component and column."""
        k, d, m = theta.probs.shape
        return int(k * d * (m - 1))

    def attributes(self, theta: CategoricalParams) -> dict[str, FloatArray]:
        """Return the probabilities of the categories."""
        return {"probs_": theta.probs.copy()}

    def edges(self, theta: CategoricalParams) -> list[str]:
        """Name the categories that never are."""
        never = np.argwhere(theta.probs == 0)
        return [f"component {a} never has category {c} in column {j}" for a, j, c in never]

    def check(self, theta: CategoricalParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` if probabilities from elsewhere have a wrong shape or do not sum to 1."""
        good = bool((theta.probs >= 0).all()) and np.abs(theta.probs.sum(axis=-1) - 1).max(initial=0) < NORMALIZED
        shape = (n_components, n_features, self.n_categories)
        expect("probs", theta.probs, shape, good, "probabilities, those of the last axis with sum 1")
