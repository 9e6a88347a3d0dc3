"""``mixtura warmup``: compile the kernels now, so that no job waits for them."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace

from mixtura.cli import _report
from mixtura.cli._errors import CommandError, Exit


def run(options: Namespace, parser: ArgumentParser) -> int:
    """Fill the cache of compiled kernels.

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

    Raises
    ------
    CommandError
        If the processor has no fused multiply-add: the kernels are then not used.
    """
    from mixtura.kernels.cache import directory
    from mixtura.kernels.simd import has_fma
    from mixtura.kernels.warmup import warm_up

    if not has_fma():
        raise CommandError("this processor has no fused multiply-add: fits use NumPy, and nothing is compiled")
    seconds: dict[str, float] = {}
    before = time.perf_counter()
    for name in warm_up():
        now = time.perf_counter()
        seconds[name], before = now - before, now
    if options.json:
        _report.print_json({"directory": str(directory()), "seconds": seconds})
        return Exit.OK
    _report.print_pairs(
        {**{name: f"ready after {spent:.2f} s" for name, spent in seconds.items()}, "cache": str(directory())}
    )
    return Exit.OK
