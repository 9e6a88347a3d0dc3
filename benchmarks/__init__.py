"""Benchmarks for asv: speed of a fixed number of passes, cost of the first fit, peak memory.

``asv run`` times them at full size. ``MIXTURA_BENCH_ROWS=1000`` in the environment caps the rows, for a run
that only shows that nothing is broken; its times mean nothing.
"""
