"""Priors: what is known before the data are seen, as objects for the estimators, for families and models."""

from mixtura.families.conjugate import ComponentPrior, Spread
from mixtura.families.fixing import Fixed
from mixtura.families.wishart import NormalInverseWishart
from mixtura.models.weights import Dirichlet

__all__ = ["ComponentPrior", "Dirichlet", "Fixed", "NormalInverseWishart", "Spread"]
