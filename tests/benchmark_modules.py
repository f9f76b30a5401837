"""Imports from benchmarks/, which is a folder of scripts and not a package."""

import importlib
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def load_benchmark(name):
    """Import a file or folder of benchmarks/ with the neighbours that it imports, as if run."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))
