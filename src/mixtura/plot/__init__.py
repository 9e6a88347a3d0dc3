"""Pictures of fitted mixtures, in scikit-learn's Display convention.

Needs matplotlib: ``pip install "mixtura[plot]"``. It is imported when something is first drawn.
"""

from mixtura.plot._criterion import CriterionDisplay
from mixtura.plot._density import DensityDisplay
from mixtura.plot._pairs import PairsDisplay
from mixtura.plot._plot import plot, prepare, save
from mixtura.plot._trace import TraceDisplay

__all__ = ["CriterionDisplay", "DensityDisplay", "PairsDisplay", "TraceDisplay", "plot", "prepare", "save"]
