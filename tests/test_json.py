"""Whatever is written as JSON is strict, names its schema, and is what docs/json.md says."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from toy import BAD, GOOD, TRAINING, make_task

from prescreen import CheckpointSelector, Monitor, Reading, rank, select_checkpoint
from prescreen.cli.app import run
from prescreen.ranking import open_run
from prescreen.readouts import Readout

DOCUMENT = (Path(__file__).parent.parent / "docs" / "json.md").read_text(encoding="utf-8")


def strict(text):
    return json.loads(text, parse_constant=pytest.fail)


def undefined(head):
    return math.inf if head.features.shape[1] == 8 else math.nan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with all that is not finite: values, intervals, losses of candidates that failed."""
    path = tmp_path_factory.mktemp("json") / "run"
    panel = {"plain": Readout(lambda head: head.logits.std()), "odd": Readout(undefined)}
    rank({**GOOD, **BAD}, make_task(), training=TRAINING, readouts=panel, out=path)
    return path


def documented(title):
    """The fields that a table of the document names, and those of the objects in lists."""
    section = DOCUMENT.split(f"## {title}")[1].split("\n## ")[0]
    return {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([\w.\[\]]+)`", line.split("|")[1])
    }


def fields(data, lists):
    found = set(data)
    for name in lists:
        found |= {f"{name}[].{key}" for one in data[name] for key in one}
    return found


def test_rankings(folder, capsys):
    ranking = open_run(folder).ranking
    for text in (ranking.to_json(), (folder / "ranking.json").read_text()):
        data = strict(text)
        assert data["schema"] == "prescreen.ranking/2"
        assert fields(data, ["rows"]) == documented("A ranking")
        assert data["rows"][-1]["score"] is None
        assert {row["values"].get("odd") for row in data["rows"]} == {None}


def test_explanations(folder, capsys):
    ranking = open_run(folder).ranking
    for row in ranking:
        data = strict(ranking.explain(row.name).to_json())
        assert data.pop("schema") == "prescreen.explanation/1"
        section = DOCUMENT.split("## An explanation")[1].split("\n## ")[0]
        assert all(f"`{name}`" in section for name in data)
        assert run(["explain", str(folder), row.name, "--json"]) == 0
        assert strict(capsys.readouterr().out)["name"] == row.name


def test_checkpoints(tmp_path):
    torch.manual_seed(0)
    for number in range(3):
        model = GOOD["small"]()
        if number == 2:
            model[1].weight.data.fill_(math.nan)
        torch.save(model.state_dict(), tmp_path / f"epoch={number}.pt")
    found = select_checkpoint(sorted(tmp_path.iterdir()), GOOD["small"], make_task())
    data = strict(found.to_json())
    assert data["schema"] == "prescreen.checkpoints/2"
    assert fields(data, ["checkpoints"]) == documented("Checkpoints")
    assert None in data["checkpoints"][2]["values"].values()


def test_journals_readings_and_records(folder, tmp_path):
    lines = (folder / "journal.jsonl").read_text().splitlines()
    events = [strict(line) for line in lines]
    assert events[0]["prescreen_journal"] == 5
    assert '"inf"' in (folder / "journal.jsonl").read_text()
    section = DOCUMENT.split("## Readings and the journal")[1].split("\n## ")[0]
    for event in events[1:]:
        assert set(event) - {"event", "crc"} <= documented_event(section, event["event"])
    odd = Reading(1, {"a": math.nan, "b": -math.inf}, math.nan, math.inf)
    back = Reading.from_json(strict(json.dumps(odd.to_json(), allow_nan=False)))
    assert repr(back) == repr(odd)
    monitor, selector = Monitor(make_task().probe), CheckpointSelector(tmp_path / "best")
    model = GOOD["small"]()
    for step in (1, 2):
        selector.update(monitor.read(model, step), model)
    written = [p for p in (tmp_path / "best").rglob("*.json*") if p.is_file()]
    assert written
    for path in written:
        for line in (
            path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        ):
            strict(line)


def documented_event(section, kind):
    (line,) = [one for one in section.splitlines() if one.startswith(f"| `{kind}`")]
    return set(re.findall(r"`(\w+)`", line.split("|")[2]))
