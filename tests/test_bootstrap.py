"""The bootstrap likelihood-ratio test: its replicates by hand, its level, its power, and what it refuses."""

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mixtura import GaussianMixture, MixtureModel, bootstrap_lrt
from mixtura.exceptions import FitError
from mixtura.families import Poisson

ONE = {"covariance_type": "tied", "init_params": "kmeans", "random_state": 0}


def line(n=80, gap=6.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=n) + gap * rng.integers(0, 2, n)


def twice_gain(x, k0, k1, **options):
    fits = [GaussianMixture(k, **options).fit(x) for k in (k0, k1)]
    return max(0.0, 2 * (fits[1].loglik_ - fits[0].loglik_))


def test_statistics_are_those_of_fits_made_one_by_one():
    x, weight = line(), np.random.default_rng(1).integers(0, 3, 80).astype(float)
    test = bootstrap_lrt(x, 1, n_boot=3, sample_weight=weight, **ONE)
    null = GaussianMixture(1, **ONE).fit(x, sample_weight=weight)
    assert_array_equal(test.null.means_, null.means_)
    for number, found in enumerate(test.replicates):
        rows, _ = null.model_.sample(null.params_, int(weight.sum()), np.random.default_rng([0, number]))
        assert found == twice_gain(rows, 1, 2, **ONE)
    larger = GaussianMixture(2, **ONE).fit(x, sample_weight=weight)
    assert test.statistic == 2 * (larger.loglik_ - null.loglik_)
    assert test.alternative.n_features_in_ == 1


def test_two_clear_clusters_are_not_one_but_not_three_either():
    x = line()
    assert bootstrap_lrt(x, 1, n_boot=19, **ONE).p_value == 1 / 20
    assert bootstrap_lrt(x, 1, 3, n_boot=19, **ONE).p_value == 1 / 20
    three = bootstrap_lrt(x, 2, n_boot=19, **ONE)
    assert three.p_value > 0.1
    assert three.p_value == (1 + np.sum(three.replicates >= three.statistic)) / 20
    assert str(three).startswith(f"2 against 3 components: statistic {three.statistic:.2f}, p = ")


def test_the_seed_decides_all():
    a, b, c = (bootstrap_lrt(line(40), 1, n_boot=4, **{**ONE, "random_state": seed}) for seed in (3, 3, 4))
    assert_array_equal(a.replicates, b.replicates)
    assert not np.array_equal(a.replicates, c.replicates)
    assert len(set(a.replicates)) == 4


def test_counts():
    x = np.random.default_rng(2).poisson(np.repeat([2.0, 20.0], 40))
    test = bootstrap_lrt(x, 1, n_boot=9, estimator=MixtureModel(Poisson()), random_state=0)
    assert test.p_value == 0.1


@pytest.mark.slow
def test_the_level_is_kept():
    """Where the smaller mixture is true, p-values are spread evenly: at most 1/5 of them with a chance of 1/5."""
    values = [
        bootstrap_lrt(np.random.default_rng([7, i]).normal(size=40), 1, n_boot=19, **ONE).p_value for i in range(60)
    ]
    for level in (0.2, 0.5, 0.8):
        share = np.mean(np.array(values) <= level)
        assert abs(share - level) < 3.5 * math.sqrt(level * (1 - level) / len(values))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, "k0 is 0, expected a whole number from 1"),
        ((2, 2), {}, "k1 is 2, expected a number of components above k0, which is 2"),
        ((1, 2.5), {}, "k1 is 2.5, expected a whole number from 1"),
        ((1,), {"n_boot": 0}, "n_boot is 0, expected a whole number from 1"),
        ((1,), {"max_time": 3.0}, "max_time is an option of one fit, and a bootstrap makes many: leave it out"),
        ((1,), {"tol": -1.0}, "tol"),
    ],
)
def test_bad_options_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_lrt(line(), *arguments, **options)


def test_bad_rows_are_named():
    x = line()
    with pytest.raises(FitError, match="the data cannot be fitted: Expected n_samples >= n_components"):
        bootstrap_lrt(x[:2], 2)
    x[3] = np.nan
    with pytest.raises(ValueError, match="1 values are missing: the bootstrap draws whole rows"):
        bootstrap_lrt(x, 1)
    x[3] = np.inf
    with pytest.raises(ValueError, match="row 3, column 0 is inf"):
        bootstrap_lrt(x, 1)
