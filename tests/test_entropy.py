"""Entropy of assignments and ICL, by loops."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import naive
from mixtura import GaussianMixture, MixtureModel, as_source
from mixtura.families import Poisson
from mixtura.grid import BLOCK_ROWS


@pytest.mark.parametrize("weighted", [False, True])
def test_entropy_and_icl_by_loops(make_mixture, structure, path, weighted):
    mixture, x = make_mixture(structure, 3)
    w = np.random.default_rng(0).integers(0, 4, len(x)) if weighted else None
    resp = naive.gaussian_responsibilities(x, mixture.weights_, mixture.means_, mixture.covariances_, structure)
    expected = [-math.fsum(r * math.log(r) for r in row if r > 0) for row in resp]
    assert_allclose(mixture.entropy(x), expected, rtol=1e-9, atol=1e-14)
    assert max(expected) > 0.5
    total = math.fsum(h * c for h, c in zip(expected, np.ones(len(x)) if w is None else w, strict=True))
    icl = mixture.icl(x, w)
    assert_allclose(icl, mixture.bic(x, w) + 2 * total, rtol=1e-12)
    if w is not None:
        assert_allclose(icl, mixture.icl(np.repeat(x, w, axis=0)), rtol=1e-12)


def test_a_row_that_belongs_to_one_component_has_no_entropy(make_mixture):
    mixture, x = make_mixture("full", 2)
    far = mixture.entropy([[1e5, -1e5]])
    assert far[0] == 0
    assert (mixture.entropy(x) >= 0).all()
    alike = GaussianMixture(2, weights_init=[0.5, 0.5], means_init=np.zeros((2, 2)),
                            precisions_init=np.tile(np.eye(2), (2, 1, 1)), max_iter=0).fit(x)  # fmt: skip
    assert_allclose(alike.entropy(x), math.log(2), rtol=1e-15)
    assert_array_equal(GaussianMixture(1).fit(x).entropy(x), 0)


def test_icl_has_the_same_bits_however_rows_are_handed_out(make_mixture, monkeypatch):
    mixture, _ = make_mixture("full", 2)
    x, _ = mixture.sample(5 * BLOCK_ROWS + 100, random_state=0)
    whole = mixture.icl(x)
    monkeypatch.setattr("mixtura.estimators.assignment.PIECE_VALUES", 4)
    assert mixture.icl(as_source([x[:700], x[700:4000], x[4000:]])) == whole


def test_icl_prefers_clusters_where_bic_prefers_fit():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 1, 1500), rng.normal(0, 4, 1500)])[:, None]  # one cluster, of two widths
    one, two = (GaussianMixture(k, random_state=0, max_iter=500).fit(x) for k in (1, 2))
    assert two.bic(x) < one.bic(x)
    assert two.icl(x) > one.icl(x)


def test_entropy_and_icl_of_another_family():
    x = np.random.default_rng(0).poisson([[2.0], [9.0]], (2, 300)).reshape(-1, 1)
    mixture = MixtureModel(Poisson(), 2, random_state=0).fit(x)
    resp = mixture.predict_proba(x)
    assert_allclose(mixture.entropy(x), -(resp * np.log(resp)).sum(axis=1), rtol=1e-10)
    assert_allclose(mixture.icl(x), mixture.bic(x) + 2 * mixture.entropy(x).sum(), rtol=1e-12)


def test_rows_that_cannot_be_assigned(make_mixture, path):
    mixture, x = make_mixture("full", 3)
    x[5, 2] = np.inf
    for use in (mixture.icl, mixture.entropy):
        with pytest.raises(ValueError, match="row 5, column 2 is inf"):
            use(x)
    weight = np.ones(len(x))
    weight[3] = -1
    with pytest.raises(ValueError, match="row 3"):
        mixture.icl(x[:5], weight[:5])
