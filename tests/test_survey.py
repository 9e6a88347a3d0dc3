"""What one look over the data tells, put together from pieces: the same as of all rows at once."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixtura import survey
from mixtura.families import Full, Gaussian
from mixtura.grid import BLOCK_ROWS
from mixtura.kernels.threads import using_threads
from mixtura.sources import ArraySource

N, D = 6 * BLOCK_ROWS + 77, 3


def rows(*, missing):
    x = np.random.default_rng(0).standard_normal((N, D))
    if missing:
        x[np.random.default_rng(1).random((N, D)) < 0.2] = np.nan
        x[[5, N - 1]] = np.nan
    return x


def weights(kind):
    if kind == "none":
        return None
    weight = np.random.default_rng(2).gamma(2.0, size=N)
    if kind == "some 0":
        weight[::3] = 0.0
    return weight


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("chunk_rows", [10**6, 2 * BLOCK_ROWS])
@pytest.mark.parametrize("kind", ["none", "positive", "some 0"])
@pytest.mark.parametrize("missing", [False, True])
def test_pieces_tell_what_all_rows_tell(missing, kind, chunk_rows, threads, monkeypatch):
    monkeypatch.setattr(survey, "LOOK_VALUES", D * BLOCK_ROWS)
    x, weight = rows(missing=missing), weights(kind)
    if kind == "some 0":
        x[3], x[-2] = 1e9, -1e9
        weight[[3, -2]] = 0.0  # of no weight, so they are in no range
    counted = x if weight is None else x[weight > 0]
    with using_threads(threads):
        found = survey.survey(ArraySource(x, weight, chunk_rows=chunk_rows), Gaussian(Full()).for_missing())
    assert_array_equal(found.low, np.nanmin(counted, axis=0))
    assert_array_equal(found.high, np.nanmax(counted, axis=0))
    assert found.n_missing == np.isnan(x).sum()
    assert found.n_empty == np.isnan(x).all(axis=1).sum()
    assert found.heaviest == (1.0 if weight is None else weight.max())
    assert_allclose(found.weight, N if weight is None else weight.sum(), rtol=1e-14)
