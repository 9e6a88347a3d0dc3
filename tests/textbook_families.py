"""Log-densities (n, k) of rows from the public attributes of each family, by SciPy's distributions."""

import numpy as np
from scipy import stats


def by_column(distributions, x):
    """Return those of independent columns; `distributions` (k, d) broadcast."""
    method = "logpmf" if hasattr(distributions.dist, "pmf") else "logpdf"
    return getattr(distributions, method)(x[:, None, :]).sum(axis=2)


def bernoulli(found, x):
    return by_column(stats.bernoulli(found["probs_"]), x)


def categorical(found, x):
    probs = found["probs_"]
    columns = range(probs.shape[1])
    one_hot = np.eye(probs.shape[2])[x.astype(int)]
    one_of = [[stats.multinomial(1, p[j]).logpmf(one_hot[:, j]) for j in columns] for p in probs]
    return np.sum(one_of, axis=1).T


def exponential(found, x):
    return by_column(stats.expon(scale=1 / found["rates_"]), x)


def gaussian(found, x):
    pairs = zip(found["means_"], found["covariances_"], strict=True)
    return np.column_stack([stats.multivariate_normal(m, c).logpdf(x) for m, c in pairs])


def poisson(found, x):
    return by_column(stats.poisson(found["rates_"]), x)


def gamma(found, x):
    return by_column(stats.gamma(found["shapes_"], scale=1 / found["rates_"]), x)


def negative_binomial(found, x):
    sizes = found["sizes_"]
    return by_column(stats.nbinom(sizes, sizes / (sizes + found["means_"])), x)


def student_t(found, x):
    triples = zip(found["locations_"], found["scales_"], found["dofs_"], strict=True)
    d = x.shape[1]
    matrix = {0: lambda s: s * np.eye(d), 1: np.diag, 2: np.asarray}
    return np.column_stack([stats.multivariate_t(m, matrix[np.ndim(s)](s), nu).logpdf(x) for m, s, nu in triples])


def log_normal(found, x):
    return gaussian(found, np.log(x)) - np.log(x).sum(axis=1)[:, None]


def beta(found, x):
    return by_column(stats.beta(found["alphas_"], found["betas_"]), x)


def von_mises(found, x):
    return by_column(stats.vonmises(found["kappas_"], loc=found["angles_"]), x)


def multinomial(found, x):
    totals = x.sum(axis=1).astype(int)
    return np.column_stack([stats.multinomial(totals, p).logpmf(x) for p in found["probs_"]])


def zero_inflated(found, x, of=poisson):
    zeros = found["zeros_"]
    extra = np.where((x == 0).all(axis=1)[:, None], zeros, 0)
    return np.log(extra + (1 - zeros) * np.exp(of(found, x)))


def mixed(found, x):
    """That of `cases.MIXED`: two numbers, a category, a count, two answers."""
    numbers, category, count, answers = found["parts_"]
    return (
        gaussian(numbers, x[:, :2])
        + categorical(category, x[:, 2:3])
        + poisson(count, x[:, 3:4])
        + bernoulli(answers, x[:, 4:])
    )


LOG_DENSITY = {
    "bernoulli": bernoulli,
    "categorical": categorical,
    "exponential": exponential,
    "gamma": gamma,
    "negative-binomial": negative_binomial,
    "student-t": student_t,
    "student-t-spherical": student_t,
    "log-normal": log_normal,
    "beta": beta,
    "multinomial": multinomial,
    "von-mises": von_mises,
    "zero-inflated": zero_inflated,
    "product": mixed,
}
