"""The pages in docs/ whose code is said to run."""

from pathlib import Path

import numpy as np
import pytest

from mixtura.exceptions import SelectionWarning

DOCS = Path(__file__).parents[1] / "docs"


def run_page(name, work, monkeypatch):
    from docs.pictures import run

    monkeypatch.chdir(work)
    return run(DOCS / name)


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_jobs(tmp_path, monkeypatch, capsys):
    names = run_page("jobs.md", tmp_path, monkeypatch)
    by_hand, fitted = names["params"], names["fit"].params_
    np.testing.assert_allclose(np.sort(by_hand.weights), np.sort(fitted.weights), atol=1e-3)
    assert (tmp_path / "fit.ckpt").exists()
    assert names["stream"].n_batches_ == 20
    np.testing.assert_allclose(np.sort(names["stream"].means_[:, 0]), [0, 5], atol=0.2)


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_families(tmp_path, monkeypatch):
    names = run_page("families.md", tmp_path, monkeypatch)
    voters = names["voters"]
    robust = names["robust"]
    np.testing.assert_allclose(robust.locations_[np.argsort(robust.locations_[:, 0])], [[0, 0], [6, 3]], atol=0.2)
    order = np.argsort(voters.weights_)
    np.testing.assert_allclose(voters.weights_[order], [0.4, 0.6], atol=0.06)
    np.testing.assert_allclose(voters.parts_[0]["probs_"][order], names["truth"], atol=0.1)


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
    pytest.importorskip("matplotlib")
    names = run_page("histograms.md", tmp_path, monkeypatch)
    assert (tmp_path / "histogram.png").stat().st_size > 10_000
    binned, line = names["binned"], names["line"]
    assert line.result_.n_passes == 2
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
def test_kmeans(tmp_path, monkeypatch, capsys):
    names = run_page("kmeans.md", tmp_path, monkeypatch)
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
    pytest.importorskip("matplotlib")
    with pytest.warns(SelectionWarning):  # of iris, as the page says
        names = run_page("selection.md", tmp_path, monkeypatch)
    assert names["chosen"].candidates[1].bic == pytest.approx(574.0, abs=0.05)
    assert names["chosen"].candidates[2].bic == pytest.approx(580.8, abs=0.05)
    assert names["visits"].winner.n_components == 3
    assert names["test"].p_value == 0.05
    assert len(names["table"]) == 20
    assert (tmp_path / "selection.png").stat().st_size > 10_000


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_density(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib").use("Agg")
    names = run_page("density.md", tmp_path, monkeypatch)
    page = (DOCS / "density.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out.splitlines()
    for line, shown in zip(printed, page.split("```text\n")[1].split("```")[0].splitlines()[:2], strict=False):
        assert line.split()[:2] == shown.split()[:2]  # the winner, not its last digits
    assert names["counted"].selection.winner.name == "negative binomial 1 component"
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("density.png", "counts.png"))


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_labels(tmp_path, monkeypatch, capsys):
    names = run_page("labels.md", tmp_path, monkeypatch)
    assert (names["gm"].predict(names["X"]) == names["truth"]).mean() > 0.8
