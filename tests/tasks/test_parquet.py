import io
from pathlib import Path

import numpy as np
import pytest
from toy_images import (
    Image,
    assert_task_is,
    encode,
    first_epoch,
    parquet,
    pictures,
    pyarrow,
    write_parquet,
)

from prescreen.tasks import load_task
from prescreen.tasks.images import parquet as parquet_files

CIFAR10 = Path(__file__).parents[3] / "shared" / "data" / "cifar10"
needs_cifar10 = pytest.mark.skipif(
    not CIFAR10.is_dir(), reason="CIFAR-10 as parquet is not in ../shared/data/cifar10"
)


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
        tmp_path,
        {"image": linked, "label": labels},
        "image bytes in image, got only the path somewhere.png in row 3 of",
    )
    refused_parquet(
        tmp_path, {"image": [3, 4], "label": [0, 1]}, "image bytes in image, got int in row 0 of"
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
        ValueError, match=r"^`data` must be an undamaged parquet file, got .*t\.parquet: "
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
