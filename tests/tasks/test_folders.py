from itertools import islice

import numpy as np
import pytest
import torch
from toy_images import Image, assert_task_is, first_epoch, pictures, write_folder

from prescreen.tasks import load_task
from prescreen.tasks.images import dataset as images


@pytest.mark.parametrize("kind", ["png", "BMP", "tiff"])
def test_folder_of_classes_is_sorted_by_name_and_the_probe_held_out(tmp_path, kind):
    some = pictures(12)
    write_folder(tmp_path, {"zebra": some[:4], "ant": some[4:9], "Dog": some[9:]}, kind)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    (tmp_path / "ant" / "._0.png").write_text("what macOS leaves beside a file")
    task = load_task(tmp_path, probe_size=3, augment=False)
    assert task.num_classes == 3
    assert len(task.probe) == 3
    inputs, targets = first_epoch(task, 9)
    mean, std = (np.array(values)[:, None, None] for values in task.batches.moments)
    label_of = {
        np.asarray(p).tobytes(): k for p, k in zip(some, [2] * 4 + [1] * 5 + [0] * 3, strict=True)
    }
    found = [
        (x * std + mean).round().astype(np.uint8).transpose(1, 2, 0).tobytes()
        for x in [*inputs, *task.probe.numpy()]
    ]
    assert set(found) == set(label_of)
    assert [label_of[image] for image in found[:9]] == targets


@pytest.mark.parametrize("held", ["val", "test"])
def test_folder_with_splits_draws_the_probe_from_unlabelled_images(tmp_path, held):
    some, others = pictures(10), pictures(4, seed=1)
    write_folder(tmp_path / "train", {"a": some[:5], "b": some[5:]})
    write_folder(tmp_path, {held: others})  # a flat folder: there are no labels to see
    task = load_task(str(tmp_path), probe_size=4, augment=False)
    assert_task_is(task, some, [0] * 5 + [1] * 5, others)


def test_validation_comes_before_test(tmp_path):
    some, others = pictures(10), pictures(4, seed=1)
    write_folder(tmp_path / "train", {"a": some[:5], "b": some[5:]})
    write_folder(tmp_path, {"test": pictures(4, seed=2), "val": others})
    assert_task_is(
        load_task(tmp_path, probe_size=4, augment=False), some, [0] * 5 + [1] * 5, others
    )


def test_pillow_modes_become_grey_or_rgb(tmp_path):
    grey = pictures(1, "L")[0]
    colour = pictures(1)[0]
    forms = {
        "grey": [grey, grey.convert("LA")],
        "colour": [colour, colour.convert("RGBA"), colour.convert("P"), colour.convert("P")],
    }
    forms["colour"][3].info["transparency"] = bytes(range(256))
    write_folder(tmp_path, forms)
    task = load_task(tmp_path, probe_size=2, augment=False)
    inputs, _ = first_epoch(task, 4)
    mean, std = (np.array(values)[:, None, None] for values in task.batches.moments)
    found = {
        (x * std + mean).round().astype(np.uint8).transpose(1, 2, 0).tobytes()
        for x in [*inputs, *task.probe.numpy()]
    }
    expected = [grey.convert("RGB"), colour, colour.convert("P").convert("RGB")]
    assert found == {np.asarray(p).tobytes() for p in expected}


def test_sixteen_bit_images_keep_their_depth(tmp_path):
    deep = [Image.fromarray(np.full((8, 8), v, np.uint16)) for v in (1000, 1001, 1002, 1003)]
    write_folder(tmp_path / "train", {"a": deep[:2], "b": deep[2:]})
    write_folder(tmp_path, {"test": deep})
    task = load_task(tmp_path, probe_size=4)
    levels = sorted(task.probe[:, 0, 0, 0].tolist())
    np.testing.assert_allclose(levels, (np.arange(4) - 1.5) / np.std(np.arange(4)), rtol=1e-4)


def test_folder_above_the_limit_is_read_on_demand(tmp_path, monkeypatch):
    some = pictures(12)
    write_folder(tmp_path, {"a": some[:6], "b": some[6:]})
    held = load_task(tmp_path, probe_size=3)
    monkeypatch.setattr(images, "MEMORY_LIMIT", 0)
    lazy = load_task(tmp_path, probe_size=3)
    assert torch.equal(lazy.probe, held.probe)
    pairs = zip(lazy.batches(4, 1), held.batches(4, 1), strict=True)
    for (a, b), (c, d) in islice(pairs, 4):
        torch.testing.assert_close(a, c)
        assert torch.equal(b, d)
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    with pytest.raises(
        ValueError, match=r"^`data` must have readable files, got .*[0-5]\.png: No such file"
    ):
        list(islice(lazy.batches(9, 0), 1))


def test_a_damaged_image_is_named(tmp_path):
    some = pictures(6)
    write_folder(tmp_path, {"a": some[:3], "b": some[3:]}, "jpg")
    whole = (tmp_path / "b" / "1.jpg").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no image", whole[:10]):
        (tmp_path / "b" / "1.jpg").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"^`data` must hold undamaged images, got .*1\.jpg: "):
            load_task(tmp_path, probe_size=2)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({}, "`data` must hold parquet files or a sub-folder of images for every class, .*, got 0"),
        ({"a": 3}, "at least two, got 1 sub-folders"),
        ({"a": 3, "b": 0}, r"`data` must have images \(\.bmp.* in every folder, got none in .*b$"),
        (
            {"a": 3, "b": 1},
            "`probe_size` must be from 2 to 3, with 4 samples to draw from, got 256",
        ),
        ({"train/a": 3, "train/b": 3, "test": 0}, "`data` must have images .*, got none in .*test"),
    ],
)
def test_folders_that_cannot_serve_are_refused(tmp_path, folders, message):
    write_folder(tmp_path, {name: pictures(count) for name, count in folders.items()})
    with pytest.raises(ValueError, match=message) as caught:
        load_task(tmp_path)
    assert "\n" not in str(caught.value)
