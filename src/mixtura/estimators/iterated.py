"""What all estimators share that are fitted by the one loop: its options, and what is known after a fit."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mixtura.acceleration import Ascent, Plain, QuasiNewton
from mixtura.checkpoint import Checkpoint
from mixtura.em import EMResult, State, observe
from mixtura.estimators.resuming import open_checkpoint
from mixtura.estimators.verbose import printer
from mixtura.kernels.threads import using_threads
from mixtura.model import Source

QUASI_NEWTON = "quasi-newton"

logger = logging.getLogger(__name__)


class Iterated(BaseEstimator):
    """An estimator whose parameters are found by EM; subclasses set attributes of their own in `_set_params`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "acceleration": [None, StrOptions({QUASI_NEWTON})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [None, Interval(Integral, 1, None, closed="left")],
        "checkpoint": [None, str, PathLike],
        "max_time": [None, Interval(Real, 0.0, None, closed="neither")],
        "callback": [None, callable],
    }

    def _ascent(self) -> Ascent:
        return Plain() if self.acceleration is None else QuasiNewton()

    @contextmanager
    def _running(self, source: Source, *, warm: bool) -> Iterator[Checkpoint | None]:
        """Let fits inside use the threads, observers and the checkpoint that the options name; yield the last."""
        with (
            using_threads(self.n_threads),
            observe(printer(self.verbose, self.verbose_interval)),
            observe(self.callback or ignore),
            open_checkpoint(self, source, warm=warm) as checkpoint,
        ):
            yield checkpoint

    def _deadline(self) -> float:
        """Return when a fit that begins now is to end, by ``time.monotonic()``."""
        return math.inf if self.max_time is None else time.monotonic() + self.max_time

    def _forget(self) -> None:
        """Delete what an earlier fit has found."""
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)

    def _set_params(self, model: Any, params: Any) -> None:
        raise NotImplementedError

    def _set_fitted(self, model: Any, result: EMResult[Any]) -> None:
        self._set_params(model, result.params)
        self.result_ = result
        self._set_value(result.loglik)
        self.converged_ = result.converged
        self.n_iter_ = result.n_iter

    def _set_value(self, loglik: float) -> None:
        """Set what the fit has come to."""
        self.loglik_ = loglik

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted model to a JSON file that `mixtura.load` reads back bit for bit."""
        from mixtura.estimators.loading import save

        check_is_fitted(self)
        save(self, path)


def tell_restarts(results: Sequence[EMResult[Any]]) -> None:
    """Log how each restart ended."""
    for number, result in enumerate(results):
        logger.info("restart %d, after %d iterations: %s", number, result.n_iter, result.status.message)


def ignore(state: State[Any]) -> None:
    """Take no notice: the callback where none is given."""
