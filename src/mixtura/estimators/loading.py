"""Saving a fitted estimator as data, and `load`."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from importlib import import_module
from os import PathLike, fspath
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from mixtura import families, priors
from mixtura.em import EMResult, Status
from mixtura.exceptions import ModelFileError
from mixtura.model import Event
from mixtura.models.mixture import MixtureParams
from mixtura.persistence import decode, encode, read_array, read_json, write_atomically
from mixtura.result import Agreement

FORMAT = "mixtura model"
VERSION = 1  # of the file; newer code reads older files
DERIVED = "derived"  # in the place of a result: of a mixture that follows from a fitted one and saw no rows itself
OF_THE_ROWS = ("n_missing_", "n_empty_")  # what is known of them beside the result, where they may lack values
INFINITE = "infinite"  # what an option is in whose place JSON has no number
OF_THE_RUN = {"callback", "checkpoint", "max_time"}  # options of one fit, not of the model

_ESTIMATORS = {
    "CategoricalHMM": "mixtura.estimators.named_hmm",
    "GaussianHMM": "mixtura.estimators.named_hmm",
    "GaussianMixture": "mixtura.estimators.gaussian_mixture",
    "HMM": "mixtura.estimators.hmm",
    "KMeans": "mixtura.estimators.kmeans",
    "MixtureModel": "mixtura.estimators.mixture_model",
    "PoissonHMM": "mixtura.estimators.named_hmm",
}

_KNOWN = {name: getattr(module, name) for module in (families, priors) for name in module.__all__}


def save(estimator: Any, path: str | PathLike[str]) -> None:
    """Write a fitted estimator to a JSON file, whole or not at all."""
    options = estimator.get_params(deep=False)
    data = {
        "format": FORMAT,
        "version": VERSION,
        "estimator": type(estimator).__name__,
        "options": {name: plain_option(value) for name, value in options.items() if name not in OF_THE_RUN},
        "n_features": estimator.n_features_in_,
        "feature_names": getattr(estimator, "feature_names_in_", np.array([])).tolist() or None,
        **_describe_params(estimator.params_),
        "result": _describe_result(estimator.result_) if hasattr(estimator, "result_") else DERIVED,
        "rows": {name: int(getattr(estimator, name)) for name in OF_THE_ROWS if hasattr(estimator, name)},
    }
    text = json.dumps(data, indent=1, allow_nan=False, default=np.ndarray.tolist)
    write_atomically(path, f"{text}\n".encode())


def _describe_params(params: Any) -> dict[str, Any]:
    if isinstance(params, MixtureParams):  # how the fit came to them is left out
        return {"weights": encode(params.weights), "components": encode(params.components)}
    return {"parameters": encode(params)}


def _read_params(model: Any, data: dict[str, Any]) -> Any:
    if "parameters" in data:
        return model.decode(data["parameters"])
    return MixtureParams(
        weights=read_array(data.get("weights"), "weights"),
        components=decode(model.family.params_type, data.get("components"), "components"),
    )


def _describe_result(result: EMResult[Any]) -> dict[str, Any]:
    return {
        "status": result.status.name,
        "objective": result.objective.tolist(),
        "loglik": result.loglik,
        "weight": result.weight,
        "n_iter": result.n_iter,
        "n_passes": result.n_passes,
        "events": [event.to_list() for event in result.events],
        "agreement": result.agreement.to_list(),
    }


def load(path: str | PathLike[str]) -> Any:
    """Return the fitted estimator that `save` wrote, with the same bits.

    Parameters
    ----------
    path : str or path-like
        A model file. It is data, not code: reading one from elsewhere is safe.

    Returns
    -------
    GaussianMixture, MixtureModel, HMM or KMeans
        Fitted; `random_state` is kept if it was a number.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is no model file or is damaged; the message names the place.

    Examples
    --------
    >>> import tempfile, os
    >>> from mixtura import GaussianMixture, load
    >>> path = os.path.join(tempfile.mkdtemp(), "model.json")
    >>> GaussianMixture(1).fit([0.0, 1.0, 2.0]).save(path)
    >>> load(path).means_.tolist()
    [[1.0]]
    """
    data = read_json(path)
    try:
        return _build(data)
    except ModelFileError as error:
        raise ModelFileError(f"{fspath(path)}: {error}") from None


def _build(data: dict[str, Any]) -> Any:
    if data.get("format") != FORMAT:
        raise ModelFileError(f"not a model file: expected format {FORMAT!r}")
    if data.get("version") != VERSION:
        raise ModelFileError(f"version {data.get('version')!r} is not known here, expected {VERSION}: update mixtura")
    estimator = _make_estimator(_get(data, "estimator", str), _get(data, "options", dict))
    model = estimator._make_model()
    try:
        params = _read_params(model, data)
        model.check(params, _get(data, "n_features", int))
    except ValueError as error:
        raise ModelFileError(str(error)) from None
    names = data.get("feature_names")
    estimator.n_features_in_ = data["n_features"]
    if names is not None:
        if not isinstance(names, list) or len(names) != data["n_features"]:
            raise ModelFileError(f"feature_names: expected {data['n_features']} names")
        estimator.feature_names_in_ = np.array([str(name) for name in names], dtype=object)
    if data.get("result") == DERIVED:
        estimator._set_params(model, params)
    else:
        estimator._set_fitted(model, _read_result(_get(data, "result", dict), params))
    if "rows" in data:
        rows = _get(data, "rows", dict)
        for name in rows.keys() & set(OF_THE_ROWS):
            setattr(estimator, name, _get(rows, name, int))
    return estimator


def _make_estimator(name: str, options: dict[str, Any]) -> Any:
    if name not in _ESTIMATORS:
        raise ModelFileError(f"estimator: {name!r} is not one of {', '.join(_ESTIMATORS)}")
    options = {key: _rebuild(value, f"options.{key}") for key, value in options.items()}
    kind: type[BaseEstimator] = getattr(import_module(_ESTIMATORS[name]), name)
    try:
        estimator = kind(**options)
        estimator._validate_params()
        estimator._make_model()
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"options: {error}") from None
    return estimator


def _read_result(data: dict[str, Any], params: Any) -> EMResult[Any]:
    try:
        loglik, weight = (float(read_array(data[name], f"result.{name}").reshape(())) for name in ("loglik", "weight"))
        if weight <= 0:
            raise ModelFileError("result.weight: expected a positive number")
        return EMResult(
            params=params,
            status=Status[data["status"]],
            objective=read_array(data["objective"], "result.objective").reshape(int(data["n_iter"]) + 1),
            loglik=loglik,
            weight=weight,
            n_iter=int(data["n_iter"]),
            n_passes=int(data["n_passes"]),
            events=tuple(Event.from_list(values) for values in data["events"]),
            agreement=Agreement.from_list(data["agreement"]) if "agreement" in data else Agreement(),
        )
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"result: {type(error).__name__} {error}") from None


def _get(data: dict[str, Any], key: str, kind: type) -> Any:
    value = data.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ModelFileError(f"{key}: expected {kind.__name__}, found {type(value).__name__}")
    return value


def _describe(value: Any) -> dict[str, Any]:
    """Return a family, a prior, or an option of one, by the name of its class and its fields."""
    name = type(value).__name__
    if _KNOWN.get(name) is not type(value):
        raise TypeError(
            f"{name} is not of mixtura.families or mixtura.priors: a model with it can be pickled, not saved"
        )
    return {"type": name, **{f.name: plain_option(getattr(value, f.name)) for f in fields(value)}}


def _rebuild(data: Any, where: str) -> Any:
    """Return what `_describe` described; only classes that `mixtura.families` and `mixtura.priors` export are made."""
    if isinstance(data, list):
        return [_rebuild(value, f"{where}[{i}]") for i, value in enumerate(data)]
    if not isinstance(data, dict):
        return data
    if data.get(INFINITE) in ("inf", "-inf"):
        return float(data[INFINITE])
    name = data.get("type")
    if not isinstance(name, str) or name not in _KNOWN:
        raise ModelFileError(f"{where}.type: {name!r} is not one of {', '.join(_KNOWN)}")
    options = {key: _rebuild(value, f"{where}.{key}") for key, value in data.items() if key != "type"}
    try:
        return _KNOWN[name](**options)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{where}: {error}") from None


def plain_option(value: Any) -> Any:
    """Return an option as JSON holds it; a random state that is not a number is left out."""
    if isinstance(value, float) and not math.isfinite(value):
        return {INFINITE: str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.random.RandomState):
        return None
    if is_dataclass(value):
        return _describe(value)
    if isinstance(value, (list, tuple)):
        return [plain_option(part) for part in value]
    return np.asarray(value).tolist()
