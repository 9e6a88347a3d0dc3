"""How many components, and of which structure: candidates that are fitted together and compared."""

from mixtura.selection.estimator import MixtureIC, select
from mixtura.selection.table import CRITERIA, Candidate, Selection

__all__ = ["CRITERIA", "Candidate", "MixtureIC", "Selection", "select"]
