"""Found by Python at its start where this folder is on PYTHONPATH (`flowspan run`, or PYTHONPATH="$(flowspan preload)").

Nothing that goes wrong here may keep the program from starting.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path


def _run_the_one_we_hide() -> None:
    """There is one sitecustomize to a Python: who comes first hides the others."""
    here = Path(__file__).resolve().parent
    path = [folder for folder in sys.path if Path(folder or ".").resolve() != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def _follow_engines() -> None:
    try:
        from otel_bridge import autobind
    except ImportError as error:
        if "FLOWSPAN_RUN" in os.environ:
            sys.stderr.write(f"flowspan run: nothing will be seen of {sys.executable}: Flowspan is not installed there ({error})\n")
        return
    autobind.install()


_run_the_one_we_hide()
_follow_engines()
