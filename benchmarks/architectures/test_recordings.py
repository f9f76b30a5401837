"""Recordings of a toy space: they train as usual, resume, and answer as a live reading does."""

import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.architectures import ask, proxies, record, recordings, spaces
from benchmarks.architectures.recording import Recording
from benchmarks.common import metrics, results
from prescreen import DEFAULT_PANEL, READOUTS, Candidate, Probe, Training, load_task, rank
from prescreen.tasks.images.views import shifted
from prescreen.training import brief_training

WIDTHS = (2, 4, 8, 16, 24, 32)
TRAINING = Training(steps=16, batch_size=32, lr=0.05)
TRUTHS = {"w2": 50.0, "w4": 60.0, "w8": 70.0, "w16": 65.0, "w24": 80.0, "w32": 85.0}


def build(width, *, num_classes, in_channels):
    convolution = nn.Conv2d(in_channels, width, 3, stride=2)
    parts = nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.Linear(9 * width, num_classes)
    return nn.Sequential(convolution, *parts)


def broken(**_):
    raise ValueError("no such network")


def candidates(_=None):
    toys = [Candidate(f"w{width}", {}, partial(build, width)) for width in WIDTHS]
    return [*toys, Candidate("broken", {}, broken), Candidate("unmeasured", {}, broken)]


@pytest.fixture(scope="module")
def task():
    return load_task("digits")


@pytest.fixture(scope="module")
def folder(task, tmp_path_factory):
    """Recordings of all candidates but the last, and truths of all but the third."""
    out = tmp_path_factory.mktemp("recordings")
    (out / "toy" / "seed-0").mkdir(parents=True)
    (out / "truth" / "toy").mkdir(parents=True)
    images = task.probe[:50]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "_data", [(task, (images, torch.zeros(50, dtype=torch.int64)))])
        for number, one in enumerate(candidates()[:-1]):
            told = record._record(
                out / "toy" / "seed-0" / f"{number:04d}", one, TRAINING, record.Extent()
            )
            assert told.endswith(" s") or "no such network" in told
    for number, (name, truth) in enumerate(TRUTHS.items()):
        curve = {"name": name, "accuracy": [10.0, truth]}
        if name != "w8":
            (out / "truth" / "toy" / f"{number}.json").write_text(json.dumps(curve))
    curve = {"name": "broken", "accuracy": [10.0, 20.0]}
    (out / "truth" / "toy" / "9.json").write_text(json.dumps(curve))
    return out


@pytest.fixture
def toy(monkeypatch):
    space = spaces.Space(candidates, 8, TRAINING, image_size=8, truth_steps=40)
    monkeypatch.setitem(spaces.SPACES, "toy", space)
    return space


def test_what_is_recorded_or_failed_is_not_recorded_again(folder):
    numbered = [*enumerate(candidates())]
    at = folder / "toy" / "seed-0"
    assert record.unrecorded(at, numbered) == numbered[-1:]
    (at / "0009.part").write_text("killed while it was written")
    assert record.unrecorded(at, [(9, numbered[0][1])])
    (at / "0009.part").unlink()


def test_recording_leaves_training_as_it_is(folder, task):
    for number, candidate in enumerate(candidates()[:2]):
        torch.manual_seed(TRAINING.seed)
        model = candidate.model(**task.sizes)
        losses = [step.loss for step in brief_training(model, task, TRAINING)]
        with np.load(folder / "toy" / "seed-0" / f"{number:04d}.npz") as arrays:
            assert arrays["loss"].tolist() == losses
            assert arrays["step"].tolist() == [2, 4, 6, 8, 10, 12, 14, 16]
            head = model[-1].weight.detach().half()
            assert torch.equal(torch.from_numpy(arrays["weight"][-1]), head)
            assert arrays["features"].shape == (8, len(task.probe), 9 * WIDTHS[number])
            assert arrays["logits.shift"].shape == (8, len(task.probe), 10)
            for key in ("mirror", "zoom", "eval", "noise"):
                assert arrays[f"logits.{key}"].shape == (4, len(task.probe), 10)
                assert not np.array_equal(arrays[f"logits.{key}"], arrays["logits"][1::2])
            assert arrays["logits.seen"].shape == (4, record.SEEN, 10)
            assert arrays["validation_accuracy"].shape == (4,)


def test_readouts_are_those_of_a_live_reading(folder, task):
    names = [name for name, one in READOUTS.items() if "seen" not in one.needs]
    torch.manual_seed(TRAINING.seed)
    model = candidates()[3].model(**task.sizes)
    probe = Probe(task.probe, names, view=shifted)
    probe.read_untrained(model)
    recording = Recording(folder / "toy" / "seed-0" / "0003.npz", 3, 1.0)
    for step in brief_training(model, task, TRAINING):
        if step.number % 4 == 0:
            live = probe.read(model, step.number).values
            for name in names:
                value = recording.value(name, step.number // 2 - 1)
                assert value == pytest.approx(live[name], rel=0.02, abs=2e-3, nan_ok=True), name
    assert recording.value("parameters") == sum(p.numel() for p in model.parameters())


def test_light_recordings_are_read_alike(task, folder, tmp_path):
    validation = task.probe[:50], torch.zeros(50, dtype=torch.int64)
    arrays = record.record(candidates()[3], task, validation, TRAINING, record.LIGHT)
    np.savez(tmp_path / "0003.npz", name="w16", **arrays)
    light = Recording(tmp_path / "0003.npz", 3, 1.0)
    whole = Recording(folder / "toy" / "seed-0" / "0003.npz", 3, 1.0)
    assert (light.readings, whole.readings) == (4, 8)
    assert light.array("logits.mirror").shape[0] == 1
    for name in ("confidence", "agreement", "stable_information", "tse_e"):
        for quarter in (1, 2, 3, 4):
            expected = whole.value(name, whole.quarter(quarter))
            assert light.value(name, light.quarter(quarter)) == pytest.approx(expected, nan_ok=True)
    assert light.value("agreement@mirror") == whole.value("agreement@mirror")
    with pytest.raises(KeyError, match="mirror was not recorded at reading 3"):
        light.value("agreement@mirror", 2)


def test_baselines_of_a_recording(folder):
    recording = Recording(folder / "toy" / "seed-0" / "0001.npz", 1, 1.0)
    losses = recording.array("loss")
    assert recording.value("tse") == pytest.approx(losses.sum())
    assert recording.value("tse_e") == pytest.approx(losses[-4:].mean())
    assert recording.value("tse_e", 3) == pytest.approx(losses[6:8].mean())
    # All labels are 0: the share of the predictions of class 0.
    assert 0 <= recording.value("validation_accuracy_batch") <= 1
    assert recording.value("agreement@noise") > recording.value("agreement@mirror")
    seen = recording.at("logits.seen")
    entropies = torch.distributions.Categorical(logits=seen).entropy()
    gap = recording.value("entropy") - entropies.mean().item()
    assert recording.value("gap/entropy") == pytest.approx(gap, abs=1e-5)


def test_what_was_not_recorded_is_said(folder):
    recording = Recording(folder / "toy" / "seed-0" / "0001.npz", 1, 1.0)
    for name, reading, message in (
        ("agreement@mirror", 0, "logits.mirror was not recorded at reading 1"),
        ("agreement@crop", -1, "logits.crop was not recorded"),
        ("gap/sample_gradient", -1, "gap/sample_gradient needs what was not recorded"),
    ):
        with pytest.raises(KeyError, match=message):
            recording.value(name, reading)
    with pytest.raises(ValueError, match="`readouts` must be"):
        recording.value("agrement")
    assert math.isnan(recording.value("stable_information", 0))
    assert recording.value("agreement", 0) == recording.value("agreement@shift", 0)


def test_values_beyond_half_precision_are_undefined(folder, tmp_path):
    with np.load(folder / "toy" / "seed-0" / "0001.npz") as arrays:
        changed = dict(arrays)
    changed["features"] = changed["features"] + np.float16(np.inf)
    np.savez(tmp_path / "0001.npz", **changed)
    assert math.isnan(Recording(tmp_path / "0001.npz", 1, 1.0).value("confidence"))


def test_candidates_without_recording_or_truth_are_counted(folder, tmp_path, toy):
    found = recordings.load("toy", folder, tmp_path)
    # The third has no truth, and the last was not recorded.
    assert [one.name for one in found.found] == ["w2", "w4", "w16", "w24", "w32", "broken"]
    assert found.missing == 2
    assert found.truth.tolist() == [50, 60, 65, 80, 85, 20]
    values = found.values(["confidence", "flops"])
    assert np.isnan(values["confidence"]).tolist() == [False] * 5 + [True]
    assert np.isnan(values["flops"]).tolist() == [False] * 5 + [True]
    nothing = recordings.load("toy", tmp_path, tmp_path)
    assert (nothing.found, nothing.missing) == ([], 8)
    assert recordings.load("toy", folder, tmp_path, report=True).missing == 0


def test_the_default_score_is_that_of_rank(folder, tmp_path, toy, task):
    found = recordings.load("toy", folder, tmp_path)
    known = [c for c in candidates()[:-1] if c.name != "w8"]  # it has no truth
    ranking = rank(known, task, training=TRAINING, readings=4)
    expected = {row.name: row.score for row in ranking}
    scores = ask.score(found, "default")
    for one, score in zip(found.found, scores, strict=True):
        assert score == pytest.approx(expected[one.name], nan_ok=True), one.name


def test_scores_are_better_when_higher_and_joined_ones_are_mean_ranks(folder, tmp_path, toy):
    found = recordings.load("toy", folder, tmp_path)
    losses = found.values(["tse_e"])["tse_e"]
    np.testing.assert_array_equal(ask.score(found, "tse_e"), -losses)
    np.testing.assert_array_equal(
        ask.score(found, "entropy"), -found.values(["entropy"])["entropy"]
    )
    # Parameters rise from one to the next, and the one that failed is the worst.
    sizes = ask.score(found, "parameters+parameters")
    assert sizes.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 0.0])


def test_the_command_prints_a_table_and_writes_values(folder, tmp_path, toy, monkeypatch, capsys):
    monkeypatch.setattr(metrics, "bootstrap", partial(metrics.bootstrap, rounds=20))
    given = {
        "spaces": "toy",
        "recordings": folder,
        "truths": tmp_path,
        "write": tmp_path / "written",
    }
    given["scores"] = "default parameters agreement@mirror gap/rankme"
    words = [word for key, value in given.items() for word in (f"--{key}", *str(value).split())]
    monkeypatch.setattr("sys.argv", ["ask", *words])
    ask.main()
    printed = capsys.readouterr().out
    assert "toy: 6 candidates for tuning, 2 more not recorded or without truth" in printed
    lines = printed.splitlines()
    (size,) = (line for line in lines if line.startswith("parameters"))
    assert "1.00 [" in size
    assert lines.index(size) in (4, 5)  # below the title and the header; `default` may be as good
    assert "left out: gap/rankme needs what was not recorded" in printed
    assert size.split()[-2:] == ["-", "-"]  # fewer than 12 candidates
    rows = results.read(tmp_path / "written" / "toy.csv")
    assert [row["step"] for row in rows if row["run"] == "w4"] == [4, 8, 12, 16]
    assert [row["failure"] for row in rows if "failure" in row] == ["failed"]
    last = next(row for row in rows if row["run"] == "w4" and row["step"] == 16)
    recording = Recording(folder / "toy" / "seed-0" / "0001.npz", 1, 60.0)
    for name in (*DEFAULT_PANEL, "tse_e", "agreement", "validation_accuracy", "parameters"):
        assert last[name] == pytest.approx(recording.value(name), rel=1e-5), name
    assert last["test_accuracy"] == 60


def test_proxies_of_the_candidates_are_scores_too(folder, tmp_path, toy):
    found = recordings.load("toy", folder, tmp_path)
    with pytest.raises(KeyError, match="naswot was not measured by `proxies`"):
        ask.score(found, "untrained.naswot")
    rows = [
        {"run": one.name, "untrained.naswot": -float(place)}
        | {"untrained.swap_regularised.patterns": 10.0, "untrained.swap_regularised.size": place}
        for place, one in enumerate(found.found)
        if one.name != "w4"
    ]
    path = folder / "toy" / proxies.UNTRAINED
    results.write(path, rows)
    try:
        found = recordings.load("toy", folder, tmp_path)
    finally:
        path.unlink()
    scores = ask.score(found, "untrained.naswot")
    np.testing.assert_array_equal(scores, [0, math.nan, -2, -3, -4, -5])
    sizes = np.array([0, math.nan, 2, 3, 4, 5])
    expected = math.log(10) - (sizes / 5 - 1) ** 2
    np.testing.assert_allclose(ask.score(found, "untrained.swap_regularised"), expected)
    joined = ask.score(found, "untrained.naswot+parameters")
    assert joined[0] == pytest.approx((5 + 1) / 2 / 5)
    last = ask.values(found)[0]
    assert last["untrained.naswot"] == 0


def test_the_worst_case_orders_scores():
    columns = {"a": {"x": 0.9, "y": 0.5, "z": 0.7}, "b": {"x": -0.2, "y": 0.4}}
    lines = [line.split() for line in ask.worst_cases(columns).splitlines()]
    assert lines[0] == ["score", "worst", "a", "b"]
    expected = ["y 0.40 0.50 0.40", "x -0.20 0.90 -0.20", "z - 0.70 -"]
    assert lines[2:] == [line.split() for line in expected]
