"""Filling in what rows lack."""

from __future__ import annotations

from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mixtura._types import FloatArray
from mixtura.blocks import posterior_rows
from mixtura.estimators.reading import read
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.kernels.threads import using_threads
from mixtura.models.missing import draw, impute
from mixtura.models.mixture import Mixture, MixtureParams
from mixtura.survey import Bad, find_bad, refuse

Filled = tuple[FloatArray, Bad | None]


class Imputing:
    """What a fitted Gaussian mixture knows of missing values."""

    random_state: Any
    n_threads: int | None
    model_: Mixture[Any]
    params_: MixtureParams[Any]

    def impute(self, X: Any, draws: Any = None, random_state: Any = None) -> FloatArray:
        """Return the rows of `X` with their missing values filled in.

        Parameters
        ----------
        X : array-like, table, path or source, of shape (n, d)
            The rows; NaN is missing.
        draws : int, optional
            How many times to draw what is missing given what a row has, as multiple imputation wants it. By default
            its mean is taken, which is the best guess and has less spread than values have.
        random_state : int, RandomState or None
            Decides the draws; by default that of the estimator.

        Returns
        -------
        filled : (n, d) array, or (draws, n, d) array
            What is not missing is as it was, bit for bit. A row without any value gets the mean of the mixture, or a
            draw from it.

        Raises
        ------
        ValueError
            For rows that cannot be, and a number of draws that is none.

        Examples
        --------
        >>> import numpy as np
        >>> from mixtura import GaussianMixture
        >>> mixture = GaussianMixture(1, reg_covar=0).fit([[0.0, 1.0], [1.0, 3.5], [2.0, 5.0], [3.0, 6.5]])
        >>> mixture.impute([[4.0, np.nan], [np.nan, np.nan]]).round(6).tolist()
        [[4.0, 8.5], [1.5, 4.0]]
        """
        check_is_fitted(self)
        if draws is not None and (not isinstance(draws, Integral) or draws < 1):
            raise ValueError(f"draws is {draws!r}, expected a whole number from 1, or None for means")
        source = read(self, X, reset=False)
        model = self.model_.for_missing()
        step: Any = partial(_impute, model, self.params_, n_rows=source.n_rows)
        if draws is not None:
            random = check_random_state(self.random_state if random_state is None else random_state)
            seed = int(random.randint(np.iinfo(np.int32).max))
            step = partial(_draw, model, self.params_, n_rows=source.n_rows, draws=int(draws), seed=seed)
        parts, first = [], 0
        with using_threads(self.n_threads):
            for filled, bad in source.map_rows(step):
                if bad:
                    refuse(bad, first, source, model.family)
                parts.append(filled)
                first += filled.shape[-2]
        return np.concatenate(parts, axis=-2)


def _impute(model: Mixture[Any], params: MixtureParams[Any], chunk: Chunk, *, n_rows: int) -> Filled:
    """Return the rows of a chunk, filled with means, and the first value that cannot be."""
    family: Any = model.family
    filled = impute(family, params, chunk, compiled=model.compiles(n_rows, chunk.x.shape[1]))
    return filled, find_bad(chunk, model.family)


def _draw(
    model: Mixture[Any], params: MixtureParams[Any], chunk: Chunk, *, n_rows: int, draws: int, seed: int
) -> Filled:
    """Return the rows of a chunk, filled by draws (draws, n, d), and the first value that cannot be."""
    family: Any = model.family
    compiled = model.compiles(n_rows, chunk.x.shape[1])
    filled = []
    for block in chunk.split(BLOCK_ROWS):  # a generator for each: how rows are handed out changes no draw
        rng = np.random.default_rng([seed, block.first])
        resp = posterior_rows(model, params, block, compiled=compiled, wanted="shares").resp
        filled.append(np.stack([draw(family, params, block.packed().x, resp, rng) for _ in range(draws)]))
    return np.concatenate(filled, axis=1), find_bad(chunk, model.family)
