"""The table of who may import whom (docs/design.md), and what importing prescreen loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = "optuna ray timm torchvision pandas lightning transformers sklearn scipy rich typer PIL"

# Layer of every module: a module may import its own layer and those below.
LAYERS = {
    "prescreen.readouts": 0,
    "prescreen.trajectory": 0,
    "prescreen.aggregation": 0,
    "prescreen.pruning": 0,
    "prescreen.journal": 0,
    "prescreen.heads": 1,
    "prescreen.preserve": 1,
    "prescreen.capture": 1,
    "prescreen.forward": 1,
    "prescreen.execution": 1,
    "prescreen.positions": 1,
    "prescreen.data": 1,
    "prescreen.recipe": 0,
    "prescreen.training": 1,
    "prescreen.random_trial": 0,
    "prescreen.importing": 0,
    "prescreen.space": 1,
    "prescreen.candidate": 1,
    "prescreen.untrained": 1,
    "prescreen.files": 0,
    "prescreen.views": 0,
    "prescreen.selection": 0,
    "prescreen.failures": 2,
    "prescreen.reading": 2,
    "prescreen.panel_reader": 2,
    "prescreen.monitor": 2,
    "prescreen.stopping": 2,
    "prescreen.checkpoints": 2,
    "prescreen.screening": 2,
    "prescreen.workers": 3,
    "prescreen.connection": 3,
    "prescreen.cluster": 3,
    "prescreen.progress": 3,
    "prescreen.report": 3,
    "prescreen.comparison": 3,
    "prescreen.ranking": 3,
    "prescreen.integrations": 4,
    "prescreen.cli": 4,
    "prescreen.cli_select": 4,
    "prescreen.__main__": 4,
}


def imports(path):
    """Modules that a file imports when it runs; imports for type checkers do not run."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (names if node.module == "prescreen" else [node.module])


def layer(module):
    parts = module.split(".")
    for end in range(len(parts), 1, -1):
        if (name := ".".join(parts[:end])) in LAYERS:
            return LAYERS[name]
    raise AssertionError(f"{module} has no layer: add it to the table")


def modules():
    for path in sorted((ROOT / "prescreen").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name != "prescreen":
            yield pytest.param(path, name, id=name)


@pytest.mark.parametrize(("path", "name"), list(modules()))
def test_imports_go_downward(path, name):
    ours = [module for module in imports(path) if module.split(".")[0] == "prescreen"]
    upward = [m for m in ours if m != "prescreen" and layer(m) > layer(name)]
    assert upward == []
    assert not any(module.startswith("search_spaces") for module in imports(path))


def test_search_spaces_know_neither_prescreen_nor_hosts():
    for path in (ROOT / "search_spaces").glob("*.py"):
        roots = {module.split(".")[0] for module in imports(path)}
        assert not roots & {"prescreen", "optuna", "ray"}, path


def test_importing_prescreen_loads_torch_and_nothing_heavier():
    code = f"import prescreen, sys; print([m for m in {HEAVY.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
