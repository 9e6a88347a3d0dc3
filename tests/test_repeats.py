"""Rows that come again and again are fitted as weighted rows: the same fit, and the same bits however they come."""

import numpy as np
import pytest

from mixtura import MixtureModel, em, repeats, search
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
from mixtura.sources import ArraySource, as_source
from mixtura.sources.labelled import LabelledSource

N = 2000


def answers(rng):
    return (rng.random((N, 5)) < np.where(rng.random((N, 1)) < 0.4, 0.8, 0.3)).astype(float)


def counts(rng):
    return rng.poisson(np.where(rng.random((N, 1)) < 0.5, 2.0, 9.0)).astype(float)


def words(rng):
    return rng.multinomial(4, rng.dirichlet([1, 1, 1], 2)[rng.integers(2, size=N)]).astype(float)


CASES = {
    "bernoulli": (Bernoulli(), answers),
    "categorical": (Categorical(2), answers),
    "poisson": (Poisson(), counts),
    "negative binomial": (NegativeBinomial(), counts),
    "multinomial": (Multinomial(), words),
    "product": (Product([Bernoulli(), Poisson()]), lambda rng: np.hstack([answers(rng)[:, :1], counts(rng)])),
    "zero-inflated": (ZeroInflated(Poisson()), lambda rng: counts(rng) * (rng.random((N, 1)) < 0.7)),
}


def by_rows(monkeypatch):
    """Let nothing be merged."""
    for module in (base, search):
        monkeypatch.setattr(module, "merge", lambda source, family: source)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_fit_is_that_of_the_rows(name, weighted, monkeypatch):
    family, draw = CASES[name]
    rng = np.random.default_rng(3)
    x, weight = draw(rng), rng.integers(0, 3, N).astype(float) if weighted else None
    used = []
    monkeypatch.setattr(
        base, "drive", lambda source, *args, **kw: (used.append(source), em.drive(source, *args, **kw))[1]
    )
    options = {"acceleration": None, "init_params": "kmeans", "tol": 0, "max_iter": 8, "random_state": 0}
    merged = MixtureModel(family, 2, **options).fit(x, sample_weight=weight)
    by_rows(monkeypatch)
    plain = MixtureModel(family, 2, **options).fit(x, sample_weight=weight)
    assert used[0].n_rows * repeats.FEWER <= used[1].n_rows == N
    assert merged.loglik_ == pytest.approx(plain.loglik_, rel=1e-13)
    assert merged.result_.weight == plain.result_.weight == (N if weight is None else weight.sum())
    np.testing.assert_allclose(merged.weights_, plain.weights_, rtol=1e-12)
    components = family.free(merged.params_.components)
    np.testing.assert_allclose(components, family.free(plain.params_.components), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(merged.predict_proba(x), plain.predict_proba(x), rtol=1e-10, atol=1e-12)
    assert merged.predict(x).shape == (N,)


def test_the_search_for_a_start_merges_its_samples(monkeypatch):
    x, sizes = answers(np.random.default_rng(1)), []

    def drive(source, *args, **options):
        sizes.append(source.n_rows)
        return em.drive(source, *args, **options)

    monkeypatch.setattr(search, "drive", drive)
    merged = MixtureModel(Bernoulli(), 2, random_state=0).fit(x)
    assert max(sizes) <= 2**5
    by_rows(monkeypatch)
    plain = MixtureModel(Bernoulli(), 2, random_state=0).fit(x)
    assert max(sizes) == N
    assert merged.loglik_ == pytest.approx(plain.loglik_, rel=1e-12)


def oracle(x, weight):
    """Count rows one by one."""
    found = {}
    for row, w in zip(x.tolist(), weight, strict=True):
        found[tuple(row)] = found.get(tuple(row), 0.0) + w
    kept = sorted((row, w) for row, w in found.items() if w > 0)
    return np.array([row for row, _ in kept]), np.array([w for _, w in kept])


@pytest.mark.parametrize("shift", [0, 10**9])
@pytest.mark.parametrize("columns", [1, 3, 70])
def test_distinct_rows_are_counted(columns, shift):
    rng = np.random.default_rng(columns)
    patterns = rng.integers(0, 4, (20, columns)) + shift
    x = patterns[rng.integers(20, size=500)].astype(float)
    weight = rng.integers(0, 4, 500).astype(float)
    merged = repeats.merge(ArraySource(x, weight), Poisson())
    rows, total = oracle(x, weight)
    np.testing.assert_array_equal(merged.x, rows)
    np.testing.assert_array_equal(merged.weight, total)


def test_no_bit_depends_on_how_the_rows_come(monkeypatch):
    monkeypatch.setattr(repeats, "PIECE_ROWS", 1024)
    x = np.random.default_rng(0).poisson(5.0, (20_000, 2)).astype(float)
    expected = repeats.merge(ArraySource(x), Poisson())
    others = [ArraySource(x[::-1]), ArraySource(x, chunk_rows=2048), as_source([x[:5000], x[5000:]])]
    for source in others:
        merged = repeats.merge(source, Poisson())
        assert merged.x.tobytes() == expected.x.tobytes()
        assert merged.weight.tobytes() == expected.weight.tobytes()


def test_rows_are_read_no_further_than_there_are_too_many(monkeypatch):
    monkeypatch.setattr(repeats, "PIECE_ROWS", 1024)
    seen = []
    x = np.arange(40_960.0)[:, None]
    source = ArraySource(x, chunk_rows=1024)
    chunks = source.chunks

    def watched():
        for chunk in chunks():
            seen.append(len(chunk))
            yield chunk

    monkeypatch.setattr(source, "chunks", watched)
    assert repeats.merge(source, Poisson()) is source
    assert sum(seen) <= len(x) // repeats.FEWER + 1024


@pytest.mark.parametrize(
    ("family", "x", "weight"),
    [
        (Gaussian(), np.zeros((100, 1)), None),  # takes fractions: what is the same today may differ tomorrow
        (Exponential(), np.ones((100, 1)), None),
        (Product([Poisson(), Gaussian()]), np.ones((100, 2)), None),
        (Poisson(), np.ones((100, 1)), np.full(100, 0.5)),  # sums would depend on the order
        (Poisson(), np.arange(100.0)[:, None], None),  # nothing is there twice
        (Poisson(), np.repeat([[0.0], [1e300]], 50, axis=0), None),  # too large for integers
        (Poisson(), np.ones((100, 1)), np.full(100, 2.0**50)),  # sums would be rounded
    ],
    ids=["gaussian", "exponential", "a part", "weights", "distinct", "huge", "heavy"],
)
def test_rows_stay_as_they_are_where_that_is_not_the_same_or_does_not_pay(family, x, weight):
    source = ArraySource(x, weight)
    assert repeats.merge(source, family) is source


def test_rows_with_labels_stay_as_they_are():
    source = LabelledSource(ArraySource(np.ones((100, 1))), np.arange(100) % 2)
    assert repeats.merge(source, Poisson()) is source


def test_what_is_held_in_memory_is_bounded(monkeypatch):
    x = np.repeat(np.arange(100.0), 10)[:, None]
    assert repeats.merge(ArraySource(x), Poisson()).n_rows == 100
    monkeypatch.setattr(repeats, "MOST_VALUES", 99)
    source = ArraySource(x)
    assert repeats.merge(source, Poisson()) is source
