"""``mixtura predict``: labels, probabilities and log densities of the rows of a file."""

from __future__ import annotations

import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixtura.cli import _report
from mixtura.cli._errors import CommandError, Exit, require
from mixtura.cli._read import Data, File, open_data, read
from mixtura.cli._write import check_output, replacing
from mixtura.cli.fit import naming, split_names
from mixtura.cli.info import load_model

ROWS = 2**17  # rows predicted and written at a time: what is held does not grow with the file

Write = Callable[[dict[str, NDArray[Any]]], None]


def run(options: Namespace, parser: ArgumentParser) -> int:
    """Predict, write what was asked for, and report.

    Parameters
    ----------
    options : Namespace
        The parsed arguments.
    parser : ArgumentParser
        Not needed here.

    Returns
    -------
    int
        0.
    """
    path = check_output(options.output, tuple(_WRITERS)) if options.output else None
    if path and path.exists() and Path(options.data).exists() and path.samefile(options.data):
        raise CommandError(f"{path}: is DATA itself, which would be lost")
    estimator = load_model(options.model)
    file = open_data(options.data)
    data = read(file, split_names(options.columns) or _model_columns(estimator, file))
    if len(data.names) != estimator.n_features_in_:
        raise CommandError(
            f"{options.data}: {len(data.names)} columns, but the model has {estimator.n_features_in_}; "
            "choose them with --columns"
        )
    if data.n_rows == 0:
        raise CommandError(f"{options.data}: no rows")
    with naming(options.data):
        summary = _predict(estimator, data, path)
    report = {"model": options.model, "data": options.data, "rows": data.n_rows, **summary}
    report["written"] = options.output
    if options.json:
        _report.print_json(report)
    elif not options.quiet:
        _print(report)
    return Exit.OK


def _model_columns(estimator: Any, file: File) -> list[str] | None:
    """Name the columns that the model was fitted to, if both it and the file know names."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None or not file.named else [str(name) for name in names]


def _predict(estimator: Any, data: Data, path: Path | None) -> dict[str, Any]:
    counts = np.zeros(len(estimator.weights_), dtype=np.int64)
    total = 0.0
    with ExitStack() as stack:
        write: Write = lambda columns: None  # noqa: E731  # a def would hide that it does nothing
        if path:
            draft = stack.enter_context(replacing(path))
            write = stack.enter_context(_WRITERS[path.suffix.lower()](draft, data.n_rows))
        for columns in _blocks(estimator, data):
            write(columns)
            counts += np.bincount(columns["label"], minlength=len(counts))
            total += float(columns["log_density"].sum())
    return {"counts": counts.tolist(), "loglik": total, "mean_loglik": total / data.n_rows}


def _blocks(estimator: Any, data: Data) -> Iterator[dict[str, NDArray[Any]]]:
    for start in range(0, data.n_rows, ROWS):
        block = data.X[start : start + ROWS]
        with warnings.catch_warnings():
            # Columns were matched by name, or by number where a file or the model has no names.
            warnings.filterwarnings("ignore", message="X .* feature names")
            try:
                probabilities = np.asarray(estimator.predict_proba(block))
            except ValueError:
                estimator.score_samples(data.X[: start + ROWS])  # says the same, but counts rows from the first
                raise
            log_density = np.asarray(estimator.score_samples(block))
        columns: dict[str, NDArray[Any]] = {"label": probabilities.argmax(axis=1).astype(np.int64)}
        columns |= {f"probability_{k}": probabilities[:, k] for k in range(probabilities.shape[1])}
        yield columns | {"log_density": log_density}


def _print(report: dict[str, Any]) -> None:
    pairs = {f"component {k}": f"{count:>12,} rows" for k, count in enumerate(report["counts"])}
    pairs["log density"] = f"{report['mean_loglik']:.6f} a row"
    if report["written"]:
        pairs["written"] = report["written"]
    _report.print_pairs(pairs)


class _Arrow:
    """A writer of Arrow tables that opens with the first block, whose columns it takes."""

    def __init__(self, draft: Path, n_rows: int) -> None:
        self._draft = draft
        self._writer: Any = None

    def __enter__(self) -> Write:
        self._arrow = require("pyarrow", "cli")
        return self._write

    def _write(self, columns: dict[str, NDArray[Any]]) -> None:
        table = self._arrow.table(columns)
        if self._writer is None:
            self._writer = self._open(table.schema)
        self._writer.write_table(table)

    def _open(self, schema: Any) -> Any:
        return require("pyarrow.parquet", "cli").ParquetWriter(self._draft, schema)

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()


class _Csv(_Arrow):
    def _open(self, schema: Any) -> Any:
        return require("pyarrow.csv", "cli").CSVWriter(str(self._draft), schema)


class _Npy:
    """A writer of one structured array, filled on disk block by block."""

    def __init__(self, draft: Path, n_rows: int) -> None:
        self._draft, self._n_rows = draft, n_rows
        self._rows: Any = None
        self._done = 0

    def __enter__(self) -> Write:
        return self._write

    def _write(self, columns: dict[str, NDArray[Any]]) -> None:
        if self._rows is None:
            kind = np.dtype([(name, column.dtype) for name, column in columns.items()])
            self._rows = np.lib.format.open_memmap(self._draft, "w+", kind, (self._n_rows,))
        stop = self._done + len(columns["label"])
        for name, column in columns.items():
            self._rows[name][self._done : stop] = column
        self._done = stop

    def __exit__(self, *error: object) -> None:
        if self._rows is not None:
            self._rows.flush()
        self._rows = None


_WRITERS: dict[str, Any] = {".parquet": _Arrow, ".csv": _Csv, ".npy": _Npy}
