"""Data larger than memory: passes of EM over an array, a .npy and a Parquet file of the same rows, and their memory.

    python -m benchmarks.large [--rows N]

Each fit runs in a process of its own, in turn; the rate is that of the passes of EM, the files are in the page cache
if they fit there. The seconds of a whole fit contain the look over the data beforehand, and the spool of Parquet.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.compare import processor
from benchmarks.data import capped, fit_passes, start
from benchmarks.memory import STATUS, resident

KINDS = ("array", "npy", "parquet")
LEAST_RATIO = 0.85  # of the rate in memory
MOST_MB = 1500  # of a whole process that reads a file
COMPONENTS = 8
PART = 1 << 20  # rows drawn at a time


def make_files(directory, rows, columns):
    """Write the same rows, float32, to a .npy file and to a Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    names = [f"x{j}" for j in range(columns)]
    rng = np.random.default_rng(0)
    means = 0.7 * rng.standard_normal((COMPONENTS, columns), np.float32)
    schema = pa.schema([(name, pa.float32()) for name in names])
    with (directory / "rows.npy").open("wb") as raw, parquet.ParquetWriter(directory / "rows.parquet", schema) as table:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
        np.lib.format.write_array_header_1_0(raw, header)
        for begin in range(0, rows, PART):
            n = min(PART, rows - begin)
            x = rng.standard_normal((n, columns), np.float32) + means[rng.integers(COMPONENTS, size=n)]
            raw.write(x)
            table.write_table(pa.table(dict(zip(names, x.T, strict=True))))


def measure(kind, directory, updates):
    """Fit in this process, and return rows, rows/s of a pass, seconds of the fit, and peak MB of the process."""
    from mixtura.em import observe

    npy = directory / "rows.npy"
    first = np.array(np.load(npy, mmap_mode="r")[:COMPONENTS])
    data = np.load(npy) if kind == "array" else directory / f"rows.{kind}"
    fit_passes(first, 1, start(first[:1], 1, "full"))  # imports
    times = []
    begin = time.perf_counter()
    with observe(lambda *_: times.append(time.perf_counter())):
        fitted = fit_passes(data, updates, start(first, COMPONENTS, "full"))
    rows = round(fitted.result_.weight)
    rate = rows * updates / (times[-1] - times[0])
    return {"rows": rows, "rate": rate, "seconds": times[-1] - begin, "mb": resident("VmHWM") if STATUS.exists() else 0}


def measure_apart(kind, directory, updates):
    """Do the same in a new process."""
    command = [sys.executable, "-m", "benchmarks.large", "--child", kind, str(directory), "--updates", str(updates)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main(arguments=None):
    """Print the table and return 0, or 1 where a figure is not as it is to be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.large")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--child", nargs=2, metavar=("KIND", "DIRECTORY"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(measure(options.child[0], Path(options.child[1]), options.updates)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        make_files(Path(name), capped(options.rows), options.columns)
        runs = [
            {k: measure_apart(k, Path(name), options.updates) for k in options.kinds} for _ in range(options.rounds)
        ]
    return report(runs, options)


def report(runs, options):
    """Print medians over the rounds; return 1 where one is not as it is to be."""
    print(
        f"{processor()}; {runs[0][options.kinds[0]]['rows']:,} rows x {options.columns} float32, k={COMPONENTS}, full\n"
    )
    print(
        "| rows from | million rows/s in a pass | of that in memory | seconds of the fit | peak MB |\n"
        "|---|---|---|---|---|"
    )
    reached = True
    for kind in options.kinds:
        rate, seconds, mb = (statistics.median(run[kind][what] for run in runs) for what in ("rate", "seconds", "mb"))
        ratio = statistics.median(run[kind]["rate"] / run[options.kinds[0]]["rate"] for run in runs)
        reached &= kind == "array" or (ratio >= LEAST_RATIO and mb <= MOST_MB)
        print(f"| {kind} | {rate / 1e6:.1f} | {ratio:.2f} | {seconds:.1f} | {mb:.0f} |", flush=True)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
