"""The textbook's conditional of a Gaussian mixture, by blocks and inverses, component by component."""

import math

import numpy as np

import naive

GIVEN = {2: [0], 3: [2, 0], 6: [4, 1, 2]}  # columns that are given, by the number of columns


def dense(mixture):
    """Return weights, means and covariances (k, d, d) as lists of arrays."""
    k, d = mixture.means_.shape
    structure = mixture.covariance_type
    covariances = [np.array(naive.covariance_matrix(mixture.covariances_, structure, j, d)) for j in range(k)]
    return mixture.weights_, mixture.means_, covariances


def others(d, given):
    return [j for j in range(d) if j not in given]


def conditional_by_textbook(mixture, given, values):
    """Return log-density of the values, and weights, means and covariances of the others: block formulas, inverses."""
    weights, means, covariances = dense(mixture)
    rest = others(len(means[0]), given)
    log_joint, new_means, new_covariances = [], [], []
    for weight, mean, cov in zip(weights, means, covariances, strict=True):
        inner, cross = cov[np.ix_(given, given)], cov[np.ix_(rest, given)]
        gap = values - mean[given]
        quadratic = gap @ np.linalg.inv(inner) @ gap
        log_density = -0.5 * (quadratic + np.linalg.slogdet(inner)[1] + len(given) * math.log(2 * math.pi))
        log_joint.append(math.log(weight) + log_density)
        new_means.append(mean[rest] + cross @ np.linalg.inv(inner) @ gap)
        new_covariances.append(cov[np.ix_(rest, rest)] - cross @ np.linalg.inv(inner) @ cross.T)
    total = naive.log_sum_exp(log_joint)
    return total, np.exp(np.array(log_joint) - total), np.array(new_means), np.array(new_covariances)


def moments(weights, means, covariances):
    """Return the mean and covariance of a mixture, by loops over its components."""
    mean = sum(w * m for w, m in zip(weights, means, strict=True))
    parts = zip(weights, means, covariances, strict=True)
    return mean, sum(w * (c + np.outer(m - mean, m - mean)) for w, m, c in parts)
