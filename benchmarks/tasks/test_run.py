"""All trainings of a kind, at a tiny size: measured, kept, read again and put into tables."""

import random
from argparse import Namespace
from dataclasses import replace
from functools import partial

import pytest
import torch
from PIL import Image

from benchmarks.common.journalled import journalled
from benchmarks.common.results import read, write
from benchmarks.tasks import language, segmentation
from benchmarks.tasks.kind import Run
from benchmarks.tasks.measure import measure
from benchmarks.tasks.run import files, known, rows, settings, tried
from benchmarks.tasks.tables import print_tables


def text(folder):
    drawn = random.Random(0).choices("abcde \n", k=6_000)
    (folder / "text.txt").write_text("".join(drawn))


def masks(folder):
    generator = torch.Generator().manual_seed(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number in range(24):
        mask = torch.randint(2, (4, 4), generator=generator).repeat_interleave(2, 0)
        mask = mask.repeat_interleave(2, 1)
        pixels = (mask[..., None].repeat(1, 1, 3) * 200).byte().numpy()
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask.byte().numpy()).save(folder / "labels" / f"{number}.png")


# Networks so small that the harness takes all the time.
SPACE = """
from torch import nn
def sample(trial):
    return {"width": trial.suggest_int("width", 2, 64)}
def name(config):
    return f"w{config['width']}"
def build(config, *, num_classes, vocab_size=None):
    width = config["width"]
    if vocab_size:
        return nn.Sequential(nn.Embedding(vocab_size, width), nn.Linear(width, vocab_size))
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, num_classes, 1))
"""

KINDS = {
    "language": (language.KIND, text, partial(language.load, context=8, probe_size=4)),
    "segmentation": (
        segmentation.KIND,
        masks,
        partial(segmentation.load, image_size=8, probe_size=4),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_from_data_to_tables(name, tmp_path, capsys):
    whole, make, load = KINDS[name]
    make(tmp_path)
    data = load(tmp_path)
    (tmp_path / "tiny.py").write_text(SPACE)
    kind = replace(tried(whole, 4, 0.0), checkpoints=2, dead=None, longer=2)
    kind = replace(kind, space=str(tmp_path / "tiny.py"))
    kind = replace(kind, training=replace(kind.training, steps=4, batch_size=2))
    runs = tuple(Run(regime, {"width": 3}, {"steps": 4}) for regime in ("clean", "wrong"))
    kind = replace(kind, runs=runs)

    def work(waiting):
        return ((plan, measure(data, plan, kind)) for plan in waiting)

    out = Namespace(out=tmp_path / "out")
    records = journalled(out.out / kind.name, settings(kind), kind.plans, work)
    assert len(records) == len(kind.plans) == 4 + 2 + 2 * 4
    assert known(kind, out).keys() == records.keys()
    across, along = (tmp_path / file for file in files(kind))
    write(across, rows(kind, records, "brief", "truth"))
    write(along, rows(kind, records, "run"))
    assert len(read(across)) == 4 * 4 + 2 * 4
    assert len(read(along)) == 2 * 2
    last = read(across)[3]
    assert last["step"] == 4
    assert last["parameters"] > 0
    assert ("held_out_loss" in last) == (name == "language")
    capsys.readouterr()
    print_tables(kind, read(across), read(along), full=True)
    told = capsys.readouterr().out
    assert f"4 candidates of {kind.space!r}, 0 of them dead" in told
    assert "the paper's probe, pseudo/batch_gradient/feature" in told
    assert "2 runs; how far the chosen checkpoint is behind the best" in told


def test_regimes_are_what_they_say(tmp_path):
    text = torch.arange(1000) % 7
    wrong = language.corrupted(text, 0.5)
    changed = (wrong != text).float().mean().item()
    assert 0.3 < changed < 0.5
    assert wrong.bincount().shape == text.bincount().shape
    given = torch.arange(6)[:, None, None].expand(6, 2, 2)
    exchanged = segmentation.exchanged(given)
    assert exchanged[:, 0, 0].tolist() == [4, 1, 0, 3, 2, 5]


def test_half_of_the_runs_are_hard():
    for kind, *_ in KINDS.values():
        hard = [run for run in kind.runs if not run.clean]
        assert len(kind.runs) >= 6
        assert 2 * len(hard) >= len(kind.runs)
        assert kind.longer >= 8
        assert kind.candidates_count >= 16
