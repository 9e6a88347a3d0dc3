"""BLAS with one thread: the setting is everybody's, and is left as it was found."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Event, local

import numpy as np
import pytest
from sklearn.base import clone
from threadpoolctl import ThreadpoolController, threadpool_limits

from mixtura import GaussianMixture, init
from mixtura.acceleration import QuasiNewton
from mixtura.blas import Threads, one_thread
from mixtura.em import drive
from mixtura.families import Gaussian
from mixtura.models import Mixture
from mixtura.sources import ArraySource
from mixtura.survey import survey
from mixtura.values import same_bits


def threads():
    """Return how many threads each BLAS uses."""
    return [library.num_threads for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


@pytest.fixture(autouse=True)
def _two():
    with threadpool_limits(2, user_api="blas"):
        if set(threads()) != {2}:
            pytest.skip("this BLAS has one thread only")  # then there is nothing to set, and nothing to restore
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


def test_it_stays_one_until_the_last_of_several_has_ended():
    begun, may_end = Event(), Event()

    def second():
        with one_thread():
            begun.set()
            may_end.wait(10)

    with ThreadPoolExecutor(1) as other:
        with one_thread():
            ended = other.submit(second)
            assert begun.wait(10)
        assert set(threads()) == {1}
        may_end.set()
        ended.result()
    assert set(threads()) == {2}


class Apart:
    """A BLAS under OpenMP: each thread has a setting of its own."""

    threading_layer = "openmp"

    def __init__(self):
        self.own = local()

    def get_num_threads(self):
        return getattr(self.own, "n", 8)

    def set_num_threads(self, n):
        self.own.n = n


def test_where_each_thread_has_its_own_setting_each_is_changed_and_restored():
    library = Apart()
    setting = Threads(library)
    with ThreadPoolExecutor(1) as other:
        setting.limit()
        assert other.submit(library.get_num_threads).result() == 8
        other.submit(setting.limit).result()
        setting.restore()
        assert library.get_num_threads() == 8
        assert other.submit(library.get_num_threads).result() == 1
        other.submit(setting.restore).result()
        assert other.submit(library.get_num_threads).result() == 8


def on_one_and_two_threads(compute):
    """Return what a function gives while BLAS is set to one thread, and to two."""
    found = []
    for n in (1, 2):
        with threadpool_limits(n, user_api="blas"):
            found.append(compute())
    return found


def wide_rows(d):
    rng = np.random.default_rng(0)
    return rng.normal(size=(1024, d)) @ rng.normal(size=(d, d)) + 3 * rng.integers(3, size=(1024, 1))


def test_products_of_this_size_do_depend_on_the_threads():
    x = wide_rows(30)
    alone, shared = on_one_and_two_threads(lambda: (np.tri(30) @ x.T).tobytes() + (x.T @ (2.0 * x)).tobytes())
    if alone == shared:
        pytest.skip("this BLAS adds up the same way on any number of threads")  # the next tests then show nothing


STRUCTURES = ("full", "tied", "diag", "spherical")
OF_A_START = [(structure, start, 7, d) for structure in STRUCTURES for start in ("kmeans", "random") for d in (25, 30)]
OF_A_SEARCH = [(structure, "auto", 3, d) for structure, d in zip(STRUCTURES, (25, 30, 30, 25), strict=True)]


@pytest.mark.parametrize(("covariance_type", "start", "k", "d"), OF_A_START + OF_A_SEARCH)
def test_a_fit_has_the_same_bits_on_any_number_of_threads_of_blas(covariance_type, start, k, d):
    x = wide_rows(d)
    mixture = GaussianMixture(k, covariance_type=covariance_type, init_params=start, max_iter=5, random_state=0)
    with warnings.catch_warnings(action="ignore"):
        alone, shared = on_one_and_two_threads(lambda: clone(mixture).fit(x))
    assert same_bits(alone.params_, shared.params_)
    assert same_bits(*on_one_and_two_threads(lambda: alone.score_samples(x)))


@pytest.mark.parametrize("d", [30, 130])
def test_sums_and_updates_have_the_same_bits_on_any_number_of_threads_of_blas(d):
    x, model = wide_rows(d), Mixture(Gaussian(), 3)
    with one_thread():
        source = ArraySource(x)
        start = init.start(source, model, survey(source, model.family), "random_from_data", np.random.default_rng(0))
    assert same_bits(*on_one_and_two_threads(lambda: model.e_step(start, x)))
    ends = on_one_and_two_threads(lambda: drive(source, model, [start], max_iter=2, ascent=QuasiNewton())[0].params)
    assert same_bits(*ends)
