"""Folders of images beside folders of masks, and ``load_task("masks:PATH")``."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from prescreen import load_task
from prescreen.tasks import SegmentationTask

Image = pytest.importorskip("PIL.Image", reason="the images extra is not installed")

NUCLEI = Path(__file__).parents[3] / "shared" / "data" / "nuclei"
SIZE = (16, 24)


def classes_of(number, classes=3):
    return (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) // 7 + number) % classes


def picture_of(mask, number=0):
    """An image that shows its mask: RGB, red for the class."""
    pixels = np.zeros((*mask.shape, 3), np.uint8)
    pixels[..., 0] = mask * 40
    pixels[..., 2] = np.random.default_rng(number).integers(0, 256, mask.shape)
    return Image.fromarray(pixels)


def write(images, masks, count=8, end="", first=0, save=None):
    for number in range(first, first + count):
        for folder in (images, masks):
            (folder / f"{number}.png").parent.mkdir(parents=True, exist_ok=True)
        mask = classes_of(number)
        picture_of(mask, number % 100).save(images / f"{number}.png")
        made = Image.fromarray(mask.astype(np.uint8)) if save is None else save(mask)
        made.save(masks / f"{number}{end}.png")


def shows_its_masks(task):
    """Whether images and masks of the training batches belong together."""
    images, masks = next(task.batches.unaugmented(64, 0))
    red = images[:, 0] * task.batches.moments.std[0] + task.batches.moments.mean[0]
    return torch.equal((red / 40).round().long(), masks)


# -- layouts

LAYOUTS = {
    "images and masks": ("images", "masks", None, ""),
    "images and labels": ("Images", "labels", None, ""),
    "VOC": ("JPEGImages", "SegmentationClass", None, ""),
    "names with an end": ("imgs", "masks", None, "_mask"),
    "folders inside": ("images/a", "masks/a", None, ""),
    "splits outside": ("train/images", "train/masks", "val/images", ""),
    "splits inside": ("images/training", "annotations/training", "images/validation", ""),
    "a test split": ("train/images", "train/masks", "test/images", ""),
    "a test split without masks": ("train/images", "train/masks", "test", ""),
}


@pytest.mark.parametrize(("images", "masks", "held", "end"), LAYOUTS.values(), ids=LAYOUTS)
def test_usual_layouts(tmp_path, images, masks, held, end):
    write(tmp_path / images, tmp_path / masks, end=end)
    if held is not None:
        write(tmp_path / held, tmp_path / "rest", count=5, first=100)
    task = load_task(f"masks:{tmp_path}")
    assert isinstance(task, SegmentationTask)
    assert task.sizes == {"num_classes": 3, "in_channels": 3, "image_size": SIZE}
    assert shows_its_masks(task)
    assert len(task.batches.data.targets) == (6 if held is None else 8)
    assert len(task.probe) == (2 if held is None else 5)
    assert task.name == f"masks:{tmp_path}"


def test_of_several_splits_validation_is_the_probe(tmp_path):
    for split, count in (("train", 8), ("test", 3), ("valid", 4)):
        write(tmp_path / split / "images", tmp_path / split / "masks", count=count)
    assert len(load_task(f"masks:{tmp_path}").probe) == 4
    assert len(load_task(f"masks:{tmp_path}", probe_size=2).probe) == 2
    assert len(load_task(f"masks:{tmp_path}", probe=tmp_path / "test" / "images").probe) == 3


def test_a_probe_unlike_the_images_is_noticed(tmp_path):
    write(tmp_path / "train" / "images", tmp_path / "train" / "masks")
    (tmp_path / "val").mkdir()
    for number in range(3):
        picture_of(classes_of(number) + 3, number).save(tmp_path / "val" / f"{number}.png")
    with pytest.warns(UserWarning, match="`probe` must be images like those of training"):
        load_task(f"masks:{tmp_path}")


def test_what_has_no_counterpart_is_left_out_and_logged(tmp_path, caplog):
    write(tmp_path / "images", tmp_path / "masks")
    picture_of(classes_of(0), 50).save(tmp_path / "images" / "alone.png")
    Image.fromarray(classes_of(0).astype(np.uint8)).save(tmp_path / "masks" / "other.png")
    with caplog.at_level(logging.WARNING):
        task = load_task(f"masks:{tmp_path}")
    assert len(task.batches.data.targets) + len(task.probe) == 8
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.endswith("left out 1 images without a mask, 1 masks without an image")


# -- masks


def palette(mask):
    made = Image.fromarray(mask.astype(np.uint8)).convert("L")
    made = Image.frombytes("P", made.size, made.tobytes())
    made.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return made


def white(mask):
    return Image.fromarray(((mask > 0) * 255).astype(np.uint8))


FILES = {
    "indices": (lambda m: Image.fromarray(m.astype(np.uint8)), lambda m: m, 3),
    "indices of 16 bits": (lambda m: Image.fromarray(m.astype(np.uint16)), lambda m: m, 3),
    "a palette": (palette, lambda m: m, 3),
    "grey as RGB": (lambda m: Image.fromarray(m.astype(np.uint8)).convert("RGB"), lambda m: m, 3),
    "0 and 255": (white, lambda m: m > 0, 2),
    "one bit": (lambda m: white(m).convert("1"), lambda m: m > 0, 2),
    "sparse": (lambda m: Image.fromarray((m * 60).astype(np.uint8)), lambda m: m, 3),
}


@pytest.mark.parametrize(("save", "expected", "classes"), FILES.values(), ids=FILES)
def test_masks_of_every_kind_of_file(tmp_path, save, expected, classes):
    write(tmp_path / "images", tmp_path / "masks", save=save)
    task = load_task(f"masks:{tmp_path}")
    assert task.sizes["num_classes"] == classes
    images, masks = next(task.batches.unaugmented(6, 0))
    red = images[:, 0] * task.batches.moments.std[0] + task.batches.moments.mean[0]
    assert torch.equal(masks, torch.from_numpy(expected((red / 40).round().long().numpy())).long())


def test_ignored_pixels_are_no_class(tmp_path):
    def some_ignored(mask):
        mask = mask.astype(np.uint8)
        mask[:4] = 255
        return Image.fromarray(mask)

    write(tmp_path / "images", tmp_path / "masks", save=some_ignored)
    task = load_task(f"masks:{tmp_path}")
    assert task.sizes["num_classes"] == 3
    _, masks = next(task.batches.unaugmented(6, 0))
    assert bool((masks[:, :4] == 255).all())
    assert int(masks[:, 4:].max()) == 2


def test_instances_are_foreground(tmp_path):
    def numbered(mask):
        return Image.fromarray((mask * 300).astype(np.uint16))

    write(tmp_path / "images", tmp_path / "masks", save=numbered)
    task = load_task(f"instances:{tmp_path}")
    assert task.sizes["num_classes"] == 2
    images, masks = next(task.batches.unaugmented(6, 0))
    red = images[:, 0] * task.batches.moments.std[0] + task.batches.moments.mean[0]
    assert torch.equal(masks, (red.round() > 0).long())
    single = SegmentationTask.from_folder(tmp_path, instances=True, num_classes=1)
    assert single.link == "sigmoid"


def test_masks_are_resized_without_new_classes(tmp_path):
    write(
        tmp_path / "images",
        tmp_path / "masks",
        save=lambda m: Image.fromarray((m * 9).astype("u1")),
    )
    task = load_task(f"masks:{tmp_path}", image_size=10, num_classes=19)
    _, masks = next(task.batches.unaugmented(6, 0))
    assert masks.shape == (6, 10, 10)
    assert set(masks.unique().tolist()) == {0, 9, 18}


# -- refusals


def remove(folder):
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def without_masks(folder):
    remove(folder / "masks")


def colours(folder):
    picture_of(classes_of(0)).save(folder / "masks" / "3.png")


def smaller(folder):
    Image.fromarray(classes_of(0).astype(np.uint8)[:8]).save(folder / "masks" / "3.png")


def damaged(folder):
    (folder / "masks" / "3.png").write_bytes(b"no image")


def other_names(folder):
    for path in [*(folder / "masks").iterdir()]:
        path.rename(path.with_name(f"mask of {path.name}"))


REFUSED = {
    "no masks": (
        without_masks,
        "`data` must hold a folder of images and one of masks.*got images in",
    ),
    "colours": (colours, r"got .*masks/3.png: a mask must have integers in one channel, got RGB$"),
    "another size": (
        smaller,
        "masks as large as their images, 16×24 pixels, got 8×24 in .*/3.png$",
    ),
    "damaged": (damaged, "`data` must hold undamaged images, got .*masks/3.png: it is none of"),
    "other names": (
        other_names,
        "at least 3 images with a mask of the same name, got 0, and 8 without",
    ),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, change, message):
    write(tmp_path / "images", tmp_path / "masks")
    change(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        load_task(f"masks:{tmp_path}", probe_size=2, seed=3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"preprocess": "timm:resnet18"},
            "`preprocess` must be left out for masks:PATH, got 'timm:",
        ),
        ({"root": "."}, "`root` must be left out for masks:PATH, got '.'"),
        ({"probe_size": 1}, "`probe_size` must be at least 2, got 1"),
        ({"image_size": 0}, "`image_size` must be at least 1, got 0"),
        ({"num_classes": 2}, "`masks` must have class indices from 0 to 1"),
        ({"augment": "flip"}, "`augment` must be True, False or 'crop', got 'flip'"),
        ({"probe": "nowhere"}, "`probe` must be a folder, got nowhere"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, message):
    write(tmp_path / "images", tmp_path / "masks")
    with pytest.raises(ValueError, match=rf"^{message}"):
        load_task(f"masks:{tmp_path}", **options)


def test_a_path_that_is_not_there():
    with pytest.raises(ValueError, match=r"^`data` must be a folder, got nowhere$"):
        load_task("masks:nowhere")
    with pytest.raises(
        ValueError, match=r"^`data` must be a folder, a .parquet or .* got 'mask:x'"
    ):
        load_task("mask:x")


def test_images_that_need_too_much_memory_are_refused(tmp_path, monkeypatch):
    write(tmp_path / "images", tmp_path / "masks")
    monkeypatch.setattr("prescreen.tasks.images.dataset.MEMORY_LIMIT", 1000)
    with pytest.raises(ValueError, match=r"^`image_size` must be such that 6 images take at most"):
        load_task(f"masks:{tmp_path}")


# -- users


def test_the_command_line_ranks_networks_on_masks(tmp_path, monkeypatch, capsys):
    pytest.importorskip("typer", reason="the cli extra is not installed")
    from prescreen.cli.app import run

    write(tmp_path / "images", tmp_path / "masks")
    monkeypatch.chdir(tmp_path)
    space = tmp_path / "space.py"
    space.write_text(
        "from torch import nn\n"
        "def sample(trial):\n    return {'kernel': trial.suggest_categorical('kernel', [1, 3])}\n"
        "def build(config, *, num_classes, in_channels):\n"
        "    k = config['kernel']\n"
        "    return nn.Conv2d(in_channels, num_classes, k, padding=k // 2)\n"
    )
    options = ["--samples", "2", "--on", "here", "--steps", "4", "--batch-size", "4"]
    assert run(["rank", str(space), "--data", f"masks:{tmp_path}", *options]) == 0
    _, _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert (first.split()[0], second.split()[0]) == ("1", "2")
    assert len([*(tmp_path / "prescreen-runs").iterdir()]) == 1


@pytest.mark.skipif(not NUCLEI.is_dir(), reason="nuclei are not in ../shared/data/nuclei")
def test_nuclei():
    task = load_task(f"instances:{NUCLEI}", image_size=32)
    assert task.sizes == {"num_classes": 2, "in_channels": 3, "image_size": (32, 32)}
    assert (len(task.probe), len(task.batches.data.targets)) == (40, 120)
    share = (task.batches.data.targets == 1).float().mean().item()
    there = [(np.asarray(Image.open(path)) > 0).mean() for path in (NUCLEI / "labels").iterdir()]
    assert share == pytest.approx(np.mean(there), abs=0.03)
