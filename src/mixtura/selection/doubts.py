"""Whether the winner of a selection is stable."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mixtura.selection.table import Candidate

LEAST_MARGIN = 2.0  # of a criterion: less is "not worth more than a bare mention" (Kass & Raftery 1995)
MOST_REVERSAL = 0.1  # chance of another winner on other rows that is not worth a warning


def find_doubts(candidates: Sequence[Candidate], winner: Candidate, criterion: str) -> tuple[str, ...]:
    """Return why a winner is not to be trusted blindly, in sentences."""
    rivals = [c for c in candidates if not math.isnan(c.reversal) and c.collapsed == winner.collapsed]
    return tuple(
        filter(
            None,
            (
                _close(rivals, winner, criterion),
                _at_edge(candidates, winner),
                _collapsed(winner),
                _unfinished(candidates),
            ),
        )
    )


def _close(rivals: Sequence[Candidate], winner: Candidate, criterion: str) -> str:
    """Tell which rival comes too near, if one does."""
    if not rivals:
        return ""
    rival = max(rivals, key=lambda c: c.reversal)
    nearest = min(rivals, key=lambda c: float(getattr(c, criterion)))
    margin = getattr(nearest, criterion) - getattr(winner, criterion)
    if rival.reversal > MOST_REVERSAL:
        return (
            f"on another sample of this size, {rival.name} would beat {winner.name} "
            f"with a chance of {rival.reversal:.0%} or so"
        )
    if margin < LEAST_MARGIN:
        return f"{nearest.name} is behind {winner.name} by {margin:.2g} in {criterion.upper()} only"
    return ""


def _at_edge(candidates: Sequence[Candidate], winner: Candidate) -> str:
    """Tell whether more components, or fewer, might do better."""
    tried = sorted({c.n_components for c in candidates if not c.failure})
    if len(tried) == 1:
        return ""
    if winner.n_components == tried[-1]:
        return f"{winner.name}: no larger number was fitted; try more"
    if winner.n_components == tried[0] > 1:
        return f"{winner.name}: no smaller number was fitted; try fewer"
    return ""


def _collapsed(winner: Candidate) -> str:
    """Tell what happened to components of the winner."""
    events = winner.estimator.result_.events if winner.collapsed else ()
    told = "; ".join(dict.fromkeys(event.message for event in events))
    what = "every candidate has a collapsed component, or one that is suspect"
    return f"{winner.name}: {what}, here {told}" if told else ""


def _unfinished(candidates: Sequence[Candidate]) -> str:
    """Tell how many fits have not converged: they might gain more than their rivals."""
    unfinished = [c for c in candidates if not c.failure and not c.converged]
    if not unfinished:
        return ""
    count = f"{len(unfinished)} fit has" if len(unfinished) == 1 else f"{len(unfinished)} fits have"
    return f"{count} not converged, such as {unfinished[0].name}; give max_iter a larger value"
