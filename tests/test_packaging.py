"""The installed files: the whole package, with the search spaces inside it."""

import subprocess
import sys
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="in the standard library since Python 3.11")

ROOT = Path(__file__).parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_folder_of_the_package_is_listed():
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "prescreen").rglob("__init__.py")}
    listed = {*(".".join(folder.parts) for folder in folders), "prescreen.search_spaces"}
    assert sorted(SETUPTOOLS["packages"]) == sorted(listed)


def test_search_spaces_are_installed_inside_of_the_package(tmp_path):
    assert SETUPTOOLS["package-dir"]["prescreen.search_spaces"] == "search_spaces"
    names = sorted(path.stem for path in (ROOT / "search_spaces").glob("[a-z]*.py"))
    # -I: neither the working directory nor PYTHONPATH helps, where the folder itself may be found.
    for name in names:
        command = [sys.executable, "-I", "-c", f"import prescreen.search_spaces.{name}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    command = [sys.executable, "-I", "-c", "import search_spaces"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'search_spaces'" in done.stderr
