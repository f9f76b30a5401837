import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset
from toy_images import assert_task_is, pictures, write_folder, write_parquet

from prescreen.tasks import load_task

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


@pytest.mark.parametrize("missing", ["PIL", "pyarrow", "torchvision", "sklearn"])
def test_a_missing_extra_is_named(missing, tmp_path, monkeypatch):
    write_folder(tmp_path / "folder", {"a": pictures(3), "b": pictures(3)})
    write_parquet(tmp_path / "t.parquet", pictures(4), [0, 1, 0, 1])
    data = {"PIL": tmp_path / "folder", "pyarrow": tmp_path / "t.parquet", "torchvision": "mnist"}
    data["sklearn"] = "digits"
    extra = "digits" if missing == "sklearn" else "images"
    for module in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ImportError, match=rf"needs the '{extra}' extra: pip install 'prescreen\[{extra}\]'"
    ):
        load_task(data[missing], probe_size=2)
