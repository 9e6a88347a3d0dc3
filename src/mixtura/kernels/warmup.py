"""Compile every kernel, or load it from the cache, before it is needed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixtura.grid import Chunk
from mixtura.kernels import (
    alike,
    apart,
    gamma,
    gaussian_diag,
    gaussian_full,
    gaussian_missing,
    gaussian_narrow,
    gaussian_spherical,
    gaussian_tied,
    linear,
    lloyd,
    markov,
    nearest,
    states,
    student_t,
    tabulated,
)
from mixtura.kernels.cells import tally_rows
from mixtura.kernels.layout import COUNT, Layout
from mixtura.kernels.levels import Levels, Tables
from mixtura.kernels.markov_narrow import NarrowChain
from mixtura.kernels.segments import Bounds


def warm_up() -> Iterator[str]:
    """Run each kernel once on a few rows, and yield its name when it is ready."""
    d = 2
    x, unit, frame, peaks = np.zeros((8, d)), np.ones((1, d)), (np.zeros(d), np.ones(d)), np.zeros(1)
    kernels = {
        "diag, one column": (gaussian_diag, unit),
        "spherical": (gaussian_spherical, np.ones(1)),
        "full": (gaussian_narrow, np.eye(d)[None]),
        "full, many columns": (gaussian_full, np.eye(d)[None]),
        "tied": (gaussian_tied, np.eye(d)),
    }
    for name, (kernel, factor) in kernels.items():
        density = (*frame, unit, factor, peaks)
        list(kernel.e_blocks(Chunk(x), unit, peaks, *density))
        kernel.posterior_rows(x, *density, wanted="labels")
        yield name
    list(lloyd.e_blocks(Chunk(x), *frame, unit))
    nearest.assign_rows(x, *frame, unit, wanted="labels")
    apart.shortening(x)(np.zeros((1, len(x))), unit[None])
    yield "k-means"
    components = (*frame, np.eye(d)[None], unit, peaks, np.zeros(d))
    list(gaussian_missing.e_blocks(Chunk(x), unit, 1, *components))
    gaussian_missing.posterior_rows(x, *components, wanted="labels")
    gaussian_missing.impute_rows(x, *components)
    yield "values missing"
    tally_rows(Chunk(x[:, :1]), 0.0, 1.0, np.ones((1, 2)), 1.0, 2)
    yield "cells of one column"
    n, starts, logs = len(x), np.array([0, len(x)]), np.zeros((1, 1))
    bounds = Bounds(starts)
    for chain in (NarrowChain, markov.WideChain):
        chain.of(np.ones(1), np.ones((1, 1))).smooth(np.ones((n, 8)), np.zeros(n), bounds, np.ones(1))
    markov.decode(np.zeros((n, 1)), starts, logs[0], logs)
    states.Densities.of(*frame, unit, np.eye(d)[None], d, peaks).at(x)
    states.Moments.about(*frame, unit, d).over(x, np.ones((n, 1)))
    states.over_largest(np.zeros((n, 1)))
    if (kinds := alike.find_alike(np.zeros((n, 1)))) is not None:
        alike.look_up(np.zeros((1, 1)), kinds)
        alike.tally(np.ones((n, 1)), kinds)
    yield "hidden Markov chains"
    counts = (np.ones(d), Layout.of_columns(d, COUNT), unit, peaks)
    list(linear.e_blocks(Chunk(x), *counts))
    linear.posterior_rows(x, *counts, wanted="labels")
    yield "counts, categories, waiting times"
    sizes = (unit[0], unit, unit, unit, peaks)
    list(gamma.e_blocks(Chunk(x), *sizes))
    gamma.posterior_rows(x, *sizes, wanted="labels")
    yield "gamma"
    heavy = (*frame, unit, np.eye(d)[None], d, np.ones(1), peaks)
    list(student_t.e_blocks(Chunk(x), unit, *heavy))
    student_t.posterior_rows(x, *heavy, wanted="labels")
    yield "student t"
    list(tabulated.e_blocks(Chunk(x), peaks, _unit_tables))
    tabulated.posterior_rows(x, peaks, _unit_tables, wanted="labels")
    yield "counts by tables"


def _unit_tables(levels: Levels) -> Tables:
    """Return tables of ones of one component."""
    ones = np.ones((1, len(levels.counts)))
    return Tables.of(ones, ones, d=len(levels.voids))
