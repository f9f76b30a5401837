"""What builds a candidate: edits that count, edits that do not, and values that functions hold."""

import functools
import importlib
import os
import random
import runpy
import subprocess
import sys
import types

import pytest
from torch import nn
from toy import SPACE, mlp

from prescreen.spaces.candidate import Candidate
from prescreen.spaces.chosen import as_candidates
from prescreen.spaces.code import Code
from prescreen.spaces.space import Space, resolve_space

FILES = {
    "space.py": '"""A space."""\nfrom first import one\n'
    + SPACE
    + "\n\ndef late():\n    import lazy\n",
    "first.py": "from nets.conv import block\n\none = 1\n",
    "lazy.py": "two = 2\n",
    "nets/__init__.py": "",
    "nets/conv.py": 'from .deep import depth\n\n\ndef block():\n    """A block."""\n    return depth\n',
    "nets/deep.py": "depth = 3\n",
    "other.py": "four = 4\n",
}
COUNT = {
    "what is built": ("space.py", "nn.ReLU()", "nn.Tanh()"),
    "what is drawn": ("space.py", '"width", 2, 64', '"width", 2, 65'),
    "a neighbour": ("first.py", "one = 1", "one = 2"),
    "an import": ("first.py", "one = 1", "one = 1\nimport other"),
    "a neighbour imported late": ("lazy.py", "two = 2", "two = 3"),
    "a package's __init__": ("nets/__init__.py", "", "x = 1"),
    "a neighbour's neighbour": ("nets/conv.py", "return depth", "return depth + 1"),
    "a relative import": ("nets/deep.py", "depth = 3", "depth = 4"),
    "a file that is no longer Python": ("nets/deep.py", "depth = 3", "depth ="),
}
DO_NOT_COUNT = {
    "a comment": ("space.py", "import nn", "import nn  # layers"),
    "the docstring of a module": ("space.py", "A space.", "Another."),
    "the docstring of a function": ("nets/conv.py", "A block.", "Another."),
    "a docstring that goes": ("nets/conv.py", '    """A block."""\n', ""),
    "layout": ("space.py", '{"width": width} for', '{\n  "width": width\n} for'),
    "a file that nothing imports": ("other.py", "four = 4", "four = 5"),
}


@pytest.fixture
def code_with(tmp_path):
    """Write the files into a new folder, with one edit; returns the code of the space in it."""

    def code_with(file="", old="", new=""):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            assert name != file or old in text
            edited = (text.replace(old, new) if old else new) if name == file else text
            (folder / name).write_text(edited)
        # Not imported: one process would take the neighbours of the first folder for those of all.
        module = types.ModuleType("space")
        module.__file__, module.__package__ = str(folder / "space.py"), ""
        module.sample = module.build = print
        return Code().of_space(Space("space.py", module))

    return code_with


@pytest.mark.parametrize("edit", COUNT)
def test_edits_that_count(code_with, edit):
    assert code_with() != code_with(*COUNT[edit])


@pytest.mark.parametrize("edit", DO_NOT_COUNT)
def test_edits_that_do_not_count(code_with, edit):
    assert code_with() == code_with(*DO_NOT_COUNT[edit])


def test_parts_are_named_after_files_and_packages(code_with):
    assert set(code_with()) == {"build", "space.py", "first.py", "lazy.py", "nets"}


def test_modules_that_are_loaded_are_seen_where_they_were_loaded_from(tmp_path, monkeypatch):
    for folder, one in (("a", 1), ("b", 7)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "space.py").write_text("import sole\n" + SPACE)
        (tmp_path / folder / "sole.py").write_text(f"one = {one}\n")
    codes = []
    for folder in ("a", "b"):
        monkeypatch.delitem(sys.modules, "sole", raising=False)
        codes.append(Code().of_space(resolve_space(tmp_path / folder / "space.py")))
    monkeypatch.delitem(sys.modules, "sole")
    assert codes[0]["space.py"] == codes[1]["space.py"]
    assert codes[0]["sole.py"] != codes[1]["sole.py"]


def test_built_in_spaces_hold_the_versions_of_their_libraries():
    pytest.importorskip("timm")
    (one, *_) = as_candidates("vit", 2)
    code = Code().of(one)
    assert {"vit.py", "timm_models.py", "timm"} <= set(code)
    assert code["timm"] == __import__("timm").__version__
    assert "timm" not in Code().of_space(resolve_space("nas_bench_201"))


class Builder:
    def __init__(self, width):
        self.width = width

    def __call__(self):
        return mlp(self.width)

    def method(self):
        return mlp(self.width)


def closing_over(width):
    def build():
        return mlp(width)

    return build


def of_config(config):
    return lambda: mlp(**config)


def with_default(width):
    def build(*, width=width):
        return mlp(width)

    return build


BUILDERS = {
    "partial": lambda width: functools.partial(mlp, width),
    "partial by keyword": lambda width: functools.partial(mlp, width=width),
    "closure": closing_over,
    "closure of a dict": lambda width: of_config({"width": width}),
    "default": with_default,
    "callable object": Builder,
    "method": lambda width: Builder(width).method,
    "closure of a closure": lambda width: functools.partial(
        lambda build: build(), closing_over(width)
    ),
    "layers": lambda width: functools.partial(nn.Linear, 16, width),
}


def code_of(build):
    return Code().of(Candidate("one", {}, build))


@pytest.mark.parametrize("kind", BUILDERS)
def test_values_that_a_builder_holds_are_part_of_it(kind):
    make = BUILDERS[kind]
    assert code_of(make(4)) == code_of(make(4)) != code_of(make(8))


def test_other_functions_are_other_code():
    builders = [mlp, Builder(4), nn.Linear, lambda: mlp(4), lambda: mlp(5), lambda: mlp("4")]
    codes = [str(code_of(build)) for build in builders]
    assert len(set(codes)) == len(codes)


class Counter:
    number = 0


def test_what_a_builder_itself_changes_is_no_part_of_it():
    built, counts, seen, counter, total = [], {"built": 0}, {}, Counter(), 0

    def build():
        nonlocal total
        total += 1
        counts["built"] += 1
        counter.number += 1
        seen[total] = True
        built.append(total)
        return mlp(4)

    before = code_of(build)
    build()
    assert built == [1]
    assert (counts["built"], counter.number, seen) == (1, 1, {1: True})
    assert code_of(build) == before


READING = {
    "or": lambda x: lambda: x or 3,
    "named in passing": lambda x: lambda: (y := x) + y,
    "an item": lambda x: lambda: [x, 0][0],
    "compared": lambda x: lambda: 1 < x < 9,
    "handed on": lambda x: lambda: print(x, sep="", end=""),
}


@pytest.mark.parametrize("kind", READING)
def test_what_a_builder_only_reads_is_part_of_it(kind):
    assert code_of(READING[kind](4)) != code_of(READING[kind](8))


class Odd(dict):
    def items(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "value", [Odd(a=1), os.environ, object(), random.Random(0), len, {1: {}}, b""]
)
def test_any_value_can_be_held(value, monkeypatch):
    before = code_of(closing_over(value))
    monkeypatch.setenv("A_NEW_VARIABLE", "1")
    assert code_of(closing_over(value)) == before


def test_values_that_hold_themselves_or_are_deep_come_to_an_end():
    loop = [1]
    loop.append(loop)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert code_of(closing_over(loop)) == code_of(closing_over(loop))
    assert code_of(closing_over(deep)) == code_of(closing_over(deep))


def test_a_module_that_has_changed_since_it_was_imported_is_refused(tmp_path, monkeypatch):
    """This process would run the one code, its workers the other."""
    (tmp_path / "stale_blocks.py").write_text("one = 1\n")
    (tmp_path / "space.py").write_text("import stale_blocks\n" + SPACE)
    first = Code().of_space(resolve_space(tmp_path / "space.py"))
    (tmp_path / "stale_blocks.py").write_text("one = 1  # a comment\n")
    assert Code().of_space(resolve_space(tmp_path / "space.py")) == first
    (tmp_path / "stale_blocks.py").write_text("one = 11\n")
    with pytest.raises(
        ValueError, match=r"stale_blocks.py, which has changed since it was imported; "
    ):
        Code().of_space(resolve_space(tmp_path / "space.py"))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.reload(sys.modules["stale_blocks"])
    assert Code().of_space(resolve_space(tmp_path / "space.py")) != first
    del sys.modules["stale_blocks"]


SCRIPT = """
from functools import partial
import json
from torch import nn

WIDTH = 4
KINDS = {{"a", "b", "c"}}

class Block(nn.Module):
    def forward(self, x):
        return {forward}

def helper(width):
    return nn.Sequential(Block(), nn.Linear(16, width)) if "a" in KINDS or width in {{1, 2}} else None

def build():
    return helper(WIDTH)

def unused():
    return {unused}

if __name__ == "__main__":
    from prescreen.spaces.candidate import Candidate
    from prescreen.spaces.code import Code
    for one in (build, partial(helper, 3), lambda: helper(5)):
        print(json.dumps(Code().of(Candidate("one", {{}}, one))))
"""


def test_functions_of_a_script_are_what_they_refer_to(tmp_path, capsys):
    script = tmp_path / "script.py"

    def printed(text):
        script.write_text(text)
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    plain = SCRIPT.format(forward="x", unused="1")
    first = printed(plain)
    assert len(set(first.splitlines())) == 3
    assert printed(plain.replace("import json", "import json  # a comment")) == first
    assert printed(SCRIPT.format(forward="x", unused="2")) == first
    changed = printed(SCRIPT.format(forward="x + 1", unused="1"))
    assert not set(changed.splitlines()) & set(first.splitlines())
    script.write_text(plain)
    command = [sys.executable, str(script)]  # another process, with other hashes of strings
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == first
