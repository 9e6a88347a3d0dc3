"""Distributions of a component: one family a file, all behind the protocol `mixtura.model.Family`."""

from mixtura.families.bernoulli import Bernoulli
from mixtura.families.categorical import Categorical
from mixtura.families.diag import Diag, Spherical
from mixtura.families.exponential import Exponential
from mixtura.families.full import Full, Tied
from mixtura.families.gaussian import Gaussian
from mixtura.families.poisson import Poisson
from mixtura.families.product import Product

__all__ = [
    "Bernoulli",
    "Categorical",
    "Diag",
    "Exponential",
    "Full",
    "Gaussian",
    "Poisson",
    "Product",
    "Spherical",
    "Tied",
]
