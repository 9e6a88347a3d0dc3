"""The table of models: one row a model. Adding a row is the whole cost of testing a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixtura import init
from mixtura.families import (
    Bernoulli,
    Beta,
    Categorical,
    Diag,
    Exponential,
    Full,
    Gamma,
    Gaussian,
    LogNormal,
    Multinomial,
    NegativeBinomial,
    Poisson,
    Product,
    Spherical,
    StudentT,
    Tied,
    VonMises,
    ZeroInflated,
)
from mixtura.families.fixing import FixedGaussian
from mixtura.models import Mixture, MixtureParams
from mixtura.models.binned import Binned
from mixtura.models.weights import Weighting
from mixtura.priors import Dirichlet, NormalInverseWishart, Spread
from mixtura.sources import ArraySource
from mixtura.survey import survey


@dataclass(frozen=True, eq=False)
class Case:
    """A model, data that it should fit, and what can be asked of it beyond the laws that hold for all.

    Attributes
    ----------
    model : Mixture
        What is tested.
    draw : callable
        Given a generator and a number of rows, returns rows.
    directions : callable
        Given parameters and a generator, yields functions of a step that move the parameters feasibly.
    affine : str
        Which maps of the data the update commutes with: "columns" (a scale each), "common" (one), or "".
    values : callable
        Returns values of the model's family that stand for rows, to start from, where rows are no such values.
    method : str
        How it starts.
    symmetric : bool
        Whether the components are alike to the model.
    """

    model: Mixture[Any]
    draw: Callable[[np.random.Generator, int], Any]
    directions: Callable[[Any, np.random.Generator], Iterator[Callable[[float], Any]]]
    affine: str = ""
    values: Callable[[Any], Any] = lambda rows: rows
    method: str = "random_from_data"
    symmetric: bool = True

    def rows(self, n: int, seed: int = 0) -> Any:
        return self.draw(np.random.default_rng(seed), n)

    def start(self, x: Any, seed: int = 1) -> MixtureParams[Any]:
        """Return a start far from any optimum."""
        source = ArraySource(self.values(x))
        found = init.describe(source, self.model, survey(source, self.model.family))
        return init.start(source, self.model, found, self.method, np.random.default_rng(seed))


def normal_rows(d: int) -> Callable[[np.random.Generator, int], Any]:
    """Return a draw of three overlapping correlated clusters away from the origin."""

    def draw(rng: np.random.Generator, n: int) -> Any:
        means = np.array([0.0, 2.5, -3.0])[:, None] + np.arange(d)
        mix = np.eye(d) + 0.3 * np.tri(d, k=-1)
        labels = rng.integers(0, 3, n)
        return means[labels] + rng.normal(size=(n, d)) @ mix.T * (1.0 + 0.4 * labels[:, None]) + 7.0

    return draw


def interval_rows(rng: np.random.Generator, n: int) -> Any:
    """Return the bounds between which values of one column lie: wide and narrow ones, and some open."""
    labels = rng.integers(0, 3, n)
    value = np.array([0.0, 5.0, 9.0])[labels] + rng.normal(size=n) * np.array([1.0, 0.6, 1.4])[labels]
    width = 10.0 ** rng.uniform(-3, 0, n)
    low = value - width * rng.random(n)
    high = low + width
    low[value < -1.5], high[value > 11] = -np.inf, np.inf
    return np.column_stack([low, high])


def middles(bounds: Any) -> Any:
    """Return a value within each pair of bounds."""
    inner = np.clip(bounds, -3.0, 13.0)
    return inner.mean(axis=1, keepdims=True)


def count_rows(rng: np.random.Generator, n: int) -> Any:
    """Return counts of two columns from three rates."""
    rates = np.array([[1.0, 12.0], [6.0, 3.0], [20.0, 9.0]])
    return rng.poisson(rates[rng.integers(0, 3, n)]).astype(np.float64)


def gaussian_directions(params: Any, rng: np.random.Generator) -> Iterator[Callable[[float], Any]]:
    """Move weights, means and covariances, each in a random direction of the feasible set."""
    theta = params.components
    tilt = rng.normal(size=params.weights.shape)
    nudge = rng.normal(size=theta.means.shape) * 0.01
    twist = rng.normal(size=theta.factors.shape) * 0.5
    if twist.ndim > 1 and twist.shape[-1] == twist.shape[-2] and theta.means.shape[1] > 1:
        twist = np.tril(twist)

    def weights(step: float) -> Any:
        moved = params.weights * np.exp(step * tilt)
        return replace(params, weights=moved / moved.sum())

    def means(step: float) -> Any:
        return replace(params, components=replace(theta, means=theta.means + step * nudge))

    def factors(step: float) -> Any:
        # Entry by entry: a lower triangle stays one, and a positive diagonal stays positive.
        return replace(params, components=replace(theta, factors=theta.factors * (1 + step * twist)))

    yield from (weights, means, factors)


def poisson_directions(params: Any, rng: np.random.Generator) -> Iterator[Callable[[float], Any]]:
    """Move weights and rates."""
    rates = params.components.rates
    tilt, nudge = rng.normal(size=params.weights.shape), rng.normal(size=rates.shape)

    def weights(step: float) -> Any:
        moved = params.weights * np.exp(step * tilt)
        return replace(params, weights=moved / moved.sum())

    def components(step: float) -> Any:
        return replace(params, components=replace(params.components, rates=rates * np.exp(step * nudge)))

    yield from (weights, components)


def free_directions(model: Mixture[Any]) -> Callable[[Any, np.random.Generator], Iterator[Callable[[float], Any]]]:
    """Move weights and components along their free coordinates, each in a random direction."""

    def directions(params: Any, rng: np.random.Generator) -> Iterator[Callable[[float], Any]]:
        vector = model.free(params)
        of_weights = np.arange(len(vector)) < model.weighting.n_free(model.n_components)
        for moved in (of_weights, ~of_weights):
            direction = np.where(moved, rng.normal(size=vector.shape), 0.0)
            yield lambda step, direction=direction: model.from_free(vector + step * direction, params)

    return directions


def family_case(family: Any, draw: Callable[[np.random.Generator, Any], Any], **options: Any) -> Case:
    """Return the case of three components of a family; `draw` returns a row for each label."""
    model = Mixture(family, 3)
    return Case(model, lambda rng, n: draw(rng, rng.integers(0, 3, n)), free_directions(model), **options)


def answer_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return answers 0 or 1 to eight questions."""
    probs = np.array([[0.9] * 8, [0.2, 0.2, 0.1, 0.3, 0.8, 0.9, 0.8, 0.7], [0.1, 0.3, 0.2, 0.2, 0.1, 0.2, 0.1, 0.2]])
    return (rng.random((len(labels), 8)) < probs[labels]).astype(np.float64)


def choice_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return answers 0 to 3 to five questions."""
    cumulative = np.array([[0.7, 0.8, 0.9], [0.1, 0.2, 0.9], [0.1, 0.7, 0.8]])
    return (rng.random((len(labels), 5, 1)) > cumulative[labels][:, None]).sum(axis=2).astype(np.float64)


def waiting_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return waiting times of four columns."""
    means = np.array([[1.0, 30.0, 5.0, 2.0], [9.0, 2.0, 5.0, 30.0], [60.0, 40.0, 0.3, 0.2]])
    return rng.exponential(means[labels])


def size_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return positive numbers of two columns, in one of which a shape is less than 1."""
    shapes = np.array([[0.7, 20.0], [4.0, 3.0], [9.0, 2.0]])
    means = np.array([[3.0, 20.0], [9.0, 4.0], [12.0, 20.0]])
    return rng.gamma(shapes[labels], (means / shapes)[labels])


def visit_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return counts of two columns that vary much more than Poisson ones: else EM on their rates takes thousands."""
    means = np.array([[8.0, 300.0], [300.0, 8.0], [40.0, 40.0]])
    sizes = np.array([[2.0], [2.0], [2.0]])
    return rng.poisson(rng.gamma(sizes[labels], means[labels] / sizes[labels])).astype(np.float64)


def heavy_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return two columns with heavy tails."""
    means, dofs = np.array([[0.0, 0.0], [9.0, -6.0], [-8.0, -9.0]]), np.array([1.5, 2.5, 4.0])
    noise = rng.normal(size=(len(labels), 2)) * np.array([0.6, 1.2, 1.0])[labels, None]
    return means[labels] + noise * np.sqrt(dofs[labels] / rng.chisquare(dofs[labels]))[:, None]


def share_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return proportions of two columns."""
    alphas = np.array([[0.7, 8.0], [4.0, 3.0], [9.0, 20.0]])
    betas = np.array([[2.0, 2.0], [4.0, 9.0], [1.5, 20.0]])
    return rng.beta(alphas[labels], betas[labels])


def angle_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return angles of two columns, some of them about pi."""
    angles = np.array([[0.0, 3.0], [1.5, -1.5], [-3.0, 1.0]])
    kappas = np.array([[1.5, 4.0], [9.0, 3.0], [4.0, 30.0]])
    return rng.vonmises(angles[labels], kappas[labels])


def text_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return how often each of five words is in texts of many lengths."""
    probs = np.array([[0.5, 0.2, 0.1, 0.1, 0.1], [0.1, 0.1, 0.3, 0.4, 0.1], [0.2, 0.1, 0.1, 0.1, 0.5]])
    return rng.multinomial(rng.poisson(12, len(labels)), probs[labels]).astype(np.float64)


def scarce_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return counts of two columns with rows of zeros beyond those that Poisson counts have."""
    rates = np.array([[3.0, 12.0], [12.0, 3.0], [8.0, 8.0]])
    there = rng.random(len(labels)) < np.array([0.9, 0.7, 0.5])[labels]
    return rng.poisson(rates[labels]) * there[:, None].astype(np.float64)


def mixed_rows(rng: np.random.Generator, labels: Any) -> Any:
    """Return two correlated numbers, a category, a count, and two answers."""
    numbers = rng.normal(size=(len(labels), 2)) @ [[1.0, 0.5], [0.0, 1.0]] + labels[:, None] * [3.0, -2.0]
    return np.column_stack(
        [numbers, choice_rows(rng, labels)[:, 0], rng.poisson(2 + 9 * labels), answer_rows(rng, labels)[:, 3:5]]
    )


MIXED = Product([Gaussian(Full()), Categorical(4), Poisson(), Bernoulli()], [2, 1, 1, 2])

FAR_APART = {"method": "k-means++"}  # else an outlier may start a component that it has to itself

FIXED = Mixture(
    FixedGaussian(Diag(), fixed_means=(0, 1), fixed_covariances=(0,)), 3, weighting=Weighting(Dirichlet(), (0,))
)

CASES: dict[str, Case] = {
    "gaussian-1d": Case(Mixture(Gaussian(Full()), 3), normal_rows(1), gaussian_directions, "columns"),
    "gaussian-full": Case(Mixture(Gaussian(Full()), 3), normal_rows(4), gaussian_directions, "columns"),
    "gaussian-tied": Case(Mixture(Gaussian(Tied()), 3), normal_rows(4), gaussian_directions, "columns"),
    "gaussian-diag": Case(Mixture(Gaussian(Diag()), 3), normal_rows(4), gaussian_directions, "columns"),
    "gaussian-spherical": Case(Mixture(Gaussian(Spherical()), 3), normal_rows(4), gaussian_directions, "common"),
    "binned": Case(Binned(Gaussian(Full()), 3), interval_rows, gaussian_directions, values=middles),
    "gaussian-spread": Case(
        Mixture(Gaussian(Full(), prior=Spread(2.0)), 3), normal_rows(4), gaussian_directions, "columns"
    ),
    "gaussian-map": Case(
        Mixture(Gaussian(Tied(), prior=NormalInverseWishart(dof=4)), 3, weighting=Weighting(Dirichlet(3))),
        normal_rows(4),
        gaussian_directions,
        "columns",
    ),
    "gaussian-fixed": Case(FIXED, normal_rows(4), free_directions(FIXED), symmetric=False),
    "poisson": Case(Mixture(Poisson(), 3), count_rows, poisson_directions),
    "bernoulli": family_case(Bernoulli(), answer_rows),
    "categorical": family_case(Categorical(4), choice_rows),
    "exponential": family_case(Exponential(), waiting_rows),
    "gamma": family_case(Gamma(), size_rows),
    "negative-binomial": family_case(NegativeBinomial(), visit_rows),
    "student-t": family_case(StudentT(), heavy_rows, **FAR_APART),
    "student-t-spherical": family_case(StudentT(Spherical()), heavy_rows, **FAR_APART),
    "log-normal": replace(family_case(LogNormal(), size_rows), draw=lambda rng, n: np.exp(normal_rows(2)(rng, n) / 3)),
    "beta": family_case(Beta(), share_rows),
    "multinomial": family_case(Multinomial(), text_rows),
    "von-mises": family_case(VonMises(), angle_rows),
    "zero-inflated": family_case(ZeroInflated(Poisson()), scarce_rows),
    "product": family_case(MIXED, mixed_rows),
}
