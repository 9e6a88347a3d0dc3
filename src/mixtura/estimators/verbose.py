"""What `verbose` prints."""

from __future__ import annotations

from typing import Any

from mixtura.observers import Observer, State


def printer(verbose: int, interval: int) -> Observer:
    """Return an observer that prints the objective every `interval` iterations, if `verbose` is above 0."""

    def show(state: State[Any]) -> None:
        if verbose and state.iteration % interval == 0:
            print(f"iteration {state.iteration} of at most {state.max_iter}: objective {state.objective:.6f}")  # noqa: T201  # what verbose asks for

    return show
