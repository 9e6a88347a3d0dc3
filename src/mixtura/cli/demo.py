"""``mixtura demo``: the colors of a photograph as a mixture, and the photograph in those colors."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixtura.cli import _report
from mixtura.cli._errors import CommandError, require
from mixtura.cli._read import Data
from mixtura.cli.fit import exit_code, fit_and_describe, print_fit
from mixtura.persistence import replacing
from mixtura.sources import as_source

PHOTOGRAPH = "china.jpg"
CHANNELS = ["red", "green", "blue"]
COMPONENTS = 8
# A color is rounded to a whole number, which adds a variance of 1/12: components no narrower than
# that cannot collapse onto one color, of which the overexposed sky would give them plenty.
ROUNDING_VARIANCE = 1 / 12
OPTIONS: dict[str, Any] = {
    "n_components": COMPONENTS,
    "reg_covar": ROUNDING_VARIANCE,
    "max_iter": 300,
    "random_state": 0,
}
GAP = 8  # pixels between the two pictures, and above the palette
STRIP = 28  # height of the palette


def run(options: Namespace, parser: ArgumentParser) -> int:
    """Fit, write the model and the pictures, and report.

    Parameters
    ----------
    options : Namespace
        The parsed arguments.
    parser : ArgumentParser
        Not needed here.

    Returns
    -------
    int
        0, or 3 if the fit has not converged.
    """
    start = time.perf_counter()
    require("matplotlib", "plot")
    require("PIL", "plot")
    arrow = require("pyarrow", "cli")
    directory = _directory(options.out)
    photograph = _load()
    pixels = photograph.reshape(-1, 3).astype(np.float64)
    table = arrow.table(dict(zip(CHANNELS, pixels.T.copy(), strict=True)))
    data = Data(as_source(table), CHANNELS, PHOTOGRAPH)

    from mixtura import GaussianMixture

    estimator = GaussianMixture(**OPTIONS)
    report, _ = fit_and_describe(estimator, data, quiet=options.json)
    files = _write(estimator, table, photograph, directory)
    written = {name: str(path) for name, path in files.items()}
    report |= written | {"total_seconds": time.perf_counter() - start}
    if options.json:
        _report.print_json(report)
    else:
        print_fit(report, written | {"all in all": f"{report['total_seconds']:.1f} s"})
    return exit_code(estimator)


def _directory(name: str) -> Path:
    directory = Path(name)
    if directory.exists() and not directory.is_dir():
        raise CommandError(f"{directory}: is a file, expected a directory")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _load() -> NDArray[np.uint8]:
    datasets = require("sklearn.datasets", "cli")
    return np.asarray(datasets.load_sample_image(PHOTOGRAPH), dtype=np.uint8)


def _write(estimator: Any, table: Any, photograph: NDArray[np.uint8], directory: Path) -> dict[str, Path]:
    from mixtura import plot

    files = {
        "written": directory / "model.json",
        "segments": directory / "segments.png",
        "plot": directory / "fit.png",
    }
    with replacing(files["written"]) as draft:
        estimator.save(draft)
    with replacing(files["segments"]) as draft:
        _compose(photograph, estimator, table).save(draft, format="PNG")
    with replacing(files["plot"]) as draft:
        plot.save(plot.prepare(estimator, table), draft)
    return files


def _compose(photograph: NDArray[np.uint8], estimator: Any, table: Any) -> Any:
    """Put the photograph beside its segments; below, each color as wide as the weight of its component."""
    image = require("PIL.Image", "plot")
    palette = np.clip(np.round(estimator.means_), 0, 255).astype(np.uint8)
    segments = palette[estimator.predict(table)].reshape(photograph.shape)
    height, width, _ = photograph.shape
    canvas = image.new("RGB", (2 * width + GAP, height + GAP + STRIP), "white")
    canvas.paste(image.fromarray(photograph), (0, 0))
    canvas.paste(image.fromarray(segments), (width + GAP, 0))
    strip = _strip(palette, np.asarray(estimator.weights_), canvas.width)
    canvas.paste(image.fromarray(strip), (0, height + GAP))
    return canvas


def _strip(palette: NDArray[np.uint8], weights: NDArray[np.float64], width: int) -> NDArray[np.uint8]:
    """Lay the colors side by side, the darkest first."""
    order = np.argsort(palette.sum(axis=1, dtype=np.int64))
    middles = (np.arange(width) + 0.5) / width
    which = np.searchsorted(np.cumsum(weights[order])[:-1], middles)
    return np.broadcast_to(palette[order][which], (STRIP, width, 3)).copy()
