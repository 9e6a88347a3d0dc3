"""Rows as far away as numbers go: a kernel that overflows there would make a NaN of what is to be next to nothing."""

import functools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixtura import GaussianMixture, KMeans, MixtureModel
from mixtura.blocks import fold_blocks
from mixtura.estimators.prediction import posteriors
from mixtura.families import Exponential, Gamma, StudentT
from mixtura.grid import Chunk
from mixtura.models import Mixture
from mixtura.models import kmeans as clusters
from mixtura.sources import ArraySource
from mixtura.values import same_bits

KINDS = {
    "full": GaussianMixture(2, random_state=0),
    "tied": GaussianMixture(2, covariance_type="tied", random_state=0),
    "diag": GaussianMixture(2, covariance_type="diag", random_state=0),
    "spherical": GaussianMixture(2, covariance_type="spherical", random_state=0),
    "missing": GaussianMixture(2, random_state=0),
    "student": MixtureModel(StudentT(), 2, random_state=0),
    "gamma": MixtureModel(Gamma(), 2, random_state=0),
    "exponential": MixtureModel(Exponential(), 2, random_state=0),
    "kmeans": KMeans(2, random_state=0),
}
FARTHEST = np.finfo(np.float64).max


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@functools.cache
def fitted(kind, d):
    """Return a model, parameters that fit 300 narrow rows, and these rows."""
    rng = np.random.default_rng(d)
    x = (np.exp(rng.normal(size=(300, d))) + np.repeat([0.0, 9.0], 150)[:, None]) / 1000
    found = KINDS[kind].fit(x)
    return found.model_.for_missing() if kind == "missing" else found.model_, found.params_, x


@pytest.fixture(params=[1, 3, 9])
def case(request, kind):
    """A model, parameters that fit narrow rows, and these rows with one of them as far away as it can be."""
    d = request.param
    model, params, x = fitted(kind, d)
    x, far = x.copy(), x.copy()
    far[7] = FARTHEST * (1 if kind in ("gamma", "exponential") else (-1) ** np.arange(d))
    if kind == "missing":
        x[20, 0] = far[20, 0] = np.nan
    return model, params, x, far


def test_of_weight_0_they_change_no_bit(case):
    model, params, x, far = case
    weight = np.ones(len(x))
    weight[7] = 0.0
    near, away = (fold_blocks(model, params, Chunk(rows, weight), compiled=True).total() for rows in (x, far))
    assert near.is_finite()
    assert same_bits(near, away)


def test_their_posterior_does_not_depend_on_how_many_rows_there_are(case, monkeypatch):
    """So many that they repay a kernel, or so few that they do not."""
    model, params, _, far = case
    for wanted in ("labels", "densities", "shares"):
        (few,) = posteriors(ArraySource(far), model, params, wanted)
        with monkeypatch.context() as patched:
            for kind in (Mixture, clusters.KMeans):
                patched.setattr(kind, "compiles", lambda *_: True)
            (many,) = posteriors(ArraySource(far), model, params, wanted)
        assert_array_equal(many.labels, few.labels)
        if wanted != "labels":
            assert np.isfinite(few.loglik).all()
            assert_allclose(many.loglik, few.loglik, rtol=1e-9, atol=1e-12)
        assert_allclose(many.resp[: len(few.resp)], few.resp[: len(many.resp)], rtol=1e-9, atol=1e-12)
