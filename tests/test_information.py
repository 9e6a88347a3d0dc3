"""The information about parameters beside derivatives of a log-likelihood that is written out a second time.

Derivatives are taken by complex steps, which lose no digits, and differences of these.
"""

from dataclasses import replace

import numpy as np
import pytest
import scipy.special
from numpy.testing import assert_allclose

import naive
from cases import CASES
from mixtura.em import drive
from mixtura.families import Gaussian
from mixtura.families.linalg import share_basis
from mixtura.grid import BLOCK_ROWS, Chunk
from mixtura.models import Mixture
from mixtura.models.information import collect, information
from mixtura.models.weights import Weighting
from mixtura.priors import Dirichlet, NormalInverseWishart, Spread
from mixtura.sources import ArraySource

TINY = 1e-30  # a complex step: its square is nothing beside 1
STEP = 1e-5  # of the differences: errs by its square, and by rounding over it


def gradient(function, at):
    """Return the derivatives of a function that takes complex numbers."""
    steps = TINY * 1j * np.eye(len(at))
    return np.array([function(at + step).imag / TINY for step in steps])


def hessian(function, at):
    rows = [(gradient(function, at + s) - gradient(function, at - s)) / (2 * STEP) for s in STEP * np.eye(len(at))]
    return (np.array(rows) + np.array(rows).T) / 2


def log_mixture(log_weights, log_densities):
    """Return log(sum of exp) by rows, the weights normalized."""
    joint = log_weights - np.log(np.exp(log_weights).sum()) + log_densities
    top = joint.real.max(axis=1, keepdims=True)
    return (top + np.log(np.exp(joint - top).sum(axis=1, keepdims=True)))[:, 0]


def normal_in_natural_coordinates(y, linear, precision):
    """Return the log-density of rows y about the present mean, whitened: exp(linear'y - y' precision y / 2 - A)."""
    log_partition = linear @ np.linalg.solve(precision, linear) / 2 - np.log(np.linalg.det(precision)) / 2
    return y @ linear - np.einsum("ni,ij,nj->n", y, precision, y) / 2 - log_partition


def symmetric(spread, d, structure):
    """Return the symmetric matrix that coordinates of unit information stand for."""
    if structure == "spherical":
        return spread[0] * np.sqrt(2 / d) * np.eye(d)
    if structure == "diag":
        return np.diag(spread) * np.sqrt(2)
    matrix = np.zeros((d, d), dtype=complex)
    matrix[np.tril_indices(d)] = spread
    return matrix + matrix.T + (np.sqrt(2) - 2) * np.diag(np.diag(matrix))


def gaussian_objective(mixture, x, w, prior=None):
    """Return log-likelihood and log prior as a function of the coordinates, up to a constant: 0 at the parameters."""
    k, d = mixture.means_.shape
    structure = mixture.covariance_type
    upper = mixture.precisions_cholesky_
    if structure == "spherical":
        upper = upper[:, None, None] * np.eye(d)
    elif structure == "diag":
        upper = upper[:, :, None] * np.eye(d)
    upper = np.broadcast_to(upper, (k, d, d))
    s = {"full": d * (d + 1) // 2, "tied": d * (d + 1) // 2, "diag": d, "spherical": 1}[structure]
    basis = share_basis(mixture.weights_)

    def function(at):
        tilt, linear, spread = np.split(at, [k - 1, k - 1 + k * d])
        linear = linear.reshape(k, d)
        spread = np.tile(spread, (k, 1)) if structure == "tied" else spread.reshape(k, s)
        inner = [np.eye(d) - symmetric(part, d, structure) for part in spread]
        densities = np.column_stack([
            normal_in_natural_coordinates((x - mixture.means_[a]) @ upper[a], linear[a], inner[a])
            + np.log(np.diag(upper[a])).sum()
            for a in range(k)
        ])  # fmt: skip
        total = w @ log_mixture(np.log(mixture.weights_) + basis @ tilt, densities)
        if prior is None:
            return total
        precisions = [upper[a] @ inner[a] @ upper[a].T for a in range(k)]
        moves = [np.linalg.solve(precisions[a], upper[a] @ linear[a]) for a in range(k)]
        return total + log_prior(mixture, prior, mixture.means_ + np.array(moves), precisions)

    return function


def observed_loglik(mixture, x, w):
    """Return the log-likelihood of rows that lack values as a function of the same coordinates, row by row."""
    k, d = mixture.means_.shape
    structure = mixture.covariance_type
    dense = [np.array(naive.covariance_matrix(mixture.covariances_, structure, a, d)) for a in range(k)]
    upper = [np.array(naive.cholesky(np.linalg.inv(c)[::-1, ::-1]))[::-1, ::-1] for c in dense]
    basis = share_basis(mixture.weights_)

    def log_density(row, mean, covariance):
        here = ~np.isnan(row)
        gap, block = row[here] - mean[here], covariance[np.ix_(here, here)]
        return -(gap @ np.linalg.solve(block, gap) + np.log(np.linalg.det(2 * np.pi * block))) / 2

    def function(at):
        tilt, linear, spread = np.split(at, [k - 1, k - 1 + k * d])
        linear = linear.reshape(k, d)
        spread = np.tile(spread, (k, 1)) if structure == "tied" else spread.reshape(k, -1)
        covariances = [np.linalg.inv(u @ (np.eye(d) - symmetric(e, d, structure)) @ u.T)
                       for u, e in zip(upper, spread, strict=True)]  # fmt: skip
        means = [m + c @ u @ h for m, c, u, h in zip(mixture.means_, covariances, upper, linear, strict=True)]
        densities = [[log_density(row, m, c) for m, c in zip(means, covariances, strict=True)] for row in x]
        return w @ log_mixture(np.log(mixture.weights_) + basis @ tilt, np.array(densities))

    return function


def log_prior(mixture, prior, means, precisions):
    """Return the log density P1, in the data's own units."""
    structure, theta = mixture.model_.family.covariance, mixture.params_.components
    k, d = means.shape
    rows = prior.rows_for(structure, theta.frame, theta.whole, k)
    unit = 1 / theta.frame.scale
    r = structure.expand(rows.covariance, 1, d)[0] * np.outer(unit, unit)
    m = rows.mean * unit + theta.frame.shift
    total = 0.0
    for a, (mean, precision) in enumerate(zip(means, precisions, strict=True)):
        log_det = np.log(np.linalg.det(r @ precision))
        if a == 0 or structure.name != "tied":
            total = total - rows.rows / 2 * (np.trace(r @ precision) - log_det - d)
        if rows.mean_rows:
            total = total + log_det / 2 - rows.mean_rows / 2 * (mean - m) @ precision @ (mean - m)
    return total


def take(model, params, x, w=None):
    return information(model, params, collect(ArraySource(x, w), model, params))


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("prior", [None, Spread(5.0), NormalInverseWishart(mean_precision=3.0, dof=5.0)])
def test_derivatives_of_a_gaussian_mixture_anywhere(make_mixture, structure, prior, d):
    mixture, x = make_mixture(structure, d=d, k=3)
    x = x[:60]
    w = np.random.default_rng(1).integers(0, 4, len(x)).astype(float)
    model = replace(mixture.model_, family=replace(mixture.model_.family, prior=prior))
    found = take(model, mixture.params_, x, w)
    objective, start = gaussian_objective(mixture, x, w, prior), np.zeros(len(found.score))
    assert len(start) == model.n_parameters(mixture.params_)
    assert np.abs(found.score).max() > 1  # the parameters are no optimum: second derivatives are right beside it, too
    assert_allclose(found.score, gradient(objective, start), rtol=1e-10, atol=1e-9)
    curvature = -hessian(objective, start)
    assert_allclose(found.observed, curvature, rtol=1e-7, atol=1e-8 * np.abs(curvature).max())


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_derivatives_where_values_are_missing(make_mixture, structure, share):
    mixture, x = make_mixture(structure, d=3, k=2)
    rng = np.random.default_rng(2)
    x = np.where(rng.random((15, 3)) < share, np.nan, x[:15])
    x[3] = np.nan  # nothing observed
    w = rng.integers(0, 3, len(x)) + 0.5
    model = mixture.model_.for_missing()
    found = take(replace(model, family=replace(model.family, prior=None)), mixture.params_, x, w)
    loglik, start = observed_loglik(mixture, x, w), np.zeros(len(found.score))
    assert_allclose(found.score, gradient(loglik, start), rtol=1e-9, atol=1e-8)
    curvature = -hessian(loglik, start)
    assert_allclose(found.observed, curvature, rtol=1e-6, atol=1e-7 * np.abs(curvature).max())


def poisson(family, theta, x):
    def densities(e):
        logs = np.log(theta.rates) + e.reshape(theta.rates.shape) / np.sqrt(theta.rates)
        return x @ logs.T - np.exp(logs).sum(axis=1)

    return densities


def bernoulli(family, theta, x):
    p = theta.probs

    def densities(e):
        logits = np.log(p / (1 - p)) + e.reshape(p.shape) / np.sqrt(p * (1 - p))
        return x @ logits.T - np.log1p(np.exp(logits)).sum(axis=1)

    return densities


def exponential(family, theta, x):
    own = family.attributes(theta)["rates_"]

    def densities(e):
        rates = own * (1 - e.reshape(own.shape))
        return np.log(rates).sum(axis=1) - x @ rates.T

    return densities


def gamma(family, theta, x):
    own = family.attributes(theta)
    shapes, rates = own["shapes_"], own["rates_"]
    information = shapes**2 * scipy.special.polygamma(1, shapes) - shapes

    def densities(e):
        mean, shape = (part.reshape(shapes.shape) for part in np.split(e, 2))
        d_shape = shapes * shape / np.sqrt(information)
        d_rate = rates * (shape / np.sqrt(information) - mean / np.sqrt(shapes))
        alpha, beta = shapes + d_shape, rates + d_rate  # natural parameters, along a line
        peaks = (alpha * np.log(beta) - scipy.special.loggamma(alpha)).sum(axis=1)
        return np.log(x) @ (alpha - 1).T - x @ beta.T + peaks

    return densities


def categorical(family, theta, x):
    k, d, m = theta.probs.shape
    basis = share_basis(theta.probs)

    def densities(e):
        logs = np.log(theta.probs) + np.einsum("kdms,kds->kdm", basis, e.reshape(k, d, m - 1))
        logs = logs - np.log(np.exp(logs).sum(axis=2, keepdims=True))
        return logs[:, np.arange(d), x.astype(int)].sum(axis=2).T

    return densities


NATURAL = {
    "poisson": poisson,
    "bernoulli": bernoulli,
    "exponential": exponential,
    "gamma": gamma,
    "categorical": categorical,
}


@pytest.mark.parametrize("name", NATURAL)
def test_derivatives_of_another_mixture_anywhere(name):
    case = CASES[name]
    x = case.rows(40)
    (fit,) = drive(ArraySource(x), case.model, [case.start(x)], max_iter=1)
    weights, theta = fit.params.weights, fit.params.components
    found = take(case.model, fit.params, x)
    densities, basis = NATURAL[name](case.model.family, theta, x), share_basis(weights)

    def loglik(at):
        return log_mixture(np.log(weights) + basis @ at[:2], densities(at[2:])).sum()

    start = np.zeros(len(found.score))
    assert len(start) == case.model.n_parameters(fit.params)
    assert np.abs(found.score).max() > 0.1
    assert_allclose(found.score, gradient(loglik, start), rtol=1e-9, atol=1e-8)
    assert_allclose(found.observed, -hessian(loglik, start), rtol=1e-6, atol=1e-5)


def test_derivatives_with_a_prior_of_the_weights():
    case, alpha = CASES["poisson"], np.array([1.0, 4.0, 9.0])
    x = case.rows(30)
    (fit,) = drive(ArraySource(x), case.model, [case.start(x)], max_iter=1)
    weights, theta = fit.params.weights, fit.params.components
    found = take(replace(case.model, weighting=Weighting(Dirichlet(tuple(alpha)))), fit.params, x)
    densities, basis = poisson(case.model.family, theta, x), share_basis(weights)

    def objective(at):
        logs = np.log(weights) + basis @ at[:2]
        log_pi = logs - np.log(np.exp(logs).sum())
        return log_mixture(logs, densities(at[2:])).sum() + (alpha - 1) @ log_pi

    start = np.zeros(len(found.score))
    assert_allclose(found.score, gradient(objective, start), rtol=1e-9, atol=1e-8)
    assert_allclose(found.observed, -hessian(objective, start), rtol=1e-6, atol=1e-5)


def test_a_product_has_the_information_of_its_parts():
    case = CASES["product"]
    x = case.rows(300)
    (fit,) = drive(ArraySource(x), case.model, [case.start(x)], max_iter=3)
    found, parts = take(case.model, fit.params, x), fit.params.components
    begin = 2
    assert not np.allclose(found.observed[2:17, 17:], 0, atol=1)  # parts are independent only within a component
    for family, theta, part in zip(case.model.family.families, parts, (x[:, :2], x[:, 2:3], x[:, 3:4], x[:, 4:]),
                                   strict=True):  # fmt: skip
        unit, slots = family.unit_scores(theta, part), family.slots(theta)
        resp = case.model.posterior(fit.params, x)[1]
        scores = np.zeros((len(x), slots.size))
        for a in range(3):
            scores[:, slots[a]] += resp[:, [a]] * unit[:, a]
        end = begin + slots.size
        assert_allclose(found.score[begin:end], scores.sum(axis=0), rtol=1e-9, atol=1e-9)
        assert_allclose(found.products[begin:end, begin:end], scores.T @ scores, rtol=1e-9, atol=1e-9)
        begin = end
    assert begin == len(found.score)


def test_products_are_of_the_scores_of_rows(make_mixture, structure):
    mixture, x = make_mixture(structure, d=2, k=2)
    x, w = x[:20], np.arange(20.0)
    found = take(mixture.model_, mixture.params_, x, w)
    scores = [gradient(gaussian_objective(mixture, x[i : i + 1], np.ones(1)), np.zeros(len(found.score)))
              for i in range(20)]  # fmt: skip
    expected = sum(weight * np.outer(s, s) for weight, s in zip(w, scores, strict=True))
    assert_allclose(found.products, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_steps_of_weights_have_unit_information(k):
    weights = np.random.default_rng(k).dirichlet(np.ones(k))
    basis = share_basis(weights)
    assert_allclose(weights @ basis, 0, atol=1e-15)
    assert_allclose(basis.T @ np.diag(weights) @ basis, np.eye(k - 1), atol=1e-14)


def test_both_kinds_agree_where_the_rows_are_the_model():
    """On a quadrature of the density itself both are the expected information (the information identity)."""
    x = np.linspace(-14, 18, 6000)
    params = two_normals()
    model = Mixture(Gaussian(), 2)
    density = np.exp(model.posterior(params, x[:, None])[0])
    found = take(model, params, x[:, None], density * (x[1] - x[0]))
    assert_allclose(found.score, 0, atol=1e-12)
    assert_allclose(found.observed, found.products, rtol=1e-10, atol=1e-12)
    assert not np.allclose(found.observed, np.diag(found.complete), atol=0.1)


def two_normals():
    from mixtura import GaussianMixture

    return GaussianMixture(2, weights_init=[0.3, 0.7], means_init=[[0.0], [2.5]], precisions_init=[[[1.0]], [[0.4]]],
                           max_iter=0).fit([[-3.0], [6.0]]).params_  # fmt: skip


def test_sums_have_the_same_bits_however_rows_are_handed_out(make_mixture, structure):
    from threadpoolctl import threadpool_limits

    mixture, _ = make_mixture(structure, d=4, k=4)
    x, _ = mixture.sample(3 * BLOCK_ROWS + 100, random_state=0)
    whole = collect(ArraySource(x), mixture.model_, mixture.params_).to_bytes()
    with threadpool_limits(2):
        pieces = ArraySource(x, chunk_rows=BLOCK_ROWS)
        assert collect(pieces, mixture.model_, mixture.params_).to_bytes() == whole


def test_sums_of_parts_add(make_mixture, structure):
    from mixtura.models.information import _collect_chunk

    mixture, x = make_mixture(structure, d=2)
    w = np.random.default_rng(0).uniform(0, 2, len(x))
    whole = _collect_chunk(mixture.model_, mixture.params_, Chunk(x, w)).total()
    parts = [_collect_chunk(mixture.model_, mixture.params_, Chunk(x[s], w[s])).total()
             for s in (slice(0, 70), slice(70, None))]  # fmt: skip
    total = parts[0] + parts[1]
    for name in ("score", "products", "within"):
        assert_allclose(getattr(total, name), getattr(whole, name), rtol=1e-10, atol=1e-10)
    assert total.weight == pytest.approx(w.sum())
