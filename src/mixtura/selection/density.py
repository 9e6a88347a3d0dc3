"""The density of one column in one call: families and numbers of components beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from mixtura._types import BoolArray, FloatArray
from mixtura.estimators.mixture_model import MixtureModel
from mixtura.estimators.reading import read
from mixtura.families import (
    Beta,
    Exponential,
    Gamma,
    Gaussian,
    LogNormal,
    NegativeBinomial,
    Poisson,
    StudentT,
)
from mixtura.families.tails import LARGEST_COUNT
from mixtura.grid import Chunk
from mixtura.model import Source
from mixtura.priors import Spread
from mixtura.selection.candidates import PATIENT, make_candidates, make_template, tell_columns
from mixtura.selection.choosing import choose, warn
from mixtura.selection.options import check_criterion, check_numbers
from mixtura.selection.table import Selection
from mixtura.sources.histogram import Histogram
from mixtura.survey import LOOK_VALUES, survey

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixtura.plot import DensityDisplay

NUMBERS = (1, 2, 3, 4, 5)
REAL = Gaussian(prior=Spread())  # any number
OF_NUMBERS = (REAL, StudentT(), LogNormal(), Gamma(), Exponential(), Beta())
OF_COUNTS = (Poisson(), NegativeBinomial())
PICTURE_ROWS = 1_000_000  # more cannot be seen


@dataclass(frozen=True, eq=False, repr=False)
class DensityFit:
    """The density of one column: what `fit_density` found.

    Attributes
    ----------
    selection : Selection
        All candidates, the winner, and the doubts about it.
    source : Source
        The values that were fitted.
    """

    selection: Selection
    source: Source

    @property
    def model(self) -> MixtureModel:
        """The fitted mixture that won."""
        model: MixtureModel = self.selection.best
        return model

    @property
    def table(self) -> dict[str, list[Any]]:
        """All candidates, one list a column, as `pandas.DataFrame` takes it."""
        return self.selection.to_dict()

    def logpdf(self, x: Any) -> FloatArray:
        """Return the log-density, or log-probability of counts, at values `x` of any shape; -inf where there is none.

        Raises
        ------
        ValueError
            If a value is NaN.
        """
        values = np.asarray(x, dtype=np.float64)
        if np.isnan(values).any():
            raise ValueError("x contains NaN, expected numbers")
        rows = values.reshape(-1, 1)
        possible = self.model.model_.family.in_support(rows)[:, 0]
        logpdf = np.full(len(rows), -np.inf)
        if possible.any():
            model, params = self.model.model_, self.model.params_
            logpdf[possible], _ = model.posterior(params, rows[possible])
        return logpdf.reshape(values.shape)

    def pdf(self, x: Any) -> FloatArray:
        """Return the density, or probability of counts, at values `x` of any shape; 0 where there is none."""
        pdf: FloatArray = np.exp(self.logpdf(x))
        return pdf

    def cdf(self, x: Any) -> FloatArray:
        """Return the probability of at most `x`, of any shape."""
        return self.model.cdf(x)

    def sf(self, x: Any) -> FloatArray:
        """Return the probability of more than `x`, of any shape, with its own digits."""
        return self.model.sf(x)

    def quantile(self, q: Any) -> FloatArray:
        """Return the least values up to which there is a share `q`, of any shape, from 0 to 1."""
        return self.model.quantile(q)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> FloatArray:
        """Draw values (n_samples,), in random order; the arguments are those of `MixtureModel.sample`."""
        random = check_random_state(self.model.random_state if random_state is None else random_state)
        rows, _ = self.model.sample(n_samples, random)
        values: FloatArray = random.permutation(rows[:, 0])
        return values

    def plot(self, *, bins: str | int | Sequence[float] = "auto", ax: Axes | None = None) -> DensityDisplay:
        """Draw the density and its components over the histogram of the values, or a million of them.

        Parameters
        ----------
        bins : "auto", int or sequence of float, default "auto"
            Bars of the histogram; counts have a bar each, or a few.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        DensityDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        from mixtura.plot import DensityDisplay

        values, weight = self.source.sample(PICTURE_ROWS, np.random.default_rng(0))
        return DensityDisplay.from_estimator(self.model, values, sample_weight=weight, bins=bins, ax=ax)

    def __str__(self) -> str:
        return str(self.selection)

    __repr__ = __str__


def fit_density(
    x: Any,
    n_components: int | Iterable[int] = NUMBERS,
    families: Iterable[Any] | None = None,
    *,
    criterion: str = "bic",
    sample_weight: Any = None,
    **options: Any,
) -> DensityFit:
    """Estimate the density of one column by the best of several mixtures.

    Mixtures of several families and numbers of components are fitted in the same passes and compared by a criterion.

    Parameters
    ----------
    x : array-like of shape (n,) or (n, 1), table, path or source
        The values of one column, as for `MixtureModel.fit`; none may be missing.
    n_components : int or iterable of int, default (1, 2, 3, 4, 5)
        Numbers of components to try.
    families : iterable of Family, optional
        What to try, such as ``[Gamma(), LogNormal()]``, all densities with respect to one measure. By default, where
        all values are whole numbers from 0, `Poisson` and `NegativeBinomial`; else those of `Gaussian`, `StudentT`,
        `LogNormal`, `Gamma`, `Exponential` and `Beta` that can yield all values.
    criterion : {"bic", "icl", "aic"}, default "bic"
        The lowest wins.
    sample_weight : array-like of shape (n,), or str or int, optional
        Row weights; w stands for w copies.
    **options
        Options of `MixtureModel`, such as `random_state`, `n_init` or `max_time`. By default fits go on until no more
        than a tenth of a nat is left to gain in all, for at most 1000 updates.

    Returns
    -------
    DensityFit
        The winner, to be evaluated, drawn from and plotted, and the table of all candidates.

    Raises
    ------
    ValueError
        For options, values or weights that cannot be, several columns, and families that do not compare or cannot
        yield a value: the message names the first one.
    FitError
        If no candidate can be fitted.

    Warns
    -----
    SelectionWarning
        Where the winner is not stable: docs/selection.md says when.

    Notes
    -----
    Log-likelihoods compare only between densities with respect to one measure: a probability of a count and a density
    on the line do not (`measure` of the protocol `Family`). That the support is (0, 1), or the positive numbers, is no
    obstacle: what a density has elsewhere it lacks here.

    Examples
    --------
    >>> import numpy as np
    >>> from mixtura import fit_density
    >>> x = np.random.default_rng(0).gamma(2.0, 3.0, 500)
    >>> fit = fit_density(x, (1, 2), random_state=0)
    >>> fit.selection.winner.name
    'gamma 1 component'
    >>> fit.pdf([-1.0, 5.0]).round(2).tolist()
    [0.0, 0.11]
    """
    if isinstance(x, Histogram):
        raise ValueError(
            "x is a histogram, and only Gaussian components are fitted to bins, so there are no families to compare: "
            "fit a GaussianMixture with each number of components, and compare their bic(x)"
        )
    check_criterion(criterion)
    numbers = check_numbers(n_components)
    template = make_template(MixtureModel(Gaussian(), max_iter=PATIENT), options)
    source = read(template, x, sample_weight, reset=True)
    if source.n_features != 1:
        raise ValueError(f"x has {source.n_features} columns, expected one: choose one of them, or use mixtura.select")
    tried = _find_families(source, families)
    estimators = make_candidates(template, [{"family": f, "n_components": k} for f in tried for k in numbers])
    selection = choose(template, estimators, source, criterion, options.get("tol"))
    tell_columns(estimators, template)
    warn(selection)
    return DensityFit(selection, source)


@dataclass(frozen=True, eq=False)
class _Look:
    """Which families can yield all values of some rows, (m,), and the largest one."""

    able: BoolArray
    largest: float


def _look(families: Sequence[Any], chunk: Chunk) -> _Look:
    able, largest = np.ones(len(families), dtype=np.bool_), -np.inf
    for part in chunk.split(LOOK_VALUES):
        x = part.packed().x
        able &= [bool(family.in_support(x).all()) for family in families]
        largest = max(largest, float(x.max()))
    return _Look(able, largest)


def _find_families(source: Source, families: Any) -> list[Any]:
    """Return the families to try, after a look over all values."""
    asked: list[Any] = [*OF_COUNTS, *OF_NUMBERS] if families is None else _check_families(families)
    looks = list(source.map_rows(partial(_look, asked)))
    able = np.logical_and.reduce([look.able for look in looks])
    if families is None and max(look.largest for look in looks) > LARGEST_COUNT:
        able[: len(OF_COUNTS)] = False  # that they are whole says nothing
    if not (able.any() if families is None else able.all()):
        survey(source, REAL if families is None else asked[int(np.argmin(able))])  # names the first value at fault
    suited = [family for family, is_able in zip(asked, able, strict=True) if is_able]
    return [f for f in suited if f.measure == suited[0].measure]


def _check_families(families: Any) -> list[Any]:
    """Return families as a list, or raise an error that names what about them cannot be."""
    asked = [families] if hasattr(families, "log_density") else list(families)
    if not asked:
        raise ValueError("families is empty, expected some such as [Gamma(), LogNormal()]")
    for family in asked:
        if isinstance(family, type) or not hasattr(family, "log_density"):
            raise TypeError(f"families contains {family!r}, expected objects such as mixtura.families.Gamma()")
        if family.measure != asked[0].measure:
            raise ValueError(
                f"families: the likelihood of {family.name} is a density of another measure, {family.measure}, than "
                f"that of {asked[0].name}, {asked[0].measure}: they do not compare"
            )
    return asked
