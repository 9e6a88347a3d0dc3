"""The product of families over columns: mixed data types in one model, latent classes of unlike questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, cast

import numpy as np

from mixtura._types import BoolArray, FloatArray, IntArray
from mixtura.capabilities import Quantity, informed
from mixtura.families.base import whole_from_1
from mixtura.families.linear import Linear
from mixtura.frame import Frame
from mixtura.kernels.layout import Layout
from mixtura.model import Event, Family
from mixtura.stats import Sums

Parts = tuple[Any, ...]  # parameters, one of each part


@dataclass(frozen=True, eq=False, kw_only=True)
class ProductSums(Sums):
    """The sums of each part."""

    parts: tuple[Any, ...]

    @property
    def s0(self) -> FloatArray:
        """Sum of the responsibilities, (k,), which is that of every part."""
        s0: FloatArray = self.parts[0].s0
        return s0


@dataclass(frozen=True)
class Product(Linear[Parts]):
    """Families side by side: each has some columns, independent of the others within a component (formula D5).

    A fitted mixture has ``parts_``, a list of the attributes of each part, by name.

    Parameters
    ----------
    families : sequence of Family
        The family of the first columns, of the next ones, and so on.
    widths : sequence of int, optional
        How many columns each has; by default one.

    Examples
    --------
    Latent classes by a question of three answers, one of two, and a count:

    >>> from mixtura import MixtureModel
    >>> from mixtura.families import Categorical, Poisson, Product
    >>> rows = [[0, 0, 3], [0, 1, 2], [2, 1, 20], [1, 1, 22]] * 5
    >>> family = Product([Categorical(3), Categorical(2), Poisson()])
    >>> classes = MixtureModel(family, 2, tol=1e-9, random_state=0).fit(rows)
    >>> sorted(classes.parts_[2]["rates_"][:, 0].round(3).tolist())
    [2.5, 21.0]
    """

    families: Sequence[Family[Any, Any]]
    widths: Sequence[int] | None = None
    name: ClassVar[str] = "product"

    def __post_init__(self) -> None:
        families = tuple(self.families)
        widths = (1,) * len(families) if self.widths is None else tuple(self.widths)
        for i, family in enumerate(families):
            if isinstance(family, type) or not hasattr(family, "log_density"):
                raise TypeError(f"families[{i}] is {family!r}, expected an object such as Categorical(3)")
        if not families or len(widths) != len(families):
            raise ValueError(f"widths: expected one for each of {len(families)} families, at least one of these")
        object.__setattr__(self, "families", families)
        object.__setattr__(self, "widths", tuple(whole_from_1(f"widths[{i}]", w) for i, w in enumerate(widths)))

    @property
    def support(self) -> str:
        """The possible values of each part, in words."""
        parts = zip(self.families, self._columns(), strict=True)
        return "; ".join(f"{_name(columns)} {family.support}" for family, columns in parts)

    @property
    def measure(self) -> str:
        """That of all parts, or the product of theirs."""
        own = [family.measure for family in self.families]
        return own[0] if len(set(own)) == 1 else " x ".join(own)

    @property
    def has_unseen(self) -> bool:
        """Whether a part has something unseen."""
        return any(family.has_unseen for family in self.families)

    @property
    def params_type(self) -> tuple[Any, ...]:
        """What the parameters of each part are."""
        return tuple(family.params_type for family in self.families)

    def in_support(self, x: FloatArray) -> BoolArray:
        """Tell which values (n, d) the family of their column can yield."""
        self._check_width(x.shape[1])
        return np.hstack([family.in_support(part) for family, part in self._cut(x)])

    def frame(self, low: FloatArray, high: FloatArray, centre: FloatArray) -> Frame:
        """Return the frames of the parts one after another."""
        self._check_width(len(low))
        parts = zip(self.families, self._columns(), strict=True)
        frames = [family.frame(low[c], high[c], centre[c]) for family, c in parts]
        return Frame(**{name: np.concatenate([vars(frame)[name] for frame in frames]) for name in vars(frames[0])})

    @property
    def is_informed(self) -> bool:
        """Whether a part has a prior."""
        return any(family.is_informed for family in self.families)

    def describe(self, frame: Frame, sums: ProductSums) -> Parts:
        """Return what each part has to know of its columns."""
        return self._each(lambda family, f, s: family.describe(f, s), self._frames(frame), sums.parts)

    def blank(self, frame: Frame, n_components: int, whole: Parts | None = None) -> Parts:
        """Return the blank parameters of each part."""
        known = whole or (None,) * len(self.families)
        return self._each(lambda family, f, w: family.blank(f, n_components, w), self._frames(frame), known)

    def log_density(self, theta: Parts, x: FloatArray) -> FloatArray:
        """Return the (n, k) log-densities, which are the sums of those of the parts (formula D5)."""
        parts = zip(self._cut(x), theta, strict=True)
        total: FloatArray = np.sum([family.log_density(t, part) for (family, part), t in parts], axis=0)
        return total

    def suffstats(self, theta: Parts, x: FloatArray, resp: FloatArray) -> ProductSums:
        """Return the sums of each part."""
        parts = zip(self._cut(x), theta, strict=True)
        return ProductSums(parts=tuple(family.suffstats(t, part, resp) for (family, part), t in parts))

    def fused(self, n_components: int, n_features: int) -> bool:
        """Tell whether there is a kernel: where all parts are linear, and narrow together."""
        parts = [
            isinstance(family, Linear) and family.fused(n_components, columns.stop - columns.start)
            for family, columns in zip(self.families, self._columns(), strict=True)
        ]
        return all(parts) and super().fused(n_components, n_features)

    def transform(self, x: FloatArray) -> FloatArray:
        """Return those of the parts one after another; rows as they are where all parts take them so."""
        columns = [x[:, c] for _, c in self._linear()]
        parts = [family.transform(own) for (family, _), own in zip(self._linear(), columns, strict=True)]
        same = all(part is own for part, own in zip(parts, columns, strict=True))
        return x if same else np.hstack(parts)

    def layout(self, n_features: int) -> Layout:
        """Return the features of the parts one after another."""
        return Layout.join([family.layout(c.stop - c.start) for family, c in self._linear()])

    def coefficients(self, theta: Parts) -> tuple[FloatArray, FloatArray]:
        """Return the coefficients of the parts one after another, and the sums of their peaks."""
        found = [family.coefficients(part) for (family, _), part in zip(self._linear(), theta, strict=True)]
        coefficients, peaks = zip(*found, strict=True)
        return np.hstack(coefficients), np.sum(peaks, axis=0)

    def scale(self, theta: Parts) -> FloatArray:
        """Return the units of the parts one after another."""
        return np.concatenate([family.scale(part) for (family, _), part in zip(self._linear(), theta, strict=True)])

    def gather(self, s0: FloatArray, s1: FloatArray) -> ProductSums:
        """Return the sums of each part."""
        sizes = [len(family.layout(c.stop - c.start).columns) for family, c in self._linear()]
        cut = np.split(s1, np.cumsum(sizes)[:-1], axis=1)
        return ProductSums(parts=tuple(f.gather(s0, part) for (f, _), part in zip(self._linear(), cut, strict=True)))

    def _linear(self) -> list[tuple[Linear[Any], slice]]:
        """Return each family, all of them linear, and which columns it has."""
        return list(zip(cast(Sequence[Linear[Any]], self.families), self._columns(), strict=True))

    def expected(self, theta: Parts, counts: FloatArray) -> ProductSums:
        """Return the sums of which `update` makes `theta` (formula B1)."""
        return ProductSums(parts=self._each(lambda family, t: family.expected(t, counts), theta))

    def update(self, sums: ProductSums, theta: Parts) -> tuple[Parts, list[Event]]:
        """Return the update of each part."""
        updates = self._each(lambda family, s, t: family.update(s, t), sums.parts, theta)
        events = [
            replace(event, message=f"{_name(columns)}: {event.message}")
            for (_, part), columns in zip(updates, self._columns(), strict=True)
            for event in part
        ]
        return tuple(part for part, _ in updates), events

    def log_prior(self, theta: Parts) -> float:
        """Return the sum of the log priors of the parts."""
        total: float = sum(self._each(lambda family, t: family.log_prior(t), theta))
        return total

    def free(self, theta: Parts) -> FloatArray:
        """Return the coordinates of the parts one after another (formula Q1)."""
        return np.concatenate(self._each(lambda family, t: family.free(t), theta))

    def from_free(self, vector: FloatArray, like: Parts) -> Parts | None:
        """Return the parameters with these coordinates, None if one of the parts has none."""
        theta = self._each(lambda family, v, t: family.from_free(v, t), self._divide(vector, like), like)
        return None if any(part is None for part in theta) else theta

    def metric(self, theta: Parts, weights: FloatArray, step: FloatArray) -> FloatArray:
        """Return the information, part by part, times a step (formula Q2)."""
        parts = self._divide(step, theta)
        return np.concatenate(self._each(lambda family, s, t: family.metric(t, weights, s), parts, theta))

    def inverse_metric(self, theta: Parts, weights: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the step of which `metric` makes this gradient."""
        parts = self._divide(gradient, theta)
        return np.concatenate(self._each(lambda family, g, t: family.inverse_metric(t, weights, g), parts, theta))

    def take(self, theta: Parts, components: IntArray) -> Parts:
        """Return the parameters of these components, in this order."""
        return self._each(lambda family, t: family.take(t, components), theta)

    def is_interior(self, theta: Parts) -> bool:
        """Tell whether all parts are."""
        return all(self._each(lambda family, t: family.is_interior(t), theta))

    def refine(self, sums: ProductSums, theta: Parts) -> Parts | None:
        """Return `theta` with the parts that want another pivot about it, None if there is none."""
        refined = self._each(lambda family, s, t: family.refine(s, t), sums.parts, theta)
        if all(part is None for part in refined):
            return None
        return tuple(old if new is None else new for old, new in zip(theta, refined, strict=True))

    def pivot(self, theta: Parts) -> str:
        """Digest the pivots of the parts."""
        return " ".join(self._each(lambda family, t: family.pivot(t), theta))

    def sample(self, theta: Parts, labels: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw one row from the component named by each of `labels` (n,)."""
        return np.hstack(self._each(lambda family, t: family.sample(t, labels, rng), theta))

    def n_features(self, theta: Parts) -> int:
        """Return the number of columns of all parts."""
        return sum(self._each(lambda family, t: family.n_features(t), theta))

    def n_parameters(self, theta: Parts) -> int:
        """Return the number of free parameters of all parts."""
        return sum(self._each(lambda family, t: family.n_parameters(t), theta))

    def attributes(self, theta: Parts) -> dict[str, list[dict[str, Any]]]:
        """Return a list of the attributes of each part."""
        return {"parts_": list(self._each(lambda family, t: family.attributes(t), theta))}

    def unit_scores(self, theta: Parts, x: FloatArray) -> FloatArray:
        """Return the scores of the parts one after another, (n, k, p)."""
        parts = zip(self._cut(x), theta, strict=True)
        return np.concatenate([informed(family).unit_scores(t, part) for (family, part), t in parts], axis=2)

    def slots(self, theta: Parts) -> IntArray:
        """Return the numbers of the coordinates, part after part."""
        before = np.cumsum([0, *self._each(lambda family, t: family.n_parameters(t), theta)])
        slots = self._each(lambda family, t, first: first + informed(family).slots(t), theta, before[:-1].tolist())
        return np.hstack(slots)

    def quantities(self, theta: Parts) -> list[Quantity]:
        """Return the parameters of each part, such as "parts[0].probs", with their derivatives by all coordinates."""
        sizes = self._each(lambda family, t: family.n_parameters(t), theta)
        found = self._each(lambda family, t: informed(family).quantities(t), theta)
        return [
            replace(q.among(sum(sizes[:i]), sum(sizes[i + 1 :])), name=f"parts[{i}].{q.name}")
            for i, part in enumerate(found)
            for q in part
        ]

    def estimated(self, theta: Parts) -> BoolArray:
        """Tell which coordinates are estimated, part after part."""
        return np.concatenate(self._each(lambda family, t: informed(family).estimated(t), theta))

    def unseen(self, theta: Parts, x: FloatArray, weight: FloatArray) -> FloatArray:
        """Return what rows lack of the information about each part: nothing is between parts."""
        sizes = self._each(lambda family, t: informed(family).slots(t).shape[1], theta)
        total = np.zeros((weight.shape[1], sum(sizes), sum(sizes)))
        ends = np.cumsum(sizes).tolist()
        for (family, part), t, size, end in zip(self._cut(x), theta, sizes, ends, strict=True):
            total[:, end - size : end, end - size : end] = informed(family).unseen(t, part, weight)
        return total

    def prior_information(self, theta: Parts) -> tuple[FloatArray, FloatArray]:
        """Return what the priors of the parts tell, part after part."""
        slopes, added = zip(*self._each(lambda family, t: informed(family).prior_information(t), theta), strict=True)
        return np.concatenate(slopes), np.concatenate(added)

    def edges(self, theta: Parts) -> list[str]:
        """Say of each part what is at the edge."""
        found = self._each(lambda family, t: informed(family).edges(t), theta)
        return [f"{_name(c)}: {edge}" for c, part in zip(self._columns(), found, strict=True) for edge in part]

    def check(self, theta: Parts, n_components: int, n_features: int) -> None:
        """Raise a `ValueError` that names what about parameters from elsewhere cannot be."""
        self._check_width(n_features)
        for family, part, columns in zip(self.families, theta, self._columns(), strict=True):
            family.check(part, n_components, columns.stop - columns.start)

    def _each(self, function: Callable[..., Any], *parts: Iterable[Any]) -> tuple[Any, ...]:
        """Apply a function to each family and its part of the others."""
        return tuple(function(*together) for together in zip(self.families, *parts, strict=True))

    def _frames(self, frame: Frame) -> list[Frame]:
        """Return the frame of each part."""
        return [frame.select(np.arange(part.start, part.stop)) for part in self._columns()]

    def _columns(self) -> list[slice]:
        """Return which columns each family has."""
        edges = np.cumsum([0, *(self.widths or ())]).tolist()
        return [slice(start, stop) for start, stop in pairwise(edges)]

    def _cut(self, x: FloatArray) -> list[tuple[Family[Any, Any], FloatArray]]:
        """Return each family and its columns of the rows `x` (n, d)."""
        return [(family, x[:, columns]) for family, columns in zip(self.families, self._columns(), strict=True)]

    def _divide(self, vector: FloatArray, theta: Parts) -> list[FloatArray]:
        """Return each part's piece of a vector (q,) of coordinates."""
        sizes = self._each(lambda family, t: len(family.free(t)), theta)
        return np.split(vector, np.cumsum(sizes)[:-1])

    def _check_width(self, found: int) -> None:
        if found != (expected := self._columns()[-1].stop):
            raise ValueError(f"X has {found} columns, the families of the product {expected}: give their widths")


def _name(columns: slice) -> str:
    """Return which columns these are, in words."""
    single = columns.stop - columns.start == 1
    return f"column {columns.start}" if single else f"columns {columns.start} to {columns.stop - 1}"
