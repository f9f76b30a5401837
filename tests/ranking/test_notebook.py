"""Notebooks: a bar, tables, and functions of a cell, which worker processes cannot import."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import toy
from toy import GOOD, TRAINING, make_task, mlp

from prescreen.ranking import notebook
from prescreen.ranking.executors import Processes
from prescreen.ranking.run import rank


@pytest.fixture
def outputs(monkeypatch):
    """What a notebook shows, as the list of what each output was in turn."""
    display = pytest.importorskip("IPython.display")
    found = []

    def show(html, display_id):
        assert display_id is True
        found.append([html.data])
        return SimpleNamespace(update=lambda html: found[-1].append(html.data))

    monkeypatch.setattr(display, "display", show)
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(notebook, "_PAUSE", 0.0)
    return found


def test_a_notebook_has_a_bar_that_ends(outputs, tmp_path):
    rank(GOOD, make_task(), training=TRAINING, out=tmp_path)
    (drawn,) = outputs
    assert drawn[0].startswith('<progress value="0.0000" max="1"></progress> 0 of 3 measured ')
    assert '<progress value="1.0000" max="1"></progress> 3 of 3 measured in ' in drawn[-1]
    assert all(one.count("<") == 2 for one in drawn)
    rank(GOOD, make_task(), training=TRAINING, out=tmp_path)
    assert len(outputs) == 1  # nothing is measured, and nothing shown


def test_a_progress_function_takes_the_place_of_the_bar(outputs):
    seen = []
    rank(GOOD, make_task(), training=TRAINING, progress=seen.append)
    assert seen
    assert outputs == []


def test_elsewhere_there_is_no_bar(monkeypatch):
    assert notebook.notebook_progress() is None
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert notebook.notebook_progress() is None  # a script that imports IPython
    terminal = SimpleNamespace(get_ipython=lambda: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert notebook.notebook_progress() is None


def test_functions_of_a_notebook_are_refused_as_lambdas_are(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))  # a notebook's has no file

    def make():
        return mlp(2)

    make.__module__, make.__qualname__ = "__main__", "make"
    sys.modules["__main__"].make = make
    for build, named in ((make, "make of a notebook"), (lambda: mlp(2), "lambda")):
        pattern = rf"^the candidate 'mine' must be picklable for worker processes, got .*{named}"
        with pytest.raises(ValueError, match=pattern) as error:
            rank({"mine": build}, make_task(), training=TRAINING, on=Processes(1))
        assert "measure in this process (on=Here())" in str(error.value)
        assert "\n" not in str(error.value)
    assert rank({"mine": make}, make_task(), training=TRAINING).best.name == "mine"


CELLS = [
    f"import sys; sys.path.insert(0, {str(toy.__file__).rpartition('/')[0]!r})",
    "from toy import TRAINING, make_task, mlp, tiny\n"
    "from prescreen import Processes, rank\n"
    "def mine():\n    return mlp(2)",
    "try:\n    rank({'mine': mine}, make_task(), training=TRAINING, on=Processes(1))\n"
    "except ValueError as error:\n    print(error)",
    "rank({'tiny': tiny}, make_task(), training=TRAINING, on=Processes(1))",
    "ranking = rank({'mine': mine}, make_task(), training=TRAINING)\nranking",
    "ranking.best.trajectory",
]


@pytest.mark.slow
def test_a_real_notebook(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbformat

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    nbclient.NotebookClient(book, timeout=None, kernel_name="python3").execute(cwd=str(tmp_path))
    refused, processes, ranking, trajectory = (cell.outputs for cell in book.cells[2:])
    assert refused[0].text.startswith("the candidate 'mine' must be picklable for worker processes")
    for outputs in (processes, ranking):
        bar, table = (one.data["text/html"] for one in outputs)
        assert "1 of 1 measured in" in bar
        assert table.startswith("<table>")
    assert trajectory[0].data["text/html"].count("<tr>") == 5
