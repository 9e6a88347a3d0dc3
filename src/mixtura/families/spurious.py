"""Which components owe their likelihood to few rows that happen to lie close together or almost in a plane.

The likelihood of a mixture has such maxima wherever it has such rows, and the highest of them are the narrowest (Day
1969; McLachlan & Peel 2000, section 3.10). Hathaway (1985) keeps from them by a bound on how narrow a component may
be beside another, which no affine map of the data changes. Formula C2.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from mixtura._types import FloatArray
from mixtura.model import Event, EventKind

SINGULAR = 1e-8  # least variance beside that of the whole within components, at any number of rows
NARROW = 1e-3  # the same, of few rows
ROWS_OF_TWO = 2  # most rows of which a column's two parameters say nothing
FEW = 5  # rows, in multiples of those that a covariance needs, that are few


def suspects(counts: FloatArray, matrices: FloatArray, factors: FloatArray, least_rows: int) -> list[Event]:
    """Return an event for each component that is likely to be spurious.

    Parameters
    ----------
    counts : (k,) array
        Rows of each component.
    matrices : (k, d, d) array
        Covariances.
    factors : (k, d, d) array
        Lower-triangular factors of the precisions.
    least_rows : int
        Most rows of which a covariance of this structure says nothing.
    """
    within = np.einsum("k,kij->ij", counts / counts.sum(), matrices)
    roots = 1 / np.linalg.eigvalsh(factors @ within @ np.swapaxes(factors, 1, 2))[:, -1]
    events = []
    for j, (count, root) in enumerate(zip(counts, roots, strict=True)):
        if count == 0:
            continue
        told = f"component {j} has the weight of {count:.3g} rows"
        if least_rows and count < least_rows + 0.5:  # others have a little of any row
            events.append(Event(EventKind.SPURIOUS, j, f"{told}, too few for a width of its own"))
        elif root < SINGULAR or (root < NARROW and count <= FEW * (least_rows + 1)):
            thin = f"and a width of {sqrt(root):.1g} of that of all components in some direction"
            events.append(Event(EventKind.SPURIOUS, j, f"{told} {thin}"))
    return events


def suspects_by_column(counts: FloatArray, variances: FloatArray) -> list[Event]:
    """Return the same for independent columns of variances (k, d), in coordinates in which these compare."""
    roots = np.sqrt(variances)[:, :, None]
    eye = np.eye(variances.shape[1])
    return suspects(counts, roots**2 * eye, eye / roots, ROWS_OF_TWO)
