"""How many components, and of which structure: candidates that are fitted together and compared."""

from mixtura.selection.bootstrap import BootstrapLRT, bootstrap_lrt
from mixtura.selection.estimator import MixtureIC, select
from mixtura.selection.table import CRITERIA, Candidate, Selection

__all__ = ["CRITERIA", "BootstrapLRT", "Candidate", "MixtureIC", "Selection", "bootstrap_lrt", "select"]
