"""Fitted models as tables for people and as JSON for machines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.cli._errors import require

MOST_COMPONENTS = 40  # rows of a table; the lightest of more are left out
CELL = 10  # least characters of a number with its padding

BY_MOMENTS = ("gaussian", "poisson")  # families of which means and deviations make a table; of others, parameters do


def describe(estimator: Any) -> dict[str, Any]:
    """Describe the components of a fitted estimator.

    Parameters
    ----------
    estimator : fitted estimator

    Returns
    -------
    dict
        Plain values only: family, covariance, n_components, columns, weights, and either means and sds or parameters.
    """
    names = getattr(estimator, "feature_names_in_", None)
    family = estimator.model_.family
    covariance = getattr(family, "covariance", None)
    return {
        "family": family.name,
        "covariance": None if covariance is None else covariance.name,
        "n_components": len(estimator.weights_),
        "columns": None if names is None else [str(name) for name in names],
        "n_features": int(estimator.n_features_in_),
        "weights": np.asarray(estimator.weights_).tolist(),
        **(_moments(estimator) if family.name in BY_MOMENTS else _parameters(estimator)),
    }


def _parameters(estimator: Any) -> dict[str, Any]:
    """Return the parameters by name, as `Family.attributes` has them."""
    return {"parameters": _plain(estimator.model_.family.attributes(estimator.params_.components))}


def _plain(value: Any) -> Any:
    """Return named arrays, and lists of such, as plain values by names without the last underscore."""
    if isinstance(value, Mapping):
        return {name.removesuffix("_"): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else np.asarray(value).tolist()


def _moments(estimator: Any) -> dict[str, Any]:
    """Return the mean and standard deviation (k, d) of each component in each column."""
    means, sds = _find_moments(estimator)
    return {"means": means.tolist(), "sds": sds.tolist()}


def _find_moments(estimator: Any) -> tuple[FloatArray, FloatArray]:
    if estimator.model_.family.name == "poisson":
        rates = np.asarray(estimator.rates_, dtype=np.float64)
        return rates, np.sqrt(rates)
    means = np.asarray(estimator.means_, dtype=np.float64)
    k, d = means.shape
    covariance = estimator.model_.family.covariance
    dense = covariance.expand(np.asarray(estimator.covariances_, dtype=np.float64), k, d)
    return means, np.sqrt(np.diagonal(dense, axis1=1, axis2=2))


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document; what JSON has no number for becomes null."""
    print(json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Print a list of names and values, aligned."""
    width = max(len(name) for name in pairs)
    console = make_console()
    for name, value in pairs.items():
        console.print(f"{name:<{width}}  {value}", markup=False, highlight=False, soft_wrap=True)


def make_console() -> Any:
    """Open standard output for tables."""
    return require("rich.console", "cli").Console(file=sys.stdout)


def print_components(description: Mapping[str, Any]) -> None:
    """Print the table of components: weight, and what is said of each in as many columns as fit.

    Parameters
    ----------
    description : mapping
        As `describe` gives it.
    """
    console = make_console()
    weights = np.array(description["weights"])
    shown = np.sort(np.argsort(-weights, kind="stable")[:MOST_COMPONENTS])
    columns = _moment_columns(description, shown) if "means" in description else _parameter_columns(description, shown)
    names, cells = list(columns), list(columns.values())
    fit = _how_many_fit(names, cells, console.width)
    table = require("rich.table", "cli").Table(box=require("rich.box", "cli").SIMPLE_HEAD)
    for heading in ("component", "weight", *(_shorten(name) for name in names[:fit])):
        table.add_column(require("rich.text", "cli").Text(heading), justify="right", no_wrap=True)
    for row, component in enumerate(shown):
        table.add_row(str(component), f"{weights[component]:.4f}", *(column[row] for column in cells[:fit]))
    console.print(table)
    left = [f"{len(weights) - len(shown)} lighter components"] if len(shown) < len(weights) else []
    left += [f"{len(names) - fit} more columns"] if fit < len(names) else []
    remarks = ["mean ± sd"] if "means" in description else []
    remarks += [f"not shown: {', '.join(left)}", "--json has them"] if left else []
    if remarks:
        console.print(f"({'; '.join(remarks)})", highlight=False)


def _moment_columns(description: Mapping[str, Any], shown: IntArray) -> dict[str, list[str]]:
    """Write mean and standard deviation of these components in each column."""
    means, sds = np.array(description["means"])[shown], np.array(description["sds"])[shown]
    return {name: _column(means[:, j], sds[:, j]) for j, name in enumerate(column_names(description))}


def _parameter_columns(description: Mapping[str, Any], shown: IntArray) -> dict[str, list[str]]:
    """Write the parameters of these components, but for matrices: they make no table."""
    written: dict[str, list[str]] = {}
    names = column_names(description)
    for parameter, values in _flat(description["parameters"]):
        values = values[shown]
        if values.size == len(shown):
            written[parameter] = [f"{value:.5g}" for value in values.ravel()]
        elif values.ndim == 2:
            for name, column in zip(names, values.T, strict=False):
                written[f"{parameter} {name}"] = [f"{value:.5g}" for value in column]
    return written


def _flat(parameters: Mapping[str, Any]) -> Iterator[tuple[str, FloatArray]]:
    """Yield names and arrays (k, ...), those of parts as well."""
    for name, values in parameters.items():
        if isinstance(values[0], Mapping):
            for i, part in enumerate(values):
                yield from ((f"{name}[{i}].{inner}", value) for inner, value in _flat(part))
        else:
            yield name, np.array(values)


def column_names(description: Mapping[str, Any]) -> list[str]:
    """Name the columns, by number where the data gave no names."""
    return description["columns"] or [str(j) for j in range(description["n_features"])]


def _shorten(name: str, length: int = 24) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _how_many_fit(names: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> int:
    used = 9 + 8 + 4  # component, weight, and their padding
    for fit, (name, column) in enumerate(zip(names, cells, strict=True)):
        used += max(CELL, len(_shorten(name)), *(len(cell) for cell in column)) + 2
        if used > width:
            return max(fit, 1)
    return len(names)


def _column(means: FloatArray, sds: FloatArray) -> list[str]:
    """Write means and standard deviations with one number of decimals: three digits of the smallest sd."""
    smallest, largest = float(sds.min()), float(np.abs(means).max())
    if not (smallest > 1e-6 and largest < 1e12 and math.isfinite(largest)):
        return [f"{mean:.4g} ± {sd:.3g}" for mean, sd in zip(means, sds, strict=True)]
    decimals = min(max(2 - math.floor(math.log10(smallest)), 0), 8)
    return [f"{mean:.{decimals}f} ± {sd:.{decimals}f}" for mean, sd in zip(means, sds, strict=True)]
