"""How many components, of which structure or family: candidates that are fitted together and compared."""

from mixtura.selection.bootstrap import BootstrapLRT, bootstrap_lrt
from mixtura.selection.density import DensityFit, fit_density
from mixtura.selection.estimator import MixtureIC, select
from mixtura.selection.table import CRITERIA, Candidate, Selection

__all__ = [
    "CRITERIA",
    "BootstrapLRT",
    "Candidate",
    "DensityFit",
    "MixtureIC",
    "Selection",
    "bootstrap_lrt",
    "fit_density",
    "select",
]
