"""The multinomial family: rows of counts, such as the words of a text, of which only the proportions matter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.families.base import expect, is_whole
from mixtura.families.counts import log_factorial, log_factorials
from mixtura.families.linalg import log_or_never, quotient
from mixtura.families.linear import Linear
from mixtura.families.powers import log_powers
from mixtura.families.sphere import OnSphere
from mixtura.frame import Frame
from mixtura.kernels.layout import COUNT, Layout
from mixtura.model import COUNTING, Event

NORMALIZED = 1e-9  # how far from 1 probabilities from elsewhere may sum


@dataclass(frozen=True, eq=False)
class MultinomialParams:
    """Probabilities of d outcomes in k components, (k, d), and the mean total of their rows, (k,), a given number."""

    probs: FloatArray
    totals: FloatArray


@dataclass(frozen=True)
class Multinomial(OnSphere[MultinomialParams], Linear[MultinomialParams]):
    """Rows of counts of d outcomes: each is so many draws from the probabilities of its component (formula D18).

    A fitted mixture has ``probs_`` (k, d). The total of a row is taken as given, so it tells nothing of the component;
    `sample` draws rows of the mean total, rounded. A row of zeros is possible and tells nothing at all.

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import Multinomial
    >>> texts = [[8, 1, 1], [4, 1, 0], [0, 1, 9], [2, 1, 17]]  # how often each of three words is there
    >>> topics = MixtureModel(Multinomial(), 2, tol=1e-9, random_state=0).fit(texts)
    >>> sorted(topics.probs_.round(2).tolist())
    [[0.07, 0.07, 0.87], [0.8, 0.13, 0.07]]
    """

    name: ClassVar[str] = "multinomial"
    takes_sparse: ClassVar[bool] = True
    support: ClassVar[str] = "whole numbers from 0"
    measure: ClassVar[str] = COUNTING
    params_type: ClassVar[type[MultinomialParams]] = MultinomialParams

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are counts."""
        return is_whole(x)

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> MultinomialParams:
        """Return equal probabilities, for rows of one draw."""
        d = len(frame.shift)
        return MultinomialParams(probs=np.full((n_components, d), 1 / d), totals=np.ones(n_components))

    def log_density(self, theta: MultinomialParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-probabilities given the totals (formula D18)."""
        orders = log_factorial(x.sum(axis=1)) - log_factorials(x)
        density: FloatArray = log_powers(x, theta.probs) + orders[:, None]
        return density

    def layout(self, n_features: int) -> Layout:
        """Return the counts as features, whose total is given."""
        return Layout.of_columns(n_features, COUNT, total=True)

    def coefficients(self, theta: MultinomialParams) -> tuple[FloatArray, FloatArray]:
        """Return the logarithms of the probabilities."""
        return log_or_never(theta.probs), np.zeros(len(theta.probs))

    def mean(self, theta: MultinomialParams) -> FloatArray:
        """Return the expected counts of a row of the mean total."""
        return theta.totals[:, None] * theta.probs

    def from_mean(self, mean: FloatArray, theta: MultinomialParams) -> tuple[MultinomialParams, list[Event]]:
        """Return the proportions of mean counts; those of `theta` where there are no counts."""
        totals = mean.sum(axis=1)
        probs = np.where(totals[:, None] > 0, quotient(mean, totals[:, None]), theta.probs)
        return MultinomialParams(probs=probs, totals=totals), []

    def take(self, theta: MultinomialParams, components: IntArray) -> MultinomialParams:
        """Return the parameters of these components, in this order."""
        return MultinomialParams(probs=theta.probs[components], totals=theta.totals[components])

    def shares(self, theta: MultinomialParams) -> FloatArray:
        """Return the probabilities."""
        return theta.probs

    def with_shares(self, theta: MultinomialParams, shares: FloatArray) -> MultinomialParams:
        """Return `theta` with these probabilities."""
        return replace(theta, probs=shares)

    def draws(self, theta: MultinomialParams) -> FloatArray:
        """Return the mean totals."""
        return theta.totals[:, None]

    def sample(self, theta: MultinomialParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row of counts from the component named by each of `labels` (n,)."""
        totals = np.rint(theta.totals).astype(np.int64)
        return rng.multinomial(totals[labels], theta.probs[labels]).astype(np.float64)

    def n_features(self, theta: MultinomialParams) -> int:
        """Return the number of columns."""
        return int(theta.probs.shape[1])

    def n_parameters(self, theta: MultinomialParams) -> int:
        """Return the number of free probabilities: d - 1 in each component."""
        k, d = theta.probs.shape
        return int(k * (d - 1))

    def attributes(self, theta: MultinomialParams) -> dict[str, FloatArray]:
        """Return the probabilities."""
        return {"probs_": theta.probs.copy()}

    def unseen(self, theta: MultinomialParams, x: FloatArray, weight: FloatArray) -> FloatArray:
        """Return what rows of less draws than the mean total lack, and those of more have (formula V12)."""
        lack = weight.sum(axis=0) - x.sum(axis=1) @ weight / theta.totals
        unseen: FloatArray = lack[:, None, None] * np.eye(theta.probs.shape[1] - 1)
        return unseen

    def edges(self, theta: MultinomialParams) -> list[str]:
        """Name the outcomes that never are."""
        return [f"component {a} never has the outcome of column {j}" for a, j in np.argwhere(theta.probs == 0)]

    def check(self, theta: MultinomialParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` if parameters from elsewhere have a wrong shape or are no probabilities."""
        good = bool((theta.probs >= 0).all()) and np.abs(theta.probs.sum(axis=-1) - 1).max(initial=0) < NORMALIZED
        expect("probs", theta.probs, (n_components, n_features), good, "probabilities, those of each row with sum 1")
        expect("totals", theta.totals, (n_components,), theta.totals >= 0, "numbers from 0")
