"""Priors: what is known before the data are seen, as objects for `GaussianMixture` and for families and models."""

from mixtura.families.conjugate import ComponentPrior, Spread

__all__ = ["ComponentPrior", "Spread"]
