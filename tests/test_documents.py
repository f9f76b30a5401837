"""Every block of code in the README and the documents runs as it stands, in the order of its page.

A comment on the line before a block says why it takes long (`<!-- slow: … -->`) or cannot run at all
(`<!-- not run: … -->`). Python blocks of a page share their names. A block that begins with `# NAME.py`
or the like is that file in the reader's folder, where commands run in a shell, all of them slow.
"""

import linecache
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import prescreen
from prescreen.cli.app import run

# Lightning's own: it uses what torch has deprecated, and advises on a tiny training.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
]

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"(?:^<!-- ([^>]*) -->\n+)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# The last is what a program prints.
LANGUAGES = {"python", "sh", "toml", "yaml", "json", ""}
# The README has no place for comments.
MARKED = {("README.md", "pip install -e '.[all,test]'"): "not run: it is what runs this test"}


def blocks(page):
    """The blocks of a page, each with its mark, language, first line's number and code."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        mark, language, code = found.groups()
        marks = [m for (p, begin), m in MARKED.items() if p == page and code.startswith(begin)]
        yield mark or (marks or [""])[0], language, text[: found.start(3)].count("\n"), code


def kind(mark):
    return mark.partition(":")[0]


def write_files(page, folder):
    """Write the files of a page into a folder: blocks that begin with a comment `# NAME.EXTENSION`."""
    for _, _, _, code in blocks(page):
        if named := re.match(r"# ([\w-]+\.(?:py|toml|yaml|json))\n", code):
            (folder / named[1]).write_text(code, encoding="utf-8")


def run_python(page, kinds):
    """Run a page's Python, but for blocks whose marks are of other kinds."""
    file, names = str(ROOT / page), {"__name__": "__main__"}
    linecache.checkcache(file)
    for mark, language, line, code in blocks(page):
        if language == "python" and kind(mark) in kinds:
            # With its own lines in tracebacks, and found by who looks for a function's source.
            exec(compile("\n" * line + code, file, "exec"), names)


def cases(language, *kinds):
    found = {page: {kind(b[0]) for b in blocks(page) if b[1] == language} for page in PAGES}
    return [page for page in PAGES if found[page] & {*kinds}]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder but for what the README names as the reader's own."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for place in ("images", "path/to/cifar10"):
        for number in range(400):
            path = tmp_path / place / "abcd"[number % 4] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 128, (16, 16, 3)) + 30 * (number % 4)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (space,) = re.findall(r"^### A space$.*?```python\n(.*?)^```$", text, re.M | re.S)
    (tmp_path / "my_space.py").write_text(space)
    return tmp_path


@pytest.fixture(autouse=True)
def _as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("page", cases("python", ""))
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(page, tmp_path)
    run_python(page, {""})


@pytest.mark.slow  # trainings
@pytest.mark.parametrize("page", cases("python", "slow"))
def test_slow_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(page, tmp_path)
    run_python(page, {"", "slow"})


@pytest.mark.slow  # rankings
@pytest.mark.parametrize("page", cases("sh", ""))
def test_commands_run(page, folder):
    write_files(page, folder)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    for mark, language, _, code in blocks(page):
        if language == "sh" and not mark:
            # What is installed already is not installed again.
            command = ["bash", "-euc", f"pip() {{ :; }}\n{code}"]
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{page}: {code}\n{done.stderr}"


def test_every_page_is_in_the_site():
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r": ([\w/]+\.md)$", site, re.MULTILINE)
    assert sorted(f"docs/{page}" for page in listed) == sorted(set(PAGES) - {"README.md"})


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs/api/index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^::: prescreen\.(\w+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(prescreen.__all__)


@pytest.mark.parametrize("page", PAGES)
def test_blocks_have_a_language_and_marks_a_reason(page):
    for mark, language, line, _ in blocks(page):
        assert language in LANGUAGES, f"{page}, line {line}"
        assert kind(mark) in ("", "slow", "not run"), f"{page}, line {line}"
        assert not mark or (language and len(mark.split()) > 4), f"{page}, line {line}"


def commands():
    for page in PAGES:
        for _, language, _, code in blocks(page):
            for line in code.replace("\\\n", " ").splitlines() if language == "sh" else ():
                for command in re.findall(r"(?:^|&& )prescreen (.*?)(?: &&|$)", line):
                    yield page, command


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_commands_have_known_options(page, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(page, tmp_path)
    # Options are parsed before --help prints: an unknown one is refused first.
    assert run([*shlex.split(command, comments=True), "--help"]) == 0
    assert run([*shlex.split(command, comments=True), "--no-such-option", "--help"]) == 2
