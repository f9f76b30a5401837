import io
import json
import struct
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from prescreen.tasks import ImageTask
from prescreen.tasks.images import dataset as images
from prescreen.tasks.images import parquet as parquet_files
from prescreen.tasks.images.named import load_task

pyarrow = pytest.importorskip("pyarrow", reason="the images extra is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="the images extra is not installed")
Image = pytest.importorskip("PIL.Image", reason="the images extra is not installed")

CIFAR10 = Path(__file__).parents[3] / "shared" / "data" / "cifar10"
needs_cifar10 = pytest.mark.skipif(
    not CIFAR10.is_dir(), reason="CIFAR-10 as parquet is not in ../shared/data/cifar10"
)


def pictures(count=12, mode="RGB", size=(16, 16), seed=0) -> list:
    """Random pictures: (height, width) of any Pillow mode."""
    rng = np.random.default_rng(seed)
    shape = (count, *size) if mode == "L" else (count, *size, 3)
    return [Image.fromarray(pixels) for pixels in rng.integers(0, 256, shape, dtype=np.uint8)]


def encode(picture, kind="PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def pixels_of(some) -> np.ndarray:
    """(n, C, H, W) in float64, straight from Pillow."""
    arrays = np.stack([np.asarray(picture) for picture in some]).astype(float)
    return arrays[:, None] if arrays.ndim == 3 else arrays.transpose(0, 3, 1, 2)


def by_hand(some, training) -> np.ndarray:
    some, training = pixels_of(some), pixels_of(training)
    return (some - training.mean((0, 2, 3), keepdims=True)) / training.std((0, 2, 3), keepdims=True)


def first_epoch(task: ImageTask, batch_size: int):
    inputs, targets = next(task.batches(batch_size, 0))
    return inputs.numpy(), targets.tolist()


def assert_task_is(task: ImageTask, training, labels, probe) -> None:
    """The task trains on these pictures with these labels and reads these, in any order."""
    inputs, targets = first_epoch(task, len(training))
    assert_same_rows(inputs, by_hand(training, training), targets, labels)
    assert_same_rows(task.probe.numpy(), by_hand(probe, training))


def assert_same_rows(got, expected, got_labels=None, labels=None) -> None:
    assert got.shape == expected.shape
    distance = np.abs(got[:, None] - expected[None]).max((2, 3, 4))
    rows = distance.argmin(1)
    assert sorted(rows) == list(range(len(expected)))
    assert distance.min(1).max() < 1e-4
    if labels is not None:
        assert [labels[row] for row in rows] == got_labels


# -- digits


def test_digits_are_the_default_and_are_never_flipped():
    from sklearn.datasets import load_digits

    digits = load_digits()
    task = load_task()
    assert task.name == "digits"
    assert (task.probe.shape, task.num_classes) == ((256, 1, 8, 8), 10)
    assert task.batches.crop
    assert not task.batches.flip
    assert load_task("Digits").fingerprint == task.fingerprint
    assert load_task(seed=1).fingerprint != task.fingerprint
    plain = load_task(augment=False, probe_size=97)
    inputs, targets = next(plain.batches(1700, 0))
    mean, std = plain.batches.moments.mean[0], plain.batches.moments.std[0]
    restored = (torch.cat([inputs, plain.probe]) * std + mean).round().int().flatten(1).tolist()
    whole = digits.images.reshape(-1, 64).astype(int).tolist()
    assert sorted(restored) == sorted(whole)
    label_of = {tuple(image): int(label) for image, label in zip(whole, digits.target, strict=True)}
    assert [label_of[tuple(image)] for image in restored[:1700]] == targets.tolist()


def test_image_size_resizes_training_and_probe_images():
    task = load_task("digits", image_size=12)
    assert task.image_size == (12, 12)
    assert task.probe.shape == (256, 1, 12, 12)
    assert next(task.batches(4, 0))[0].shape == (4, 1, 12, 12)


# -- torchvision


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    path.write_bytes(header + values.astype(np.uint8).tobytes())


@pytest.mark.parametrize(("name", "flip"), [("MNIST", False), ("FashionMNIST", True)])
def test_existing_torchvision_files_are_read(tmp_path, name, flip):
    pytest.importorskip("torchvision", reason="the images extra is not installed")
    raw = tmp_path / name / "raw"
    raw.mkdir(parents=True)
    train, test = pictures(20, "L", (28, 28)), pictures(8, "L", (28, 28), seed=1)
    labels = np.arange(20) % 10
    write_idx(raw / "train-images-idx3-ubyte", np.stack([np.asarray(p) for p in train]))
    write_idx(raw / "train-labels-idx1-ubyte", labels)
    write_idx(raw / "t10k-images-idx3-ubyte", np.stack([np.asarray(p) for p in test]))
    write_idx(raw / "t10k-labels-idx1-ubyte", np.zeros(8))
    task = load_task(name.lower(), root=tmp_path, probe_size=8, augment=False)
    assert task.num_classes == 10
    assert_task_is(task, train, labels.tolist(), test)
    batches = load_task(name, root=tmp_path, probe_size=8).batches
    assert (batches.crop, batches.flip) == (True, flip)


class StandIn(Dataset):
    """A torchvision data set that must be downloaded, with pictures of various sizes and modes."""

    calls: list
    downloads = True

    def __init__(self, root, split="train", transform=None, download=False):
        type(self).calls.append((split, download))
        if not download:
            raise RuntimeError("Dataset not found. You can use download=True")
        if not self.downloads:
            raise OSError("no route to host\nand more")
        self.transform = transform
        count = {"train": 10, "test": 6}[split]
        self.items = [*pictures(count, size=(20, 24)), *pictures(count, "L", size=(28, 24))]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.transform(self.items[i]), i % 3


def test_torchvision_data_are_downloaded_if_missing(tmp_path, monkeypatch):
    torchvision = pytest.importorskip("torchvision.datasets", reason="needs the images extra")
    StandIn.calls = []
    monkeypatch.setattr(torchvision, "SVHN", StandIn)
    task = load_task("svhn", root=tmp_path / "new", probe_size=5)
    assert StandIn.calls == [("test", False), ("test", True), ("train", False), ("train", True)]
    assert (tmp_path / "new").is_dir()
    assert task.probe.shape == (5, 3, 20, 24)  # the lower median of 20 and 28
    assert task.num_classes == 3
    assert not task.batches.flip
    monkeypatch.setattr(StandIn, "downloads", False)
    with pytest.raises(
        ValueError, match=r"^`data` must be in .* or downloadable, got SVHN: no route to host$"
    ):
        load_task("SVHN", root=tmp_path)


def test_every_named_data_set_is_torchvisions():
    torchvision = pytest.importorskip("torchvision.datasets", reason="needs the images extra")
    import inspect

    from prescreen.tasks.images.named import _TORCHVISION

    for name, (train, probe) in _TORCHVISION.items():
        kind = getattr(torchvision, name)
        known = {p for base in kind.__mro__ for p in inspect.signature(base.__init__).parameters}
        assert {*train, *(probe or {}), "download", "transform"} <= known, name


# -- folders


def write_folder(folder: Path, by_class: dict, kind="png") -> None:
    for name, some in by_class.items():
        (folder / name).mkdir(parents=True)
        for i, picture in enumerate(some):
            picture.save(folder / name / f"{i}.{kind}")


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
        with pytest.raises(ValueError, match=r"^`data` must hold undamaged images, got .*1\.jpg$"):
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


# -- parquet


def write_parquet(path: Path, some, labels=None, image="image", label="label", names=None) -> None:
    columns = {image: [{"bytes": encode(p), "path": None} for p in some]}
    if labels is not None:
        columns[label] = labels
    table = pyarrow.table(columns)
    if names is not None:
        features = {"info": {"features": {label: {"names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    parquet.write_table(table, path, row_group_size=4)


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("sub_folder", ["", "data"])
def test_parquet_folder_with_splits(tmp_path, split, sub_folder):
    folder = tmp_path / sub_folder
    folder.mkdir(exist_ok=True)
    some, others = pictures(10), pictures(5, seed=1)
    names = ["ant", "bee", "cat"]
    write_parquet(
        folder / "train-00000-of-00002.parquet", some[:6], [0, 1, 0, 1, 0, 1], names=names
    )
    write_parquet(folder / "train-00001-of-00002.parquet", some[6:], [1, 0, 1, 0], names=names)
    write_parquet(folder / f"{split}-00000-of-00001.parquet", others)  # without a label column
    task = load_task(tmp_path, probe_size=5, augment=False)
    assert task.num_classes == 3  # by the schema's names, though no image is a cat
    assert_task_is(task, some, [0, 1, 0, 1, 0, 1, 1, 0, 1, 0], others)


@pytest.mark.parametrize(("image", "label"), [("img", "labels"), ("image", "label")])
def test_parquet_file_holds_the_probe_out_and_sorts_class_names(tmp_path, image, label):
    some = pictures(8)
    labels = ["dog", "ant", "cat", "ant", "dog", "cat", "ant", "dog"]
    write_parquet(tmp_path / "mine.parquet", some, labels, image, label)
    task = load_task(tmp_path / "mine.parquet", probe_size=2, augment=False)
    assert task.num_classes == 3
    inputs, targets = first_epoch(task, 6)
    mean, std = (np.array(values)[:, None, None] for values in task.batches.moments)
    classes = {
        np.asarray(p).tobytes(): ["ant", "cat", "dog"].index(k)
        for p, k in zip(some, labels, strict=True)
    }
    found = [(x * std + mean).round().astype(np.uint8).transpose(1, 2, 0).tobytes() for x in inputs]
    assert [classes[image] for image in found] == targets


def refused_parquet(tmp_path, table: dict, message: str) -> None:
    parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=message) as caught:
        load_task(tmp_path / "t.parquet", probe_size=2)
    assert "\n" not in str(caught.value)


def test_parquet_files_that_cannot_serve_are_refused(tmp_path, monkeypatch):
    good = [{"bytes": encode(p), "path": None} for p in pictures(4)]
    labels = [0, 1, 0, 1]
    refused_parquet(
        tmp_path,
        {"label": labels},
        r"^`data` must have a column named img or image, got label in .*t\.parquet",
    )
    refused_parquet(
        tmp_path,
        {"image": good},
        "^`data` must have a column named label or labels .*, got image in",
    )
    damaged = [*good[:3], {"bytes": good[3]["bytes"][:60], "path": None}]
    refused_parquet(
        tmp_path,
        {"image": damaged, "label": labels},
        r"^`data` must hold undamaged images, got row 3 of .*t\.parquet",
    )
    linked = [*good[:3], {"bytes": None, "path": "somewhere.png"}]
    refused_parquet(
        tmp_path, {"image": linked, "label": labels}, "image bytes, got none in row 3 of"
    )
    refused_parquet(
        tmp_path, {"image": [3, 4], "label": [0, 1]}, "image bytes, got none in row 0 of"
    )
    refused_parquet(
        tmp_path,
        {"image": good, "label": [0, None, 1, 0]},
        r"^the labels in label of .*t\.parquet must be .*, got None in row 1",
    )
    refused_parquet(
        tmp_path, {"image": good, "label": [0.5] * 4}, "in label of .*, got 0.5 in row 0"
    )
    refused_parquet(tmp_path, {"image": good, "label": [0, 1, -1, 0]}, "in label of .*, got -1")
    refused_parquet(
        tmp_path,
        {"image": good[:0], "label": labels[:0]},
        "^`data` must have at least one row, got none in ",
    )
    write_parquet(tmp_path / "t.parquet", pictures(4), [0, 1, 2, 1], names=["a", "b"])
    with pytest.raises(
        ValueError, match=r"in label of .*t\.parquet must be class indices from 0 to 1, got 2$"
    ):
        load_task(tmp_path / "t.parquet", probe_size=2)
    monkeypatch.setattr(parquet_files, "ENCODED_LIMIT", 100)
    with pytest.raises(
        ValueError, match=r"^`data` must have at most 0 MiB of encoded images, got more in .*; give"
    ):
        load_task(tmp_path / "t.parquet", probe_size=2)
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(
        ValueError, match=r"^`data` must be an undamaged parquet file, got .*t\.parquet$"
    ):
        load_task(tmp_path / "t.parquet")


@needs_cifar10
def test_cifar10_as_parquet(tmp_path):
    # Test images replace the training images, which takes a fifth of the time.
    source = CIFAR10 / "test-00000-of-00001.parquet"
    (tmp_path / "train-0.parquet").symlink_to(source)
    (tmp_path / "test-0.parquet").symlink_to(source)
    task = load_task(tmp_path, probe_size=64, augment=False)
    assert (task.probe.shape, task.num_classes) == ((64, 3, 32, 32), 10)
    assert len(task.batches.samples) == 10_000
    table = parquet.read_table(source).to_pydict()
    expected = [np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in table["img"][:200]]
    kept = task.batches.samples.images[:200].permute(0, 2, 3, 1).numpy()
    assert np.array_equal(kept, np.stack(expected))
    assert task.batches.samples.labels.tolist() == table["label"]


# -- npz


def arrays(count=10, seed=0, shape=(12, 16, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize(
    "keys",
    [
        ("x", "y", None),
        ("images", "labels", None),
        ("x_train", "y_train", "x_test"),
        ("train_images", "train_labels", "test_images"),
        ("train_images", "train_labels", "val_images"),
    ],
)
def test_npz_archives(tmp_path, keys):
    x, y, held = keys
    some, others, labels = arrays(), arrays(4, seed=1), np.arange(10)[:, None] % 3
    archive = {x: some, y: labels}
    if held is not None:
        # If the labels of these images were read, they would be refused.
        unreadable = np.array([{}], dtype=object)
        archive |= {held: others, held.replace("x_", "y_").replace("images", "labels"): unreadable}
    np.savez(tmp_path / "a.npz", **archive)
    task = load_task(tmp_path / "a.npz", probe_size=4, augment=False)
    assert task.num_classes == 3
    if held is not None:
        assert_task_is(
            task,
            [Image.fromarray(a) for a in some],
            labels[:, 0].tolist(),
            [Image.fromarray(a) for a in others],
        )
    else:
        assert len(task.probe) == 4
        assert len(task.batches.samples) == 6


def test_npz_layouts_and_types_mean_the_same(tmp_path):
    some = arrays(shape=(12, 16))
    tasks = []
    for form in (some, some[..., None], some[:, None], some.astype(int), some / 255):
        np.savez(tmp_path / "a.npz", x=form, y=np.array(list("abcabcabca")))
        tasks.append(load_task(tmp_path / "a.npz", probe_size=4))
    assert tasks[0].probe.shape == (4, 1, 12, 16)
    assert len({task.fingerprint for task in tasks[:4]}) == 1
    torch.testing.assert_close(tasks[4].probe, tasks[0].probe, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (
            {"y": np.arange(4)},
            r"`data` must have one of the keys train_images, .*, got y in .*a\.npz",
        ),
        ({"x": arrays(4)}, "`data` must have one of the keys train_labels, .*, got x in"),
        (
            {"x": np.array([{}] * 4), "y": np.arange(4)},
            r"`data` must be .* of plain arrays, got .*a\.npz",
        ),
        (
            {"x": arrays(4), "y": np.arange(3)},
            r"`data` must have y of shape \(4,\), got \(3,\) in ",
        ),
        ({"x": arrays(4), "y": np.zeros((4, 14), int)}, r"shape \(4,\), got \(4, 14\)"),
        (
            {"x": arrays(4), "y": np.zeros(4)},
            "the labels in y of .* must be class indices .*, got float64",
        ),
        (
            {"x": arrays(4), "y": np.arange(4) - 1},
            "the labels in y of .* must be class indices .*, got -1",
        ),
        (
            {"x": arrays(4, shape=(5,)), "y": np.arange(4)},
            r"`data` must have numbers .* in x, got uint8 \(4, 5\) in ",
        ),
        ({"x": arrays(4, shape=(5, 5, 7)), "y": np.arange(4)}, "with 1 or 3 channels"),
        (
            {"x": np.array(["a"] * 4), "y": np.arange(4)},
            "`data` must have numbers .* in x, got <U1",
        ),
        (
            {"x": np.full((4, 5, 5), np.nan), "y": np.arange(4)},
            "the images must be finite, got NaN",
        ),
    ],
)
def test_npz_archives_that_cannot_serve_are_refused(tmp_path, archive, message):
    np.savez(tmp_path / "a.npz", **archive)
    with pytest.raises(ValueError, match=message) as caught:
        load_task(tmp_path / "a.npz", probe_size=2)
    assert "\n" not in str(caught.value)


def test_damaged_npz_archives_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=arrays(4), y=np.arange(4))
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = (
        whole[:middle] + bytes(b ^ 255 for b in whole[middle : middle + 50]) + whole[middle + 50 :]
    )
    for damaged in (b"", b"no archive", whole[:middle], flipped):
        path.write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"^`data` must be an undamaged \.npz archive .*, got .*a\.npz$"
        ):
            load_task(path)
    with path.open("wb") as file:
        np.save(file, arrays(4))
    with pytest.raises(
        ValueError, match=r"^`data` must be an \.npz archive, got a single array in "
    ):
        load_task(path)


# -- names


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("cifar-10", r"`data` must be .*, got 'cifar-10'; did you mean cifar10 or cifar100\?"),
        (
            "qqq",
            "`data` must be a folder, a .parquet or .npz file, or one of digits, .*, got 'qqq'$",
        ),
        (Path("digits"), "`data` must be a folder, .*, got 'digits'"),
        (Path(__file__), r"`data` must be a folder, .*, got '.*test_named\.py'"),
    ],
)
def test_unknown_data_are_refused_with_what_is_allowed(data, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_task(data)


def test_names_come_before_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    some = pictures(6)
    write_folder(tmp_path / "digits", {"a": some[:3], "b": some[3:]})
    assert load_task("digits").num_classes == 10
    assert load_task("./digits", probe_size=2).num_classes == 2


@pytest.mark.parametrize("missing", ["PIL", "pyarrow", "torchvision"])
def test_a_missing_extra_is_named(missing, tmp_path, monkeypatch):
    write_folder(tmp_path / "folder", {"a": pictures(3), "b": pictures(3)})
    write_parquet(tmp_path / "t.parquet", pictures(4), [0, 1, 0, 1])
    data = {"PIL": tmp_path / "folder", "pyarrow": tmp_path / "t.parquet", "torchvision": "mnist"}
    for module in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ImportError, match=r"needs the 'images' extra: pip install 'prescreen\[images\]'"
    ):
        load_task(data[missing], probe_size=2)
