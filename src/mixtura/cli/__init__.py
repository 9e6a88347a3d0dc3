"""The command line: ``mixtura fit``, ``predict``, ``info``, ``demo`` and ``doctor``.

Needs the extra ``cli``: ``pip install "mixtura[cli]"``. Before a command runs, only `argparse` is imported.
"""

from mixtura.cli._main import main

__all__ = ["main"]
