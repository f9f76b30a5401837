"""The README and docs/ say what is so: their tables are whole and what they name exists."""

import re
from pathlib import Path

import prescreen.search_spaces.nas_bench_201
import pytest

from prescreen.panel import DEFAULT_PANEL
from prescreen.readouts import ANCHORS, NORMALIZATIONS, PROJECTIONS, READOUTS
from prescreen.spaces.chosen import as_candidates

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = {
    path.relative_to(ROOT / "docs").as_posix(): path.read_text()
    for path in (ROOT / "docs").rglob("*.md")
}


def blocks(language, text=README):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in fenced if name == language]


def test_the_table_is_of_the_first_command():
    header, _, *rows = next(b for b in blocks("") if b.startswith("rank")).splitlines()
    assert header.split()[3:-3] == ["±", "=", *DEFAULT_PANEL]
    rows = [row for row in rows if row.split()[0].isdigit()]  # without the notes
    assert [int(row.split()[0]) for row in rows] == list(range(1, len(rows) + 1))
    drawn = {c.name: c.config for c in as_candidates("nas_bench_201", 12, 0)}
    assert sorted(row.split()[1] for row in rows) == sorted(drawn)
    for row in rows:
        network = prescreen.search_spaces.nas_bench_201.build(drawn[row.split()[1]], in_channels=1)
        parameters = sum(p.numel() for p in network.parameters())
        assert row.split()[-3] == f"{parameters:,}"


def test_tables_of_readouts_are_whole():
    named = re.findall(
        r"`([\w]+)(?:\(\w\))?`", "".join(re.findall(r"^\|(.*?)\|", DOCS["readouts.md"], re.M))
    )
    assert set(READOUTS) | set(ANCHORS) | set(PROJECTIONS) | set(NORMALIZATIONS) <= set(named)


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{name}" for name in DOCS)])
def test_files_that_are_named_exist(name):
    text = (ROOT / name).read_text()
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    paths = re.findall(
        r"`((?:prescreen|tests|docs|examples|benchmarks|search_spaces)/[\w./]*(?:/|\.\w+))`", text
    )
    missing = [link for link in links if not (ROOT / name).parent.joinpath(link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert missing == []


def test_every_file_of_a_package_has_its_row_in_the_design():
    packages = [path for path in (ROOT / "prescreen").iterdir() if (path / "__init__.py").exists()]
    modules = [
        path.name for path in (ROOT / "prescreen").glob("*.py") if path.name != "__init__.py"
    ]
    for name in (*modules, *(f"{package.name}/" for package in packages)):
        assert f"`{name}`" in DOCS["design.md"], name


def test_extras_name_the_files_that_need_them():
    project = (ROOT / "pyproject.toml").read_text()
    listed = project[project.index("dependencies = [") : project.index("[project.scripts]")]
    lines = re.findall(r'^(?:    "|\w+ = \[").*', listed, re.MULTILINE)
    assert len(lines) >= 14
    for line in lines:
        comment = line.partition("#")[2]
        files = re.findall(r"[\w.]+/[\w./]*", comment)
        assert files or "every file above" in comment, line
        planned = "(to come)" in comment
        assert all((ROOT / file).exists() != planned for file in files), line


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", *(f"docs/{n}" for n in DOCS)])
def test_lines_are_short(name):
    lines = (ROOT / name).read_text().splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150
