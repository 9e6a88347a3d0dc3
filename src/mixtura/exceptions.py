"""Warnings and errors of the library."""

from __future__ import annotations


class CollapseWarning(UserWarning):
    """A component lost its rows or its width and was kept at a floor; the message names it."""


class SelectionWarning(UserWarning):
    """The winner of a selection is not stable; the message says why."""


class SpuriousWarning(CollapseWarning):
    """A component owes its likelihood to few rows, or is almost without width; the message names it."""


class DisagreementWarning(UserWarning):
    """The best restart of a fit stands alone: there may be better ones yet; the message says how far it is above."""


class FitError(ValueError):
    """No start of a fit led to finite parameters; the message says at which row or component it failed."""


class ModelFileError(ValueError):
    """A model file is damaged, or not a model file; the message says where."""


class CheckpointError(ValueError):
    """A checkpoint is damaged, of another fit, or in use by one; the message says which and what to do."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; the fit goes on without."""


class InformationError(ValueError):
    """The data do not tell how sure the parameters are; the message says which, why and what to do."""


class SourceChangedError(ValueError):
    """The rows of a source are not those of its first pass; the message says where they differ."""


class ClusterError(RuntimeError):
    """A cluster stopped computing; the message says what happened and what to do."""
