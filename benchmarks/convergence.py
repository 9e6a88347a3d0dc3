"""How many passes an accelerated fit takes beside plain EM, on data on which EM is slow.

    python -m benchmarks.convergence

Both start at the same random rows. EM goes on until Aitken's rule leaves less than `LEFT` to gain in the
log-likelihood: that is its limit. Counted are the passes until a fit is within `NEAR` of that limit, or above it.
"""

import statistics
import sys
import warnings

import numpy as np

from benchmarks.data import capped, galaxies
from mixtura import GaussianMixture
from mixtura.acceleration import QuasiNewton, aitken
from mixtura.em import drive, observe
from mixtura.sources import ArraySource

NEAR, LEFT = 1e-6, 1e-8  # of a total log-likelihood
MOST = 100_000  # updates
SEED = 1
OVERLAPPING = ((1, 2, 1.5), (1, 3, 2), (2, 3, 1.5), (2, 5, 2), (4, 4, 1.5), (8, 4, 1), (8, 8, 0.7), (3, 6, 1))


def cases():
    """Yield (what, rows, components, structure)."""
    from sklearn.datasets import load_digits, load_wine
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import scale

    rng = np.random.default_rng(0)
    for d, k, separation in OVERLAPPING:
        n, means = capped(2000), separation * rng.standard_normal((k, d))
        yield f"simulated, d={d}, k={k}", rng.standard_normal((n, d)) + means[rng.integers(k, size=n)], k, "full"
    for k in (4, 5, 6):
        yield f"galaxies, k={k}", galaxies(), k, "tied"
    wine, digits = scale(load_wine().data), load_digits().data
    yield "wine, 4 principal components, k=6", PCA(4).fit_transform(wine), 6, "full"
    yield "wine, k=6", wine, 6, "tied"
    yield "digits, 8 principal components, k=6", PCA(8).fit_transform(digits), 6, "full"
    yield "digits, 20 principal components, k=6", PCA(20).fit_transform(digits), 6, "tied"
    yield "digits, 20 principal components, k=6", PCA(20).fit_transform(digits), 6, "diag"


def passes_to_limit(x, k, structure):
    """Return the passes of EM and of an accelerated fit, None for one that ends lower than EM."""
    options = {"covariance_type": structure, "init_params": "random_from_data", "random_state": SEED, "max_iter": 0}
    begun = GaussianMixture(k, reg_covar=1e-6, **options).fit(x)
    fit = (ArraySource(x), begun.model_, [begun.params_])
    plain, fast = [], []
    with observe(lambda state: _arrived(state, plain)):
        drive(*fit, tol=0.0, max_iter=MOST)
    goal = max(loglik for _, loglik in plain) - NEAR
    with observe(lambda state: fast.append((state.n_passes, state.loglik)) or state.loglik >= goal):
        drive(*fit, tol=0.0, max_iter=len(plain), ascent=QuasiNewton())
    return tuple(next((n for n, loglik in trail if loglik >= goal), None) for trail in (plain, fast))


def _arrived(state, trail):
    trail.append((state.n_passes, state.loglik))
    last = [loglik for _, loglik in trail[-3:]]
    return len(last) == 3 and aitken(np.diff(last).tolist()) < LEFT


def main():
    """Print the table and return 0, or 1 where an accelerated fit ended lower than EM."""
    warnings.simplefilter("ignore")  # starts have not converged: that is the point
    print("| data | covariance | EM | accelerated | ratio |\n|---|---|---|---|---|")
    ratios = []
    for what, x, k, structure in cases():
        plain, fast = passes_to_limit(x, k, structure)
        ratios.append(plain / fast if fast else 0.0)
        print(f"| {what} | {structure} | {plain} | {fast or 'ends lower'} | {ratios[-1]:.1f} |", flush=True)
    print(f"\nmedian {statistics.median(ratios):.1f}, least {min(ratios):.1f}")
    return 0 if all(ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
