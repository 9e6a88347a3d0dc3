"""Distribution functions and quantiles of mixtures of one column, of every family: SciPy's, with their digits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from mixtura import GaussianMixture, MixtureModel
from mixtura.families import (
    Bernoulli,
    Beta,
    Exponential,
    Gamma,
    Gaussian,
    LogNormal,
    NegativeBinomial,
    Poisson,
    Spherical,
    StudentT,
    VonMises,
    ZeroInflated,
)
from mixtura.models.line import number_of, rank_of

# Of each family: data of two components, and SciPy's distributions of the public attributes.
SCIPY = {
    Beta(): (
        lambda rng: rng.beta([2.0, 40.0], [9.0, 5.0], (150, 2)),
        lambda m: stats.beta(m.alphas_[:, 0], m.betas_[:, 0]),
    ),
    Exponential(): (
        lambda rng: rng.exponential([1.0, 30.0], (150, 2)),
        lambda m: stats.expon(scale=1 / m.rates_[:, 0]),
    ),
    Gamma(): (
        lambda rng: rng.gamma([0.7, 30.0], [2.0, 1.0], (150, 2)),
        lambda m: stats.gamma(m.shapes_[:, 0], scale=1 / m.rates_[:, 0]),
    ),
    LogNormal(Spherical()): (
        lambda rng: rng.lognormal([0.0, 4.0], [1.0, 0.3], (150, 2)),
        lambda m: stats.lognorm(np.sqrt(m.covariances_), scale=np.exp(m.means_[:, 0])),
    ),
    NegativeBinomial(): (
        lambda rng: rng.negative_binomial([2, 9], [0.5, 0.1], (150, 2)),
        lambda m: stats.nbinom(m.sizes_[:, 0], m.sizes_[:, 0] / (m.sizes_ + m.means_)[:, 0]),
    ),
    Poisson(): (lambda rng: rng.poisson([2.0, 30.0], (150, 2)), lambda m: stats.poisson(m.rates_[:, 0])),
    StudentT(): (
        lambda rng: rng.standard_t([3.0, 9.0], (150, 2)) * [1.0, 4.0] + [1e3, 1.02e3],
        lambda m: stats.t(m.dofs_, m.locations_[:, 0], np.sqrt(m.scales_[:, 0, 0])),
    ),
}
COUNTS = (Poisson(), NegativeBinomial())
LEVELS = np.array([1e-200, 1e-9, 0.01, 0.3, 0.5, 0.51, 0.8, 0.999, 1 - 1e-12])
families = pytest.mark.parametrize("family", SCIPY, ids=lambda family: family.name)


def fitted(family):
    draw, scipy = SCIPY[family]
    mixture = MixtureModel(family, 2, init_params="kmeans", random_state=0).fit(draw(np.random.default_rng(0)).ravel())
    return mixture, scipy(mixture)


def around(mixture):
    """Return values inside and outside of the support, and far out in both tails."""
    sampled = mixture.sample(300, random_state=1)[0][:, 0]
    centre, spread = np.median(sampled), np.ptp(sampled)
    return np.concatenate([sampled, sampled + 0.5, centre + spread * np.array([-30, -3, 3, 30]), [0.0, -0.5, 1.0]])


@families
def test_both_tails_are_those_of_scipy(family):
    mixture, parts = fitted(family)
    x = around(mixture)
    for own, theirs in ((mixture.cdf, parts.cdf), (mixture.sf, parts.sf)):
        expected = theirs(x[:, None]) @ mixture.weights_
        seen = expected > 1e-250  # where SciPy has digits
        assert_allclose(own(x)[seen], expected[seen], rtol=1e-9)
        assert (own(x)[~seen] <= 1e-249).all()
    assert_array_equal(mixture.cdf([-np.inf, np.inf]), [0, 1])
    assert_array_equal(mixture.sf([[-np.inf], [np.inf]]), [[1], [0]])


@families
def test_the_quantile_is_the_least_number_that_has_so_much(family):
    mixture, _ = fitted(family)
    quantiles = mixture.quantile(LEVELS)
    below = np.nextafter(quantiles, -np.inf)
    low = LEVELS <= 0.5
    assert (mixture.cdf(quantiles)[low] >= LEVELS[low]).all()
    assert (mixture.cdf(below)[low] < LEVELS[low]).all()
    assert (mixture.sf(quantiles)[~low] <= 1 - LEVELS[~low]).all()
    assert (mixture.sf(below)[~low] > 1 - LEVELS[~low]).all()
    if family in COUNTS:
        assert_array_equal(quantiles, np.round(quantiles))
    else:
        assert mixture.model_.family.in_support(quantiles[:, None]).all()


@families
def test_the_quantile_of_one_component_is_that_of_scipy(family):
    draw, scipy = SCIPY[family]
    one = MixtureModel(family, init_params="random").fit(draw(np.random.default_rng(0))[:, 0])
    assert_allclose(one.quantile(LEVELS[1:]), scipy(one).ppf(LEVELS[1:]), rtol=1e-7)


def test_quantiles_never_fall_and_keep_their_shape():
    mixture, _ = fitted(Gamma())
    q = np.linspace(0, 1, 2001)
    assert (np.diff(mixture.quantile(q)[1:-1]) >= 0).all()
    assert_array_equal(mixture.quantile([[0.0], [1.0]]), [[-np.inf], [np.inf]])
    assert mixture.quantile(0.5).shape == ()
    assert mixture.quantile(np.zeros((0, 3))).shape == (0, 3)


def test_a_gaussian_is_that_of_the_estimator_of_gaussians():
    x = np.random.default_rng(0).normal([0, 9], 1, (200, 2)).ravel()
    special = GaussianMixture(2, reg_covar=0, init_params="kmeans", random_state=0).fit(x)
    general = MixtureModel(Gaussian(), 2, init_params="kmeans", random_state=0).fit(x)
    for use in ("cdf", "sf", "quantile"):
        assert_array_equal(getattr(general, use)(LEVELS), getattr(special, use)(LEVELS))


@pytest.mark.parametrize("family", [Poisson(), Gamma()], ids=lambda family: family.name)
def test_extra_zeros_are_a_step_at_0(family):
    rng = np.random.default_rng(0)
    x = np.where(rng.random(400) < 0.4, 0, rng.poisson(9, 400) + 1)
    mixture = MixtureModel(ZeroInflated(family), tol=1e-9).fit(x)
    extra = mixture.zeros_[0]
    theirs = stats.poisson(mixture.rates_[0, 0]) if family == Poisson() else SCIPY[Gamma()][1](mixture)
    values = np.array([-1.0, 0.0, 3.0, 20.0])
    assert_allclose(mixture.cdf(values), extra * (values >= 0) + (1 - extra) * theirs.cdf(values), rtol=1e-12)
    assert_allclose(mixture.sf(values), extra * (values < 0) + (1 - extra) * theirs.sf(values), rtol=1e-12)
    assert_array_equal(mixture.quantile([1e-3, 0.3]), [0, 0])
    assert not np.signbit(mixture.quantile(0.3))


def test_ranks_are_in_the_order_of_numbers():
    x = np.array([-np.inf, -1e300, -1.0, -5e-324, 0.0, 5e-324, 1.0, np.nextafter(1.0, 2.0), np.inf])
    ranks = rank_of(x)
    assert (np.diff(ranks) > 0).all()
    assert ranks[5] - ranks[4] == ranks[7] - ranks[6] == 1
    assert ranks[4] - ranks[3] == 2, "-0.0 is between"
    assert_array_equal(number_of(ranks), x)


@pytest.mark.parametrize("use", ["cdf", "sf", "quantile"])
def test_what_has_none_is_named(use):
    angles = MixtureModel(VonMises()).fit([0.1, 0.2, 0.4])
    with pytest.raises(ValueError, match="von Mises components have no distribution function"):
        getattr(angles, use)(0.5)
    inflated = MixtureModel(ZeroInflated(Bernoulli()), max_iter=1, tol=1e9).fit([0, 1, 1])
    with pytest.raises(ValueError, match="bernoulli components have no distribution function"):
        getattr(inflated, use)(0.5)
    wide = MixtureModel(Gamma()).fit([[1.0, 2.0], [3.0, 1.0], [2.0, 2.5]])
    with pytest.raises(ValueError, match=f"{use}: this mixture has 2 columns, expected one$"):
        getattr(wide, use)(0.5)
    with pytest.raises(ValueError, match=f"{use}: .* contains (NaN|nan)"):
        getattr(MixtureModel(Gamma()).fit([1.0, 2.0, 4.0]), use)(np.nan)
