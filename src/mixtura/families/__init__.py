"""Distributions of a component: one family a file, all behind the protocol `mixtura.model.Family`."""

from mixtura.families.diag import Diag, Spherical
from mixtura.families.full import Full, Tied
from mixtura.families.gaussian import Gaussian
from mixtura.families.poisson import Poisson

__all__ = ["Diag", "Full", "Gaussian", "Poisson", "Spherical", "Tied"]
