"""The pages in docs/ whose code is said to run."""

import re
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"


def run_page(name, work, monkeypatch):
    monkeypatch.chdir(work)
    code = re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names = {"__name__": "__main__"}
    for block in code:
        exec(compile(block, name, "exec"), names)  # noqa: S102  # our own page
    return names


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without docs/")
def test_jobs(tmp_path, monkeypatch, capsys):
    names = run_page("jobs.md", tmp_path, monkeypatch)
    by_hand, fitted = names["params"], names["fit"].params_
    np.testing.assert_allclose(np.sort(by_hand.weights), np.sort(fitted.weights), atol=1e-3)
    assert (tmp_path / "fit.ckpt").exists()
    assert names["stream"].n_batches_ == 20
    np.testing.assert_allclose(np.sort(names["stream"].means_[:, 0]), [0, 5], atol=0.2)
