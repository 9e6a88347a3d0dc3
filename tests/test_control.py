"""What users may do to a running fit: watch it, stop it, limit its time, and listen to its log."""

import itertools
import logging
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mixtura import GaussianMixture, as_source, em
from mixtura.em import Status
from mixtura.families import Full, Gaussian
from mixtura.init import start
from mixtura.models.mixture import Mixture
from mixtura.sources import ArraySource
from mixtura.survey import survey
from mixtura.values import same_bits

X = np.random.default_rng(0).normal(size=(4000, 2)) + np.repeat([[0.0, 0.0], [2.0, 1.0]], 2000, axis=0)
OPTIONS = {"n_components": 3, "init_params": "kmeans", "random_state": 0, "tol": 0.0, "max_iter": 12}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class SlowSource(ArraySource):
    """Rows that take their time."""

    seconds = 0.01

    def __init__(self, x):
        super().__init__(x, chunk_rows=1024)

    def chunks(self):
        for chunk in super().chunks():
            time.sleep(self.seconds)
            yield chunk


def test_a_callback_sees_every_evaluation():
    states = []
    fitted = GaussianMixture(n_init=2, acceleration=None, callback=states.append, **OPTIONS).fit(X)
    assert [s.iteration for s in states if s.restart == 0] == list(range(13))
    mine = [s for s in states if s.objective == fitted.result_.objective[-1]][-1]
    assert same_bits(mine.params, fitted.params_)
    assert (mine.max_iter, mine.n_passes, mine.weight, mine.loglik) == (12, 13, 4000.0, fitted.loglik_)
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(states))


def test_a_callback_can_stop_a_fit_where_it_is():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nobody is told that what they stopped has not converged
        stopped = GaussianMixture(callback=lambda state: state.iteration == 4, **OPTIONS).fit(X)
    assert (stopped.n_iter_, stopped.result_.status, stopped.converged_) == (4, Status.STOPPED, False)
    with pytest.warns(match="iteration limit"):
        assert same_bits(stopped.params_, GaussianMixture(**OPTIONS | {"max_iter": 4}).fit(X).params_)
    assert stopped.score(X) * len(X) == pytest.approx(stopped.loglik_, rel=1e-14)


def test_max_time_abandons_the_pass_and_keeps_the_best_so_far():
    begun = time.monotonic()
    with pytest.warns(match="time limit"):
        fitted = GaussianMixture(max_time=0.3, **OPTIONS | {"max_iter": 10**6}).fit(SlowSource(X))
    assert time.monotonic() - begun < 1.5
    assert fitted.result_.status is Status.TIME_LIMIT
    assert 0 < fitted.n_iter_ < 40
    same = GaussianMixture(**OPTIONS | {"max_iter": fitted.n_iter_}).fit(X)
    assert same_bits(fitted.params_, same.params_)


def test_the_first_pass_is_made_whatever_max_time_says():
    fitted = GaussianMixture(max_time=1e-6, n_init=3, **OPTIONS).fit(X)
    assert (fitted.n_iter_, fitted.result_.n_passes) == (0, 1)
    assert np.isfinite(fitted.loglik_)


@pytest.mark.parametrize(
    "option", [{"max_time": 0}, {"max_time": -1.0}, {"max_time": "1"}, {"callback": 3}, {"checkpoint": 3}]
)
def test_options_that_cannot_be_are_refused(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        GaussianMixture(**option).fit(X)


def test_the_log_is_silent_by_default_and_tells_all_when_asked(caplog, capfd):
    GaussianMixture(**OPTIONS).fit(X)
    assert capfd.readouterr() == ("", "")
    with caplog.at_level(logging.INFO, logger="mixtura"):
        GaussianMixture(**OPTIONS).fit(X)
    told = [record.getMessage() for record in caplog.records if record.name.startswith("mixtura")]
    assert sum("iteration" in line and "objective" in line for line in told) == 13
    assert "iteration limit" in told[-1]


def test_a_source_that_fails_in_the_third_pass_fails_the_fit_and_leaves_the_estimator():
    class Failing(SlowSource):
        passes = 0

        def chunks(self):
            self.passes += 1
            for number, chunk in enumerate(super().chunks()):
                if (self.passes, number) == (3, 2):
                    raise OSError("the disk has gone")
                yield chunk

    estimator = GaussianMixture(**OPTIONS)
    with pytest.raises(OSError, match="the disk has gone"):
        estimator.fit(Failing(X))
    assert not hasattr(estimator, "params_")
    assert_array_equal(estimator.fit(as_source(X)).means_, GaussianMixture(**OPTIONS).fit(X).means_)


def test_restarts_that_are_at_one_place_share_their_sums(monkeypatch):
    model, source = Mixture(Gaussian(), 3), as_source(X)
    found = survey(source, model.family)
    here, there = (start(source, model, found, "kmeans", np.random.default_rng(seed)) for seed in (0, 1))
    counts, fold = [], em._fold
    monkeypatch.setattr(em, "_fold", lambda source, asked: counts.append(len(asked)) or fold(source, asked))
    again = replace(here, weights=here.weights.copy())
    other = Mixture(Gaussian(Full(), reg_covar=0.5), 3)
    jobs = [em.Job(*job) for job in [(model, here), (model, there), (other, here), (model, again)]]
    together = em.drive_jobs(source, jobs, tol=0.0, max_iter=5)
    assert counts == [3] * 6
    for result, job in zip(together, jobs, strict=True):
        (alone,) = em.drive_jobs(source, [em.Job(job.model, job.asked)], tol=0.0, max_iter=5)
        assert same_bits(result.params, alone.params)
        assert_array_equal(result.objective, alone.objective)
