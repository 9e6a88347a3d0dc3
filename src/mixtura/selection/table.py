"""The table of a selection, as a value: what was tried, what each fit is worth, and whether to trust the winner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixtura.plot import CriterionDisplay

CRITERIA = ("bic", "icl", "aic")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One row of the table: a number of components and a structure or family, and how its fit went.

    Attributes
    ----------
    family : str
        Name of the family of the components.
    covariance_type : str
        Structure of the covariances; "" for an estimator that has no such option.
    n_components : int
        Number of components.
    loglik : float
        Total log-likelihood at the fitted parameters; NaN, as all criteria, where there is no fit.
    n_parameters : int
        Free parameters.
    bic, icl, aic : float
        Criteria: the lower, the better (formulas O4, U7).
    reversal : float
        Estimated chance that this candidate would have beaten the winner on another sample of the same size
        (formula Z3); NaN for the winner itself and its equals.
    converged : bool
        Whether the fit met its tolerance.
    n_iter : int
        Updates in the best restart.
    collapsed : bool
        Whether a component lost its rows or its width on the way, or is likely to be spurious: such a fit wins only if
        all others are such.
    failure : str
        Why there is no fit; "" where there is one.
    estimator : estimator
        The fitted mixture, or the one that could not be fitted.
    """

    family: str
    covariance_type: str
    n_components: int
    loglik: float = math.nan
    n_parameters: int = 0
    bic: float = math.nan
    icl: float = math.nan
    aic: float = math.nan
    reversal: float = math.nan
    converged: bool = False
    n_iter: int = 0
    collapsed: bool = False
    failure: str = ""
    estimator: Any = field(repr=False, compare=False)

    @property
    def kind(self) -> str:
        """What it is besides its number of components: the structure, or else the family."""
        return self.covariance_type or self.family

    @property
    def name(self) -> str:
        """What this is, in words."""
        noun = "component" if self.n_components == 1 else "components"
        return f"{self.kind} {self.n_components} {noun}"


COLUMNS = tuple(f.name for f in fields(Candidate) if f.name != "estimator")


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """Candidates, fitted to the same rows and compared by a criterion.

    Attributes
    ----------
    criterion : {"bic", "icl", "aic"}
        By which the winner is chosen.
    candidates : tuple of Candidate
        The table, in the order in which they were asked for.
    winner : Candidate
        That of the lowest criterion among the sound ones.
    doubts : tuple of str
        Why the winner is not to be trusted blindly; empty if it is stable.

    Examples
    --------
    >>> import numpy as np
    >>> from mixtura import select
    >>> rng = np.random.default_rng(2)
    >>> x = np.concatenate([rng.normal(-5, 1, 300), rng.normal(5, 1, 200)])
    >>> print(select(x, (1, 2, 3), "tied", random_state=0))
    covariance  components    loglik  parameters      bic      icl      aic  reversal  converged
    tied                 2  -1052.10           4  2129.05  2129.05  2112.20            yes        <- best
    tied                 3  -1051...  6  2140...  2...  2114...  0.000  yes
    tied                 1  -1514.45           2  3041.32  3041.32  3032.89     0.000  yes
    """

    criterion: str
    candidates: tuple[Candidate, ...]
    winner: Candidate
    doubts: tuple[str, ...] = ()

    @property
    def best(self) -> Any:
        """The fitted estimator of the winner."""
        return self.winner.estimator

    @property
    def stable(self) -> bool:
        """Whether there is no doubt about the winner."""
        return not self.doubts

    @property
    def ranking(self) -> tuple[Candidate, ...]:
        """The candidates, the best first: sound ones, then those with a collapsed component, then failures."""
        return tuple(sorted(self.candidates, key=lambda candidate: rank(candidate, self.criterion)))

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the table as one list a column, as `pandas.DataFrame` takes it."""
        return {name: [getattr(candidate, name) for candidate in self.candidates] for name in COLUMNS}

    def plot(self, *, ax: Axes | None = None) -> CriterionDisplay:
        """Draw the criterion against the number of components, a line for each structure.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        CriterionDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        from mixtura.plot import CriterionDisplay

        return CriterionDisplay.from_selection(self, ax=ax)

    def __str__(self) -> str:
        rows = [_cells(candidate, candidate is self.winner) for candidate in self.ranking]
        kind = "covariance" if self.winner.covariance_type else "family"
        return "\n".join([*_align([(kind, *_HEADINGS), *rows]), *(f"doubtful: {doubt}" for doubt in self.doubts)])

    __repr__ = __str__


def rank(candidate: Candidate, criterion: str) -> tuple[bool, bool, float]:
    """Return what candidates are sorted by: an estimate of zero width is no answer, however high its likelihood."""
    return bool(candidate.failure), candidate.collapsed, getattr(candidate, criterion)


_HEADINGS = ("components", "loglik", "parameters", *CRITERIA, "reversal", "converged", "")  # after that of the kind
_LEFT = {0, *(1 + _HEADINGS.index(heading) for heading in ("converged", ""))}


def _cells(candidate: Candidate, won: bool) -> tuple[str, ...]:
    """Write a row of the table."""
    kind = candidate.kind, str(candidate.n_components)
    if candidate.failure:
        return *kind, "", "", "", "", "", "", "", f"not fitted: {candidate.failure}"
    remark = ("<- best " if won else "") + ("collapsed" if candidate.collapsed else "")
    return (
        *kind,
        f"{candidate.loglik:.2f}",
        str(candidate.n_parameters),
        *(f"{getattr(candidate, name):.2f}" for name in CRITERIA),
        "" if math.isnan(candidate.reversal) else f"{candidate.reversal:.3f}",
        "yes" if candidate.converged else "no",
        remark.strip(),
    )


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines whose columns are aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if j in _LEFT else cell.rjust(width)
            for j, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [line.rstrip() for line in lines]
