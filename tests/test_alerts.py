"""Warnings point at the user's line."""

import os
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from mixtura import HMM, GaussianHMM, GaussianMixture, KMeans, MixtureModel, select
from mixtura.alerts import PACKAGE, alert
from mixtura.exceptions import SelectionWarning
from mixtura.families import Gaussian

X = np.random.default_rng(0).normal(size=(300, 2))
LIMITED = {"max_iter": 1, "tol": 1e-12, "random_state": 0}


def raised(call):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        call()
    return told


@pytest.mark.parametrize(
    ("call", "category"),
    [
        (lambda: GaussianMixture(5, **LIMITED).fit(X), ConvergenceWarning),
        (lambda: GaussianMixture(5, **LIMITED).fit_predict(X), ConvergenceWarning),
        (lambda: GaussianMixture(5, **LIMITED).partial_fit(X), ConvergenceWarning),
        (lambda: MixtureModel(Gaussian(), 5, **LIMITED).fit(X), ConvergenceWarning),
        (lambda: KMeans(9, max_iter=1, random_state=0).fit_predict(X), ConvergenceWarning),
        (lambda: HMM(Gaussian(), 4, **LIMITED).fit(X), ConvergenceWarning),
        (lambda: GaussianHMM(4, n_iter=1, tol=1e-12, random_state=0).fit(X), ConvergenceWarning),
        (lambda: select(X[:30], (1, 2, 3), random_state=0), SelectionWarning),
    ],
)  # fmt: skip
def test_a_warning_is_of_the_line_that_called(call, category):
    told = [warning for warning in raised(call) if warning.category is category]
    assert told
    assert {(warning.filename, warning.lineno) for warning in told} == {(__file__, call.__code__.co_firstlineno)}


def test_a_neighbour_whose_name_begins_like_ours_is_a_user():
    def tell():
        alert("mind this", UserWarning)

    neighbour = PACKAGE.removesuffix(os.sep) + "_app.py"
    tell.__code__ = tell.__code__.replace(co_filename=neighbour)
    assert [warning.filename for warning in raised(tell)] == [neighbour]
