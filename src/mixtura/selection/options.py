"""Checks of what a selection is to try."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

from mixtura.estimators.gaussian_mixture import STRUCTURES
from mixtura.selection.table import CRITERIA


def check_criterion(criterion: Any) -> None:
    """Raise a `ValueError` for an unknown criterion."""
    if criterion not in CRITERIA:
        raise ValueError(f"criterion is {criterion!r}, expected one of {_listed(CRITERIA)}")


def check_count(name: str, value: Any) -> int:
    """Return a whole number from 1, or raise a `ValueError` that names it."""
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} is {value!r}, expected a whole number from 1")
    return int(value)


def check_numbers(n_components: Any) -> list[int]:
    """Return the numbers of components to try, in order, each once."""
    numbers = [n_components] if isinstance(n_components, Integral) else list(n_components)
    if not numbers:
        raise ValueError("n_components is empty, expected numbers of components to try, such as range(1, 11)")
    return sorted({check_count("an element of n_components", number) for number in numbers})


def check_structures(estimator: Any, covariance_types: Any) -> list[dict[str, str]]:
    """Return the structures to try, as options of an estimator; nothing for one that has no such option."""
    if not hasattr(estimator, "covariance_type"):
        if covariance_types is not None:
            kind = type(estimator).__name__
            raise ValueError(f"covariance_types is {covariance_types!r}, but a {kind} has none: leave it out")
        return [{}]
    types: Any = STRUCTURES if covariance_types is None else covariance_types
    names = [types] if isinstance(types, str) else list(types)
    if not names:
        raise ValueError(f"covariance_types is empty, expected some of {_listed(STRUCTURES)}")
    for name in names:
        if name not in STRUCTURES:
            raise ValueError(f"covariance_types contains {name!r}, expected some of {_listed(STRUCTURES)}")
    return [{"covariance_type": name} for name in dict.fromkeys(names)]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
