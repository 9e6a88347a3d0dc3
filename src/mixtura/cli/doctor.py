"""``mixtura doctor``: the installation, the machine, and a small fit as a test."""

from __future__ import annotations

import os
import platform
import time
from argparse import ArgumentParser, Namespace
from importlib import metadata
from typing import Any

from mixtura.cli import _report
from mixtura.cli._errors import CommandError, Exit, one_line

PACKAGES = (
    "mixtura",
    "numpy",
    "numba",
    "llvmlite",
    "scikit-learn",
    "narwhals",
    "pyarrow",
    "matplotlib",
    "pillow",
    "rich",
)
TEST_COMPONENTS = 2
TEST_COLUMNS = 2


def run(options: Namespace, parser: ArgumentParser) -> int:
    """Report on the installation.

    Parameters
    ----------
    options : Namespace
        The parsed arguments.
    parser : ArgumentParser
        Not needed here.

    Returns
    -------
    int
        0 if the test fit works.
    """
    test = _test()  # first: it fills the cache that is reported
    report = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        **_threads(),
        **_processor(),
        "cache": _cache(),
        "test": test,
    }
    if options.json:
        _report.print_json(report)
    else:
        _print(report)
    if not test["passed"]:
        raise CommandError(f"the test fit failed: {test['message']}")
    return Exit.OK


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _threads() -> dict[str, Any]:
    from mixtura.kernels.threads import default_threads

    return {"cores": os.cpu_count(), "threads": default_threads()}


def _processor() -> dict[str, Any]:
    from llvmlite import binding

    from mixtura.kernels.simd import has_fma

    try:
        features = dict(binding.get_host_cpu_features())
    except RuntimeError:  # LLVM does not know this processor's features
        features = {}
    forced = os.environ.get("NUMBA_CPU_NAME")
    return {
        "processor": forced or binding.get_host_cpu_name(),
        "fma": has_fma(),
        "avx2": features.get("avx2"),
        "avx512": features.get("avx512f"),
    }


def _cache() -> dict[str, Any]:
    """Look into the directory of compiled kernels, which the test fit has used."""
    from mixtura.kernels.cache import directory

    files = list(directory().glob("*.nb[ic]"))
    return {"directory": str(directory()), "files": len(files), "bytes": sum(file.stat().st_size for file in files)}


def _test() -> dict[str, Any]:
    """Fit two well-separated groups, and look whether they are found."""
    import numpy as np

    from mixtura import GaussianMixture
    from mixtura.models.mixture import COMPILED_WORK

    rows = 2 * COMPILED_WORK // (TEST_COMPONENTS * TEST_COLUMNS)  # the compiled kernel is taken
    X = np.random.default_rng(0).standard_normal((rows, TEST_COLUMNS))
    X[: rows // 4] += 10.0
    start = time.perf_counter()
    try:
        fitted = GaussianMixture(TEST_COMPONENTS, random_state=0).fit(X)
    except Exception as error:  # noqa: BLE001  # whatever it is, the report is where it belongs
        return {"passed": False, "message": one_line(error), "seconds": time.perf_counter() - start}
    seconds = time.perf_counter() - start
    share = float(min(fitted.weights_))
    passed = abs(share - 0.25) < 1e-3
    message = f"two groups of {rows:,} rows found" if passed else f"a share of {share:.4f}, not 0.25"
    return {"passed": passed, "message": message, "seconds": seconds}


def _print(report: dict[str, Any]) -> None:
    cache = report["cache"]
    simd = [name for name in ("fma", "avx2", "avx512") if report[name]]
    _report.print_pairs(
        {
            "python": f"{report['python']} on {report['platform']}",
            **{name: version or "not installed" for name, version in report["packages"].items()},
            "threads": f"{report['threads']} on {report['cores']} cores",
            "processor": f"{report['processor']} ({', '.join(simd) or 'no FMA'})",
            "cache": f"{cache['directory'] or 'none'}: {cache['files']} files, {cache['bytes'] / 1e6:.1f} MB",
            "test fit": f"{report['test']['message']}, {report['test']['seconds']:.2f} s",
        }
    )
