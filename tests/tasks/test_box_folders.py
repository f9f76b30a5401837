"""Folders in the formats of Pascal VOC and COCO, and ``load_task("voc:PATH")``, ``"coco:PATH"``."""

import json
import logging
from pathlib import Path

import pytest
import torch

from prescreen import load_task
from prescreen.tasks import DetectionTask

Image = pytest.importorskip("PIL.Image", reason="the images extra is not installed")

BCCD = Path(__file__).parents[3] / "shared" / "data" / "bccd"
NAMES = ("disc", "square")
SIZE = (64, 96)  # of files, height and width


def box_of(number):
    """Left, top, right and bottom of the only object of an image, in its pixels."""
    return 4 + 3 * number, 10 + number, 34 + 3 * number, 30 + number


def save_image(path, number):
    """An image that is bright in its box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", SIZE[::-1], (number, 0, 0))
    picture.paste((number, 255, 255), box_of(number))
    picture.save(path)


def xml(*objects, size=SIZE):
    parts = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box, difficult in objects
    )
    return f"<annotation><size><width>{size[1]}</width></size>{parts}</annotation>"


def one_based(box):
    return box[0] + 1, box[1] + 1, box[2], box[3]


def voc(root, numbers=range(8), lists=None, images="JPEGImages", annotations="Annotations"):
    (root / annotations).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        save_image(root / images / f"{number}.png", number)
        text = xml((NAMES[number % 2], one_based(box_of(number)), 0))
        (root / annotations / f"{number}.xml").write_text(text)
    for name, listed in (lists or {}).items():
        path = root / "ImageSets" / "Main" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(map(str, listed)) + "\n")
    return root


def coco_content(numbers, folder="", boxes=box_of):
    annotations = [
        {
            "id": number,
            "image_id": number,
            "category_id": 7 if number % 2 else 3,
            "bbox": [boxes(number)[0], boxes(number)[1], 30, 20],
            "iscrowd": 0,
        }
        for number in numbers
    ]
    return {
        "images": [{"id": n, "file_name": f"{folder}{n}.png"} for n in numbers],
        "annotations": annotations,
        "categories": [{"id": 7, "name": NAMES[1]}, {"id": 3, "name": NAMES[0]}],
    }


def coco(root, numbers=range(8), images="images", file="annotations.json", content=None):
    for number in numbers:
        save_image(root / images / f"{number}.png", number)
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    made = coco_content(numbers) if content is None else content
    path.write_text(made if isinstance(made, str) else json.dumps(made))
    return root


def trained(task):
    """The numbers of the training images by the boxes, which must be those that the images show."""
    found = set()
    images, targets = next(task.batches.unaugmented(64, 0))
    for image, target in zip(images, targets, strict=True):
        number = round(image[0].mean().item() * 255)
        scale = torch.tensor([image.shape[2] / SIZE[1], image.shape[1] / SIZE[0]]).repeat(2)
        torch.testing.assert_close(target["boxes"], torch.tensor([box_of(number)]) * scale)
        assert target["labels"].tolist() == [1 + number % 2]
        found.add(number)
    return found


def probed(task):
    return {round(image[0].mean().item() * 255) for image in task.probe}


# -- splits

SPLITS = {
    "train and val": ({"train": range(5), "val": (5, 6, 7)}, {*range(5)}, {5, 6, 7}),
    "val before test": ({"train": range(4), "val": (4, 5), "test": (6, 7)}, {*range(4)}, {4, 5}),
    "train and test": ({"train": range(6), "test": (6, 7)}, {*range(6)}, {6, 7}),
    "trainval and val": ({"trainval": range(6), "val": (4, 5)}, {*range(4)}, {4, 5}),
    "trainval and test": ({"trainval": range(6), "test": (6, 7)}, {*range(6)}, {6, 7}),
    "val alone": ({"val": (1, 2, 3)}, {0, 4, 5, 6, 7}, {1, 2, 3}),
    "endings and blanks": (
        {"train": ("0.png", " 1 ", "", 2, 3), "test": (6, "7.png")},
        {0, 1, 2, 3},
        {6, 7},
    ),
}


@pytest.mark.parametrize(("lists", "train", "held"), SPLITS.values(), ids=SPLITS)
def test_splits_of_voc(lists, train, held, tmp_path):
    task = load_task(f"voc:{voc(tmp_path, lists=lists)}")
    assert isinstance(task, DetectionTask)
    assert (trained(task), probed(task)) == (train, held)
    assert task.classes == NAMES
    assert task.sizes == {"num_classes": 3, "in_channels": 3, "image_size": SIZE}


def test_without_splits_a_quarter_is_held_out(tmp_path):
    task = load_task(f"voc:{voc(tmp_path)}")
    assert len(probed(task)) == 2
    assert trained(task) == {*range(8)} - probed(task)
    assert probed(load_task(f"voc:{tmp_path}", seed=3)) != probed(task)


@pytest.mark.parametrize("inner", [".", "BCCD", "VOC2007"])
def test_the_folder_of_voc_may_be_one_level_down(tmp_path, inner):
    voc(tmp_path / inner)
    assert len(trained(load_task(f"voc:{tmp_path}"))) == 6


def test_other_names_of_the_folders(tmp_path):
    voc(tmp_path, images="images", annotations="annotations")
    assert len(trained(load_task(f"voc:{tmp_path}"))) == 6


COCO = {
    "one file": [("images", "annotations.json", range(8))],
    "images of a file beside it": [(".", "labels.json", range(8))],
    "COCO's own": [
        ("train2017", "annotations/instances_train2017.json", range(5)),
        ("val2017", "annotations/instances_val2017.json", range(5, 8)),
    ],
    "images in a folder": [
        ("images/train2017", "annotations/instances_train2017.json", range(5)),
        ("images/test2017", "annotations/instances_test2017.json", range(5, 8)),
    ],
    "Roboflow's": [
        ("train", "train/_annotations.coco.json", range(5)),
        ("valid", "valid/_annotations.coco.json", range(5, 8)),
    ],
}


@pytest.mark.parametrize("parts", COCO.values(), ids=COCO)
def test_layouts_of_coco(parts, tmp_path):
    for images, file, numbers in parts:
        coco(tmp_path, numbers, images, file)
    task = load_task(f"coco:{tmp_path}")
    if len(parts) == 1:
        assert trained(task) == {*range(8)} - probed(task)
    else:
        assert (trained(task), probed(task)) == ({*range(5)}, {5, 6, 7})
    assert task.classes == NAMES


def test_unannotated_images_of_a_split_are_the_probe(tmp_path):
    coco(tmp_path, range(5), "train", "instances_train.json")
    for number in (5, 6):
        save_image(tmp_path / "val" / f"{number}.png", number)
    task = load_task(f"coco:{tmp_path}")
    assert (trained(task), probed(task)) == ({*range(5)}, {5, 6})
    assert probed(load_task(f"coco:{tmp_path}", probe=tmp_path / "val")) == {5, 6}


def test_the_same_names_in_several_splits_are_told_apart(tmp_path):
    """Images are found in the folder of their split, or by what annotations call it."""
    for split, numbers in (("train", range(5)), ("val", range(5, 8))):
        content = coco_content(range(5), boxes=lambda n, first=numbers[0]: box_of(first + n))
        for place, number in enumerate(numbers):
            save_image(tmp_path / split / f"{place}.png", number)
        content["images"] = content["images"][: len(numbers)]
        (tmp_path / f"instances_{split}.json").write_text(json.dumps(content))
    task = load_task(f"coco:{tmp_path}")
    assert (trained(task), probed(task)) == ({*range(5)}, {5, 6, 7})


# -- sizes

SIZES = {
    "as they are": (None, (64, 96)),
    "the longer side": (192, (128, 192)),
    "multiples of 32": (150, (96, 160)),
    "both": ((40, 50), (40, 50)),
    "no less than 32": (20, (32, 32)),
}


@pytest.mark.parametrize(("image_size", "expected"), SIZES.values(), ids=SIZES)
def test_images_and_boxes_are_brought_to_one_size(image_size, expected, tmp_path):
    task = DetectionTask.from_folder(voc(tmp_path), image_size=image_size)
    assert task.sizes["image_size"] == expected
    assert len(trained(task)) == 6


def test_large_images_are_bounded(tmp_path):
    voc(tmp_path)
    for path in (tmp_path / "JPEGImages").iterdir():
        Image.open(path).resize((1200, 800)).save(path)
    assert load_task(f"voc:{tmp_path}").sizes["image_size"] == (224, 320)


def test_the_probe_is_bounded_by_its_values(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("prescreen.tasks.boxes.reading._PROBE_VALUES", 3 * 64 * 96 * 2)
    with caplog.at_level(logging.WARNING):
        task = load_task(f"voc:{voc(tmp_path, lists={'train': range(4), 'val': (4, 5, 6, 7)})}")
    assert len(task.probe) == 2
    assert "the probe has 2 images, not 4: 2^24 values" in caplog.text


def test_of_images_beyond_memory_some_are_drawn(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("prescreen.tasks.images.dataset.MEMORY_LIMIT", 3 * 64 * 96 * 4)
    with caplog.at_level(logging.WARNING):
        task = load_task(f"voc:{voc(tmp_path)}")
    assert len(trained(task)) == 4
    assert "4 of the images are drawn" in caplog.text


# -- what is left out


def test_what_is_left_out_of_voc_is_counted_in_one_line(tmp_path, caplog):
    voc(tmp_path, range(12), lists={"train": [*range(10), "gone"], "val": (10, 11)})
    good = ("disc", (1, 1, 9, 9), 0)
    odd = [good, ("disc", (1, 1, 5, 5), 1), ("square", (500, 1, 600, 9), 0)]
    (tmp_path / "Annotations" / "0.xml").write_text(xml(*odd))
    (tmp_path / "Annotations" / "1.xml").write_text(xml(("disc", (9, 9, 3, 3), 0)))
    (tmp_path / "Annotations" / "2.xml").write_text(xml())
    with caplog.at_level(logging.WARNING):
        task = load_task(f"voc:{tmp_path}")
    (line,) = [one.message for one in caplog.records]
    assert line == (
        f"{tmp_path}: left out 2 boxes without area in their image, 2 images without objects, "
        "1 listed images without a file or annotations, 1 difficult objects"
    )
    assert len(task.batches.images) == 8
    assert task.batches.boxes[0].tolist() == [[0, 0, 9, 9]]


def test_what_is_left_out_of_coco_is_counted_in_one_line(tmp_path, caplog):
    content = coco_content(range(9))
    content["images"].append({"id": 99, "file_name": "gone.png"})
    content["annotations"] += [
        {"id": 20, "image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        {"id": 21, "image_id": 2, "category_id": 3, "bbox": [5, 5, 0, 9]},
        {"id": 22, "image_id": 55, "category_id": 3, "bbox": [5, 5, 9, 9]},
    ]
    coco(tmp_path, range(9), "train", "instances_train.json", content)
    for number in (10, 11):
        save_image(tmp_path / "val" / f"{number}.png", number)
    with caplog.at_level(logging.WARNING):
        task = load_task(f"coco:{tmp_path}")
    (line,) = [one.message for one in caplog.records]
    for part in (
        "1 listed images without a file",
        "1 crowds",
        "1 objects of images that are not listed",
        "1 boxes without area in their image",
    ):
        assert part in line
    assert trained(task) == {*range(9)}


# -- odd and damaged files

ODD_XML = {
    "no XML": "no xml",
    "empty": "",
    "not closed": "<annotation><object>",
    "no name": "<annotation><object><bndbox/></object></annotation>",
    "no box": "<annotation><object><name>a</name></object></annotation>",
    "a word": xml(("disc", ("left", 1, 5, 5), 0)),
    "not finite": xml(("disc", ("nan", 1, 5, 5), 0)),
    "an encoding": '<?xml version="1.0" encoding="none"?><annotation/>',
}


@pytest.mark.parametrize("text", ODD_XML.values(), ids=ODD_XML)
def test_an_odd_file_of_voc_is_named_in_one_line(text, tmp_path):
    voc(tmp_path)
    (tmp_path / "Annotations" / "3.xml").write_text(text)
    refused(f"voc:{tmp_path}", r"^`data` must have sound annotations, got .*3\.xml: ")


def entry(**changes):
    content = coco_content(range(8))
    for path, value in changes.items():
        key, field = path.split("__")
        content[key][2][field] = value
    return content


ODD_JSON = {
    "no JSON": "{",
    "a list": "[]",
    "deep": "[" * 100_000,
    "no images": {"annotations": [], "categories": []},
    "images of another kind": {**coco_content(range(8)), "images": {"a": 1}},
    "entries of another kind": {**coco_content(range(8)), "annotations": [1, 2]},
    "an image without a name": entry(images__file_name=None),
    "an id that is a list": entry(images__id=[1]),
    "a box of three": entry(annotations__bbox=[1, 2, 3]),
    "a box of words": entry(annotations__bbox=["a", 1, 2, 3]),
    "no box": entry(annotations__bbox=None),
    "a box that is infinite": entry(annotations__bbox=[0, 0, float("inf"), 1]),
    "an unknown category": entry(annotations__category_id=1000),
    "a category that is a list": entry(annotations__category_id=[3]),
}


@pytest.mark.parametrize("content", ODD_JSON.values(), ids=ODD_JSON)
def test_an_odd_file_of_coco_is_named_in_one_line(content, tmp_path):
    coco(tmp_path, content=content)
    refused(f"coco:{tmp_path}", r"^`data` must have sound annotations, got .*annotations\.json: ")


def test_a_damaged_image_is_named(tmp_path):
    voc(tmp_path, lists={"train": range(6), "val": (6, 7)})
    (tmp_path / "JPEGImages" / "3.png").write_bytes(b"no image")
    refused(f"voc:{tmp_path}", r"^`data` must hold undamaged images, got .*3\.png: ")


def refused(data, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_task(data)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 700
    assert text.isprintable()


def test_folders_of_another_kind_are_refused_in_one_line(tmp_path):
    refused(f"voc:{tmp_path}", "`data` must hold JPEGImages and Annotations, itself or in one of")
    refused(f"coco:{tmp_path}", "`data` must hold annotations, such as .*, got none in ")
    refused(f"voc:{tmp_path / 'gone'}", "`data` must be a folder, got ")
    voc(tmp_path / "a")
    voc(tmp_path / "b")
    refused(f"voc:{tmp_path}", "itself or in one of its folders, got a and b in ")
    for path in (tmp_path / "a" / "Annotations").iterdir():
        path.write_text(xml())
    refused(f"voc:{tmp_path / 'a'}", "`data` must have objects to train on, got none in 8 images")
    coco(tmp_path / "c", file="x.json")
    coco(tmp_path / "c", file="y.json")
    refused(f"coco:{tmp_path / 'c'}", "`data` must hold one file of annotations for training")
    with pytest.raises(ValueError, match=r"`form` must be one of voc, coco, got 'yolo'"):
        DetectionTask.from_folder(tmp_path, "yolo")


def test_paths_cannot_leave_the_folder(tmp_path):
    save_image(tmp_path / "secret" / "0.png", 0)
    content = coco_content(range(8), "../secret/")
    coco(tmp_path / "data", content=content)
    refused(
        f"coco:{tmp_path / 'data'}", "`data` must have objects to train on, got none in 0 images"
    )


def test_the_blood_cells_of_bccd():
    if not BCCD.exists():
        pytest.skip("needs the data set bccd in shared/data")
    task = DetectionTask.from_folder(BCCD, image_size=64, probe_size=16)
    assert task.classes == ("Platelets", "RBC", "WBC")
    assert task.sizes == {"num_classes": 4, "in_channels": 3, "image_size": (64, 64)}
    assert (len(task.batches.images), task.probe.shape) == (205, (16, 3, 64, 64))
    assert sum(map(len, task.batches.labels)) == 2805
