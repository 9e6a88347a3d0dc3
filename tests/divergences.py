"""Kullback-Leibler divergences of components, from the textbook: what the metric of a family is the curvature of."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import betaln, digamma, gammaln, ive
from scipy.stats import nbinom

from mixtura.families.bernoulli import BernoulliParams
from mixtura.families.beta import BetaParams
from mixtura.families.categorical import CategoricalParams
from mixtura.families.exponential import ExponentialParams
from mixtura.families.gamma import GammaParams
from mixtura.families.gaussian import GaussianParams
from mixtura.families.multinomial import MultinomialParams
from mixtura.families.negative_binomial import NegativeBinomialParams
from mixtura.families.poisson import PoissonParams
from mixtura.families.student_t import StudentTParams
from mixtura.families.von_mises import VonMisesParams
from mixtura.families.zero_inflated import ZeroParams


def of_mixtures(p, q):
    """Return the divergence of rows and their components under p from those under q."""
    within = of_components(p.components, q.components)
    return np.sum(p.weights * (np.log(p.weights / q.weights) + within))


def of_components(p, q):
    """Return the divergence of each component, (k,)."""
    if isinstance(p, tuple) and isinstance(p[0], ZeroParams):
        return of_zeros(p[0], q[0]) + (1 - p[0].zeros) * of_components(p[1], q[1])
    if isinstance(p, tuple):
        return sum(of_components(a, b) for a, b in zip(p, q, strict=True))
    return OF[type(p)](p, q)


def of_gaussians(p, q):
    k, d = p.means.shape
    total = np.zeros(k)
    for j in range(k):
        s, t = (dense(theta.covariances, j, k, d) for theta in (p, q))
        gap = p.means[j] - q.means[j]
        inverse = np.linalg.inv(t)
        logs = np.linalg.slogdet(t)[1] - np.linalg.slogdet(s)[1]
        total[j] = (np.trace(inverse @ s) - d + gap @ inverse @ gap + logs) / 2
    return total


def dense(covariances, j, k, d):
    """Return the covariance (d, d) of one component from those of any structure."""
    if covariances.shape in ((k, d, d), (d, d)):
        return covariances.reshape(-1, d, d)[j if covariances.ndim == 3 else 0]
    return np.eye(d) * covariances[j]


def of_rates(p, q):
    a, b = p.rates, q.rates
    return (a * np.log(a / b) - a + b).sum(axis=1)


def of_answers(p, q):
    a, b = p.probs, q.probs
    return (a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))).sum(axis=1)


def of_categories(p, q):
    return (p.probs * np.log(p.probs / q.probs)).sum(axis=(1, 2))


def of_waits(p, q):
    return (np.log(q.means / p.means) + p.means / q.means - 1).sum(axis=1)


def of_gammas(p, q):
    return of_shapes(p.shapes, p.means, q.shapes, q.means).sum(axis=1)


def of_shapes(a, mean_a, b, mean_b):
    """Return those of gamma distributions from their shapes and means."""
    rate_a, rate_b = a / mean_a, b / mean_b
    logs = b * np.log(rate_a / rate_b) + gammaln(b) - gammaln(a)
    return (a - b) * digamma(a) + logs + a * (rate_b - rate_a) / rate_a


def of_visits(p, q):
    """Return that of counts at the same size, and that of the rates which rows have, about the mean."""
    x = np.arange(3000)[:, None, None]
    a, b = (nbinom(p.sizes, p.sizes / (p.sizes + theta.means)) for theta in (p, q))
    of_counts = (a.pmf(x) * (a.logpmf(x) - b.logpmf(x))).sum(axis=0)
    return (of_counts + of_shapes(p.sizes, 1.0, q.sizes, 1.0)).sum(axis=1)


def of_heavy_tails(p, q):
    """Return that of rows and their precisions, whose mean under q is the least favourable one."""
    k, d = p.normal.means.shape
    total = np.zeros(k)
    for j in range(k):
        s, t = (dense(theta.normal.covariances, j, k, d) for theta in (p, q))
        gap = p.normal.means[j] - q.normal.means[j]
        inverse = np.linalg.inv(t)
        logs = np.linalg.slogdet(t)[1] - np.linalg.slogdet(s)[1]

        def divergence(log_mean, j=j, s=s, gap=gap, inverse=inverse, logs=logs):
            mean = np.exp(log_mean)  # the matrix that goes with precisions of this mean is larger by it
            of_rows = ((np.trace(inverse @ s) + gap @ inverse @ gap) / mean - d + logs + d * log_mean) / 2
            return of_rows + of_shapes(p.dofs[j] / 2, 1.0, q.dofs[j] / 2, mean)

        total[j] = minimize_scalar(divergence, bounds=(-0.01, 0.01), method="bounded", options={"xatol": 1e-9}).fun
    return total


def of_proportions(p, q):
    (a, b), (c, d) = (p.alphas, p.betas), (q.alphas, q.betas)
    gaps = (a - c) * digamma(a) + (b - d) * digamma(b) + (c + d - a - b) * digamma(a + b)
    return (betaln(c, d) - betaln(a, b) + gaps).sum(axis=1)


def of_angles(p, q):
    a, b = (np.hypot(*np.moveaxis(theta.vectors, -1, 0)) for theta in (p, q))
    expected = (ive(1, a) / ive(0, a) / a)[..., None] * p.vectors
    logs = np.log(ive(0, b) / ive(0, a)) + b - a
    return (logs + ((p.vectors - q.vectors) * expected).sum(axis=-1)).sum(axis=1)


def of_texts(p, q):
    return p.totals * (p.probs * np.log(p.probs / q.probs)).sum(axis=1)


def of_zeros(p, q):
    a, b = p.zeros, q.zeros
    return a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))


OF = {
    GaussianParams: of_gaussians,
    PoissonParams: of_rates,
    BernoulliParams: of_answers,
    CategoricalParams: of_categories,
    ExponentialParams: of_waits,
    GammaParams: of_gammas,
    NegativeBinomialParams: of_visits,
    BetaParams: of_proportions,
    MultinomialParams: of_texts,
    VonMisesParams: of_angles,
    ZeroParams: of_zeros,
    StudentTParams: of_heavy_tails,
}
