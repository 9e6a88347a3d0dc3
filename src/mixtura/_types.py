"""Array types shared by all modules."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

Wanted = Literal["labels", "densities", "shares"]  # how much of a posterior: each with what is before it
