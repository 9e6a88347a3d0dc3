"""Standard errors of every family, and beside fixed parameters, by derivatives of SciPy's densities in users' terms."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import polygamma

from derivatives import curvature_by_differences
from mixtura import GaussianMixture, MixtureModel
from mixtura.exceptions import InformationError
from mixtura.families import (
    Bernoulli,
    Beta,
    Categorical,
    Diag,
    Exponential,
    Gamma,
    LogNormal,
    Multinomial,
    NegativeBinomial,
    Poisson,
    Product,
    Spherical,
    StudentT,
    VonMises,
    ZeroInflated,
)
from mixtura.families.linalg import share_basis
from mixtura.families.multinomial import MultinomialParams
from mixtura.families.negative_binomial import NegativeBinomialParams
from mixtura.families.student_t import StudentTParams
from mixtura.families.zero_inflated import ZeroParams
from mixtura.frame import Frame
from mixtura.models import Mixture, MixtureParams
from mixtura.models.uncertainty import check_possible
from mixtura.priors import Dirichlet, Fixed
from textbook_families import LOG_DENSITY, gaussian

TIGHT = {"tol": 1e-15, "max_iter": 5000, "random_state": 0}
SIDES = np.array([0, 1])


def draw(sample, n=300):
    """Return rows of two components, of which the second has 60 %, and weights of 1 and 2."""
    rng = np.random.default_rng(5)
    side = np.repeat(SIDES, [2 * n // 5, 3 * n // 5])
    return sample(rng, side), rng.integers(1, 3, n).astype(float)


def pick(first, second):
    """Return parameters (n, d) by component."""
    return lambda side: np.array([first, second])[side]


def heavy(rng, side):
    gap = rng.standard_t(3.0, side.size)[:, None] * [[1.0, 0.5]] + rng.normal(size=(side.size, 2))
    return gap + pick([0.0, 0.0], [4.0, 5.0])(side)


def zeros(rng, side):
    """Counts in two columns, whose zeros are extra ones more often than not."""
    counts = rng.poisson(pick([2.0, 7.0], [8.0, 3.0])(side))
    return np.where(rng.random(counts.shape) < pick([0.2, 0.4], [0.5, 0.1])(side), 0, counts).astype(float)


def pairs(rng, side):
    return rng.poisson(pick([2.0, 9.0], [8.0, 3.0])(side)).astype(float)


def of_products(density, d=2):
    """Return the log-density of a product of one family a column from that of the family."""
    return lambda found, x: sum(density(found["parts_"][j], x[:, [j]]) for j in range(d))


ROWS = {
    "bernoulli": (Bernoulli(), lambda r, s: (r.random((s.size, 4)) < pick([0.2] * 4, [0.7] * 4)(s)).astype(float)),
    "categorical": (Categorical(3), lambda r, s: (r.binomial(2, pick([0.2] * 4, [0.7] * 4)(s))).astype(float)),
    "exponential": (Exponential(), lambda r, s: r.exponential(pick([1.0, 2.0], [9.0, 30.0])(s))),
    "gamma": (Gamma(), lambda r, s: r.gamma(pick([2.0, 8.0], [6.0, 1.0])(s), pick([1.0, 0.1], [3.0, 4.0])(s))),
    "negative-binomial": (
        NegativeBinomial(),
        lambda r, s: r.negative_binomial(2.5, 1 / (1 + pick([0.6, 2.0], [4.0, 9.0])(s))).astype(float),
    ),
    "student-t": (StudentT(), heavy),
    "student-t, diag": (StudentT(Diag()), heavy),
    "student-t-spherical": (StudentT(Spherical()), heavy),
    "log-normal": (LogNormal(), lambda r, s: np.exp(r.normal(pick([0.0, 1.0], [2.0, 3.0])(s), 0.6))),
    "beta": (Beta(), lambda r, s: r.beta(pick([2.0, 8.0], [6.0, 1.5])(s), pick([5.0, 3.0], [1.2, 4.0])(s))),
    "multinomial": (
        Multinomial(),
        lambda r, s: r.multinomial(
            r.integers(0, 9, s.size), np.array([[0.6, 0.2, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]])[s]
        ).astype(float),
    ),
    "von-mises": (VonMises(), lambda r, s: r.vonmises(pick([0.5, 3.0], [-2.0, 1.0])(s), 4.0)),
    "zero-inflated": (Product([ZeroInflated(Poisson())] * 2), zeros),
}
DENSITY = LOG_DENSITY | {
    "student-t, diag": LOG_DENSITY["student-t"],
    "zero-inflated": of_products(LOG_DENSITY["zero-inflated"]),
}


def is_share(name, family):
    """Tell whether each row of this parameter sums to 1, so that its last entry follows from the others."""
    return name == "weights" or (name == "probs" and not isinstance(family, Bernoulli))


def by_names(names, vector, sure, family, last=-1):
    """Return parameters as users know them from the vector of the entries of these names.

    The last of the shares that sum to 1 follows, or the weight of number `last`; none where that is None.
    """
    values = {name: estimate.values.copy() for name, estimate in sure.parameters.items()}
    for entry, number in zip(names, vector, strict=True):
        name, place = entry[:-1].rsplit("[", 1)
        at = tuple(map(int, place.split(", ")))
        values[name][at] = number
        if not sure.parameters[name].distinct.all():  # the other of a pair in a symmetric matrix
            values[name][(*at[:-2], at[-1], at[-2])] = number
    for name, value in values.items():
        if is_share(name, family) and last is not None:
            value[..., last] += 1 - value.sum(axis=-1)
    return values


def is_last(entry, sure, family):
    name, place = entry[:-1].rsplit("[", 1)
    return is_share(name, family) and int(place.split(", ")[-1]) == sure.parameters[name].values.shape[-1] - 1


def nested(values):
    """Return attributes by name, the parts of a product in a list."""
    found = {f"{name}_": value for name, value in values.items() if "." not in name}
    parts = sorted({name.split(".")[0] for name in values if "." in name})
    return found | {
        "parts_": [{f"{n.split('.')[1]}_": v for n, v in values.items() if n.startswith(part)} for part in parts]
    }


def assert_by_differences(sure, log_density, x, w, family, names=None, last=-1):
    """Compare with the inverse of minus the curvature of the log-likelihood in these entries, by default all."""
    names = names or [entry for entry in sure.names if not is_last(entry, sure, family)]
    at = [sure.names.index(name) for name in names]
    covariance = sure.covariance[np.ix_(at, at)]
    values = np.array([row[0] for e in sure.parameters.values() for row in e.rows(0.5)])[at]

    def loglik(vector):
        found = by_names(names, vector, sure, family, last)
        joint = np.log(found["weights"]) + log_density(nested(found), x)
        return w @ np.logaddexp.reduce(joint, axis=1)

    curvature = curvature_by_differences(loglik, values, 0.02 * np.sqrt(np.diag(covariance)))
    assert_allclose(np.sqrt(np.diag(np.linalg.inv(-curvature))), np.sqrt(np.diag(covariance)), rtol=2e-4)
    scale = 1 / np.sqrt(np.diag(covariance))
    assert_allclose(np.linalg.inv(-curvature) * np.outer(scale, scale), covariance * np.outer(scale, scale), atol=2e-4)


@pytest.mark.parametrize("name", ROWS)
def test_two_components_by_differences_of_textbook_densities(name):
    family, sample = ROWS[name]
    x, w = draw(sample)
    mixture = MixtureModel(family, 2, **TIGHT).fit(x, sample_weight=w)
    sure = mixture.standard_errors(x, w)
    assert sure.distance < 1e-4
    assert_by_differences(sure, DENSITY[name], x, w, family)


@pytest.mark.parametrize("name", ["negative-binomial", "student-t", "von-mises"])
def test_scores_are_derivatives_of_each_row(name):
    """Their products, by differences of textbook log-densities, in users' terms."""
    family, sample = ROWS[name]
    x, w = draw(sample)
    mixture = MixtureModel(family, 2, **TIGHT).fit(x, sample_weight=w)
    sure = mixture.standard_errors(x, w, kind="scores")
    names = [entry for entry in sure.names if not is_last(entry, sure, family)]
    at = [sure.names.index(entry) for entry in names]
    values = np.array([row[0] for e in sure.parameters.values() for row in e.rows(0.5)])[at]

    def logs(vector):
        found = by_names(names, vector, sure, family)
        return np.logaddexp.reduce(np.log(found["weights"]) + DENSITY[name](nested(found), x), axis=1)

    steps = 1e-3 * np.sqrt(np.diag(sure.covariance)[at])
    scores = np.array([(logs(values + s) - logs(values - s)) / (2 * s.max()) for s in np.diag(steps)])
    expected = np.linalg.inv(scores * w @ scores.T)
    assert_allclose(np.sqrt(np.diag(expected)), np.sqrt(np.diag(sure.covariance)[at]), rtol=1e-4)


# ---------------------------------------------------------------- second derivatives, away from the maximum


def bent(name, theta, e):
    """Return what users know of one component in two columns at these coordinates (formulas V12, V15, V16)."""
    if name == "multinomial":
        shares = theta.probs * np.exp(share_basis(theta.probs[0]) @ e / np.sqrt(theta.totals))
        return {"probs_": shares / shares.sum()}
    if name == "negative-binomial":
        r, m = theta.sizes, theta.means
        sizes = polygamma(1, r) * r**2 - r
        return {"means_": m * np.exp(e[:2] / np.sqrt(r * m / (r + m))), "sizes_": r * np.exp(e[2:] / np.sqrt(sizes))}
    lower, v = np.linalg.inv(np.linalg.cholesky(theta.normal.covariances[0])), theta.dofs[0]
    spread = np.array([[np.sqrt(2) * e[2], e[3]], [e[3], np.sqrt(2) * e[4]]])
    return {
        "locations_": theta.normal.means + np.linalg.solve(lower, e[:2]),
        "scales_": np.linalg.inv(lower.T @ (np.eye(2) - spread) @ lower)[None],
        "dofs_": np.array([v * np.exp(e[5] / np.sqrt(polygamma(1, v / 2) * v**2 / 4 - v / 2))]),
    }


def away(name):
    """Return a family, rows, and parameters that are far from theirs."""
    rng = np.random.default_rng(4)
    if name == "multinomial":
        theta = MultinomialParams(probs=np.array([[0.2, 0.5, 0.3]]), totals=np.array([4.0]))
        return Multinomial(), rng.integers(0, 6, (12, 3)).astype(float), theta
    if name == "negative-binomial":
        theta = NegativeBinomialParams(means=np.array([[3.0, 8.0]]), sizes=np.array([[0.7, 30.0]]))
        return NegativeBinomial(), rng.poisson(4.0, (12, 2)).astype(float), theta
    family = StudentT()
    normal = family.blank(Frame.identity(2), 1).normal
    covariances = np.array([[[1.5, 0.6], [0.6, 0.8]]])
    factors = np.linalg.inv(np.linalg.cholesky(covariances))
    normal = replace(normal, means=np.array([[0.5, -0.2]]), covariances=covariances, factors=factors)
    return family, 2 * rng.normal(size=(12, 2)), StudentTParams(normal, np.array([4.0]))


@pytest.mark.parametrize("name", ["multinomial", "negative-binomial", "student-t"])
def test_second_derivatives_away_from_the_maximum(name):
    family, x, theta = away(name)
    w = np.random.default_rng(0).integers(1, 4, (len(x), 1)).astype(float)
    p = family.slots(theta).shape[1]

    def loglik(e):
        return float(w[:, 0] @ DENSITY[name](bent(name, theta, e), x)[:, 0])

    curvature = curvature_by_differences(loglik, np.zeros(p), np.full(p, 0.02))
    found = family.unseen(theta, x, w)[0] - w.sum() * np.eye(p)
    assert_allclose(found, curvature, rtol=1e-4, atol=1e-4 * np.abs(curvature).max())
    slopes = [(loglik(step) - loglik(-step)) / 2e-4 for step in 1e-4 * np.eye(p)]
    assert_allclose((w * family.unit_scores(theta, x)[:, 0]).sum(axis=0), slopes, rtol=1e-5)


def test_one_zero_inflated_component_and_why_there_are_no_errors_of_two():
    x, w = draw(lambda rng, side: zeros(rng, 0 * side)[:, :1])
    family = ZeroInflated(Poisson())
    sure = MixtureModel(family, 1, **TIGHT).fit(x, sample_weight=w).standard_errors(x, w)
    names = ["zeros[0]", "rates[0, 0]"]
    assert_by_differences(sure, LOG_DENSITY["zero-inflated"], x, w, family, names)
    x, w = draw(pairs)
    x[::7] = 0
    mixture = MixtureModel(family, 2, **TIGHT).fit(x, sample_weight=w)
    with pytest.raises(InformationError, match="not positive definite"):
        mixture.standard_errors(x, w)


def test_what_rows_of_the_family_lack_counts_where_they_are_no_extra_zeros():
    x, w = draw(lambda rng, side: rng.negative_binomial(2.5, 0.3, (side.size, 1)).astype(float))
    x[::5] = 0
    sure = MixtureModel(ZeroInflated(NegativeBinomial()), 1, **TIGHT).fit(x, sample_weight=w).standard_errors(x, w)

    def log_density(found, rows):
        own = found["zeros_"] * (rows == 0) + (1 - found["zeros_"]) * np.exp(DENSITY["negative-binomial"](found, rows))
        return np.log(own)

    names = ["zeros[0]", "means[0, 0]", "sizes[0, 0]"]
    assert_by_differences(sure, log_density, x, w, NegativeBinomial(), names)


def test_zeros_of_positive_numbers_are_all_extra_ones():
    """Then their share is that of the rows, and the others are as without them."""
    x, w = draw(ROWS["gamma"][1])
    part = x[:, :1]
    part[::3] = 0.0
    sure = MixtureModel(ZeroInflated(Gamma()), 1, **TIGHT).fit(part, sample_weight=w).standard_errors(part, w)
    rest = part[:, 0] > 0
    alone = MixtureModel(Gamma(), 1, **TIGHT).fit(part[rest], sample_weight=w[rest])
    assert_allclose(sure.shapes, alone.standard_errors(part[rest], w[rest]).shapes, rtol=1e-6)
    share = w[~rest].sum() / w.sum()
    assert_allclose(sure.zeros**2, share * (1 - share) / w.sum(), rtol=1e-9)


def at(family, **values):
    """Return blank parameters of one component in one column, but for these."""
    return replace(family.blank(Frame.identity(1), 1), **{name: np.array(value) for name, value in values.items()})


@pytest.mark.parametrize(
    ("family", "theta", "words"),
    [
        (NegativeBinomial(), at(NegativeBinomial(), sizes=[[2.0**40]]), "varies no more than Poisson counts in column"),
        (NegativeBinomial(), at(NegativeBinomial(), means=[[0.0]]), "component 0 does not vary in column 0"),
        (Beta(), at(Beta(), alphas=[[2.0**32]]), "component 0 has no width in column 0"),
        (VonMises(), at(VonMises(), vectors=[[[0.0, 2.0**26]]]), "component 0 has no width in column 0"),
        (VonMises(), at(VonMises(), vectors=[[[0.0, 1e-9]]]), "component 0 has no mean angle in column 0"),
        (Multinomial(), at(Multinomial(), probs=[[0.0]]), "component 0 never has the outcome of column 0"),
        (StudentT(), at(StudentT(), dofs=[2.0**30]), "component 0 has no heavy tails"),
        (ZeroInflated(Poisson()), (ZeroParams(np.zeros(1)), at(Poisson())), "component 0 has no extra zeros"),
        (ZeroInflated(Poisson()), (ZeroParams(np.ones(1)), at(Poisson())), "component 0 has nothing but extra zeros"),
        (ZeroInflated(Poisson()), (ZeroParams(np.full(1, 0.5)), at(Poisson(), rates=[[0.0]])), "does not vary"),
    ],
)  # fmt: skip
def test_what_is_at_an_edge_is_named_and_refused(family, theta, words):
    params = MixtureParams(weights=np.ones(1), components=theta)
    with pytest.raises(InformationError, match=words):
        check_possible(Mixture(family, 1), params)


# ---------------------------------------------------------------- fixed parameters


def clusters(d=2):
    rng = np.random.default_rng(2)
    parts = [rng.normal(m, s, (n, d)) for m, s, n in ((0.0, 1.0, 45), (3.0, 1.5, 30), (7.0, 1.0, 35))]
    return np.concatenate(parts) @ (np.eye(d) + 0.3 * np.tri(d, k=-1))


START = {"weights_init": [0.4, 0.3, 0.3], "means_init": [[0.0, 0.1], [3.8, 3.1], [9.0, 7.1]]}


def test_a_prior_informs_of_the_weights_that_are_not_fixed():
    """Clusters apart: those of two components share what the third leaves, as if alpha - 1 rows more were each's."""
    x = np.concatenate([np.random.default_rng(0).normal(m, 1.0, (n, 1)) for m, n in ((0, 40), (100, 60), (200, 80))])
    options = {"weights_init": [0.3, 0.3, 0.4], "means_init": [[0.0], [100.0], [200.0]], "weight_prior": Dirichlet(11)}
    sure = GaussianMixture(3, fixed=Fixed(weights=[0]), **options, **TIGHT).fit(x).standard_errors(x)
    share = 70 / (70 + 90)
    assert_allclose(sure.weights, [0, *[0.7 * np.sqrt(share * (1 - share) / (70 + 90))] * 2], rtol=1e-9)


@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize(
    "fixed",
    [
        Fixed(weights=[0]),
        Fixed(means=[0, 2]),
        Fixed(covariances=True),
        Fixed(weights=[1], means=[1]),
        Fixed(weights=True),
        Fixed(weights=[0, 1]),
    ],
    ids=["weight", "means", "covariances", "weight and mean", "weights", "two weights"],
)
def test_what_is_fixed_is_certain_and_the_rest_is_by_differences(structure, fixed):
    x = clusters()
    w = np.random.default_rng(0).integers(1, 3, len(x)).astype(float)
    unit = {"full": np.tile(np.eye(2), (3, 1, 1)), "tied": np.eye(2), "diag": np.ones((3, 2))}[structure]
    options = {"covariance_type": structure, "precisions_init": unit / 1.5, "reg_covar": 0.0, **TIGHT, **START}
    mixture = GaussianMixture(3, fixed=fixed, **options).fit(x, sample_weight=w)
    sure = mixture.standard_errors(x, w)
    assert sure.distance < 1e-5
    for what in ("weights", "means", "covariances"):
        kept = list(fixed.among(what, 3))
        errors = getattr(sure, what)
        assert (errors[kept if errors.shape[0] == 3 else slice(len(kept))] == 0).all()

    def log_density(found, rows):
        dense = mixture.model_.family.covariance.expand(found["covariances_"], 3, 2)
        return gaussian({**found, "covariances_": dense}, rows)

    free = [j for j in range(3) if j not in fixed.among("weights", 3)]
    kept = {f"weights[{j}]" for j in range(3) if j not in free[:-1]}
    names = [
        name
        for name, variance in zip(sure.names, np.diag(sure.covariance), strict=True)
        if variance > 0 and name not in kept
    ]
    assert_by_differences(sure, log_density, x, w, mixture.model_.family, names, last=free[-1] if free else None)
