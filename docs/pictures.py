"""Make the pictures of the pages: run the code of each page, and keep the pictures that it writes and shows.

``python -m docs.pictures`` makes all, ``python -m docs.pictures density.md`` those of one page.
"""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"


def code_of(page: Path) -> list[str]:
    """Return the blocks of Python of a page, in order."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run(page: Path) -> dict[str, Any]:
    """Run the blocks of a page one after another, in the current directory; return what they named."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in code_of(page):
        exec(compile(block, page.name, "exec"), names)  # noqa: S102  # our own page
    return names


def shown_by(page: Path) -> list[str]:
    """Return the names of the pictures that a page shows."""
    return re.findall(r"!\[[^]]*\]\([./]*images/([^)]+)\)", page.read_text(encoding="utf-8"))


def made_by(page: Path) -> list[Path]:
    """Return those of them that its code writes: to the same name, in the current directory."""
    code = "".join(code_of(page))
    return [Path(name) for name in shown_by(page) if f'"{Path(name).name}"' in code]


def main(names: list[str]) -> None:
    """Make the pictures of these pages, or of all pages that write what they show."""
    import matplotlib

    matplotlib.use("Agg")
    warnings.simplefilter("ignore")
    for page in sorted(DOCS.rglob("*.md")):
        wanted = made_by(page)
        if not wanted or (names and page.name not in names):
            continue
        with TemporaryDirectory() as work, contextlib.chdir(work):
            with contextlib.redirect_stdout(None):
                run(page)
            for picture in wanted:
                (IMAGES / picture).write_bytes(Path(picture.name).read_bytes())
        print(f"{page.relative_to(DOCS)}: {', '.join(map(str, wanted))}")


if __name__ == "__main__":
    main(sys.argv[1:])
