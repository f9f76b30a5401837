"""Who may import whom (docs/design.md), and what importing prescreen loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = (
    "optuna ray timm torchvision pandas lightning transformers sklearn scipy rich typer PIL "
    "matplotlib plotly jinja2"
)

# A room may import itself and rooms in the rows above it, but not its neighbours. The small modules of
# the first row may import each other.
LAYERS = (
    "caching captured checks comparison deprecation documents earlier equality extrapolation files "
    "forking frames importing inert interrupts lines loggers panel part predictions processes "
    "random_state ranks reading tables text trees",
    "forms heads pruning spaces tasks",
    "readouts training views",
    "failures probe training_probe",
    "screening",
    "checkpoints ranking",
    "integrations",
    "report",
    "cli plots",
    "__main__",
)
ROW = {room: row for row, rooms in enumerate(LAYERS) for room in rooms.split()}


def imports(path):
    """Modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Search spaces do not know under which name their folder is installed.
            assert node.level == 0 or path.parent.name == "search_spaces", (
                f"{path}: relative import"
            )
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (names if node.module == "prescreen" else [node.module])


def room_of(module):
    return module.split(".")[1]


def modules():
    for path in sorted((ROOT / "prescreen").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name != "prescreen.__init__":
            yield pytest.param(path, room_of(name), id=name)


def test_every_room_has_its_row():
    found = {path.stem for path in (ROOT / "prescreen").iterdir() if path.name != "__pycache__"}
    assert found - {"__init__", "py"} == set(ROW)


@pytest.mark.parametrize(("path", "room"), list(modules()))
def test_imports_go_downward(path, room):
    ours = {room_of(m) for m in imports(path) if m.startswith("prescreen.")} - {room}
    assert {other for other in ours if ROW[other] >= max(ROW[room], 1)} == set()
    assert "prescreen" not in imports(path)
    assert not any("search_spaces" in module for module in imports(path))


def test_nothing_is_imported_for_type_checkers_alone():
    """Such an import would hide a crossing of layers."""
    for path in (ROOT / "prescreen").rglob("*.py"):
        assert "TYPE_CHECKING" not in path.read_text(), path


def test_search_spaces_know_neither_prescreen_nor_hosts():
    for path in (ROOT / "search_spaces").glob("*.py"):
        roots = {module.split(".")[0] for module in imports(path)}
        assert not roots & {"prescreen", "search_spaces", "optuna", "ray"}, path


def test_importing_prescreen_loads_torch_and_nothing_heavier():
    code = f"import prescreen, sys; print([m for m in {HEAVY.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_there_and_few():
    import prescreen

    assert callable(prescreen.capture)
    assert all(hasattr(prescreen, name) for name in prescreen.__all__)
    assert len(prescreen.__all__) <= 22
