"""Selection: the sweep is its fits, the criteria are their formulas, and the doubts are where they belong."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.datasets import load_iris

from mixtura import GaussianMixture, MixtureIC, MixtureModel, select
from mixtura.exceptions import CheckpointError, FitError, SelectionWarning
from mixtura.families import Poisson
from mixtura.grid import BLOCK_ROWS
from mixtura.models import mixture
from mixtura.selection import Candidate
from mixtura.selection.comparison import compare
from mixtura.selection.doubts import find_doubts
from mixtura.sources import ArraySource
from mixtura.sources.remembered import Remembered
from mixtura.values import same_bits

STRUCTURES = ("full", "tied", "diag", "spherical")
FAST = {"init_params": "random_from_data", "random_state": 0}  # where it does not matter how good the fits are
doubtful = pytest.mark.filterwarnings("ignore::mixtura.exceptions.SelectionWarning")


class Counted(ArraySource):
    """Rows that count how often they are read for sums, looked over, and sampled."""

    folds = looks = samples = 0

    def fold(self, steps):
        self.folds += 1
        return super().fold(steps)

    def map_rows(self, step, most=None):
        self.looks += 1
        return super().map_rows(step, most)

    def sample(self, n, rng):
        self.samples += 1
        return super().sample(n, rng)


def blobs(n=600, k=3, d=2, seed=0, gap=9.0):
    """Return rows of well separated clusters of unequal correlated covariances."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    mix = np.eye(d) + 0.8 * np.tri(d, k=-1)
    sign = np.where(labels % 2, 1.0, -1.0)[:, None] ** np.arange(d)
    return rng.normal(size=(n, d)) @ mix.T * sign * (1 + 0.5 * labels[:, None]) + gap * labels[:, None]


# --- the sweep


@doubtful
@pytest.mark.parametrize("options", [{}, {"n_init": 3, "init_params": "random_from_data"}], ids=["auto", "random"])
def test_every_candidate_is_what_it_is_when_it_is_fitted_alone(options):
    x = blobs(300)
    chosen = select(x, (1, 3, 4), random_state=3, **options)
    assert len(chosen.candidates) == 12
    for candidate in chosen.candidates:
        k, structure, tol = candidate.n_components, candidate.covariance_type, candidate.estimator.tol
        alone = GaussianMixture(k, covariance_type=structure, tol=tol, max_iter=1000, random_state=3, **options).fit(x)
        assert same_bits(candidate.estimator.params_, alone.params_)
        assert_array_equal(candidate.estimator.result_.objective, alone.result_.objective)
        assert (candidate.loglik, candidate.n_iter, candidate.converged) == (alone.loglik_, alone.n_iter_, True)


@pytest.mark.slow
@doubtful
def test_the_winner_does_not_depend_on_where_fits_stop():
    """At these rows a thousandth of a nat each is three times the penalty of a component, and there is a plateau."""
    rng = np.random.default_rng(4)
    labels = rng.choice(3, 100_000, p=[0.4, 0.3, 0.3])
    x = np.array([0.0, 0.5, 2.0])[labels] + np.array([1.0, 1.6, 0.8])[labels] * rng.normal(size=len(labels))
    rough, found, exact = (
        select(x, (3, 4), "full", random_state=0, **tol).winner for tol in ({"tol": 1e-3}, {}, {"tol": 1e-8})
    )
    assert rough.n_components == 4, "the tolerance has to matter here"
    assert (found.n_components, exact.n_components) == (3, 3)
    assert abs(found.loglik - exact.loglik) < 0.5


@doubtful
@pytest.mark.parametrize("weighted", [False, True])
def test_fits_stop_at_a_tenth_of_a_nat_in_all_unless_told_otherwise(weighted):
    x, w = blobs(), np.full(600, 50.0) if weighted else None
    total = 600 if w is None else w.sum()
    assert 0.05 < select(x, 3, "full", sample_weight=w, random_state=0).best.tol * total <= 0.1
    assert select(x, 3, "full", sample_weight=w, tol=0.01, random_state=0).best.tol == 0.01
    assert MixtureIC(GaussianMixture(random_state=0), n_components=3, tol=0.01).fit(x).best_estimator_.tol == 0.01
    finer = GaussianMixture(tol=1e-9, random_state=0)
    assert select(x, 3, "full", sample_weight=w, estimator=finer).best.tol == 1e-9


@doubtful
def test_every_pass_serves_all_candidates():
    source = Counted(blobs())
    chosen = select(source, range(1, 5), tol=1e-9, **FAST)
    passes = [candidate.estimator.result_.n_passes for candidate in chosen.candidates]
    structures = len({candidate.covariance_type for candidate in chosen.candidates})
    assert source.folds == max(passes) + structures + 1, "the most that one needs, one for each prior, one to compare"
    assert sum(passes) > 3 * source.folds, "the test shows nothing"
    assert source.looks == 1
    assert source.samples <= 3, "one for the survey, one to count the rows, one to start from"


@doubtful
def test_chunks_and_threads_change_no_bit(kernels):
    x = blobs(3 * BLOCK_ROWS)
    whole = select(x, (2, 3), "full", n_threads=1, **FAST)
    parts = select(ArraySource(x, chunk_rows=BLOCK_ROWS), (2, 3), "full", n_threads=2, **FAST)
    assert repr(whole.to_dict()) == repr(parts.to_dict())


@doubtful
def test_each_candidate_has_the_kernel_that_it_has_alone(kernels, monkeypatch):
    x = blobs(300, gap=2.0)
    monkeypatch.setattr(mixture, "COMPILED_WORK", 300 * 2 * 3)
    chosen = select(x, (2, 3), "full", **FAST)
    assert [c.estimator.model_.compiles(*x.shape) for c in chosen.candidates] == [False, True]
    for c in chosen.candidates:
        assert same_bits(c.estimator.params_, GaussianMixture(c.n_components, **FAST).fit(x).params_)


@doubtful
def test_files_are_read_as_arrays_are(tmp_path):
    x = blobs(300)
    np.save(tmp_path / "x.npy", x)
    read, held = (select(data, (1, 2), "diag", **FAST) for data in (tmp_path / "x.npy", x))
    assert repr(read.to_dict()) == repr(held.to_dict())


def test_a_remembered_sample_is_the_same_and_leaves_the_generator_as_it_was_left():
    source = Counted(blobs(300))
    remembered, seeds = Remembered(source), (0, 0, 1, 0)
    for seed in seeds:
        rng, alone = np.random.default_rng(seed), np.random.default_rng(seed)
        for n in (20, 5):
            for a, b in zip(remembered.sample(n, rng), ArraySource(source.x).sample(n, alone), strict=True):
                assert_array_equal(a, b)
        assert rng.random() == alone.random()
    assert source.samples == 4
    assert (remembered.n_rows, remembered.n_features, remembered.names) == (300, 2, None)
    assert remembered.fingerprint == source.fingerprint
    assert remembered.locate(7) == "row 7"


@doubtful
def test_a_sweep_goes_on_from_its_checkpoint(tmp_path):
    x, path = blobs(gap=2.0), tmp_path / "sweep.ckpt"
    options = {"n_components": (2, 3), "covariance_types": ("full", "diag"), "tol": 1e-9, **FAST}
    whole = select(x, **options)

    def interrupt(state):
        if state.n_passes == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        select(x, checkpoint=path, callback=interrupt, **options)
    states = []
    resumed = select(x, checkpoint=path, callback=states.append, **options)
    assert min(state.n_passes for state in states) == 5, "the pass that was not finished is made again"
    for a, b in zip(whole.candidates, resumed.candidates, strict=True):
        assert same_bits(a.estimator.params_, b.estimator.params_)
        assert a.n_iter == b.n_iter
    with pytest.raises(CheckpointError, match="another fit: tried was"):
        select(x, checkpoint=path, **{**options, "n_components": (2, 4)})


@doubtful
def test_a_sweep_keeps_to_a_time():
    chosen = select(blobs(gap=1.0), (2, 3), tol=0, max_time=1e-9, **FAST)
    assert {candidate.n_iter for candidate in chosen.candidates} == {0}
    assert not any(candidate.converged for candidate in chosen.candidates)


@doubtful
def test_values_may_be_missing():
    x = blobs(300, gap=3.0)
    x[np.random.default_rng(1).random(x.shape) < 0.15] = np.nan
    x[0] = np.nan
    chosen = select(x, (2, 3), ("full", "diag"), criterion="icl", **FAST)
    for c in chosen.candidates:
        alone = GaussianMixture(c.n_components, covariance_type=c.covariance_type, tol=c.estimator.tol, **FAST).fit(x)
        assert same_bits(c.estimator.params_, alone.params_)
        assert c.estimator.n_missing_ == alone.n_missing_ == np.isnan(x).sum()
        assert_allclose((c.bic, c.icl), (alone.bic(x), alone.icl(x)), rtol=1e-12)
    assert chosen.winner.icl == min(c.icl for c in chosen.candidates)


# --- the table


@doubtful
@pytest.mark.parametrize("criterion", ["bic", "icl", "aic"])
def test_criteria_by_their_formulas(criterion):
    x, weight = blobs(300, gap=3.0), np.random.default_rng(1).integers(0, 4, 300).astype(float)
    chosen = select(x, (1, 2, 3), criterion=criterion, sample_weight=weight, **FAST)
    covariances = {"full": lambda k: 3 * k, "tied": lambda k: 3, "diag": lambda k: 2 * k, "spherical": lambda k: k}
    for c in chosen.candidates:
        q = c.n_components - 1 + 2 * c.n_components + covariances[c.covariance_type](c.n_components)
        loglik = weight @ c.estimator.score_samples(x)
        entropy = weight @ c.estimator.entropy(x)
        assert c.n_parameters == q
        assert_allclose(c.loglik, loglik, rtol=1e-12)
        bic = q * math.log(weight.sum()) - 2 * loglik
        assert_allclose((c.bic, c.icl, c.aic), (bic, bic + 2 * entropy, 2 * q - 2 * loglik), rtol=1e-12)
    best = min(chosen.candidates, key=lambda c: getattr(c, criterion))
    assert chosen.winner is best is chosen.ranking[0]
    assert chosen.best is best.estimator


def test_icl_and_bic_may_differ():
    """Two clusters, one of which is no normal distribution: BIC takes it for two, ICL does not."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(0, 1, 400), rng.normal(1.5, 3, 200), rng.normal(20, 1, 400)])
    chosen = {name: select(x, range(1, 5), "full", criterion=name, random_state=0) for name in ("bic", "icl")}
    assert {name: selection.winner.n_components for name, selection in chosen.items()} == {"bic": 3, "icl": 2}


def test_published_criteria_of_iris():
    """The BIC of mclust (VVV, EEE, VVI, VII; Scrucca et al. 2016), whose sign is the other; it stops early."""
    published = {
        ("full", 1): -829.9782, ("full", 2): -574.0178, ("full", 3): -580.8396,
        ("tied", 2): -688.0972, ("tied", 3): -632.9647,
        ("diag", 1): -1522.1202, ("diag", 2): -857.5515, ("diag", 3): -744.6382,
        ("spherical", 1): -1804.0854, ("spherical", 2): -1012.2352, ("spherical", 3): -853.8144,
    }  # fmt: skip
    with pytest.warns(SelectionWarning):
        chosen = select(load_iris().data, (1, 2, 3), reg_covar=0, tol=1e-9, max_iter=1000, random_state=0)
    table = {(c.covariance_type, c.n_components): -c.bic for c in chosen.candidates}
    for key, bic in published.items():
        assert bic - 1e-3 <= table[key] < bic + 1
        if key[1] == 1:
            assert table[key] == pytest.approx(bic, abs=1e-4)
    assert chosen.winner.name == "full 2 components"


@doubtful
def test_the_table_in_words_and_for_pandas():
    pandas = pytest.importorskip("pandas")
    chosen = select(blobs(40), (2, 3, 41), ("full", "diag"), **FAST)
    lines = str(chosen).splitlines()
    assert lines[0].split()[:3] == ["covariance", "components", "loglik"]
    assert lines[1].startswith(chosen.winner.covariance_type)
    assert lines[1].endswith("<- best")
    assert "not fitted: Expected n_samples >= n_components" in lines[5]
    assert len(lines) == 1 + 6 + len(chosen.doubts)
    frame = pandas.DataFrame(chosen.to_dict())
    assert frame.shape == (6, 13)
    assert frame.loc[frame["bic"].idxmin(), "n_components"] == chosen.winner.n_components


def test_a_candidate_that_cannot_be_fitted_is_a_row_with_the_reason():
    x = blobs(12, k=2, gap=50.0)
    with pytest.warns(SelectionWarning):
        chosen = select(x, (1, 2, 13), "spherical", random_state=0)
    failed = chosen.candidates[2]
    assert failed.failure.startswith("Expected n_samples >= n_components but got n_components = 13, n_samples = 12")
    assert math.isnan(failed.bic)
    assert not hasattr(failed.estimator, "params_")
    assert chosen.winner.n_components == 2
    with pytest.raises(FitError, match="no candidate can be fitted: Expected n_samples >= n_components"):
        select(x, (13, 14), random_state=0)


# --- how sure


def pairs_of(selection):
    return [(c.estimator.model_, c.estimator.params_) for c in selection.candidates]


@doubtful
@pytest.mark.parametrize("criterion", ["bic", "icl"])
def test_reversals_are_those_of_the_bootstrap(criterion):
    x, weight = blobs(400, gap=1.5), np.random.default_rng(1).integers(0, 3, 400)
    chosen = select(x, (1, 2, 3), criterion=criterion, sample_weight=weight, **FAST)
    total = weight.sum()
    terms, penalties = [], []
    for c in chosen.candidates:
        entropy = c.estimator.entropy(x) if criterion == "icl" else 0.0
        terms.append(2 * (entropy - c.estimator.score_samples(x)))
        penalties.append(c.n_parameters * math.log(total))
    drawn = np.random.default_rng(2).multinomial(total, weight / total, size=4000)
    values = drawn @ np.array(terms).T + penalties
    best = chosen.candidates.index(chosen.winner)
    reversals = (values < values[:, [best]]).mean(axis=0)
    found = np.array([c.reversal for c in chosen.candidates])
    rivals = ~np.isnan(found)
    assert rivals.sum() >= 10
    assert found[rivals].max() > 0.05, "no rival is near: the test shows nothing"
    gaps = np.repeat(np.array(terms) - terms[best], weight, axis=1)
    margins = np.array([getattr(c, criterion) for c in chosen.candidates]) - getattr(chosen.winner, criterion)
    exact = norm.cdf(-margins[rivals] / np.sqrt(total * gaps.var(axis=1)[rivals]))
    assert_allclose(found[rivals], exact, rtol=1e-6, atol=1e-12)
    # Four standard errors of the share, and what a normal distribution may miss of 400 rows.
    assert_allclose(found[rivals], reversals[rivals], atol=4 * math.sqrt(0.25 / 4000) + 0.02)


@doubtful
def test_the_variance_of_a_difference_by_rows(path):
    x = blobs(BLOCK_ROWS + 300, gap=2.0)
    weight = np.random.default_rng(1).integers(0, 3, len(x)).astype(float)
    x[weight == 0] = 1e200  # rows that do not count may lie where every density is 0
    chosen = select(x, (1, 2, 3), "full", sample_weight=weight, **FAST)
    sums = compare(ArraySource(x, weight), pairs_of(chosen), reference=1, by_entropy=True)
    copies = np.repeat(x, weight.astype(int), axis=0)
    terms = np.array([2 * (c.estimator.entropy(copies) - c.estimator.score_samples(copies)) for c in chosen.candidates])
    for winner in range(3):
        expected = len(copies) * (terms - terms[winner]).var(axis=1)
        assert_allclose(sums.variances(winner), expected, rtol=1e-9, atol=1e-9)
    assert_allclose(sums.gaps, (terms - terms[1]).sum(axis=1), rtol=1e-9, atol=1e-9)
    assert_allclose(sums.weight, len(copies))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_clear_truth_is_found_without_doubt(structure):
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 2000)
    means = np.array([[0.0, 0.0], [12.0, 0.0], [0.0, 14.0]])
    turned = np.array([[1.5, 0.9], [0.9, 1.0]])
    covariances = {
        "full": [turned, [[0.6, -0.4], [-0.4, 1.2]], [[2.0, 0.5], [0.5, 0.5]]],
        "tied": [turned] * 3,
        "diag": [np.diag([1.5, 0.5]), np.diag([0.4, 1.2]), np.diag([2.0, 0.8])],
        "spherical": [np.eye(2) * s for s in (1.5, 0.4, 0.8)],
    }[structure]
    x = means[labels] + np.einsum("nab,nb->na", np.linalg.cholesky(covariances)[labels], rng.normal(size=(2000, 2)))
    chosen = select(x, (2, 3, 4), init_params="kmeans", random_state=0)  # a doubt would be a warning, and so an error
    assert (chosen.winner.covariance_type, chosen.winner.n_components) == (structure, 3)
    assert chosen.stable


def test_one_model_under_several_names_is_no_rival_of_itself():
    rng = np.random.default_rng(0)
    line = np.concatenate([rng.normal(-5, 1, 300), rng.normal(5, 2, 300)])
    chosen = select(line, range(1, 4), init_params="kmeans", random_state=0)
    equals = [c for c in chosen.candidates if math.isnan(c.reversal)]
    assert {(c.covariance_type, c.n_components) for c in equals} == {("full", 2), ("diag", 2), ("spherical", 2)}
    cloud = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 500)
    assert select(cloud, (1, 2), random_state=0).winner.n_components == 1


def entry(structure="full", k=2, bic=100.0, **options):
    return Candidate(
        family="gaussian", covariance_type=structure, n_components=k, bic=bic, estimator=None, converged=True, **options
    )


def test_doubts():
    winner, far, near = entry(), entry(k=3, bic=150.0, reversal=0.0), entry(k=4, bic=101.0, reversal=0.01)
    one = entry(k=1, bic=150.0, reversal=0.0)
    failed = Candidate(family="gaussian", covariance_type="full", n_components=9, failure="too many", estimator=None)
    assert find_doubts([one, winner, far, failed], winner, "bic") == ()
    assert find_doubts([one, winner, far, near], winner, "bic") == (
        "full 4 components is behind full 2 components by 1 in BIC only",
    )
    (doubt,) = find_doubts([one, winner, far, entry("tied", 3, 130.0, reversal=0.2)], winner, "bic")
    assert doubt.startswith("on another sample of this size, tied 3 components would beat full 2 components")
    assert "20%" in doubt
    assert find_doubts([one, winner, failed], winner, "bic") == (
        "full 2 components: no larger number was fitted; try more",
    )
    assert find_doubts([winner, far], winner, "bic") == ("full 2 components: no smaller number was fitted; try fewer",)
    assert find_doubts([winner, entry("tied", 2, 150.0, reversal=0.0)], winner, "bic") == (), "one number was asked for"
    slow = Candidate(family="gaussian", covariance_type="diag", n_components=3, bic=150.0, reversal=0.0, estimator=None)
    assert find_doubts([one, winner, far, slow], winner, "bic") == (
        "1 fit has not converged, such as diag 3 components; give max_iter a larger value",
    )
    spurious = entry(k=3, bic=50.0, reversal=0.9, collapsed=True)
    assert find_doubts([one, winner, far, spurious], winner, "bic") == ()


@doubtful
def test_a_collapsed_fit_wins_only_if_all_are_such():
    x = np.concatenate([blobs(200, k=1), np.full((20, 2), 30.0)])
    chosen = select(x, (1, 2), "full", reg_covar=0, random_state=0)
    one, two = chosen.candidates
    assert two.collapsed
    assert two.bic < one.bic
    assert chosen.winner == one
    with pytest.warns(
        SelectionWarning, match="every candidate has a collapsed component, or one that is suspect, here"
    ):
        assert select(x, 2, "full", reg_covar=0, random_state=0).winner.collapsed


# --- the estimator


def test_the_estimator_is_the_winner():
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(blobs(), columns=["a", "b"])
    chooser = MixtureIC(GaussianMixture(random_state=0), n_components=range(2, 5), covariance_types="full")
    chooser.fit(x)
    assert chooser.selection_.stable
    best = chooser.best_estimator_
    alone = GaussianMixture(best.n_components, tol=best.tol, random_state=0).fit(x)
    assert same_bits(chooser.best_estimator_.params_, alone.params_)
    for method in ("predict", "predict_proba", "score_samples", "score"):
        assert_array_equal(getattr(chooser, method)(x), getattr(alone, method)(x))
    assert_array_equal(chooser.sample(5)[0], alone.sample(5)[0])
    assert list(chooser.feature_names_in_) == list(chooser.best_estimator_.feature_names_in_) == ["a", "b"]


def test_a_failed_fit_leaves_nothing_behind(fitted_state):
    chooser = MixtureIC(GaussianMixture(random_state=0), n_components=(1, 2, 3), covariance_types="full").fit(
        blobs(k=2)
    )
    before = fitted_state(chooser)
    with pytest.raises(ValueError, match="NaN"):
        chooser.fit(np.full((10, 3), np.nan))
    assert fitted_state(chooser) == before


def test_counts_are_selected_as_well():
    x = np.random.default_rng(2).poisson(np.repeat([1.0, 12.0, 40.0], 300))
    chosen = select(x, range(1, 6), estimator=MixtureModel(Poisson()), random_state=0)
    assert chosen.winner.n_components == 3
    assert_allclose(np.sort(chosen.best.rates_[:, 0]), [1, 12, 40], rtol=0.1)
    assert chosen.winner.name == "poisson 3 components"


@doubtful
@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_without_a_seed_the_candidates_still_share_one(random_state):
    chosen = select(blobs(200), (1, 2), "full", random_state=random_state)
    (seed,) = {c.estimator.random_state for c in chosen.candidates}
    assert isinstance(seed, int)


# --- the picture


@doubtful
def test_the_picture_is_the_table():
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib.figure import Figure

    chosen = select(blobs(200), (1, 3, 2, 201), ("full", "diag"), criterion="icl", **FAST)
    display = chosen.plot(ax=Figure().add_subplot())
    assert [line.get_label() for line in display.lines_] == ["full", "diag"]
    for line in display.lines_:
        drawn = [c for c in chosen.candidates if c.covariance_type == line.get_label() and not c.failure]
        assert_array_equal(line.get_xdata(), [1, 2, 3])
        assert_array_equal(line.get_ydata(), [c.icl for c in drawn])
    ring = display.ax_.lines[-1]
    assert_array_equal(ring.get_xydata(), [[chosen.winner.n_components, chosen.winner.icl]])
    assert chosen.winner.name in display.ax_.get_title(loc="left")
    assert display.ax_.get_ylabel() == "ICL (lower is better)"


# --- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": []}, r"n_components is empty, expected numbers of components to try, such as range\(1, 11\)"),
        ({"n_components": (2, 0)}, "an element of n_components is 0, expected a whole number from 1"),
        ({"n_components": (2, 2.5)}, "an element of n_components is 2.5, expected a whole number from 1"),
        ({"covariance_types": ("full", "round")}, "covariance_types contains 'round', expected some of 'full', 'tied'"),
        ({"covariance_types": ()}, "covariance_types is empty, expected some of 'full'"),
        ({"criterion": "BIC"}, "criterion is 'BIC', expected one of 'bic', 'icl', 'aic'"),
        ({"tol": -1.0}, "tol"),
        ({"n_start": 3}, "n_start"),
        ({"sample_weight": [1.0, 2.0]}, "weight"),
        (
            {"estimator": MixtureModel(Poisson()), "covariance_types": "full"},
            "covariance_types is 'full', but a MixtureModel has none: leave it out",
        ),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        select(np.arange(20.0), **options)


def test_bad_rows_are_named():
    x = blobs(50)
    x[7, 1] = np.inf
    with pytest.raises(ValueError, match="row 7, column 1 is inf"):
        select(x, (1, 2))
