"""What is shipped: the whole package with the search spaces inside it, and pages that work elsewhere."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("setuptools", "77", reason="needs the test extra")

ROOT = Path(__file__).parent.parent
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PACKAGES = re.search(r"^packages = \[(.*?)^\]", PROJECT, re.MULTILINE | re.DOTALL).group(1)
HOME = "https://example.org/team/prescreen"
# What a builder finds in a clean clone.
FOLDERS = ".ci benchmarks contrib docs examples prescreen search_spaces tests"
EXTRAS = (
    "jinja2 lightning matplotlib optuna pandas PIL plotly pyarrow ray rich sklearn timm torchvision "
    "transformers typer"
)


def _unwanted(folder, names):
    """Caches, and links that development needs."""
    return [name for name in names if name == "__pycache__" or Path(folder, name).is_symlink()]


def _build(hooks, folder, home=""):
    command = [sys.executable, "-c", f"from setuptools import build_meta as b\n{hooks}"]
    environment = {**os.environ, "PRESCREEN_HOME": home, "PRESCREEN_REF": "v1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _metadata(folder):
    (path,) = folder.glob("*.dist-info/METADATA")
    return email.message_from_string(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    for name in FOLDERS.split():
        shutil.copytree(ROOT / name, folder / name, ignore=_unwanted)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def built(source):
    out = source / "archives"
    out.mkdir()
    _build("b.build_sdist('archives'), b.build_wheel('archives')", source, HOME)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "unpacked")
    return set(names), out / "unpacked"


def _sources(folder):
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {f.relative_to(ROOT).as_posix() for f in files if "__pycache__" not in f.parts}


def test_every_folder_of_the_package_is_listed():
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "prescreen").rglob("__init__.py")}
    listed = {*(".".join(folder.parts) for folder in folders), "prescreen.search_spaces"}
    assert sorted(re.findall(r'"(.*?)"', PACKAGES)) == sorted(listed)


def test_the_wheel_is_the_package_and_nothing_else(built):
    _, unpacked = built
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*.*")}
    spaces = {f"prescreen/{name}" for name in _sources("search_spaces")}
    ours = {n for n in _sources("prescreen") if "/search_spaces/" not in n} | spaces
    assert {name for name in files if name.startswith("prescreen/")} == ours
    assert {name.split("/")[0].split("-")[0] for name in files} == {"prescreen"}


def test_the_sdist_has_documents_tests_and_examples(built):
    names, _ = built
    wanted = {*FOLDERS.split()} - {"prescreen"}
    assert set().union(*map(_sources, wanted)) - names == set()
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff"} <= names
    assert not any(name.startswith("prescreen/search_spaces") for name in names)


def test_links_of_the_readme_work_on_an_index(built, source):
    _, unpacked = built
    metadata = _metadata(unpacked)
    targets = re.findall(r"\]\((\S+?)\)", metadata.get_payload())
    assert targets
    assert all(re.match("https?://", target) for target in targets)
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL"))
    assert urls["Repository"] == HOME
    for address in (*targets, *urls.values()):
        path = re.match(rf"{HOME}/(?:blob|raw|tree)/v1/([^#]+)", address)
        assert not path or (ROOT / path.group(1)).exists(), address
    # Without an address nothing is promised.
    (source / "plain").mkdir()
    _build("b.prepare_metadata_for_build_wheel('plain')", source)
    plain = _metadata(source / "plain")
    assert plain.get_all("Project-URL") is None
    assert re.findall(r"\]\((?!https?:)", plain.get_payload()) == []


def test_classifiers_are_of_the_pythons_that_are_tested(built):
    _, unpacked = built
    listed = re.findall(r"Python :: (3\.\d+)$", str(_metadata(unpacked)), re.MULTILINE)
    workflow = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    assert listed == re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.*)\]", workflow).group(1))


def test_the_base_dependencies_suffice(tmp_path):
    blocked = f"import sys, runpy; sys.modules.update(dict.fromkeys({EXTRAS.split()}))"
    script = str(ROOT / ".ci" / "first_use.py")
    code = f"{blocked}; runpy.run_path({script!r}, run_name='__main__')"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install 'prescreen[digits]'" in done.stdout


@pytest.mark.parametrize("library", ["wheel", "editable"])
def test_a_users_search_spaces_do_not_shadow_ours(library, built, tmp_path):
    for name in ("folder/search_spaces/__init__.py", "folder/vit.py", "file/search_spaces.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('not this one')")
    # The user's folders come first, as for `python -m`. An editable install is on the path already.
    path = [tmp_path / "folder", tmp_path / "file", *([built[1]] if library == "wheel" else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    # The wheel's are imported one by one; an editable install's are files of this folder.
    names = "prescreen.spaces.space.space_names()" if library == "wheel" else "()"
    code = (
        "import prescreen.search_spaces.vit as vit, prescreen.spaces.space; "
        f"print(vit.__file__, *{names})"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=path[0], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    module, *names = done.stdout.split()
    assert tmp_path not in Path(module).parents
    if library == "wheel":
        assert built[1] in Path(module).parents
        assert names == sorted(path.stem for path in (ROOT / "search_spaces").glob("[a-z]*.py"))
