"""Displays: the artists show what the fitted parameters say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib").use("Agg")

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from mixtura import GaussianMixture, Histogram, MixtureModel, plot
from mixtura.families import Gamma, Gaussian, NegativeBinomial, Poisson, StudentT, ZeroInflated
from mixtura.plot import DensityDisplay, PairsDisplay, TraceDisplay, _data, _style
from mixtura.plot._pairs import ellipse_axes


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 3, 900)
    mixing = np.array([[1.0, 0.6, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 1.0]])
    return rng.normal(size=(900, 3)) @ mixing + np.array([[0, 0, 0], [6, 0, 3], [0, 7, -4.0]])[groups]


@pytest.fixture(scope="module")
def line(rows):
    return GaussianMixture(3, random_state=0).fit(rows[:, 0])


@pytest.fixture(scope="module", params=["full", "tied", "diag", "spherical"])
def space(request, rows):
    return GaussianMixture(3, covariance_type=request.param, random_state=0).fit(rows)


def counts():
    rng = np.random.default_rng(2)
    return np.concatenate([rng.poisson(3, 300), rng.poisson(20, 200)])


def axes():
    return Figure().add_subplot()


# --- density ----------------------------------------------------------------------------------------


def test_density_integrates_to_one(rows, line):
    display = DensityDisplay.from_estimator(line, rows[:, 0], ax=axes())
    x, y = display.line_.get_data()
    assert np.trapezoid(y, x) == pytest.approx(1.0, abs=0.01)
    assert np.sum(display.heights * np.diff(display.edges)) == pytest.approx(1.0, abs=0.01)


def test_density_is_that_of_the_model_and_the_sum_of_its_components(rows, line):
    display = DensityDisplay.from_estimator(line, rows[:, 0], ax=axes())
    np.testing.assert_allclose(display.density, np.exp(line.score_samples(display.grid)), rtol=1e-10)
    drawn = sum(curve.get_ydata() for curve in display.component_lines_)
    np.testing.assert_allclose(drawn, display.line_.get_ydata(), rtol=1e-10)
    areas = [np.trapezoid(curve.get_ydata(), display.grid) for curve in display.component_lines_]
    np.testing.assert_allclose(areas, line.weights_, atol=0.01)


def test_density_sees_a_peak_far_narrower_than_the_grid():
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(0, 1e-4, 500), rng.normal(50, 10, 500)])
    fitted = GaussianMixture(2, means_init=[[0.0], [50.0]], reg_covar=0, random_state=0).fit(values)
    display = DensityDisplay.from_estimator(fitted, values, ax=axes())
    assert np.trapezoid(display.density, display.grid) == pytest.approx(1.0, abs=0.02)


def test_density_of_any_family_sees_such_a_peak():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.gamma(2.0, 100.0, 900), rng.gamma(1e6, 50e-6, 100)])
    labels = np.repeat([0, 1], [900, 100])
    display = DensityDisplay.from_estimator(MixtureModel(Gamma(), 2).fit(x, labels=labels), x, ax=axes())
    assert np.trapezoid(display.density, display.grid) == pytest.approx(1.0, abs=0.02)


def test_places_of_components_are_those_of_their_rows():
    x = np.concatenate([np.random.default_rng(0).normal(0, 1, 500), np.random.default_rng(1).normal(20, 3, 300)])
    labels = np.repeat([0, 1], [500, 300])
    normal = MixtureModel(Gaussian(), 2, tol=1e-9).fit(x, labels=labels)
    t = MixtureModel(StudentT(), 2).fit(x, labels=labels)
    for own, of_rows in zip(_data.places(normal, x), _data.places(t, x), strict=True):
        np.testing.assert_allclose(of_rows, own, rtol=0.02, atol=0.02)


def test_many_counts_have_bars_of_several():
    x = np.random.default_rng(0).negative_binomial(2, 0.01, 1000)
    display = DensityDisplay.from_estimator(MixtureModel(NegativeBinomial()).fit(x), x, ax=axes())
    width = np.diff(display.edges)[0]
    assert width == round(width)
    q1, q3 = np.quantile(x, [0.25, 0.75])
    assert 0 <= width - 2 * (q3 - q1) / 10 < 1, "the width of Freedman and Diaconis, rounded up"


def test_density_of_counts_is_a_probability_at_whole_numbers():
    values = counts()
    fitted = MixtureModel(Poisson(), 2, random_state=0).fit(values)
    display = DensityDisplay.from_estimator(fitted, values, ax=axes())
    assert display.discrete
    np.testing.assert_array_equal(display.grid, np.arange(display.grid[0], display.grid[-1] + 1))
    assert display.density.sum() == pytest.approx(1.0, abs=0.02)
    shares = np.bincount(values)[int(display.grid[0]) :] / len(values)
    np.testing.assert_allclose(display.heights, shares)


def test_density_draws_where_it_is_told_and_nowhere_else(rows, line):
    ax = axes()
    display = DensityDisplay.from_estimator(line, rows[:, :1], ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert plt.get_fignums() == []
    again = display.plot()
    assert again is display
    assert len(plt.get_fignums()) == 1
    assert display.figure_.number in plt.get_fignums()


def test_density_weighs_the_rows(rows, line):
    weight = (rows[:, 0] > 3).astype(float)
    display = DensityDisplay.from_estimator(line, rows[:, 0], sample_weight=weight, ax=axes())
    assert display.heights[display.edges[1:] < 3].max() == 0
    assert np.sum(display.heights * np.diff(display.edges)) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_point_among_numbers_is_a_bar_with_its_probability_for_an_area(weighted):
    rng = np.random.default_rng(4)
    x = np.where(rng.random(800) < 0.3, 0.0, rng.gamma(3.0, 2.0, 800))
    w = np.where(x == 0, 2.0, 1.0) if weighted else None
    fitted = MixtureModel(ZeroInflated(Gamma()), tol=1e-10).fit(x, sample_weight=w)
    bins = np.linspace(0, 30, 61)  # so that the density is evaluated at 0, too
    display = DensityDisplay.from_estimator(fitted, x, sample_weight=w, bins=bins, ax=axes())
    share = np.average(x == 0, weights=w)
    np.testing.assert_allclose([display.mass, display.zeros], share)
    (bar,) = display.point_
    assert bar.get_x() + bar.get_width() == pytest.approx(0, abs=1e-12)
    assert bar.get_width() * bar.get_height() == pytest.approx(share)
    assert display.heights @ np.diff(display.edges) == pytest.approx(1 - share, abs=0.01)
    assert np.trapezoid(display.density, display.grid) == pytest.approx(1 - share, abs=0.01)
    assert display.density.max() < 0.2, "no density is a probability"
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert f"exactly 0: {100 * share:.1f} %" in texts


def test_only_a_point_among_numbers_has_a_bar_of_its_own(rows, line):
    zeros = MixtureModel(ZeroInflated(Poisson())).fit(np.repeat([0, 3, 4, 7], [50, 10, 10, 10]))
    for fitted, x in ((line, rows[:, 0]), (zeros, np.repeat([0, 3], 5))):
        display = DensityDisplay.from_estimator(fitted, x, ax=axes())
        assert (display.mass, display.zeros, display.point_) == (0.0, 0.0, None)


def test_density_refuses_several_columns(rows, space):
    with pytest.raises(ValueError, match="3: use PairsDisplay"):
        DensityDisplay.from_estimator(space, rows)


def test_a_histogram_is_drawn_as_it_is_without_its_open_bins(line):
    edges, counts = [-np.inf, -2.0, 0.0, 3.0, 10.0, np.inf], [5.0, 10.0, 45.0, 30.0, 10.0]
    display = DensityDisplay.from_estimator(line, Histogram(edges, counts), ax=axes())
    np.testing.assert_allclose(display.edges, [-2, 0, 3, 10])
    np.testing.assert_allclose(display.heights * np.diff(display.edges), [0.1, 0.45, 0.3])
    assert display.n_rows == 100
    assert display.grid[[0, -1]].tolist() == [-2, 10]


# --- pairs ------------------------------------------------------------------------------------------


def test_ellipses_are_the_eigendecomposition(rows, space):
    display = PairsDisplay.from_estimator(space, rows)
    expand = space.model_.family.covariance.expand
    dense = expand(space.covariances_, 3, 3)
    for (i, j), ellipses in display.ellipses_.items():
        assert len(ellipses) == 2 * 3
        for k, (one, two) in enumerate(zip(ellipses[::2], ellipses[1::2], strict=True)):
            np.testing.assert_allclose(one.get_center(), space.means_[k, [j, i]])
            values, vectors = np.linalg.eigh(dense[k][np.ix_([j, i], [j, i])])
            np.testing.assert_allclose([one.width, one.height], 2 * np.sqrt(values[::-1]))
            np.testing.assert_allclose([two.width, two.height], 4 * np.sqrt(values[::-1]))
            angle = np.radians(one.angle)
            assert abs(vectors[:, 1] @ [np.cos(angle), np.sin(angle)]) == pytest.approx(1.0)


def test_an_ellipse_is_the_set_at_its_mahalanobis_distance():
    from matplotlib.patches import Ellipse

    covariance = np.array([[4.0, 1.5], [1.5, 1.0]])
    width, height, angle = ellipse_axes(covariance, 2.0)
    edge = Ellipse((0, 0), width, height, angle=angle)
    points = edge.get_patch_transform().transform(Ellipse((0, 0), 1, 1).get_path().interpolated(1).vertices)
    on_curve = points[[0, 3, 6, 9, 12]]  # the others steer the Bezier curve
    distance = np.einsum("ni,ij,nj->n", on_curve, np.linalg.inv(covariance), on_curve)
    np.testing.assert_allclose(distance, 4.0, rtol=1e-3)


def test_scatter_shows_rows_in_the_colors_of_their_components(rows, space):
    display = PairsDisplay.from_estimator(space, rows)
    colors = _style.component_colors(3)
    for (i, j), scatter in display.scatters_.items():
        points = np.asarray(scatter.get_offsets())
        np.testing.assert_array_equal(np.sort(points[:, 0]), np.sort(rows[:, j]))
        np.testing.assert_array_equal(np.sort(points[:, 1]), np.sort(rows[:, i]))
        expected = np.array([to_rgba(colors[k])[:3] for k in display.labels])
        np.testing.assert_allclose(scatter.get_facecolors()[:, :3], expected)
    np.testing.assert_array_equal(display.labels, space.predict(display.rows))


def test_marginals_integrate_to_one_and_match_a_mixture_of_one_column(rows, space):
    display = PairsDisplay.from_estimator(space, rows)
    for j, line in enumerate(display.lines_):
        x, y = line.get_data()
        assert np.trapezoid(y, x) == pytest.approx(1.0, abs=0.02)
        sds = np.sqrt(display.covariances[:, j, j])
        z = (x[:, None] - space.means_[:, j]) / sds
        expected = (space.weights_ * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / sds).sum(axis=1)
        np.testing.assert_allclose(y, expected, rtol=1e-10)


def test_pairs_subsample_by_seed(rows, space):
    first, again, other = (
        PairsDisplay.from_estimator(space, rows, max_rows=100, random_state=seed).rows for seed in (0, 0, 1)
    )
    assert first.shape == (100, 3)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pairs_draw_no_row_of_weight_zero(rows, space):
    weight = (rows[:, 0] > 3).astype(float)
    display = PairsDisplay.from_estimator(space, rows, sample_weight=weight, max_rows=50)
    assert (display.rows[:, 0] > 3).all()


def test_pairs_say_which_columns_are_left_out():
    X = np.random.default_rng(0).normal(size=(60, 9))
    fitted = GaussianMixture(2, covariance_type="diag", random_state=0, tol=0.1).fit(X)
    display = PairsDisplay.from_estimator(fitted, X)
    assert display.names == [f"x{j}" for j in range(6)]
    assert display.left_out == ["x6", "x7", "x8"]
    said = [text.get_text() for text in display.axes_[0, 0].texts]
    assert any("left out: x6, x7, x8" in text for text in said)
    assert "6 of 9 columns" in display.axes_[0, 0].get_title(loc="left")
    chosen = PairsDisplay.from_estimator(fitted, X, columns=[8, "x1"])
    assert chosen.names == ["x8", "x1"]
    np.testing.assert_array_equal(chosen.means, fitted.means_[:, [8, 1]])


@pytest.mark.parametrize("columns", [["nope"], [9], []])
def test_pairs_refuse_columns_that_are_not_there(columns, rows, space):
    with pytest.raises(ValueError, match=r"unknown column|columns is empty"):
        PairsDisplay.from_estimator(space, rows, columns=columns)


def test_pairs_fill_one_axes_or_a_grid_of_them(rows, space):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    display = PairsDisplay.from_estimator(space, rows, ax=left)
    assert display.figure_ is figure
    panels = [panel for panel in display.axes_.ravel() if panel is not None]
    assert all(panel.get_position().x1 < right.get_position().x0 for panel in panels)
    assert plt.get_fignums() == []
    grid = Figure().subplots(3, 3)
    display = PairsDisplay.from_estimator(space, rows, ax=grid)
    assert display.axes_[2, 1] is grid[2, 1]
    with pytest.raises(ValueError, match=r"3 columns need \(3, 3\)"):
        display.plot(ax=Figure().subplots(2, 2))


def test_pairs_take_given_colors(rows, space):
    display = PairsDisplay.from_estimator(space, rows, colors=["red", "green", "blue"])
    assert display.ellipses_[1, 0][0].get_edgecolor()[:3] == to_rgba("red")[:3]


def test_pairs_refuse_counts_by_name():
    X = np.random.default_rng(0).poisson(4, size=(50, 2))
    fitted = MixtureModel(Poisson(), 2, random_state=0, tol=0.1).fit(X)
    with pytest.raises(ValueError, match="components are poisson, not gaussian"):
        plot.plot(fitted, X)


def test_names_of_columns_are_used(rows):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(rows[:, :2], columns=["height", "weight"])
    fitted = GaussianMixture(2, random_state=0, tol=0.1).fit(frame)
    display = PairsDisplay.from_estimator(fitted, frame)
    assert [panel.get_xlabel() for panel in display.axes_[1]] == ["height", "weight"]
    one = GaussianMixture(2, random_state=0, tol=0.1).fit(frame[["height"]])
    assert DensityDisplay.from_estimator(one, frame[["height"]]).ax_.get_xlabel() == "height"


# --- trace ------------------------------------------------------------------------------------------


def test_trace_is_the_objective(line):
    display = TraceDisplay.from_estimator(line, ax=axes())
    x, y = display.line_.get_data()
    np.testing.assert_array_equal(y, line.result_.objective)
    np.testing.assert_array_equal(x, np.arange(line.n_iter_ + 1))
    assert any(line.result_.status.message in text.get_text() for text in display.ax_.texts)


def test_trace_refuses_what_was_not_fitted():
    with pytest.raises(ValueError, match="fit it first"):
        TraceDisplay.from_estimator(GaussianMixture())


# --- convenience, and the numbers behind ------------------------------------------------------------


def test_plot_chooses_by_the_number_of_columns(rows, line, space):
    assert isinstance(plot.plot(line, rows[:, 0], ax=axes()), DensityDisplay)
    assert isinstance(plot.plot(space, rows), PairsDisplay)


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_save_writes_a_picture_and_leaves_no_figure(suffix, rows, line, tmp_path):
    path = tmp_path / f"fit.{suffix}"
    plot.save(plot.prepare(line, rows[:, 0]), path)
    head = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(head)
    assert plt.get_fignums() == []


def test_bad_rows_are_named(rows, line):
    with pytest.raises(ValueError, match=r"expects 1 column"):
        plot.plot(line, rows)
    broken = rows[:, 0].copy()
    broken[7] = np.nan
    with pytest.raises(ValueError, match="row 7, column 0"):
        plot.plot(line, broken)
    with pytest.raises(ValueError, match="no rows"):
        plot.plot(line, np.empty(0))


def test_bars_of_rounded_values_hold_equally_many_of_them():
    values = np.round(np.random.default_rng(0).normal(size=5000) * 10)
    edges = _data.bin_edges(values, "auto")
    width = np.diff(edges)
    np.testing.assert_allclose(width, width[0])
    assert width[0] == round(width[0])
    assert edges[0] % 1 == 0.5


def test_a_few_far_values_do_not_squeeze_the_axis():
    values = np.append(np.random.default_rng(0).normal(size=5000), 1e9)
    low, high = _data.view_range(values)
    assert -10 < low < -2
    assert 2 < high < 10


@pytest.mark.parametrize("value", [0.0, 3.0, 1e300, -1e-300])
def test_a_constant_column_has_an_axis(value):
    low, high = _data.view_range(np.full(5, value))
    assert low < value < high


def test_every_component_has_a_color():
    for k in (1, 6, 8, 10, 11, 40):
        assert len(set(_style.component_colors(k))) == k


def test_many_components_get_a_short_legend():
    handles, texts = _style.component_legend(np.full(30, 1 / 30), _style.component_colors(30))
    assert len(handles) == len(texts) == _style.LEGEND_ENTRIES + 1
    assert texts[-1] == "and 10 lighter"


def test_constant_data_can_be_drawn(tmp_path):
    values = np.full((20, 2), 5.0)
    fitted = GaussianMixture(1).fit(values)
    plot.save(plot.prepare(fitted, values), tmp_path / "constant.png")
