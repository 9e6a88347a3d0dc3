"""Kullback-Leibler divergences of components, from the textbook: what the metric of a family is the curvature of."""

import numpy as np

from mixtura.families.bernoulli import BernoulliParams
from mixtura.families.categorical import CategoricalParams
from mixtura.families.exponential import ExponentialParams
from mixtura.families.gaussian import GaussianParams
from mixtura.families.poisson import PoissonParams


def of_mixtures(p, q):
    """Return the divergence of rows and their components under p from those under q."""
    within = of_components(p.components, q.components)
    return np.sum(p.weights * (np.log(p.weights / q.weights) + within))


def of_components(p, q):
    """Return the divergence of each component, (k,)."""
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


OF = {
    GaussianParams: of_gaussians,
    PoissonParams: of_rates,
    BernoulliParams: of_answers,
    CategoricalParams: of_categories,
    ExponentialParams: of_waits,
}
