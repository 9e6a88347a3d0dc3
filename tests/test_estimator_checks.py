"""scikit-learn's checks of any estimator.

``MixtureModel(Poisson(), ...)`` is not here: nearly every generic check fits real numbers drawn from a normal
distribution or from blobs. The tag for positive input makes some of them non-negative but none whole, and
0.37 has no Poisson probability, so that refusing it is right. The estimator shares its base class with
``GaussianMixture``, which takes the checks; ``test_copies`` clones, pickles and saves it.
"""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from mixtura import GaussianMixture, KMeans, MixtureIC

EXPECTED = {
    "check_fit1d": "a vector is data of one column here, not an error",
    "check_fit2d_predict1d": "a vector is data of one column here, not an error",
}

pytestmark = [  # the checks' data are small and their iterations few: these warnings belong
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::mixtura.exceptions.CollapseWarning"),
    pytest.mark.filterwarnings("ignore::mixtura.exceptions.SelectionWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]


@parametrize_with_checks(
    [
        *(GaussianMixture(covariance_type=structure) for structure in ("full", "tied", "diag", "spherical")),
        KMeans(n_clusters=3),
        MixtureIC(GaussianMixture(random_state=0), n_components=(1, 2), covariance_types="full"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_generic_checks(estimator, check):
    check(estimator)
