"""Comparisons of fitted mixtures that several test modules make."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


def parameters(model):
    """Return the fitted arrays of a Gaussian or Poisson mixture by name."""
    names = ("weights_", "rates_") if hasattr(model, "rates_") else PARAMETERS
    return {name: getattr(model, name) for name in names}


def assert_same_bits(one, other):
    """Find every parameter and the log-likelihood equal bit for bit."""
    for name, value in parameters(one).items():
        assert_array_equal(getattr(other, name), value, err_msg=name, strict=True)
    assert other.loglik_ == one.loglik_
    assert other.n_iter_ == one.n_iter_


def assert_close(one, other, rtol=1e-9):
    """Find every parameter equal to a relative tolerance of its largest entry."""
    for name, value in parameters(one).items():
        assert_allclose(getattr(other, name), value, rtol=rtol, atol=rtol * np.abs(value).max(), err_msg=name)
    assert other.loglik_ == pytest.approx(one.loglik_, rel=1e-10)
