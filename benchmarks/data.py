"""Data that all benchmarks share: clusters of a stated overlap, and a start that costs nothing."""

import os
import warnings

import numpy as np

SEPARATION = 0.7  # standard deviation of the cluster means, in sigmas: overlap, so that EM keeps moving


def capped(rows):
    """Return `rows`, or the cap that the environment sets."""
    return min(rows, int(os.environ.get("MIXTURA_BENCH_ROWS", rows)))


def clusters(n, d, k, dtype="float64", separation=SEPARATION):
    """Draw n rows from k unit Gaussians in d dimensions, means drawn with standard deviation `separation`."""
    rng = np.random.default_rng([n, d, k])
    means = separation * rng.standard_normal((k, d))
    rows = rng.standard_normal((n, d))
    rows += means[rng.integers(k, size=n)]
    return rows.astype(dtype)


def start(x, k, covariance_type):
    """Return options that start a fit at k rows with unit covariances: no k-means in the time."""
    d = x.shape[1]
    precisions = {
        "full": np.tile(np.eye(d), (k, 1, 1)),
        "tied": np.eye(d),
        "diag": np.ones((k, d)),
        "spherical": np.ones(k),
    }
    return {
        "n_components": k,
        "covariance_type": covariance_type,
        "weights_init": np.full(k, 1.0 / k),
        "means_init": x[:k].astype(np.float64),
        "precisions_init": precisions[covariance_type],
    }


def fit_passes(x, updates, options, weight=None):
    """Fit with exactly this many updates; raise if EM made fewer: a time would then mean something else."""
    from mixtura import GaussianMixture

    estimator = GaussianMixture(tol=0.0, max_iter=updates, acceleration=None, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged: that is the point
        estimator.fit(x, sample_weight=weight)
    if estimator.n_iter_ != updates:
        raise RuntimeError(f"{estimator.n_iter_} updates were made instead of {updates}")
    return estimator
