"""The likelihood-ratio test of the number of components, by the parametric bootstrap (McLachlan 1987)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.em import unobserved
from mixtura.estimators.base import BaseMixture
from mixtura.estimators.loading import OF_THE_RUN
from mixtura.estimators.reading import read
from mixtura.exceptions import FitError
from mixtura.kernels.threads import using_threads
from mixtura.model import Source
from mixtura.selection.candidates import make_candidates, make_template, tell_columns
from mixtura.selection.options import check_count
from mixtura.selection.sweep import fit_together
from mixtura.sources.arrays import ArraySource


@dataclass(frozen=True, eq=False)
class BootstrapLRT:
    """The outcome of `bootstrap_lrt`.

    Attributes
    ----------
    statistic : float
        Twice the gain in log-likelihood from the smaller mixture to the larger one.
    p_value : float
        Share of the replicates, the data counted among them, whose statistic is at least that of the data.
    replicates : (n_boot,) array
        The statistic of each sample drawn from the smaller mixture.
    null, alternative : estimator
        The fits of both to the data.
    """

    statistic: float
    p_value: float
    replicates: FloatArray
    null: Any
    alternative: Any

    def __str__(self) -> str:
        k0, k1 = self.null.n_components, self.alternative.n_components
        return (
            f"{k0} against {k1} components: statistic {self.statistic:.2f}, "
            f"p = {self.p_value:.3g} ({len(self.replicates)} replicates)"
        )


def bootstrap_lrt(
    data: Any,
    k0: int,
    k1: int | None = None,
    *,
    n_boot: int = 99,
    sample_weight: Any = None,
    estimator: Any = None,
    **options: Any,
) -> BootstrapLRT:
    """Test a number of components against a larger one.

    The likelihood-ratio statistic of mixtures has no chi-squared distribution, so its distribution under the smaller
    mixture is found by fitting both to samples that are drawn from it, as many rows as there are (formula Z4).

    Parameters
    ----------
    data : array-like, table, path or source
        The rows, as for `GaussianMixture.fit`, without missing values.
    k0 : int
        Number of components under the null hypothesis.
    k1 : int, optional
        Number of components under the alternative; ``k0 + 1`` by default.
    n_boot : int, default 99
        Samples to draw: with B of them the least p-value is ``1 / (B + 1)``.
    sample_weight : array-like of shape (n,), or str or int, optional
        Row weights; w stands for w copies.
    estimator : GaussianMixture or MixtureModel, optional
        What is fitted, with all its options but the number of components; by default a `GaussianMixture` of at most
        1000 updates.
    **options
        Options of that estimator, such as `covariance_type` and `random_state`, which decides the samples as well.
        `tol` is as for `MixtureIC`.

    Returns
    -------
    BootstrapLRT
        Statistic, p-value and replicates.

    Raises
    ------
    ValueError
        For options, rows or weights that cannot be.
    FitError
        If a mixture cannot be fitted to the data, or to a sample.

    Examples
    --------
    >>> import numpy as np
    >>> from mixtura import bootstrap_lrt
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.normal(-3, 1, 60), rng.normal(3, 1, 40)])
    >>> test = bootstrap_lrt(x, 1, n_boot=19, covariance_type="tied", init_params="kmeans", random_state=0)
    >>> test.p_value, bool(test.replicates.max() < test.statistic)
    (0.05, True)
    """
    template = make_template(estimator, options)
    smaller, larger = check_count("k0", k0), check_count("k1", k0 + 1 if k1 is None else k1)
    if larger <= smaller:
        raise ValueError(f"k1 is {larger}, expected a number of components above k0, which is {smaller}")
    check_count("n_boot", n_boot)
    _check_options(template)
    null, alternative = pair = make_candidates(template, [{"n_components": k} for k in (smaller, larger)])
    source = read(null, data, sample_weight, reset=True)
    tell_columns([alternative], null)
    with using_threads(template.n_threads):
        tol = options.get("tol")
        statistic = _statistic(pair, source, tol, "the data")
        if null.n_missing_:
            raise ValueError(
                f"{null.n_missing_} values are missing: the bootstrap draws whole rows, so the statistics would not "
                f"compare; leave out the rows that lack values, or fill them in by `impute`"
            )
        replicates = np.array([_replicate(pair, tol, number) for number in range(n_boot)])
    p_value = (1 + int((replicates >= statistic).sum())) / (n_boot + 1)
    return BootstrapLRT(statistic, p_value, replicates, null, alternative)


def _check_options(template: BaseMixture) -> None:
    """Raise a `ValueError` that names an option which speaks of one fit."""
    for name in sorted(OF_THE_RUN):
        if getattr(template, name) is not None:
            raise ValueError(f"{name} is an option of one fit, and a bootstrap makes many: leave it out")


def _replicate(pair: list[BaseMixture], tol: float | None, number: int) -> float:
    """Return the statistic of a sample drawn from the fitted null hypothesis."""
    null = pair[0]
    rng = np.random.default_rng([null.random_state, number])
    rows, _ = null.model_.sample(null.params_, round(null.result_.weight), rng)
    anew = make_candidates(null, [{"n_components": estimator.n_components} for estimator in pair])
    with unobserved():
        return _statistic(anew, ArraySource(rows), tol, f"sample {number} of the null hypothesis")


def _statistic(pair: list[BaseMixture], source: Source, tol: float | None, what: str) -> float:
    """Fit both mixtures to the same rows and return twice the gain (formula Z4).

    The larger mixture can do what the smaller one does, so that a gain is below 0 only where its best was not found.
    """
    for failure in filter(None, fit_together(pair, source, tol=tol, deadline=math.inf)):
        raise FitError(f"{what} cannot be fitted: {failure}")
    null, alternative = pair
    return max(0.0, 2 * (alternative.loglik_ - null.loglik_))
