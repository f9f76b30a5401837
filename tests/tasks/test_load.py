"""load_task for KIND:PATH, where the kinds are a table."""

import inspect
import json
import math
from pathlib import Path

import pytest

from prescreen.cli.app import run
from prescreen.tasks import LanguageTask, load_task
from prescreen.tasks.load import KINDS

TEXT = "a rose is a rose is a rose\n" * 2000


@pytest.fixture
def text(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return "text:a.txt"


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_take_options_of_load_task(kind):
    shared = {"probe_size", "seed"}
    assert shared <= set(inspect.signature(KINDS[kind]).parameters)


def test_a_path_of_text_is_a_language_task(text):
    task = load_task(text, probe_size=32, seed=3)
    assert isinstance(task, LanguageTask)
    assert task.probe.shape == (32, 128)
    assert task.fingerprint == LanguageTask.from_files("a.txt", probe_size=32, seed=3).fingerprint


def test_options_of_images_are_refused(text):
    with pytest.raises(ValueError, match=r"^`image_size` must be left out for text:PATH, got 12$"):
        load_task(text, image_size=12)


def test_other_names_with_a_colon_are_those_of_paths(tmp_path):
    with pytest.raises(ValueError, match=r"`data` must be a folder, .*got 'txt:a'"):
        load_task("txt:a")


def test_an_empty_path_is_not_the_working_directory(text):
    with pytest.raises(ValueError, match=r"`data` must be a text file, .*, got nothing there: "):
        load_task("text:")


def test_the_command_line_ranks_models_of_text(text, capsys):
    options = "--samples 2 --steps 8 --batch-size 4 --probe-size 8 --on here --json"
    code = run(["rank", "gpt", "--data", text, *options.split(), "--optimizer", "adamw"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert '"covariance_gradient"' in printed.out


BERT = """
from torch import nn

def sample(trial):
    return {"depth": trial.suggest_int("depth", 1, 2), "width": 8 * trial.suggest_int("eights", 1, 4)}

def build(config, *, vocab_size, max_length):
    return Bert(config["depth"], config["width"], vocab_size, max_length)

class Bert(nn.Module):
    def __init__(self, depth, width, tokens, length):
        super().__init__()
        self.embed, self.place = nn.Embedding(tokens, width), nn.Embedding(length, width)
        layers = [nn.TransformerEncoderLayer(width, 2, width, batch_first=True) for _ in range(depth)]
        self.layers, self.head = nn.ModuleList(layers), nn.Linear(width, tokens)

    def forward(self, input_ids, attention_mask=None):
        hidden = self.embed(input_ids) + self.place.weight[: input_ids.shape[1]]
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(hidden)
"""


def test_masked_text_is_for_models_that_see_both_sides(text, capsys):
    task = load_task("masked:a.txt", probe_size=8)
    assert (
        task.fingerprint
        == LanguageTask.from_files("a.txt", objective="masked", probe_size=8).fingerprint
    )
    share = task.probe["loss_mask"].float().mean().item()
    assert 0.1 < share < 0.2
    assert task.sizes["vocab_size"] == load_task(text).sizes["vocab_size"] + 1  # the masked one
    Path("bert.py").write_text(BERT)
    options = (
        "--samples 2 --steps 8 --batch-size 4 --probe-size 8 --optimizer adamw --on here --json"
    )
    code = run(["rank", "bert.py", "--data", "masked:a.txt", *options.split()])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    rows = json.loads(printed.out)["rows"]
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert all(math.isfinite(row["values"]["ahead/expected_agreement"]) for row in rows)


def test_options_of_one_kind_reach_its_task(text):
    task = load_task(text, probe_size=8, context=16, name="roses")
    assert (task.name, task.probe.shape) == ("roses", (8, 16))
    alike = LanguageTask.from_files("a.txt", probe_size=8, context=16)
    assert task.fingerprint == alike.fingerprint


@pytest.mark.parametrize(("data", "what"), [("text:a.txt", "text:PATH"), ("digits", "images")])
def test_options_of_no_kind_are_refused(text, data, what):
    allowed = rf"^`options of {what}` must be one of .*probe_size.*, got 'contxt'$"
    with pytest.raises(ValueError, match=allowed):
        load_task(data, contxt=16)
