"""Distributions of a component: one family a file, all behind the protocol `mixtura.model.Family`."""

from mixtura.families.bernoulli import Bernoulli
from mixtura.families.beta import Beta
from mixtura.families.categorical import Categorical
from mixtura.families.diag import Diag, Spherical
from mixtura.families.exponential import Exponential
from mixtura.families.full import Full, Tied
from mixtura.families.gamma import Gamma
from mixtura.families.gaussian import Gaussian
from mixtura.families.lognormal import LogNormal
from mixtura.families.multinomial import Multinomial
from mixtura.families.negative_binomial import NegativeBinomial
from mixtura.families.poisson import Poisson
from mixtura.families.product import Product
from mixtura.families.student_t import StudentT
from mixtura.families.von_mises import VonMises
from mixtura.families.zero_inflated import ZeroInflated

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "Diag",
    "Exponential",
    "Full",
    "Gamma",
    "Gaussian",
    "LogNormal",
    "Multinomial",
    "NegativeBinomial",
    "Poisson",
    "Product",
    "Spherical",
    "StudentT",
    "Tied",
    "VonMises",
    "ZeroInflated",
]
