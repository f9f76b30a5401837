"""CONTRIBUTING.md: every recipe is at most five lines, and works."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from toy import TRAINING, make_task, mlp

from prescreen import READOUTS, load_task, rank, read
from prescreen.heads import find, find_heads
from prescreen.readouts import ANCHORS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
RECIPES = dict(re.findall(r"^### An? (\w+)$(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL))
CANDIDATES = {"two": lambda: mlp(2), "nine": lambda: mlp(9)}


def code(part):
    (block,) = re.findall(r"^```python\n(.*?)^```$", RECIPES[part], re.DOTALL | re.MULTILINE)
    assert len([line for line in block.splitlines() if line.strip()]) <= 5
    return block


def run(part, **given):
    names = dict(given)
    exec(code(part), names)
    return names


@pytest.fixture(autouse=True)
def _tables_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(find, "FINDERS", find.FINDERS)
    tables = [(table, dict(table)) for table in (READOUTS, ANCHORS)]
    yield
    for table, before in tables:
        table.clear()
        table.update(before)


def test_every_part_has_its_recipe():
    assert set(RECIPES) == {
        *("readout", "anchor", "head", "task", "space", "host", "executor"),
    }


@pytest.mark.parametrize("part", RECIPES)
def test_files_that_are_named_exist(part):
    for name in re.findall(r"`((?:prescreen|tests|search_spaces)/[\w./]*)`", RECIPES[part]):
        assert (ROOT / name).exists(), name


def test_a_readout_is_ranked_by():
    run("readout")
    rows = rank(CANDIDATES, make_task(), training=TRAINING, readouts=["top_logit"])
    assert all(row.values["top_logit"] > 0 for row in rows)


def test_an_anchor_is_a_part_of_the_grid():
    run("anchor")
    model, inputs = mlp(8), make_task().probe
    values = read(model, inputs, ["first/gradient/none", "uniform/gradient/none"])
    assert len(set(values.values())) == 2


def test_a_head_is_found():
    run("head")
    model = nn.ModuleDict({"predictor": nn.Linear(4, 2), "last": nn.Linear(2, 2)})
    assert [head.name for head in find_heads(model)] == ["predictor"]


def test_a_task_trains_and_ranks():
    kind = run("task")["LogRegression"]
    inputs = torch.rand(80, 16, generator=torch.Generator().manual_seed(0))
    task = kind(inputs, inputs[:, :3].sum(1, keepdim=True).repeat(1, 3), probe_size=16)
    ranking = rank(CANDIDATES, task, training=TRAINING)
    assert [row.status for row in ranking] == ["ok", "ok"]


def test_a_space_is_ranked(tmp_path):
    (tmp_path / "mine.py").write_text(code("space"))
    task = load_task("digits", probe_size=32)
    ranking = rank(tmp_path / "mine.py", task, samples=2, training=TRAINING)
    assert [row.status for row in ranking] == ["ok", "ok"]


def test_a_host_reads():
    report = run("host", unlabelled=make_task().probe, model=mlp(8))["report"]
    assert set(report(10)) == {"ahead/expected_agreement", "isotropy", "flops"}


def test_an_executor_changes_nothing():
    backwards = run("executor")["Backwards"]()
    here, there = (
        rank(CANDIDATES, make_task(), training=TRAINING, on=on) for on in ("here", backwards)
    )
    assert [(row.name, row.values) for row in here] == [(row.name, row.values) for row in there]
