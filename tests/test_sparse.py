"""Sparse matrices of counts: the same fit as of the array, which is never made."""

import numpy as np
import pytest
import scipy.sparse

from mixtura import GaussianMixture, KMeans, MixtureModel
from mixtura.estimators import base
from mixtura.families import (
    Bernoulli,
    Categorical,
    Exponential,
    Gaussian,
    Multinomial,
    NegativeBinomial,
    Poisson,
    Product,
    ZeroInflated,
)
from mixtura.models import mixture
from mixtura.sources import as_source
from mixtura.sources.sparse import SparseSource

N = 1500
WIDE = 700  # words: more than the kernel takes
FAMILIES = {
    "multinomial": Multinomial(),
    "poisson": Poisson(),
    "negative binomial": NegativeBinomial(),
    "zero-inflated": ZeroInflated(Poisson()),
    "bernoulli": Bernoulli(),
    "categorical": Categorical(2),
    "product": Product([Poisson(), Multinomial()], [2, 6]),
}


def texts(words, length=12):
    rng = np.random.default_rng(words)
    topics = rng.dirichlet(np.full(words, 0.3), 3)
    return rng.multinomial(length, topics[rng.integers(3, size=N)])


def rows_of(name):
    x = texts(8)
    return np.minimum(x, 1) if name in ("bernoulli", "categorical") else x


def fit(family, x, **options):
    return MixtureModel(
        family, 3, init_params="random_from_data", acceleration=None, tol=0, max_iter=5, random_state=0
    ).fit(x, **options)


def assert_same(found, expected, x):
    np.testing.assert_allclose(found.loglik_, expected.loglik_, rtol=1e-13)
    np.testing.assert_allclose(found.weights_, expected.weights_, rtol=1e-11)
    family = found.model_.family
    free = [family.free(one.params_.components) for one in (found, expected)]
    np.testing.assert_allclose(*free, rtol=1e-10, atol=1e-10)
    for name in ("score", "score_samples", "predict_proba", "bic", "icl"):
        np.testing.assert_allclose(
            getattr(found, name)(scipy.sparse.csr_array(x)), getattr(expected, name)(x), rtol=1e-10, atol=1e-12
        )


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("merged", [False, True])
def test_the_fit_is_that_of_the_array(name, weighted, merged, path, monkeypatch):
    if not merged:
        monkeypatch.setattr(base, "merge", lambda source, family: source)
    x, weight = rows_of(name), np.arange(N) % 3.0 if weighted else None
    options = {"sample_weight": weight}
    found = fit(FAMILIES[name], scipy.sparse.csr_array(x), **options)
    assert_same(found, fit(FAMILIES[name], x.astype(float), **options), x)


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_array])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float32])
def test_any_format_and_type_will_do(make, dtype):
    x = texts(8).astype(dtype)
    assert fit(Poisson(), make(x)).loglik_ == fit(Poisson(), scipy.sparse.csr_array(x.astype(float))).loglik_


@pytest.mark.parametrize("family", [Multinomial(), Poisson()], ids=lambda family: family.name)
def test_rows_of_many_words_are_never_made_dense_by_the_fit(family, monkeypatch):
    x = texts(WIDE, length=60)
    expected = fit(family, x.astype(float))
    start = MixtureModel(family, 3, init_params="random_from_data", max_iter=0, random_state=0, warm_start=True)
    sparse = scipy.sparse.csr_array(x)
    start.set_params(acceleration=None, tol=0).fit(sparse)

    def refuse(x, dtype=None):
        raise AssertionError("made dense")

    monkeypatch.setattr(mixture, "dense", refuse)
    found = start.set_params(max_iter=5).fit(sparse)
    assert_same(found, expected, x)


def test_entries_that_are_there_twice_stand_for_their_sum():
    x = texts(8)
    rows, columns = np.nonzero(x)
    starts = np.searchsorted(rows, np.arange(N + 1))
    twice = scipy.sparse.csr_array((np.ones(2 * len(rows)), np.repeat(columns, 2), 2 * starts), x.shape)
    rows_of_source, _ = as_source(twice).take(np.arange(N))
    np.testing.assert_array_equal(rows_of_source, 2.0 * (x > 0))
    assert fit(Multinomial(), twice).loglik_ == fit(Multinomial(), scipy.sparse.csr_array(rows_of_source)).loglik_
    assert twice.nnz == 2 * len(rows)  # what was given stays as it was


def test_a_sample_and_all_rows_are_those_of_the_array():
    x, weight = texts(8), np.arange(N) % 2.0
    sparse, array = as_source(scipy.sparse.csr_array(x), weight=weight), as_source(x, weight=weight)
    for ours, theirs in zip(*(s.sample(100, np.random.default_rng(0)) for s in (sparse, array)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    rows = np.concatenate([chunk.packed().x for chunk in sparse.chunks()])
    np.testing.assert_array_equal(rows, x)
    assert isinstance(sparse, SparseSource)


def test_the_rows_handed_out_at_a_time_are_bounded(monkeypatch):
    monkeypatch.setattr("mixtura.sources.sparse.CHUNK_VALUES", 1 << 10)
    chunks = [len(chunk) for chunk in as_source(scipy.sparse.csr_array(texts(8))).chunks()]
    assert chunks == [1024, N - 1024]


def test_fingerprints_differ_where_rows_do():
    x = texts(8)
    y = x.copy()
    y[-1, np.flatnonzero(x[-1])[0]] += 1  # nothing but one count
    a, same, b = (as_source(scipy.sparse.csr_array(z)).fingerprint for z in (x, x.copy(), y))
    assert a == same != b


def test_what_answers_for_rows_takes_them():
    x = texts(8)
    sparse, labels = scipy.sparse.csr_array(x), np.where(np.arange(N) < 30, np.arange(N) % 3, -1)
    found, expected = (fit(Multinomial(), z, labels=labels) for z in (sparse, x.astype(float)))
    assert_same(found, expected, x)
    pairs = ((found, sparse), (expected, x.astype(float)))
    errors = [one.standard_errors(z, kind="scores").weights for one, z in pairs]
    np.testing.assert_allclose(*errors, rtol=1e-8)
    streams = [one.partial_fit(z).loglik_ for one, z in pairs]
    np.testing.assert_allclose(*streams, rtol=1e-12)


@pytest.mark.parametrize(
    "estimator", [GaussianMixture(2), KMeans(2), MixtureModel(Gaussian(), 2), MixtureModel(Exponential(), 2)]
)
def test_what_is_not_of_counts_refuses_them(estimator):
    with pytest.raises(TypeError, match=r"sparse data \(csr_array\) is for .*Multinomial.*toarray"):
        estimator.fit(scipy.sparse.csr_array(texts(8)))


@pytest.mark.parametrize("words", [8, WIDE])
def test_the_first_value_that_cannot_be_is_named(words):
    x = texts(words).astype(float)
    fitted = fit(Multinomial(), scipy.sparse.csr_array(x))
    x[1200, 5] = -1.0
    for judge in (lambda z: fit(Multinomial(), z), fitted.predict, fitted.score):
        with pytest.raises(ValueError, match="row 1200, column 5 is -1"):
            judge(scipy.sparse.csr_array(x))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda x: as_source(x, columns=[0]), ValueError, "columns cannot be given with a sparse matrix"),
        (lambda x: as_source(x * 1j), TypeError, "complex"),
        (lambda x: as_source(x, weight=[1.0]), ValueError, "sample_weight has shape"),
        (lambda x: as_source(scipy.sparse.coo_array(np.arange(5))), ValueError, "dim 1"),
        (lambda x: MixtureModel(Poisson()).fit(x[:0]), ValueError, "0 sample"),
    ],
    ids=["columns", "complex", "weights", "vector", "no rows"],
)
def test_what_cannot_be_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make(scipy.sparse.csr_array(texts(8)))
