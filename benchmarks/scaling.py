"""How the time of an update grows with threads, rows, components and columns: tables and a plot.

    python -m benchmarks.scaling [--quick] [--table FILE] [--plot FILE]

A time is that of the updates between a short and a long fit, as in `benchmarks.compare`; the median of some rounds. A
round with one thread and with two also times a product of matrices by NumPy's BLAS: its ratio tells what a second
thread is worth on this machine while others use it too.
"""

import argparse
import statistics
import sys
import warnings
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.compare import dgemm_rate, fit_mixtura, processor
from benchmarks.data import capped, clusters, start

UPDATES = (2, 22)  # the first of few would find a processor that has to wake up
ROWS = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
COMPONENTS = (4, 8, 16, 32, 64)
COLUMNS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
THREADED = (
    (1, 8, 1_000_000),
    (2, 8, 1_000_000),
    (8, 8, 200_000),
    (16, 16, 100_000),
    (32, 16, 50_000),
    (64, 16, 50_000),
)


def nanoseconds(n, d, k, rounds):
    """Return the median time of one update with full covariances, in ns a row."""
    x = clusters(capped(n), d, k)
    options = start(x, k, "full")
    fit_mixtura(x, options, 1)  # compiles
    return statistics.median(update(x, options) for _ in range(rounds))


def update(x, options):
    """Return the time of one update, in ns a row."""
    short, long = (fit_mixtura(x, options, updates) for updates in UPDATES)
    return (long[0] - short[0]) / (long[1] - short[1]) / len(x) * 1e9


def by_threads(n, d, k, rounds):
    """Return median ns a row and component with one thread and with two, and median ratios: of these, of BLAS."""
    x = clusters(capped(n), d, k)
    options = start(x, k, "full")
    fit_mixtura(x, options, 1)
    times, rates = {1: [], 2: []}, {1: [], 2: []}
    for _ in range(rounds):
        for threads in (1, 2):
            times[threads].append(update(x, options | {"n_threads": threads}) / k)
            with threadpool_limits(threads, user_api="blas"):
                rates[threads].append(dgemm_rate(capped(1500), rounds=1))
    ratio = statistics.median(one / two for one, two in zip(times[1], times[2], strict=True))
    possible = statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))
    return statistics.median(times[1]), statistics.median(times[2]), ratio, possible


def measure(rounds):
    """Return a table of (title, header, rows of numbers) for each question."""
    threaded = [(f"d={d}, k={k}", *by_threads(n, d, k, rounds)) for d, k, n in THREADED]
    return {
        "threads": (("case", "1 thread, ns", "2 threads, ns", "ratio", "of a matrix product"), threaded),
        "rows": (("rows", "ns a row"), [(n, nanoseconds(n, 4, 8, rounds=rounds)) for n in ROWS]),
        "components": (
            ("k", "ns a row and component"),
            [(k, nanoseconds(100_000, 8, k, rounds=rounds) / k) for k in COMPONENTS],
        ),
        "columns": (
            ("d", "ns a row and component", "the same over d (d + 1)"),
            [
                (d, ns, ns / (d * (d + 1)))
                for d in COLUMNS
                for ns in [nanoseconds(3_000_000 // (10 + d), d, 16, rounds=rounds) / 16]
            ],
        ),
    }


def markdown(tables):
    """Return the tables as Markdown."""
    lines = []
    for header, rows in tables.values():
        lines += ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
        lines += [
            "| " + " | ".join(cell if isinstance(cell, str) else f"{cell:.4g}" for cell in row) + " |" for row in rows
        ]
        lines.append("")
    return "\n".join(lines)


def draw(tables, path):
    """Draw growth with rows, components and columns side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    labels = {"rows": "rows", "components": "components k", "columns": "columns d"}
    for axes, (name, label) in zip(figure.subplots(1, 3), labels.items(), strict=True):
        header, rows = tables[name]
        axes.plot([row[0] for row in rows], [row[1] for row in rows], marker="o", color="#1f6f8b")
        axes.set(xscale="log", xlabel=label, ylabel=header[1])
        if name != "rows":
            axes.set_xticks(ticks := [row[0] for row in rows][:: 2 if name == "columns" else 1], map(str, ticks))
            axes.minorticks_off()
        if name == "columns":
            last, time = rows[-1][:2]
            axes.plot([8, last], [time * (8 / last) ** 2, time], ls="--", color="#888888", label="$d^2$")
            axes.set_yscale("log")
            axes.legend(frameon=False)
        else:
            axes.set_ylim(0, 1.15 * max(row[1] for row in rows))
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main(arguments=None):
    """Print the tables, and write them and the plot where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], prog="python -m benchmarks.scaling")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the tables to FILE, as Markdown")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the plot to FILE")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # not converged: that is the point
    tables = measure(1 if options.quick else 5)
    text = f"{processor()}\n\n{markdown(tables)}"
    print(text)
    if options.table:
        options.table.write_text(text)
    if options.plot:
        draw(tables, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
