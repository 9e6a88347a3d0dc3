"""Data that all benchmarks share: clusters of a stated overlap, galaxies, and a start that costs nothing."""

import os
import warnings

import numpy as np

SEPARATION = 0.7  # standard deviation of the cluster means, in sigmas: overlap, so that EM keeps moving


# Velocities (km/s) of 82 galaxies of the Corona Borealis region: Postman, Huchra and Geller (1986), as given
# by Roeder (1990, JASA 85, 617). The 78th is 26690 there; some copies have 26960.
GALAXIES = """
 9172  9350  9483  9558  9775 10227 10406 16084 16170 18419 18552 18600 18927 19052 19070 19330
19343 19349 19440 19473 19529 19541 19547 19663 19846 19856 19863 19914 19918 19973 19989 20166
20175 20179 20196 20215 20221 20415 20629 20795 20821 20846 20875 20986 21137 21492 21701 21814
21921 21960 22185 22209 22242 22249 22314 22374 22495 22746 22747 22888 22914 23206 23241 23263
23484 23538 23542 23666 23706 23711 24129 24285 24289 24366 24717 24990 25633 26690 26995 32065
32789 34279
"""


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

    estimator = GaussianMixture(tol=0.0, reg_covar=1e-6, max_iter=updates, acceleration=None, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged: that is the point
        estimator.fit(x, sample_weight=weight)
    if estimator.n_iter_ != updates:
        raise RuntimeError(f"{estimator.n_iter_} updates were made instead of {updates}")
    return estimator


def galaxies():
    """Return the velocities of 82 galaxies in thousands of km/s, (82, 1)."""
    return np.array(GALAXIES.split(), dtype=float)[:, None] / 1000
