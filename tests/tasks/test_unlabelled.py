"""Images without labels: models are read on them, by `select` and a `Probe`, and not trained."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from prescreen import Probe, load_task, rank, read, select_checkpoint
from prescreen.cli.app import run
from prescreen.training.recipe import Training

Image = pytest.importorskip("PIL.Image", reason="the images extra is not installed")


def write(folder, count, seed=0, size=(6, 6, 3)):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *size), dtype=np.uint8)
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{i:03}.png")
    return pixels


def standardised(pixels):
    images = pixels.astype(float).transpose(0, 3, 1, 2)
    mean, std = (f((0, 2, 3), keepdims=True) for f in (images.mean, images.std))
    return (images - mean) / std


def in_order(rows):
    rows = np.asarray(rows)
    return rows[rows.reshape(len(rows), -1).sum(1).argsort()]


def network(num_classes=4):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(108, num_classes))


def small(width):
    def build(num_classes, in_channels, image_size):
        pixels = in_channels * image_size[0] * image_size[1]
        layers = nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, num_classes)
        return nn.Sequential(nn.Flatten(), *layers)

    return build


def test_a_flat_folder_is_a_probe_of_all_its_images(tmp_path):
    pixels = write(tmp_path, 30)
    (tmp_path / ".thumbs").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    task = load_task(tmp_path)
    assert (task.num_classes, task.in_channels, task.image_size) == (None, 3, (6, 6))
    assert np.abs(in_order(task.probe) - in_order(standardised(pixels))).max() < 1e-4
    assert len(load_task(tmp_path, probe_size=8).probe) == 8
    assert task.fingerprint == load_task(tmp_path).fingerprint
    model = network()
    values = Probe(task.probe, ["confidence"]).read(model, 0).values
    assert values == read(model, task.probe, ["confidence"])


def test_given_statistics_and_sizes_hold_for_it_as_well(tmp_path):
    pixels = write(tmp_path, 12)
    task = load_task(tmp_path, mean=0.5, std=0.25, num_classes=7)
    expected = (pixels.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    assert np.abs(in_order(task.probe) - in_order(expected)).max() < 1e-5
    assert task.sizes == {"num_classes": 7, "in_channels": 3, "image_size": (6, 6)}
    assert load_task(tmp_path, image_size=4).probe.shape == (12, 3, 4, 4)


def test_it_cannot_be_trained_on_and_has_no_seen_inputs(tmp_path):
    write(tmp_path / "images", 12)
    task = load_task(tmp_path / "images", num_classes=4)
    line = r"^`data` must have labels to train on, got images without in .*images$"
    with pytest.raises(ValueError, match=line):
        rank({"small": small(2)}, task)
    torch.save(network().state_dict(), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=line):
        select_checkpoint([tmp_path / "a.pt"], network, task, readouts=["gap/confidence"])
    with pytest.raises(ValueError, match=r"^`probe` must be None for images without labels, got "):
        load_task(tmp_path / "images", probe=tmp_path / "images")
    write(tmp_path / "one", 1)
    with pytest.raises(
        ValueError, match=r"^`data` must have at least 2 images .*, got 1 in .*one$"
    ):
        load_task(tmp_path / "one")


def test_select_reads_checkpoints_on_a_flat_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "images", 12)
    (tmp_path / "models.py").write_text(
        "from torch import nn\n"
        "def free():\n    return nn.Sequential(nn.Flatten(), nn.Linear(108, 4))\n"
        "def asking(num_classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(108, num_classes))\n"
    )
    torch.save(network().state_dict(), "a.pt")
    command = [
        "select",
        "a.pt",
        "--data",
        "images",
        "--readouts",
        "confidence",
        "--json",
        "--model",
    ]
    assert run([*command, "models.py:free"]) == 0
    content = json.loads(capsys.readouterr().out)
    probe = load_task(tmp_path / "images").probe
    expected = read(network(), probe, ["confidence"], batch_statistics=False)
    assert content["checkpoints"][0]["values"] == expected
    assert content["notes"][0].startswith("Inputs have 6×6 pixels, standardised by the images' own")
    assert run([*command, "models.py:asking", "--num-classes", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoints"] == content["checkpoints"]
    assert run([*command, "models.py:asking"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        "`models` must build a network from in_channels, image_size, got models.py:asking" in line
    )
    assert "num_classes" in line
    assert run(["rank", "--data", "images"]) == 2
    assert "`data` must have labels to train on" in capsys.readouterr().err


def test_models_trained_on_labelled_data_are_read_on_a_folder_without(tmp_path):
    for i, name in enumerate(("a", "b")):
        write(tmp_path / "train" / name, 20, seed=i)
    pixels = write(tmp_path / "unlabelled", 14, seed=5)
    write(tmp_path / "unlabelled" / "more", 2, seed=6)
    task = load_task(
        tmp_path / "train", probe=tmp_path / "unlabelled", probe_size=99, augment=False
    )
    assert len(task.probe) == 16
    mean, std = (np.array(values).reshape(3, 1, 1) for values in task.batches.moments)
    expected = (pixels.transpose(0, 3, 1, 2) - mean) / std
    rows = {row.round(3).tobytes() for row in task.probe.double().numpy() + 0.0}
    assert {row.round(3).tobytes() for row in np.float32(expected).astype(float) + 0.0} <= rows
    assert len(next(task.batches(99, 0))[0]) == 40  # nothing is held out
    found = rank({"small": small(2), "wide": small(8)}, task, training=Training(steps=2))
    assert all(row.rank for row in found.rows)


def test_the_orientation_in_a_files_metadata_is_not_applied(tmp_path):
    """As in training on torchvision's ImageFolder: pixels are taken as they are stored."""
    pixels = write(tmp_path, 4, size=(6, 10, 3))
    for i, one in enumerate(pixels):
        exif = Image.Exif()
        exif[0x0112] = 6  # rotate by 90 degrees to show it
        Image.fromarray(one).save(tmp_path / f"{i:03}.png", exif=exif)
    task = load_task(tmp_path)
    assert task.image_size == (6, 10)
    assert np.abs(in_order(task.probe) - in_order(standardised(pixels))).max() < 1e-4
