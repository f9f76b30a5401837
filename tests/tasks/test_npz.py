import numpy as np
import pytest
import torch
from toy_images import Image, arrays, assert_task_is

from prescreen.tasks import load_task


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
            ValueError, match=r"^`data` must be an undamaged \.npz archive .*, got .*a\.npz: "
        ):
            load_task(path)
    with path.open("wb") as file:
        np.save(file, arrays(4))
    with pytest.raises(
        ValueError, match=r"^`data` must be an \.npz archive, got a single array in "
    ):
        load_task(path)
