"""Latent structures: one a file."""

from mixtura.models.mixture import Mixture, MixtureParams, MixtureStats

__all__ = ["Mixture", "MixtureParams", "MixtureStats"]
