"""The pages in docs/ whose code is said to run."""

from pathlib import Path

import numpy as np
import pytest

from mixtura import families
from mixtura.exceptions import SelectionWarning

DOCS = Path(__file__).parents[1] / "docs"


def run_page(name, work, monkeypatch):
    from docs.pictures import made_by, run

    pictures = made_by(DOCS / name)
    if pictures:
        pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.chdir(work)
    names = run(DOCS / name)
    assert all((work / picture.name).stat().st_size > 10_000 for picture in pictures)
    if pictures:
        from matplotlib.pyplot import close

        close("all")
    return names


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_jobs(tmp_path, monkeypatch, capsys):
    names = run_page("jobs.md", tmp_path, monkeypatch)
    by_hand, fitted = names["params"], names["fit"].params_
    np.testing.assert_allclose(np.sort(by_hand.weights), np.sort(fitted.weights), atol=1e-3)
    assert (tmp_path / "fit.ckpt").exists()
    assert names["stream"].n_batches_ == 20
    np.testing.assert_allclose(np.sort(names["stream"].means_[:, 0]), [0, 5], atol=0.2)


# What the heavier and the lighter component of each page's data were drawn with.
TRUTH = {
    "bernoulli": {"probs": [[0.9, 0.8, 0.7, 0.9, 0.2, 0.1], [0.2, 0.1, 0.3, 0.4, 0.8, 0.7]]},
    "beta": {"alphas": [[2], [20]], "betas": [[8], [5]]},
    "categorical": {"probs": [[[0.7, 0.2, 0.1]] * 5, [[0.1, 0.3, 0.6]] * 5]},
    "exponential": {"rates": [[1], [1 / 6]]},
    "gamma": {"shapes": [[2], [30]], "rates": [[1], [2]]},
    "gaussian": {"means": [[0, 0], [4, 2]], "covariances": [[[1, 0.8], [0.8, 1]], [[1, -0.5], [-0.5, 0.5]]]},
    "log_normal": {"means": [[1], [3]], "covariances": [[[0.25]], [[0.09]]]},
    "multinomial": {"probs": [[0.4, 0.3, 0.2, 0.05, 0.05], [0.05, 0.1, 0.2, 0.25, 0.4]]},
    "negative_binomial": {"means": [[4], [30]], "sizes": [[3], [8]]},
    "poisson": {"rates": [[2], [11]]},
    "product": {"parts[0].probs": [[[0.1, 0.3, 0.6]] * 3, [[0.7, 0.2, 0.1]] * 3], "parts[2].means": [[50], [35]]},
    "student_t": {"locations": [[0], [12]], "scales": [[[1]], [[4]]], "dofs": [3, 6]},
    "von_mises": {"angles": [[-np.pi / 12], [13 * np.pi / 12 - 2 * np.pi]], "kappas": [[8], [3]]},
    "zero_inflated": {"weights": [1], "zeros": [0.3], "rates": [[4]]},
}
SURE = 0.9999  # of the intervals in which the truth is to be: none of some 80 is likely to miss it


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
@pytest.mark.parametrize("page", sorted(TRUTH))
def test_the_page_of_each_family(page, tmp_path, monkeypatch, capsys):
    names = run_page(f"families/{page}.md", tmp_path, monkeypatch)
    mixture = names["mixture"]
    heavier_first = np.argsort(-mixture.weights_)
    intervals = mixture.standard_errors(names["x"]).interval(SURE)
    for name, truth in ({"weights": [0.6, 0.4]} | TRUTH[page]).items():
        low, high = (bound[heavier_first] for bound in intervals[name])
        assert (low <= truth).all(), name
        assert (high >= truth).all(), name
    if page == "student_t":
        locations = names["robust"].locations_
        np.testing.assert_allclose(locations[np.argsort(locations[:, 0])], [[0, 0], [6, 3]], atol=0.2)


@pytest.mark.skipif(not (DOCS / "images").is_dir(), reason="installed without the pictures of docs/")
def test_every_family_has_a_page_and_every_page_its_picture():
    from docs.pictures import IMAGES, shown_by

    of_structures = {"Diag", "Full", "Spherical", "Tied"}
    assert {page.replace("_", "") for page in TRUTH} == {f.lower() for f in set(families.__all__) - of_structures}
    index = (DOCS / "families.md").read_text(encoding="utf-8")
    assert {path.stem for path in (DOCS / "families").glob("*.md")} == set(TRUTH)
    for page in TRUTH:
        assert f"(families/{page}.md)" in index
        assert shown_by(DOCS / "families" / f"{page}.md") == [f"families/{page}.png"]
    for page in DOCS.rglob("*.md"):
        assert all((IMAGES / name).is_file() for name in shown_by(page)), page


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_priors(tmp_path, monkeypatch, capsys):
    names = run_page("priors.md", tmp_path, monkeypatch)
    np.testing.assert_allclose(names["microns"].means_, 1e6 * names["fit"].means_, rtol=1e-9)
    assert capsys.readouterr().out.startswith("True")
    assert -20 < names["steady"].result_.objective[-1] - names["steady"].loglik_ < 0
    np.testing.assert_allclose(np.sort(names["most_probable"].weights_), [201 / 502, 301 / 502], atol=0.02)
    assert names["anchored"].weights_.tolist() == [0.4, 0.6]
    np.testing.assert_allclose(names["anchored"].means_, [[0, 0], [6, 6]], atol=0.3)


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_uses(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    names = run_page("uses.md", tmp_path, monkeypatch)
    income = 20 + 0.9 * names["age"] - 0.008 * (names["age"] - 20) ** 2
    np.testing.assert_allclose(names["mean"][:, 0], income, atol=2)
    np.testing.assert_allclose(names["std"][:, 0], 3, atol=0.6)
    np.testing.assert_allclose(names["likely"].mean(), names["person"].quantile(0.5), atol=0.5)
    np.testing.assert_allclose(names["line"].cdf(names["q"]), [0.001, 0.5, 0.999], rtol=1e-12)
    assert names["same"].feature_names_in_.tolist() == ["rent", "income"]


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_uncertainty(tmp_path, monkeypatch, capsys):
    names = run_page("uncertainty.md", tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    page = (DOCS / "uncertainty.md").read_text(encoding="utf-8")
    for line in (
        page.split("prints")[1].split("```")[1].splitlines()[1:3]
    ):  # the heads of the table, not its last digits
        assert line.rstrip() in printed
    assert "rates[1, 0]" in printed
    assert (names["low"] < names["mixture"].means_).all()
    assert (names["both"] ** 2 > 0).any()


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_histograms(tmp_path, monkeypatch, capsys):
    names = run_page("histograms.md", tmp_path, monkeypatch)
    binned, line = names["binned"], names["line"]
    assert line.result_.n_passes == 1
    np.testing.assert_allclose(np.sort(line.means_[:, 0]), [0, 4], atol=0.02)
    order = np.argsort(binned.means_[:, 0])
    np.testing.assert_allclose(binned.means_[order, 0], [0, 4], atol=0.03)
    np.testing.assert_allclose(binned.covariances_[order, 0, 0], [1, 0.25], atol=0.03)


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_answers(tmp_path, monkeypatch, capsys):
    names = run_page("answers.md", tmp_path, monkeypatch)
    assert [len(fit.weights_) for fit in names["fits"].values()] == [3, 3, 2]
    assert capsys.readouterr().out.count("in iteration") == 3
    assert names["clouds"].result_.agreement.n_agreeing == 5
    assert [warning.category.__name__ for warning in names["told"]] == ["SpuriousWarning"]


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_convergence(tmp_path, monkeypatch):
    names = run_page("convergence.md", tmp_path, monkeypatch)
    plain, accelerated = (len(line.get_xdata()) for line in names["ax"].get_lines())
    assert plain > 5 * accelerated
    assert names["best"] - names["fit"].lower_bound_ < 1e-9


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_kmeans(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    names = run_page("kmeans.md", tmp_path, monkeypatch)
    assert (tmp_path / "kmeans.png").stat().st_size > 10_000
    found = names["fit"].cluster_centers_
    order = [np.abs(found - centre).sum(axis=1).argmin() for centre in names["truth"]]
    np.testing.assert_allclose(found[order], names["truth"], atol=0.15)
    written = np.load(tmp_path / "clusters.npy")
    assert (written["label"] == names["labels"]).all()


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_missing(tmp_path, monkeypatch, capsys):
    names = run_page("missing.md", tmp_path, monkeypatch)
    np.testing.assert_allclose(np.sort(names["gm"].means_[:, 0]), [0, 4], atol=0.2)
    assert names["gm"].n_empty_ >= 1


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_selection(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    with pytest.warns(SelectionWarning):  # of iris, as the page says
        names = run_page("selection.md", tmp_path, monkeypatch)
    assert names["chosen"].candidates[1].bic == pytest.approx(574.0, abs=0.05)
    assert names["chosen"].candidates[2].bic == pytest.approx(580.8, abs=0.05)
    assert names["visits"].winner.n_components == 3
    assert names["test"].p_value == 0.05
    assert len(names["table"]) == 20


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_density(tmp_path, monkeypatch, capsys):
    names = run_page("density.md", tmp_path, monkeypatch)
    page = (DOCS / "density.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out.splitlines()
    for line, shown in zip(printed, page.split("```text\n")[1].split("```")[0].splitlines()[:2], strict=False):
        assert line.split()[:2] == shown.split()[:2]  # the winner, not its last digits
    assert names["counted"].selection.winner.name == "negative binomial 1 component"


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_labels(tmp_path, monkeypatch, capsys):
    names = run_page("labels.md", tmp_path, monkeypatch)
    assert (names["gm"].predict(names["X"]) == names["truth"]).mean() > 0.8
