"""What `verbose` prints."""

from __future__ import annotations

from mixtura.em import Observer


def printer(verbose: int, interval: int) -> Observer:
    """Return an observer that prints the objective every `interval` iterations, if `verbose` is above 0."""

    def show(iteration: int, objective: float, max_iter: int) -> None:
        if verbose and iteration % interval == 0:
            print(f"iteration {iteration} of at most {max_iter}: objective {objective:.6f}")  # noqa: T201  # what verbose asks for

    return show
