"""What makes a fit the fit that it is: only with the same data and options may it go on from a checkpoint."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from typing import Any

from mixtura.checkpoint import Checkpoint
from mixtura.estimators.loading import OF_THE_RUN, plain_option
from mixtura.model import Source
from mixtura.values import leaves

WITHOUT_EFFECT = OF_THE_RUN | {"n_threads", "verbose", "verbose_interval"}  # on any bit


def open_checkpoint(
    estimator: Any, source: Source, *, warm: bool, **more: Any
) -> AbstractContextManager[Checkpoint | None]:
    """Return the checkpoint that an estimator's options name, or nothing, for a ``with`` block.

    What a fit depends on besides, plain values, comes as `more`.
    """
    if estimator.checkpoint is None:
        return nullcontext()
    options = estimator.get_params(deep=False)
    identity = {
        "estimator": type(estimator).__name__,
        "number of rows": source.n_rows,
        "number of columns": source.n_features,
        "fingerprint of the data": source.fingerprint,
        **{name: _tell(value) for name, value in options.items() if name not in WITHOUT_EFFECT},
        **more,
    }
    if warm:
        digest = blake2b(b"".join(leaf.tobytes() for leaf in leaves(estimator.params_)), digest_size=8)
        identity["digest of the parameters to start from"] = digest.hexdigest()
    return Checkpoint(estimator.checkpoint, identity)


def _tell(value: Any) -> Any:
    """Return an option as a value that JSON holds; a family that a model file does not know tells what it is."""
    try:
        return plain_option(value)
    except TypeError:
        return repr(value)
