"""The installed files: the whole package, with the search spaces inside it."""

import importlib.util
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="in the standard library since Python 3.11")

ROOT = Path(__file__).parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_folder_of_the_package_is_listed():
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "prescreen").rglob("__init__.py")}
    listed = {*(".".join(folder.parts) for folder in folders), "prescreen.search_spaces"}
    assert sorted(SETUPTOOLS["packages"]) == sorted(listed)


def test_search_spaces_are_installed_inside_of_the_package():
    assert SETUPTOOLS["package-dir"]["prescreen.search_spaces"] == "search_spaces"
    found = importlib.util.find_spec("prescreen.search_spaces.nas_bench_201")
    assert found is not None
    assert Path(found.origin).name == "nas_bench_201.py"
