"""The normal-inverse-Wishart prior of Gaussian components (formula P7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mixtura._types import IntArray
from mixtura.families.conjugate import ComponentPrior, PriorRows, Whole
from mixtura.families.covariance import Covariance
from mixtura.frame import Frame

NAME = "NormalInverseWishart"
SYMMETRY = 1e-7  # relative, that the entries of a scale matrix may lack


@dataclass(frozen=True, eq=False)
class NormalInverseWishart(ComponentPrior):
    """Normal-inverse-Wishart prior of means and covariances (formula P7).

    Given its covariance, a mean is normal about `mean` with that covariance divided by `mean_precision`. A covariance
    is inverse Wishart with `dof` degrees of freedom and scale matrix `scale`. With variances in the place of covariance
    matrices ("diag", "spherical") each is inverse gamma with shape ``dof / 2`` and scale ``scale / 2``. What is None
    follows from the data (Fraley & Raftery 2007).

    Parameters
    ----------
    mean : (d,) array, optional
        Where the means are expected; by default the mean of the data.
    mean_precision : float, default 0.01
        How many rows that is worth; 0 for no prior of the means.
    dof : float, optional
        Degrees of freedom, above ``d - 1`` ("diag" and "spherical": above 0); by default ``d + 2``.
    scale : (d, d), (d,) or () array, optional
        A matrix for "full" and "tied", a number a column for "diag", a number for "spherical", in squared units of the
        data; by default the covariance of the data, of this structure, divided by ``k ** (2 / d)``.

    Examples
    --------
    >>> import numpy as np
    >>> from mixtura import GaussianMixture
    >>> from mixtura.priors import NormalInverseWishart
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> prior = NormalInverseWishart(mean=[4.0], mean_precision=3, dof=2, scale=[[1.0]])
    >>> GaussianMixture(1, component_prior=prior).fit(X).means_.tolist()
    [[2.5]]
    """

    mean: Any = None
    mean_precision: float = 0.01
    dof: float | None = None
    scale: Any = None
    name: ClassVar[str] = "normal-inverse-Wishart"

    def __post_init__(self) -> None:
        if not 0 <= float(self.mean_precision) < np.inf:
            raise ValueError(f"{NAME}: mean_precision is {self.mean_precision!r}, expected a finite number from 0")
        for name in ("mean", "scale"):
            if (value := getattr(self, name)) is not None:
                array = np.array(value, dtype=np.float64)
                if not np.isfinite(array).all():
                    raise ValueError(f"{NAME}: {name} contains NaN or infinity, expected finite numbers")
                array.flags.writeable = False
                object.__setattr__(self, name, array)

    def check(self, structure: Covariance[Any], d: int) -> None:
        kind, size = f"covariance_type={structure.name!r}", structure.wishart_size(d)
        if self.mean is not None and self.mean.shape != (d,):
            raise ValueError(f"{NAME}: mean has shape {self.mean.shape}, expected ({d},), a number a column")
        if self.dof is not None and not size - 1 < self.dof < np.inf:
            raise ValueError(f"{NAME}: dof is {self.dof!r}, expected a finite number above {size - 1} for {kind}")
        if self.scale is None:
            return
        if self.scale.shape != (shape := structure.scale_shape(d)):
            raise ValueError(f"{NAME}: scale has shape {self.scale.shape}, expected {shape} for {kind}")
        matrix = self.scale if self.scale.ndim == 2 else np.diag(np.atleast_1d(self.scale))
        if not np.allclose(matrix, matrix.T, rtol=SYMMETRY, atol=0) or not (np.linalg.eigvalsh(matrix) > 0).all():
            raise ValueError(f"{NAME}: scale is not symmetric and positive definite")

    def rows_for(self, structure: Covariance[Any], frame: Frame, whole: Whole, k: int) -> PriorRows:
        d = len(whole.mean)
        mode = (d + 2 if self.dof is None else self.dof) + structure.wishart_size(d) + 1
        if self.scale is None:
            covariance = whole.covariance / (mode * k ** (2 / d))
        else:
            scale = self.scale.reshape(structure.shape(1, d))
            covariance = structure.rescale(scale, frame.scale) / mode
        return PriorRows(
            rows=mode / structure.repeats(d),
            covariance=covariance,
            factor=structure.factorize(covariance, np.zeros(d))[1],
            mean_rows=float(self.mean_precision),
            mean=whole.mean if self.mean is None else frame.enter(self.mean),
        )

    def select(self, columns: IntArray) -> NormalInverseWishart:
        mean = None if self.mean is None else self.mean[columns]
        scale = None if self.scale is None else self.scale[np.ix_(*[columns] * self.scale.ndim)]
        return NormalInverseWishart(mean, self.mean_precision, self.dof, scale)
