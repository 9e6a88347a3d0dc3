"""Standard errors and intervals: closed forms, derivatives in the data's own units, equivariance, refusals."""

import math
import pickle

import numpy as np
import pytest
import scipy.special
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from cases import CASES
from derivatives import curvature_by_differences
from mixtura import GaussianMixture, MixtureModel, as_source
from mixtura.em import drive
from mixtura.exceptions import CollapseWarning, InformationError
from mixtura.families import Bernoulli, Categorical, Exponential, Gamma, Gaussian, Poisson, Product
from mixtura.models import Mixture, MixtureParams
from mixtura.models.information import collect
from mixtura.models.uncertainty import Estimate, uncertainty
from mixtura.priors import Fixed, Spread
from mixtura.sources import ArraySource

TIGHT = {"tol": 1e-15, "max_iter": 2000, "reg_covar": 0.0, "random_state": 0}


def overlapping(n=150, d=2, seed=0):
    """Return rows of two clusters that overlap."""
    rng = np.random.default_rng(seed)
    mix = np.eye(d) + 0.4 * np.tri(d, k=-1)
    near, far = rng.normal(0, 1.0, (n, d)), rng.normal(2.5, 1.5, (2 * n // 3, d))
    return np.concatenate([near, far]) @ mix.T


# ---------------------------------------------------------------- one component: closed forms


def moments(x, w):
    mean = w @ x / w.sum()
    return mean, (w[:, None] * (x - mean)).T @ (x - mean) / w.sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_one_component_by_closed_forms(structure, weighted):
    x = overlapping(d=3)
    n, d = x.shape
    w = np.random.default_rng(0).integers(0, 3, n).astype(float) if weighted else np.ones(n)
    total = w.sum()
    _, s = moments(x, w)
    s = {"diag": np.diag(np.diag(s)), "spherical": np.trace(s) / d * np.eye(d)}.get(structure, s)
    mixture = GaussianMixture(1, covariance_type=structure, **TIGHT).fit(x, sample_weight=w)
    sure = mixture.standard_errors(x, w)
    assert sure.distance < 1e-6
    assert_allclose(sure.weights, 0, atol=1e-15)
    assert_allclose(sure.means[0] ** 2, np.diag(s) / total, rtol=1e-9)
    product = (np.outer(np.diag(s), np.diag(s)) + s**2) / total  # of variances of the entries of a sample covariance
    expected = {
        "full": product[None],
        "tied": product,
        "diag": np.diag(product)[None],
        "spherical": np.array([2 * s[0, 0] ** 2 / (total * d)]),
    }[structure]
    assert_allclose(sure.covariances**2, expected, rtol=1e-9)


def test_one_component_has_the_covariance_of_a_sample_covariance():
    x = overlapping()
    mixture = GaussianMixture(1, **TIGHT).fit(x)
    sure = mixture.standard_errors(x)
    assert sure.names == ("weights[0]", "means[0, 0]", "means[0, 1]",
                          "covariances[0, 0, 0]", "covariances[0, 1, 0]", "covariances[0, 1, 1]")  # fmt: skip
    s, places = mixture.covariances_[0], [(0, 0), (1, 0), (1, 1)]
    wishart = [[(s[i, k] * s[j, m] + s[i, m] * s[j, k]) / len(x) for k, m in places] for i, j in places]
    assert_allclose(sure.covariance[3:, 3:], wishart, rtol=1e-9)
    assert_allclose(sure.covariance[1:3, 1:3], s / len(x), rtol=1e-9)
    assert_allclose(sure.covariance[1:3, 3:], 0, atol=1e-12)


def test_one_component_by_score_products_and_sandwich():
    x = np.random.default_rng(0).gamma(2.0, size=400)  # skewed: the sandwich sees it, the others think of normal rows
    mixture = GaussianMixture(1, **TIGHT).fit(x)
    y = (x - x.mean()) / x.std()
    skew, kurtosis = (y**3).mean(), (y**4).mean()
    variance = x.var()
    sandwich = mixture.standard_errors(x, kind="sandwich")
    assert_allclose(sandwich.covariances.ravel() ** 2, variance**2 * (kurtosis - 1) / len(x), rtol=1e-9)
    assert_allclose(sandwich.covariance[1, 2], variance**1.5 * skew / len(x), rtol=1e-9)
    products = len(x) * np.array([[1, skew / math.sqrt(2)], [skew / math.sqrt(2), (kurtosis - 1) / 2]])
    inverse = np.linalg.inv(products)
    scores = mixture.standard_errors(x, kind="scores")
    assert_allclose(scores.means.ravel() ** 2, variance * inverse[0, 0], rtol=1e-9)
    assert_allclose(scores.covariances.ravel() ** 2, 2 * variance**2 * inverse[1, 1], rtol=1e-9)


@pytest.mark.parametrize("rows", [1e-3, 50.0])
def test_one_component_with_a_prior(structure, rows):
    x = overlapping()
    n, d = x.shape
    options = {**TIGHT, "reg_covar": "auto", "component_prior": Spread(rows)}
    mixture = GaussianMixture(1, covariance_type=structure, **options).fit(x)
    sure, found = mixture.standard_errors(x), mixture.covariances_
    assert sure.distance < 1e-6  # of the most probable parameters, not of the likeliest
    if structure in ("full", "tied"):
        variances, errors = (np.diagonal(values, axis1=-2, axis2=-1) for values in (found, sure.covariances))
    else:
        variances, errors = found, sure.covariances
    assert_allclose(sure.means[0] ** 2, np.broadcast_to(variances.ravel(), d) / n, rtol=1e-9)
    columns = d if structure == "spherical" else 1
    assert_allclose(errors**2, 2 * variances**2 / (columns * (n + rows)), rtol=1e-9)


def test_one_component_with_a_prior_by_score_products():
    x, rows = np.random.default_rng(0).gamma(2.0, size=200), 30.0
    mixture = GaussianMixture(1, component_prior=Spread(rows), tol=1e-15).fit(x)
    variance = mixture.covariances_[0, 0, 0]
    y = (x - mixture.means_[0, 0]) / np.sqrt(variance)
    scores = np.column_stack([y, (y**2 - 1) / np.sqrt(2)])
    inverse = np.linalg.inv(scores.T @ scores + np.diag([0.0, rows]))
    sure = mixture.standard_errors(x, kind="scores")
    assert_allclose(sure.covariances.ravel() ** 2, 2 * variance**2 * inverse[1, 1], rtol=1e-9)


def test_one_component_of_a_product_with_a_prior():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.poisson(4.0, 100), rng.normal(size=100)])
    mixture = MixtureModel(Product([Poisson(), Gaussian(prior=Spread(50.0))]), 1, tol=1e-15).fit(x)
    sure = mixture.standard_errors(x)
    assert sure.distance < 1e-6
    variance = mixture.parts_[1]["covariances_"]
    assert_allclose(sure.parameters["parts[1].covariances"].errors ** 2, 2 * variance**2 / 150, rtol=1e-9)


def test_one_poisson_component():
    x = np.random.default_rng(0).poisson([3.0, 8.0], (200, 2))
    mixture = MixtureModel(Poisson(), 1, random_state=0).fit(x)
    sure = mixture.standard_errors(x)
    assert_allclose(sure.rates[0] ** 2, x.mean(axis=0) / 200, rtol=1e-12)
    low, high = sure.interval(0.9)["rates"]
    reach = scipy.stats.norm.ppf(0.95) / np.sqrt(x.sum(axis=0))
    assert_allclose([low[0], high[0]], x.mean(axis=0) * np.exp([-reach, reach]), rtol=1e-9)


def test_one_component_of_answers_categories_or_waiting_times():
    rng, n = np.random.default_rng(0), 150
    answers, times = (rng.random((n, 2)) < [0.2, 0.7]).astype(float), rng.exponential([1e-3, 40.0], (n, 2))
    choices = rng.integers(0, 3, (n, 2)).astype(float)
    p = answers.mean(axis=0)
    sure = MixtureModel(Bernoulli(), 1).fit(answers).standard_errors(answers)
    assert_allclose(sure.probs[0] ** 2, p * (1 - p) / n, rtol=1e-9)
    assert (sure.interval(0.9999999)["probs"].high < 1).all()
    sure = MixtureModel(Exponential(), 1).fit(times).standard_errors(times)
    assert_allclose(sure.rates[0] ** 2, 1 / times.mean(axis=0) ** 2 / n, rtol=1e-9)
    fit = MixtureModel(Categorical(3), 1).fit(choices)
    sure, p = fit.standard_errors(choices), fit.probs_[0]
    assert_allclose(sure.probs[0] ** 2, p * (1 - p) / n, rtol=1e-9)
    at = [sure.names.index(f"probs[0, 1, {c}]") for c in range(3)]
    assert_allclose(sure.covariance[np.ix_(at, at)], (np.diag(p[1]) - np.outer(p[1], p[1])) / n, rtol=1e-9)
    assert_allclose(sure.covariance[np.ix_(at, [i for i in range(7) if i not in at])], 0, atol=1e-15)


def test_one_component_of_a_product():
    case = CASES["product"]
    x = case.rows(200)
    sure = MixtureModel(case.model.family, 1, tol=1e-12).fit(x).standard_errors(x)
    gaussian = GaussianMixture(1, **TIGHT).fit(x[:, :2]).standard_errors(x[:, :2])
    assert_allclose(sure.parameters["parts[0].covariances"].errors, gaussian.covariances, rtol=1e-9)
    assert_allclose(sure.parameters["parts[2].rates"].errors[0] ** 2, x[:, 3].mean() / 200, rtol=1e-9)
    assert "parts[3].probs[0, 1]" in str(sure)


# ---------------------------------------------------------------- more components


def free_vector(weights, means, covariances, structure):
    """Return weights but the last, means and distinct entries of covariances, one after another."""
    lower = covariances[..., *np.tril_indices(means.shape[1])] if structure in ("full", "tied") else covariances
    return np.concatenate([weights[:-1], means.ravel(), lower.ravel()])


def loglik_by_scipy(vector, x, k, structure):
    """Return the log-likelihood of a mixture in the data's own parameters, by scipy's densities."""
    d = x.shape[1]
    weights, means, rest = np.split(vector, [k - 1, k - 1 + k * d])
    weights, means = np.append(weights, 1 - weights.sum()), means.reshape(k, d)

    def dense(a):
        if structure == "spherical":
            return rest[a] * np.eye(d)
        if structure == "diag":
            return np.diag(rest.reshape(k, d)[a])
        matrix = np.zeros((d, d))
        matrix[np.tril_indices(d)] = rest if structure == "tied" else rest.reshape(k, -1)[a]
        return matrix + np.tril(matrix, -1).T

    densities = [
        w * scipy.stats.multivariate_normal(m, dense(a)).pdf(x)
        for a, (w, m) in enumerate(zip(weights, means, strict=True))
    ]
    return np.log(np.sum(densities, axis=0))


def test_two_components_by_differences_in_the_datas_own_units(structure):
    x, k = overlapping(60) * [1.0, 20.0 if structure != "spherical" else 1.0] + 5.0, 2
    w = np.random.default_rng(3).integers(1, 3, len(x)).astype(float)
    mixture = GaussianMixture(k, covariance_type=structure, **TIGHT).fit(x, sample_weight=w)
    sure = mixture.standard_errors(x, w)
    at = free_vector(mixture.weights_, mixture.means_, mixture.covariances_, structure)
    keep = [i for i, name in enumerate(sure.names) if name != f"weights[{k - 1}]"]
    covariance = sure.covariance[np.ix_(keep, keep)]
    curvature = curvature_by_differences(
        lambda v: w @ loglik_by_scipy(v, x, k, structure), at, 0.02 * np.sqrt(np.diag(covariance))
    )
    correlation = covariance @ -curvature
    assert_allclose(correlation, np.eye(len(at)), atol=2e-5 * np.abs(covariance * curvature).max() * len(at))
    assert_allclose(np.sqrt(np.diag(np.linalg.inv(-curvature))), np.sqrt(np.diag(covariance)), rtol=1e-4)
    assert_allclose(free_vector(np.array(sure.weights), sure.means, sure.covariances, structure),
                    np.sqrt(np.diag(covariance)), rtol=1e-12)  # fmt: skip


def test_weights_sum_to_one_so_their_errors_cancel():
    x = overlapping()
    sure = GaussianMixture(3, covariance_type="diag", tol=1e-9, max_iter=1000, random_state=0).fit(x).standard_errors(x)
    assert_allclose(sure.covariance[:3].sum(axis=0), 0, atol=1e-12)
    assert_allclose(np.diag(sure.covariance)[:3], sure.weights**2, rtol=1e-12)


def test_components_apart_are_as_known():
    x = np.concatenate([overlapping(100, seed=1), overlapping(200, seed=2) + 1000])
    mixture = GaussianMixture(2, **TIGHT).fit(x)
    sure = mixture.standard_errors(x)
    share = mixture.weights_
    assert_allclose(sure.weights**2, share * (1 - share) / len(x), rtol=1e-9)
    variances = np.diagonal(mixture.covariances_, axis1=1, axis2=2)
    assert_allclose(sure.means**2, variances / (share * len(x))[:, None], rtol=1e-9)


def test_units_and_offsets_change_only_the_units(structure):
    x = overlapping()
    scale = np.array([1e-3, 50.0]) if structure != "spherical" else np.array([1e-3, 1e-3])
    options = {"covariance_type": structure, "means_init": [[0.0, 0.0], [2.5, 3.5]], **TIGHT}
    plain = GaussianMixture(2, **options).fit(x).standard_errors(x)
    options["means_init"] = options["means_init"] * scale + 1e4 * scale
    moved = x * scale + 1e4 * scale
    sure = GaussianMixture(2, **options).fit(moved).standard_errors(moved)
    assert_allclose(sure.weights, plain.weights, rtol=1e-6)
    assert_allclose(sure.means, plain.means * scale, rtol=1e-6)
    factor = {"full": np.outer(scale, scale), "tied": np.outer(scale, scale), "diag": scale**2}
    assert_allclose(sure.covariances, plain.covariances * factor.get(structure, scale[0] ** 2), rtol=1e-6)


def test_weights_are_copies(structure):
    x = overlapping(60)
    w = np.random.default_rng(0).integers(0, 4, len(x))
    mixture = GaussianMixture(2, covariance_type=structure, **TIGHT).fit(x, sample_weight=w)
    x_with_nan = np.where((w == 0)[:, None], np.nan, x)
    for kind in ("observed", "scores", "sandwich"):
        weighted = mixture.standard_errors(x_with_nan, w, kind=kind)
        copies = mixture.standard_errors(np.repeat(x, w, axis=0), kind=kind)
        assert_allclose(weighted.covariance, copies.covariance, rtol=1e-7, atol=1e-12)
        assert weighted.kind == kind


def test_any_source_of_rows(tmp_path):
    x = overlapping(900)
    mixture = GaussianMixture(2, tol=1e-9, random_state=0).fit(x)
    whole = mixture.standard_errors(x)
    np.save(tmp_path / "rows.npy", x)
    for rows in (tmp_path / "rows.npy", as_source([x[:700], x[700:1100], x[1100:]]), np.asfortranarray(x)):
        assert_array_equal(mixture.standard_errors(rows).covariance, whole.covariance)


def test_rows_of_a_cluster():
    da = pytest.importorskip("dask.array")
    x = overlapping(900)
    mixture = GaussianMixture(2, tol=1e-9, random_state=0).fit(x)
    sure = mixture.standard_errors(da.from_array(x, chunks=(500, 2)))
    assert_allclose(sure.covariance, mixture.standard_errors(x).covariance, rtol=1e-8, atol=1e-14)


def test_independent_columns_are_as_sure_as_what_was_observed():
    x = np.random.default_rng(0).normal(size=(300, 2)) * [1.0, 20.0]
    x[:100, 0], x[100:150, 1] = np.nan, np.nan
    sure = GaussianMixture(1, covariance_type="diag", **TIGHT).fit(x).standard_errors(x)
    variances = np.nanvar(x, axis=0)
    assert sure.distance < 1e-6
    assert_allclose(sure.means[0] ** 2, variances / [200, 250], rtol=1e-7)
    assert_allclose(sure.covariances[0] ** 2, 2 * variances**2 / [200, 250], rtol=1e-7)


def test_columns_never_observed_together_do_not_tell_their_covariance():
    x = np.random.default_rng(0).normal(size=(200, 2))
    x[:100, 0], x[100:, 1] = np.nan, np.nan
    mixture = GaussianMixture(1, **TIGHT).fit(x)
    with pytest.raises(InformationError, match="not positive definite"):
        mixture.standard_errors(x)


# ---------------------------------------------------------------- intervals and the table


def test_intervals_hold_possible_values_only():
    x = overlapping(50)
    mixture = GaussianMixture(2, tol=1e-9, max_iter=1000, random_state=0).fit(x)
    sure = mixture.standard_errors(x)
    found = sure.interval(0.999)
    assert (found["weights"].low > 0).all()
    assert (found["weights"].high < 1).all()
    variances = np.diagonal(found["covariances"].low, axis1=1, axis2=2)
    assert (variances > 0).all()
    reach = scipy.stats.norm.ppf(0.9995)
    assert_allclose(
        found["means"], [mixture.means_ - reach * sure.means, mixture.means_ + reach * sure.means], rtol=1e-9
    )
    odds = [np.log(end / (1 - end)) for end in (found["weights"].low, mixture.weights_, found["weights"].high)]
    step = reach * sure.weights / (mixture.weights_ * (1 - mixture.weights_))
    assert_allclose(np.diff(odds, axis=0), [step, step], rtol=1e-9)
    logs = [np.log(np.diagonal(v, axis1=1, axis2=2))
            for v in (found["covariances"].low, mixture.covariances_, found["covariances"].high)]  # fmt: skip
    step = reach * np.diagonal(sure.covariances / mixture.covariances_, axis1=1, axis2=2)
    assert_allclose(np.diff(logs, axis=0), [step, step], rtol=1e-9)
    low, high = (end[:, 1, 0] for end in found["covariances"])
    assert_allclose((low + high) / 2, mixture.covariances_[:, 1, 0], rtol=1e-9)
    assert_allclose(sure.interval()["means"].high - mixture.means_, scipy.stats.norm.ppf(0.975) * sure.means, rtol=1e-9)


def test_a_single_weight_is_certain():
    x = overlapping()
    low, high = GaussianMixture(1, tol=1e-9).fit(x).standard_errors(x).interval()["weights"]
    assert_array_equal([low, high], [[1.0], [1.0]])


def test_the_table():
    x = overlapping()
    mixture = GaussianMixture(2, tol=1e-9, max_iter=1000, random_state=0).fit(x)
    sure = mixture.standard_errors(x, kind="scores")
    lines = str(sure).splitlines()
    assert "products of the scores" in lines[0]
    assert lines[1].split() == ["estimate", "std.", "error", "95", "%", "from", "to"]
    assert len(lines) == 2 + len(sure.names)
    words = next(line for line in lines if line.startswith("means[1, 0]")).split()[2:]
    low, high = (end[1, 0] for end in sure.interval()["means"])
    assert_allclose([float(word) for word in words], [mixture.means_[1, 0], sure.means[1, 0], low, high], rtol=1e-4)
    x = np.random.default_rng(0).normal(size=(200, 10))
    assert str(GaussianMixture(1).fit(x).standard_errors(x)).splitlines()[-1] == "... and 6 more"


def test_a_result_is_a_value():
    x = overlapping()
    sure = GaussianMixture(2, tol=1e-9, max_iter=1000, random_state=0).fit(x).standard_errors(x)
    again = pickle.loads(pickle.dumps(sure))  # noqa: S301  # our own bytes
    assert str(again) == str(sure)
    with pytest.raises(
        AttributeError, match=r"no parameter 'rates', expected one of 'weights', 'means', 'covariances'"
    ):
        _ = sure.rates


def test_an_interval_of_everything_does_not_overflow():
    sure = Estimate(values=np.array([0.3, 0.7]), errors=np.array([1e6, 1e6]), distinct=np.ones(2, dtype=bool),
                    positive=np.ones(2, dtype=bool), upper=1.0)  # fmt: skip
    low, high = sure.interval(0.95)
    assert_allclose(low, 0, atol=1e-100)
    assert_allclose(high, 1, atol=1e-15)


# ---------------------------------------------------------------- coverage


TRUE_WEIGHTS, TRUE_MEANS = np.array([0.35, 0.65]), np.array([[0.0, 0.0], [4.0, 1.0]])
TRUE_COVARIANCES = {
    "full": np.array([[[1.0, 0.4], [0.4, 0.8]], [[1.5, -0.3], [-0.3, 0.7]]]),
    "tied": np.array([[1.0, 0.4], [0.4, 0.8]]),
    "diag": np.array([[1.0, 0.5], [2.0, 0.8]]),
    "spherical": np.array([1.0, 1.6]),
}
REPLICATES = 200


def assert_coverage(truth, fits):
    """Find the truth in 95 % intervals about as often as that.

    The share of one parameter is off by more than 4 standard deviations of a binomial once in 16,000 cases. The mean
    over parameters, which depend on each other in part, may be off by 2 of those of a single one.
    """
    inside = {name: np.zeros(value.shape) for name, value in truth.items()}
    for sure in fits:
        for name, (low, high) in sure.interval().items():
            inside[name] += (low <= truth[name]) & (truth[name] <= high)
    share = np.concatenate([hits.ravel() for hits in inside.values()]) / REPLICATES
    deviation = math.sqrt(0.95 * 0.05 / REPLICATES)
    assert (np.abs(share - 0.95) < 4 * deviation).all(), share
    assert abs(share.mean() - 0.95) < 2 * deviation, share


def replicate(model, truth, n, kind="observed"):
    """Yield what fits of many samples say of their parameters."""
    rng = np.random.default_rng(7)
    for _ in range(REPLICATES):
        x, _ = model.sample(truth, n, rng)
        (fit,) = drive(ArraySource(x), model, [truth], tol=1e-7, max_iter=500)
        yield uncertainty(model, fit.params, collect(ArraySource(x), model, fit.params), kind)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("structure", "kind"), [*((name, "observed") for name in TRUE_COVARIANCES), ("tied", "sandwich")]
)
def test_intervals_cover_the_truth(structure, kind):
    covariances = TRUE_COVARIANCES[structure]
    precisions = np.linalg.inv(covariances) if structure in ("full", "tied") else 1 / covariances
    given = {"weights_init": TRUE_WEIGHTS, "means_init": TRUE_MEANS, "precisions_init": precisions, "reg_covar": 0.0}
    start = GaussianMixture(2, covariance_type=structure, max_iter=0, **given).fit(overlapping())
    n = 1000 if structure == "full" else 400  # variances of few rows are too small, as all of maximum likelihood
    fits = replicate(start.model_, start.params_, n, kind)
    assert_coverage({"weights": TRUE_WEIGHTS, "means": TRUE_MEANS, "covariances": covariances}, fits)


@pytest.mark.slow
def test_intervals_of_rates_cover_the_truth():
    rates = np.array([[2.0, 9.0], [6.0, 4.0]])
    truth = MixtureParams(weights=TRUE_WEIGHTS, components=Poisson.params_type(rates=rates))
    assert_coverage({"weights": TRUE_WEIGHTS, "rates": rates}, replicate(Mixture(Poisson(), 2), truth, 400))


# ---------------------------------------------------------------- refusals


def start(means, **options):
    """Return a mixture with unit covariances at these means, as it starts."""
    k, d = np.shape(means)
    options = {"weights_init": np.full(k, 1 / k), "precisions_init": np.tile(np.eye(d), (k, 1, 1)), **options}
    return GaussianMixture(k, means_init=means, max_iter=0, **options).fit(overlapping(d=d))


def test_far_from_the_maximum_is_told():
    x = overlapping()
    mixture = GaussianMixture(2, tol=1e-9, max_iter=1000, random_state=0).fit(x)
    with pytest.warns(ConvergenceWarning, match=r"standard errors from the maximum.*tol of at most 1e-04"):
        sure = mixture.standard_errors(x + 0.1)
    assert sure.distance > 0.5


def test_distance_from_the_maximum():
    x = np.random.default_rng(0).normal(size=500)
    mixture = GaussianMixture(1, **TIGHT).fit(x)
    sure = mixture.standard_errors(x)
    assert sure.distance < 1e-6
    moved = mixture.standard_errors(x + 0.1 * sure.means[0, 0])  # the mean is then off by a tenth of its error
    assert moved.distance == pytest.approx(0.1, rel=0.01)


def test_a_saddle_is_refused():
    mixture = start([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(
        InformationError, match=r"observed information is not positive definite.*component 0 and 1.*saddle"
    ):
        mixture.standard_errors(overlapping())
    with pytest.raises(InformationError, match="scores is not positive definite"):
        mixture.standard_errors(overlapping(), kind="scores")


def test_a_saddle_beside_what_is_fixed_is_named():
    x = np.concatenate([overlapping(60), overlapping(60) + np.array([20.0, 0.0])])
    means = [[1.0, 1.5], [21.0, 1.5], [21.0, 1.5]]  # EM never tells the two from each other
    options = {"weights_init": [0.5, 0.25, 0.25], "precisions_init": np.tile(np.eye(2), (3, 1, 1)), **TIGHT}
    mixture = GaussianMixture(3, means_init=means, fixed=Fixed(means=[0], covariances=True), **options).fit(x)
    with pytest.raises(InformationError, match=r"chiefly in component 1 and 2\."):
        mixture.standard_errors(x)


def test_fewer_rows_than_parameters():
    x = np.random.default_rng(0).normal(size=(8, 3))
    mixture = GaussianMixture(1, **TIGHT).fit(x)
    mixture.standard_errors(x)  # complete data inform by their model
    with pytest.raises(InformationError, match="fewer than the parameters"):
        mixture.standard_errors(x, kind="scores")


def test_a_component_without_rows_is_named():
    mixture = start([[0.0, 0.0], [2.0, 2.0]], weights_init=[1.0, 0.0])
    with pytest.raises(InformationError, match=r"component 1 has no rows.*fewer components"):
        mixture.standard_errors(overlapping())


@pytest.mark.filterwarnings("ignore::mixtura.exceptions.CollapseWarning")
def test_a_component_at_the_floor_is_named(structure):
    x = np.concatenate([overlapping(40), np.full((30, 2), 50.0)])
    mixture = GaussianMixture(2, covariance_type=structure, init_params="kmeans", **TIGHT)
    if structure == "tied":
        x[:, 1] = 3.0
    mixture.fit(x)
    j = int(np.argmax(mixture.means_[:, 0]))
    who = "the shared covariance" if structure == "tied" else f"the covariance of component {j}"
    with pytest.raises(InformationError, match=f"^{who} is at the floor: "):
        mixture.standard_errors(x)


@pytest.mark.filterwarnings("ignore::mixtura.exceptions.CollapseWarning")
@pytest.mark.parametrize(
    ("family", "top", "words"),
    [
        (Poisson(), 9, "component {} does not vary in column 0"),
        (Bernoulli(), 1, "component {} does not vary in column 0"),
        (Categorical(3), 2, r"component {} never has category 1 in column 0"),
        (Product([Poisson(), Poisson()]), 9, "column 0: component {} does not vary in column 0"),
    ],
)
def test_what_is_at_the_edge_is_named(family, top, words):
    x = np.concatenate([np.zeros((40, 2)), np.full((40, 2), top)])
    mixture = MixtureModel(family, 2, random_state=0, tol=1e-12).fit(x)
    zero = mixture.predict(x)[0]
    with pytest.raises(InformationError, match=words.format(zero)):
        mixture.standard_errors(x)


def test_one_component_of_gamma_values():
    x = np.random.default_rng(0).gamma([2.0, 30.0], [5.0, 1e-3], (400, 2))
    mixture = MixtureModel(Gamma(), 1, tol=1e-12).fit(x)
    sure = mixture.standard_errors(x)
    shape, rate = mixture.shapes_[0], mixture.rates_[0]
    trigamma = scipy.special.polygamma(1, shape)
    for j in range(2):  # the textbook's information about shape and rate
        information = 400 * np.array([[trigamma[j], -1 / rate[j]], [-1 / rate[j], shape[j] / rate[j] ** 2]])
        at = [sure.names.index(f"{name}[0, {j}]") for name in ("shapes", "rates")]
        assert_allclose(sure.covariance[np.ix_(at, at)], np.linalg.inv(information), rtol=1e-7)


@pytest.mark.filterwarnings("ignore::mixtura.exceptions.CollapseWarning")
def test_a_mean_at_the_floor_is_named():
    x = np.column_stack([np.arange(20.0), np.zeros(20)])
    with pytest.raises(InformationError, match="the mean of component 0 in column 1 is at the floor"):
        MixtureModel(Exponential(), 1).fit(x).standard_errors(x)


def test_many_reasons_are_counted():
    x = np.repeat(np.eye(5), 20, axis=0)
    mixture = MixtureModel(Bernoulli(), 5, random_state=0, tol=1e-12, max_iter=500).fit(x)
    with pytest.raises(InformationError, match=r"does not vary in column 0; .*; and \d+ more: there"):
        mixture.standard_errors(x)


def test_components_that_were_dropped_have_no_part():
    x = np.concatenate([overlapping(40), np.full((3, 2), 50.0)])
    options = {"init_params": "kmeans", "on_collapse": "drop", **TIGHT}
    with pytest.warns(CollapseWarning):
        mixture = GaussianMixture(3, **options).fit(x)
    assert len(mixture.weights_) < 3
    sure = mixture.standard_errors(x)
    assert sure.means.shape == mixture.means_.shape


def test_too_many_parameters_for_the_matrix():
    x = np.random.default_rng(0).normal(size=(70, 63))
    mixture = GaussianMixture(1).fit(x)
    with pytest.raises(InformationError, match=r"2,079 parameters take matrices of 2,079 x 2,079.*0\.035 GB.*'diag'"):
        mixture.standard_errors(x)


def test_a_family_that_does_not_say_how_it_is_informed():
    class Silent(Poisson):
        name = "silent"
        unit_scores = None

    x = np.random.default_rng(0).poisson(3.0, (50, 1))
    mixture = MixtureModel(Silent(), 1).fit(x)
    with pytest.raises(InformationError, match="family 'silent'"):
        mixture.standard_errors(x)


def test_bad_arguments():
    x = overlapping()
    mixture = GaussianMixture(1, tol=1e-9).fit(x)
    with pytest.raises(ValueError, match=r"kind is 'exact', expected one of 'observed', 'scores', 'sandwich'"):
        mixture.standard_errors(x, kind="exact")
    for level in (0, 1, 95, math.nan, None, "0.95", [0.9, 0.95]):
        with pytest.raises(ValueError, match=r"level is .* between 0 and 1"):
            mixture.standard_errors(x).interval(level)
    with pytest.raises(NotFittedError):
        GaussianMixture(1).standard_errors(x)
    for far in (1e100, 1e150):  # squares of squares overflow, or squares
        with pytest.raises(InformationError, match="too far from every component"):
            mixture.standard_errors(np.concatenate([x, [[far, 0.0]]]))
    x[7, 1] = np.inf
    with pytest.raises(ValueError, match="row 7, column 1 is inf"):
        mixture.standard_errors(x)
    counts = np.arange(10.0)
    mixture = MixtureModel(Poisson(), 1).fit(counts)
    counts[3] = np.nan
    with pytest.raises(ValueError, match="row 3, column 0 is nan"):
        mixture.standard_errors(counts)
