"""Distributions of a component: one family a file, all behind the protocol `mixtura.model.Family`."""

from mixtura.families.covariance import Covariance, Diag, Full, Spherical, Tied
from mixtura.families.gaussian import Gaussian
from mixtura.families.poisson import Poisson

__all__ = ["Covariance", "Diag", "Full", "Gaussian", "Poisson", "Spherical", "Tied"]
