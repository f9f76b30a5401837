"""Pictures, files of them, and what a task of them must hold."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from prescreen.tasks import ImageTask

pyarrow = pytest.importorskip("pyarrow", reason="the images extra is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="the images extra is not installed")
Image = pytest.importorskip("PIL.Image", reason="the images extra is not installed")


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


def write_folder(folder: Path, by_class: dict, kind="png") -> None:
    for name, some in by_class.items():
        (folder / name).mkdir(parents=True)
        for i, picture in enumerate(some):
            picture.save(folder / name / f"{i}.{kind}")


def write_parquet(path: Path, some, labels=None, image="image", label="label", names=None) -> None:
    columns = {image: [{"bytes": encode(p), "path": None} for p in some]}
    if labels is not None:
        columns[label] = labels
    table = pyarrow.table(columns)
    if names is not None:
        features = {"info": {"features": {label: {"names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    parquet.write_table(table, path, row_group_size=4)


def arrays(count=10, seed=0, shape=(12, 16, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
