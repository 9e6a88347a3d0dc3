"""Derivatives by differences, for functions that are written out a second time."""

import numpy as np


def curvature_by_differences(function, at, steps):
    """Return the second derivatives by central differences of the fourth order."""
    q = len(at)
    out = np.empty((q, q))

    def bend(i, j, h):
        a, b = h * steps[i] * np.eye(q)[i], h * steps[j] * np.eye(q)[j]
        ends = function(at + a + b) - function(at + a - b) - function(at - a + b) + function(at - a - b)
        return ends / (4 * h * h * steps[i] * steps[j])

    for i in range(q):
        for j in range(i + 1):
            out[i, j] = out[j, i] = (4 * bend(i, j, 0.5) - bend(i, j, 1.0)) / 3
    return out
