"""The density of one column: SciPy's densities, one measure, the family that made the data, and what is refused."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.special import logsumexp

import textbook_families as textbook
from mixtura import GaussianMixture, Histogram, MixtureModel, fit_density
from mixtura.exceptions import CheckpointError, SelectionWarning
from mixtura.families import (
    Bernoulli,
    Beta,
    Categorical,
    Exponential,
    Gamma,
    Gaussian,
    LogNormal,
    Multinomial,
    NegativeBinomial,
    Poisson,
    Product,
    StudentT,
    VonMises,
    ZeroInflated,
)
from mixtura.grid import BLOCK_ROWS
from mixtura.selection.sweep import LEFT
from mixtura.sources import ArraySource
from mixtura.values import same_bits

FAST = {"init_params": "k-means++", "random_state": 0}
doubtful = pytest.mark.filterwarnings("ignore::mixtura.exceptions.SelectionWarning")


def by_scipy(estimator, x):
    """Return the log-density of a mixture from its public attributes, by SciPy's distributions."""
    density = getattr(textbook, estimator.family.name.replace(" ", "_").replace("-", "_"))
    return logsumexp(density(vars(estimator), x[:, None]) + np.log(estimator.weights_), axis=1)


# --- what is compared


@doubtful
@pytest.mark.parametrize(
    ("draw", "names"),
    [
        (lambda rng: rng.beta(2, 3, 300), ["gaussian", "student t", "log-normal", "gamma", "exponential", "beta"]),
        (lambda rng: rng.poisson(4.0, 300), ["poisson", "negative binomial"]),
    ],
    ids=["numbers", "counts"],
)
def test_criteria_are_of_the_densities_of_scipy_on_the_data_themselves(draw, names):
    x = np.asarray(draw(np.random.default_rng(0)), dtype=float)
    fit = fit_density(x, (1, 2), **FAST)
    assert [c.family for c in fit.selection.candidates] == [name for name in names for _ in (1, 2)]
    parameters = dict.fromkeys(names, 2) | {"student t": 3, "exponential": 1, "poisson": 1}
    for c in fit.selection.candidates:
        loglik, q = by_scipy(c.estimator, x).sum(), c.n_components * (parameters[c.family] + 1) - 1
        assert_allclose(c.loglik, loglik, rtol=1e-9)
        assert_allclose((c.bic, c.aic), (q * math.log(300) - 2 * loglik, 2 * q - 2 * loglik), rtol=1e-9)
    assert fit.selection.winner.bic == min(fit.table["bic"])
    assert set(fit.table["family"]) == set(names)


def test_measures():
    lines = (Gaussian(), StudentT(), LogNormal(), Gamma(), Exponential(), Beta())
    counts = (Poisson(), NegativeBinomial(), Bernoulli(), Categorical(3), Multinomial(), ZeroInflated(Poisson()))
    assert {family.measure for family in (*lines, Product([Gaussian(), Gamma()]))} == {"Lebesgue"}
    assert {family.measure for family in (*counts, Product([Poisson(), Bernoulli()]))} == {"counting"}
    others = {family.measure for family in (VonMises(), ZeroInflated(Gamma()), Product([Gaussian(), Poisson()]))}
    assert others == {"arc length", "Lebesgue and a point at 0", "Lebesgue x counting"}


@doubtful
@pytest.mark.parametrize(
    ("x", "names"),
    [
        ([1.0, 2.0, 5.0, 2.0], {"poisson", "negative binomial"}),
        ([1.0, 2.0, 5.5, 2.0], {"gaussian", "student t", "log-normal", "gamma", "exponential"}),
        ([0.0, 2.0, 5.5, 2.0], {"gaussian", "student t", "exponential"}),
        ([-1.0, 2.0, 5.0, 2.0], {"gaussian", "student t"}),
        ([1e18, 3e18, 2e18, 2e18], {"gaussian", "student t", "log-normal", "gamma", "exponential"}),
    ],
)
def test_families_of_the_support_are_tried(x, names):
    assert set(fit_density(x, 1, **FAST).table["family"]) == names


@doubtful
def test_little_is_left_to_gain():
    x = np.random.default_rng(1).standard_t(3, 4000)
    fits = [fit_density(x, (1, 2), [StudentT(), Gaussian()], **FAST, **options) for options in ({}, {"tol": 1e-12})]
    for near, end in zip(*(fit.selection.candidates for fit in fits), strict=True):
        assert near.converged
        assert end.loglik - 2 * LEFT < near.loglik < end.loglik + 1e-6


# --- who wins


def gammas(rng, n):
    return np.concatenate([rng.gamma(2.0, 1.0, n // 2), rng.gamma(30.0, 1.0, n // 2)])


@doubtful
@pytest.mark.parametrize(
    ("winner", "draw"),
    [
        ("gaussian 1 component", lambda rng, n: rng.normal(3, 2, n)),
        ("gaussian 2 components", lambda rng, n: rng.normal(np.repeat([0, 6], n // 2), 1)),
        ("student t 1 component", lambda rng, n: 1 + 2 * rng.standard_t(2.5, n)),
        ("log-normal 1 component", lambda rng, n: rng.lognormal(1, 0.8, n)),
        ("gamma 1 component", lambda rng, n: rng.gamma(2.5, 2.0, n)),
        ("gamma 2 components", gammas),
        ("exponential 1 component", lambda rng, n: rng.exponential(3.0, n)),
        ("beta 1 component", lambda rng, n: rng.beta(2, 5, n)),
        ("poisson 1 component", lambda rng, n: rng.poisson(7.0, n)),
        ("poisson 2 components", lambda rng, n: rng.poisson(np.repeat([2.0, 15.0], n // 2))),
        ("negative binomial 1 component", lambda rng, n: rng.negative_binomial(2, 0.2, n)),
    ],
)
def test_the_family_that_made_the_data_wins(winner, draw):
    for seed in (0, 1):
        assert fit_density(draw(np.random.default_rng(seed), 1000), (1, 2), **FAST).selection.winner.name == winner


@doubtful
def test_two_rows_close_together_do_not_win():
    """Their likelihood is as high as they are near to each other; a BIC takes that for a component."""
    x = np.append(np.random.default_rng(0).gamma(3.0, 2.0, 40), [30.0, 30.000001])
    fit = fit_density(x, (1, 2, 3), [LogNormal()], random_state=0)
    spurious = min(fit.selection.candidates, key=lambda c: c.bic)
    assert spurious.n_components > 1
    assert spurious.collapsed
    assert fit.selection.winner.name == "log-normal 1 component"


def test_a_near_tie_is_told():
    """Of 60 values of a gamma distribution of shape 20 nobody can say that they are not log-normal."""
    with pytest.warns(SelectionWarning, match="on another sample of this size, .* 1 component would beat") as told:
        fit = fit_density(np.random.default_rng(0).gamma(20.0, 1.0, 60), (1, 2), [Gamma(), LogNormal()], **FAST)
    assert {c.name for c in fit.selection.ranking[:2]} == {"gamma 1 component", "log-normal 1 component"}
    assert not math.isnan(fit.selection.ranking[1].reversal)
    assert str(told[0].message) == fit.selection.doubts[0]
    assert "doubtful: on another sample" in str(fit)
    assert str(fit).split()[0] == "family"
    assert told[0].filename == __file__


# --- what it is good for


@doubtful
@pytest.mark.parametrize(
    ("family", "draw"),
    [(Gamma(), lambda rng: rng.gamma(2.0, 3.0, 200)), (Beta(), lambda rng: rng.beta(2, 3, 200))],
    ids=["gamma", "beta"],
)
def test_the_density_is_one_and_zero_elsewhere(family, draw):
    x = draw(np.random.default_rng(0))
    fit = fit_density(x, 2, [family], **FAST)
    assert_allclose(fit.logpdf(x), by_scipy(fit.model, x), rtol=1e-9)
    assert_allclose(fit.pdf(x.reshape(2, 100)), np.exp(by_scipy(fit.model, x)).reshape(2, 100), rtol=1e-9)
    assert fit.pdf(-1.0) == 0
    assert_allclose(fit.cdf(x[:3]), [quad(fit.pdf, 0, value, limit=200)[0] for value in x[:3]], rtol=1e-6)
    assert_allclose(fit.cdf(fit.quantile([0.1, 0.9])), [0.1, 0.9], rtol=1e-9)
    assert_allclose(fit.sf(fit.quantile([0.1, 0.9])), [0.9, 0.1], rtol=1e-9)
    assert_array_equal(fit.logpdf([[-np.inf, -3.0, np.inf]]), np.full((1, 3), -np.inf))
    assert quad(fit.pdf, 0, 5 * x.max(), limit=200)[0] == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="x contains NaN"):
        fit.pdf([0.5, np.nan])


@doubtful
def test_samples_are_of_the_density_in_random_order():
    x = gammas(np.random.default_rng(0), 1000)
    fit = fit_density(x, 2, [Gamma()], **FAST)
    drawn = fit.sample(4000, random_state=1)
    assert drawn.shape == (4000,)
    assert_array_equal(drawn, fit.sample(4000, random_state=1))
    assert_allclose(drawn.mean(), x.mean(), atol=4 * x.std() / math.sqrt(4000) + 1e-2)
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 4 / math.sqrt(4000)


@doubtful
def test_weights_are_copies():
    rng = np.random.default_rng(0)
    x, weight = rng.gamma(2.0, 3.0, 120), rng.integers(1, 4, 120)
    weighed = fit_density(x, (1, 2), [Gamma(), StudentT()], sample_weight=weight, tol=1e-12, **FAST)
    copied = fit_density(np.repeat(x, weight), (1, 2), [Gamma(), StudentT()], tol=1e-12, **FAST)
    for name in ("loglik", "bic", "n_parameters"):
        assert_allclose(weighed.table[name], copied.table[name], rtol=1e-7)


@doubtful
def test_what_may_be_left_is_in_all_and_not_a_row():
    x = np.random.default_rng(0).gamma(2.0, 3.0, 120)
    once, eight = (fit_density(x, 1, [Gamma()], sample_weight=np.full(120, w), **FAST) for w in (1.0, 8.0))
    assert 0.05 < 120 * once.model.tol <= 0.1
    assert eight.model.tol == once.model.tol / 8


@doubtful
def test_files_and_tables_are_taken(tmp_path):
    pandas = pytest.importorskip("pandas")
    x = np.random.default_rng(0).gamma(2.0, 3.0, 200)
    np.save(tmp_path / "x.npy", x)
    of_array, of_file, of_table = (
        fit_density(data, 1, [Gamma()], **FAST) for data in (x, tmp_path / "x.npy", pandas.DataFrame({"wait": x}))
    )
    assert same_bits(of_array.model.params_, of_file.model.params_)
    assert same_bits(of_array.model.params_, of_table.model.params_)
    assert of_table.model.feature_names_in_.tolist() == ["wait"]
    alone = MixtureModel(Gamma(), 1, tol=of_array.model.tol, max_iter=1000, **FAST).fit(x)
    assert same_bits(of_array.model.params_, alone.params_)


@doubtful
def test_it_goes_on_from_a_checkpoint_of_the_same_families(tmp_path):
    x, path = gammas(np.random.default_rng(0), 300), tmp_path / "density.ckpt"
    families, options = [Gamma(), LogNormal(), StudentT()], {"tol": 1e-12, **FAST}
    whole = fit_density(x, (1, 2), families, **options)

    def interrupt(state):
        if state.n_passes == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_density(x, (1, 2), families, checkpoint=path, callback=interrupt, **options)
    with pytest.raises(CheckpointError, match="another fit: tried was"):
        fit_density(x, (1, 2), [Gamma(), LogNormal()], checkpoint=path, **options)
    resumed = fit_density(x, (1, 2), families, checkpoint=path, **options)
    for a, b in zip(whole.selection.candidates, resumed.selection.candidates, strict=True):
        assert same_bits(a.estimator.params_, b.estimator.params_)


@doubtful
def test_chunks_and_threads_change_no_bit():
    x = gammas(np.random.default_rng(0), 3 * BLOCK_ROWS)[:, None]
    weight = np.random.default_rng(1).random(len(x))
    whole, parts = (
        fit_density(source, (1, 2), [Gamma(), StudentT()], n_threads=n, **FAST)
        for source, n in ((ArraySource(x, weight), 1), (ArraySource(x, weight, chunk_rows=BLOCK_ROWS), 2))
    )
    assert repr(whole.table) == repr(parts.table)
    assert whole.model.tol == parts.model.tol


@doubtful
@pytest.mark.parametrize(
    ("family", "draw"),
    [
        (Exponential(), lambda rng: np.round(rng.exponential(3.0, 500) * 2) / 2),  # bars begin below 0
        (Beta(), lambda rng: rng.beta(0.5, 0.5, 500)),
        (StudentT(), lambda rng: rng.standard_t(1, 500)),
        (Poisson(), lambda rng: rng.poisson(4.0, 500)),
        (NegativeBinomial(), lambda rng: rng.negative_binomial(2, 0.01, 500)),
    ],
    ids=["exponential", "beta", "student t", "few counts", "many counts"],
)
def test_the_picture_has_the_density_over_the_data(family, draw):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib.figure import Figure

    x = draw(np.random.default_rng(0))
    fit = fit_density(x, 2, [family], **FAST)
    display = fit.plot(ax=Figure().add_subplot())
    assert (display.grid.min() < 0) == (family in (Exponential(), StudentT()))
    assert_allclose(display.density, fit.pdf(display.grid), rtol=1e-9)
    assert_array_equal(display.line_.get_ydata(), display.density)
    assert_allclose(display.components.sum(axis=0), display.density)
    counts, _ = np.histogram(x, display.edges)
    assert_allclose(display.heights, counts / (len(x) * np.diff(display.edges)))
    assert display.ax_.get_title(loc="left") == f"2 {family.name} components"
    stems = [collection for collection in display.ax_.collections if len(collection.get_paths()) == len(display.grid)]
    assert bool(stems) == (family == Poisson())
    if stems:
        tops = [path.vertices[:, 1].max() for path in stems[0].get_paths()]
        assert_array_equal(tops, display.density)


# --- what is refused


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.ones((5, 2)), {}, "x has 2 columns, expected one"),
        ([1.0, np.nan, 2.0], {}, "row 1, column 0 is nan, expected finite numbers"),
        ([1.0, np.inf, 2.0], {}, "row 1, column 0 is inf"),
        ([0.5, 2.0, -1.0], {"families": [Gaussian(), Gamma()]}, "row 2, column 0 is -1: a gamma component takes"),
        ([0.5, 2.0], {"families": []}, "families is empty"),
        ([0.5, 2.0], {"families": [Gaussian(), VonMises()]}, "von Mises is a density of another measure, arc length"),
        ([1.0, 2.0], {"families": [Poisson(), Gamma()]}, "gamma is a density of another measure, Lebesgue, than that"),
        ([0.5, 2.0], {"criterion": "mdl"}, "criterion is 'mdl'"),
        ([0.5, 2.0], {"n_components": 0}, "n_components is 0"),
        ([0.5, 2.0], {"max_iter": -1}, "max_iter"),
        ([], {}, "0 sample"),
        (Histogram([0, 1, 2], [3, 4]), {}, "only Gaussian components are fitted to bins"),
    ],
)  # fmt: skip
def test_bad_input_is_named(x, options, message):
    with pytest.raises(ValueError, match=message):
        fit_density(x, **options)


@pytest.mark.parametrize("families", [[Gamma], ["gamma"], [Gaussian(), GaussianMixture()]])
def test_what_is_no_family_is_named(families):
    with pytest.raises(TypeError, match=r"families contains .*, expected objects such as"):
        fit_density([0.5, 2.0], families=families)


@doubtful
def test_angles_only_if_asked():
    angles = np.random.default_rng(0).vonmises(1.0, 4.0, 200)
    fit = fit_density(angles, (1, 2), VonMises(), **FAST)
    assert fit.selection.winner.name == "von Mises 1 component"
