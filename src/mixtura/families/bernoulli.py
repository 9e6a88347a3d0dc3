"""The Bernoulli family: independent yes or no in each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.families.base import MeanSums, Separable, expect
from mixtura.families.linalg import log_or_never
from mixtura.families.linear import Linear
from mixtura.families.powers import log_powers
from mixtura.families.standardized import Standardized
from mixtura.frame import Frame
from mixtura.kernels.layout import Layout
from mixtura.model import COUNTING, Event


@dataclass(frozen=True, eq=False)
class BernoulliParams:
    """Probabilities of a 1 in k components and d columns, (k, d)."""

    probs: FloatArray


@dataclass(frozen=True)
class Bernoulli(Standardized[BernoulliParams], Separable[BernoulliParams], Linear[BernoulliParams]):
    """Independent answers 0 or 1 in each column (formula D3): latent classes of yes or no.

    A fitted mixture has ``probs_`` (k, d), the probability of a 1.

    Examples
    --------
    >>> from mixtura import MixtureModel
    >>> from mixtura.families import Bernoulli
    >>> answers = [[1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0]] * 5
    >>> classes = MixtureModel(Bernoulli(), 2, tol=1e-9, random_state=0).fit(answers)
    >>> sorted(classes.probs_.round(3).tolist())
    [[0.0, 0.0, 0.5], [1.0, 1.0, 0.5]]
    """

    name: ClassVar[str] = "bernoulli"
    support: ClassVar[str] = "0 and 1"
    measure: ClassVar[str] = COUNTING
    upper: ClassVar[float] = 1.0
    params_type: ClassVar[type[BernoulliParams]] = BernoulliParams

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) are 0 or 1."""
        valid: BoolArray = (x == 0) | (x == 1)
        return valid

    def blank(self, frame: Frame, n_components: int, whole: None = None) -> BernoulliParams:
        """Return even chances."""
        return BernoulliParams(probs=np.full((n_components, len(frame.shift)), 0.5))

    def log_density(self, theta: BernoulliParams, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-probabilities (formula D3); a probability of 0 allows only zeros, of 1 only ones."""
        return log_powers(x, theta.probs) + log_powers(1 - x, 1 - theta.probs)

    def layout(self, n_features: int) -> Layout:
        """Return both answers as features, column after column."""
        return Layout.of_categories(n_features, 2)

    def coefficients(self, theta: BernoulliParams) -> tuple[FloatArray, FloatArray]:
        """Return the logarithms of the probabilities of both answers."""
        both = np.stack([1 - theta.probs, theta.probs], axis=-1)
        return log_or_never(both).reshape(len(both), -1), np.zeros(len(both))

    def gather(self, s0: FloatArray, s1: FloatArray) -> MeanSums:
        """Return the counts, and the sums of the answers 1."""
        return MeanSums(s0=s0, s1=s1[:, 1::2])

    def is_interior(self, theta: BernoulliParams) -> bool:
        """Tell whether no probability is 0 or 1."""
        return bool(((theta.probs > 0) & (theta.probs < 1)).all())

    def mean(self, theta: BernoulliParams) -> FloatArray:
        """Return the probabilities."""
        return theta.probs

    def from_mean(self, mean: FloatArray, theta: BernoulliParams) -> tuple[BernoulliParams, list[Event]]:
        """Return the shares of ones as probabilities, which rounding must not bring above 1."""
        return BernoulliParams(probs=np.minimum(mean, 1.0)), []

    def coordinates(self, theta: BernoulliParams) -> FloatArray:
        """Return the angles whose half has the probability as its squared sine: 0 and 1 are not far away (D7)."""
        return 2 * np.arctan2(np.sqrt(theta.probs), np.sqrt(1 - theta.probs))[None]

    def from_coordinates(self, coordinates: FloatArray, like: BernoulliParams) -> BernoulliParams:
        """Return the probabilities of these angles."""
        return BernoulliParams(probs=np.sin(coordinates[0] / 2) ** 2)

    def information(self, theta: BernoulliParams) -> FloatArray:
        """Return that about the angles, which is 1."""
        return np.ones_like(theta.probs)[None]

    def sample(self, theta: BernoulliParams, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row of zeros and ones from the component named by each of `labels` (n,)."""
        return (rng.random((len(labels), theta.probs.shape[1])) < theta.probs[labels]).astype(np.float64)

    def attributes(self, theta: BernoulliParams) -> dict[str, FloatArray]:
        """Return the probabilities of a 1."""
        return {"probs_": theta.probs.copy()}

    def deviations(self, theta: BernoulliParams) -> FloatArray:
        """Return those of the answers."""
        return np.sqrt(theta.probs * (1 - theta.probs))

    def check(self, theta: BernoulliParams, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` if probabilities from elsewhere have a wrong shape or are none."""
        good = (theta.probs >= 0) & (theta.probs <= 1)
        expect("probs", theta.probs, (n_components, n_features), good, "probabilities")
