"""What makes a fit the fit that it is: only with the same data and options may it go on from a checkpoint."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from typing import Any

import numpy as np

from mixtura.checkpoint import Checkpoint
from mixtura.model import Source
from mixtura.values import leaves

WITHOUT_EFFECT = {"callback", "checkpoint", "max_time", "n_threads", "verbose", "verbose_interval"}  # on any bit


def open_checkpoint(estimator: Any, source: Source, *, warm: bool) -> AbstractContextManager[Checkpoint | None]:
    """Return the checkpoint that an estimator's options name, or nothing, for a ``with`` block."""
    if estimator.checkpoint is None:
        return nullcontext()
    options = estimator.get_params(deep=False)
    identity = {
        "estimator": type(estimator).__name__,
        "number of rows": source.n_rows,
        "number of columns": source.n_features,
        "fingerprint of the data": source.fingerprint,
        **{name: _plain(value) for name, value in options.items() if name not in WITHOUT_EFFECT},
    }
    if warm:
        digest = blake2b(b"".join(leaf.tobytes() for leaf in leaves(estimator.params_)), digest_size=8)
        identity["digest of the parameters to start from"] = digest.hexdigest()
    return Checkpoint(estimator.checkpoint, identity)


def _plain(value: Any) -> Any:
    """Return an option as a value that JSON holds; a random state that is not a number counts as none."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.random.RandomState, np.random.Generator)):
        return None
    array = np.asarray(value)
    return repr(value) if array.dtype == object else array.tolist()
