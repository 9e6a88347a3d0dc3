"""BLAS with one thread: the setting is everybody's, and is left as it was found."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from mixtura import GaussianMixture
from mixtura.blas import one_thread
from mixtura.values import same_bits


def threads():
    """Return how many threads each BLAS uses."""
    return [library.num_threads for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


@pytest.fixture(autouse=True)
def _two():
    with threadpool_limits(2, user_api="blas"):
        if set(threads()) != {2}:
            pytest.skip("this BLAS has one thread only")
        yield


def test_it_is_one_inside_and_as_before_outside():
    with one_thread():
        assert set(threads()) == {1}
        with one_thread():
            assert set(threads()) == {1}
        assert set(threads()) == {1}
    assert set(threads()) == {2}
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert set(threads()) == {2}


def test_fits_side_by_side_leave_it_as_they_found_it():
    x = np.random.default_rng(0).normal(size=(300, 3))
    with ThreadPoolExecutor(4) as pool:
        for found in [pool.submit(GaussianMixture(3, random_state=i).fit, x) for i in range(8)]:
            found.result()
        GaussianMixture(3, random_state=0).fit(x)
    assert set(threads()) == {2}


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_fit_has_the_same_bits_on_any_number_of_threads_of_blas(covariance_type):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 25)) @ rng.normal(size=(25, 25)) + 3 * rng.integers(3, size=(900, 1))
    fits = []
    for n in (1, 2):
        with threadpool_limits(n, user_api="blas"):
            fits.append(GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(x))
    assert same_bits(fits[0].params_, fits[1].params_)
