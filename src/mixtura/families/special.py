"""Functions around those of gamma and Bessel, exact where their large terms cancel.

Asymptotic series where arguments are large, SciPy below (formulas D8 to D10, D20).
"""

from __future__ import annotations

import numpy as np

from mixtura._types import FloatArray

LARGE = 16.0  # the first term that the series leave out is then below 1e-15 of them
NEWTON_STEPS = 50  # far more than the four or so that are needed
STRAIGHT = 500.0  # concentration from which four terms of the series of a slope are exact; before, little cancels
SETTLED = 1e-8  # relative change by a step of Newton's method after which what is left, its square, is rounding


def stirling(a: FloatArray) -> FloatArray:
    """Return ``log Gamma(a) - (a - 1/2) log a + a - log(2 pi) / 2``, which falls to 0 as 1 / (12 a) (formula D8)."""
    from scipy.special import gammaln

    small = np.minimum(a, LARGE)
    direct = gammaln(small) - (small - 0.5) * np.log(small) + small - 0.5 * np.log(2 * np.pi)
    series = _odd_powers(a, [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360])
    return np.where(a < LARGE, direct, series)


def log_rising(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``log Gamma(a + b) - log Gamma(a) - b log a``, which falls to 0 as ``b (b - 1) / (2 a)``."""
    rising: FloatArray = (a + b - 0.5) * np.log1p(b / a) - b + stirling(a + b) - stirling(a)
    return rising


def log_less_digamma(a: FloatArray) -> FloatArray:
    """Return ``log a - psi(a)``, which falls to 0 as 1 / (2 a) (formula D9)."""
    from scipy.special import digamma

    small = np.minimum(a, LARGE)
    series = 0.5 / a + _odd_powers(a, [1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132]) / a
    return np.where(a < LARGE, np.log(small) - digamma(small), series)


def shape_information(a: FloatArray) -> FloatArray:
    """Return ``a**2 psi'(a) - a``, the information about the logarithm of a gamma shape, which falls from 1 to 1/2."""
    from scipy.special import polygamma

    small = np.minimum(a, LARGE)
    series = 0.5 + _odd_powers(a, [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66])
    return np.where(a < LARGE, small * (small * polygamma(1, small) - 1), series)


def gamma_shape(gap: FloatArray) -> FloatArray:
    """Return the shapes of gamma distributions, ``log a - psi(a) = gap``, by Newton's method (formula D10).

    Parameters
    ----------
    gap : array of positive numbers
        The logarithm of the mean, less the mean of the logarithms.
    """
    least, most = 0.5 / gap, 1 / gap  # since 1 / (2 a) < log a - psi(a) < 1 / a
    shape = np.clip((3 - gap + np.hypot(gap - 3, np.sqrt(24 * gap))) / (12 * gap), least, most)  # Minka's start
    for _ in range(NEWTON_STEPS):
        reached = log_less_digamma(shape)
        # On logarithms, in which the function is nearly a line.
        change = np.log(reached / gap) * shape * reached / shape_information(shape)
        shape = np.clip(shape * np.exp(change), least, most)
        if (np.abs(change) < SETTLED).all():
            break
    return shape


def _odd_powers(a: FloatArray, coefficients: list[float]) -> FloatArray:
    """Return ``c_0 / a + c_1 / a**3 + ...``, where a is large."""
    inverse = 1 / np.maximum(a, LARGE)
    return inverse * _polynomial(inverse**2, coefficients)


def _polynomial(x: FloatArray, coefficients: list[float]) -> FloatArray:
    """Return ``c_0 + c_1 x + ...``; NumPy's own takes four times as long for few numbers."""
    *others, last = coefficients
    value = np.full_like(x, last)
    for coefficient in reversed(others):
        value = coefficient + value * x
    return value


def bessel_ratio(kappa: FloatArray) -> FloatArray:
    """Return ``A = I_1 / I_0``, the length of the mean vector of a von Mises distribution (formula D20)."""
    from scipy.special import i0e, i1e

    ratio: FloatArray = i1e(kappa) / i0e(kappa)
    return ratio


def bessel_slope(kappa: FloatArray) -> FloatArray:
    """Return the derivative of `bessel_ratio`, ``1 - A / kappa - A**2``, which falls from 1/2 as 1 / (2 kappa**2)."""
    middle = np.clip(kappa, 1e-4, STRAIGHT)
    ratio = bessel_ratio(middle)
    inverse = 1 / np.maximum(kappa, STRAIGHT)
    series = inverse**2 * _polynomial(inverse, [1 / 2, 1 / 4, 3 / 8, 25 / 32])
    return np.where(kappa < STRAIGHT, 1 - ratio / middle - ratio**2, series)


def concentration(length: FloatArray) -> FloatArray:
    """Return the concentrations kappa with ``A(kappa) = length``, from 0 and less than 1, by Newton's method (D20)."""
    least = length / ((1 + length) * (1 - length))
    most, kappa = 2 * least, (2 - length**2) * least  # the start of Banerjee et al. (2005) is within a fifteenth
    for _ in range(NEWTON_STEPS):
        change = (length - bessel_ratio(kappa)) / bessel_slope(kappa)
        before, kappa = kappa, np.clip(kappa + change, least, most)
        if (np.abs(kappa - before) <= SETTLED * before).all():
            break
    return kappa
