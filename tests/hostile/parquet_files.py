"""Parquet files of images: equal to what pyarrow and Pillow read in them, or refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from data_files import LABELS, PROBE, TRAIN, decoded, encoded, expected, pixels, require_equal, seen
from kinds import Kind, in_file
from mutators import BYTES

IMAGES = [encoded(image) for image in pixels(0, TRAIN)]


def write(path, images, labels=None, *, columns=("image", "label")):
    table = {columns[0]: [{"bytes": image, "path": None} for image in images]}
    if labels is not None:
        table[columns[1]] = labels
    pyarrow.parquet.write_table(pa.table(table), path, compression="none")


def prepare(folder):
    (folder / "data").mkdir()
    write(folder / "data" / "train-00000.parquet", IMAGES, LABELS)
    write(folder / "data" / "test-00000.parquet", [encoded(image) for image in pixels(1, PROBE)])
    return truth(folder / "data")


def check(folder, right):
    require_equal(seen(folder / "data"), right, lambda: truth(folder / "data"))


def truth(folder):
    table = pyarrow.parquet.read_table(folder / "train-00000.parquet")
    held = pyarrow.parquet.read_table(folder / "test-00000.parquet")
    train, probe = (
        [decoded(value["bytes"]) for value in one["image"].to_pylist()] for one in (table, held)
    )
    labels = np.array(table["label"].to_pylist())
    sparse = labels.dtype.kind == "U" or labels.max() >= len(labels)
    return expected(train, np.unique(labels, return_inverse=True)[1] if sparse else labels, probe)


def _labels(*forms):
    def change(dice, folder):
        write(folder / "data" / "train-00000.parquet", IMAGES, dice.choice(forms))

    return change


def _images(*forms):
    """One image of the file is another."""

    def change(dice, folder):
        images = list(IMAGES)
        images[dice.randrange(TRAIN)] = dice.choice(forms)
        write(folder / "data" / "train-00000.parquet", images, LABELS)

    return change


def _changed_image(dice, folder):
    images = list(IMAGES)
    row = dice.randrange(TRAIN)
    images[row] = dice.choice(list(BYTES.values()))(dice, images[row])
    write(folder / "data" / "train-00000.parquet", images, LABELS)


def _columns(dice, folder):
    names = dice.choice([("img", "labels"), ("picture", "label"), ("image", "fine_label")])
    write(folder / "data" / "train-00000.parquet", IMAGES, LABELS, columns=names)


def _plain_columns(dice, folder):
    forms = ([1] * TRAIN, ["x"] * TRAIN, IMAGES, [None] * TRAIN, [[1.0]] * TRAIN)
    table = pa.table({"image": dice.choice(forms), "label": LABELS})
    pyarrow.parquet.write_table(table, folder / "data" / "train-00000.parquet")


def _other_names(dice, folder):
    path = folder / "data" / "train-00000.parquet"
    name = dice.choice(["0000.parquet", "training.parquet", ".train.parquet", "train.PARQUET", "x"])
    path.rename(path.with_name(name))


_BIG = 2**63 - 1
KIND = Kind(
    prepare,
    {
        "labels": _labels(
            *(np.where(LABELS == 1, value, LABELS) for value in (-1, 7, 100_001, _BIG)),
            *(["cat", "dog", "eel"] * 8, [None] * TRAIN, [0.5] * TRAIN, [True, False] * 12),
            *([b"a", b"b"] * 12, [[0]] * TRAIN, (LABELS.astype("u8") + np.uint64(2**64 - 9))),
        ),
        "images": _images(
            *(b"", None, b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a", b"\x89PNG\r\n\x1a\n"),
            *(encoded(pixels(5, 1)[0], form) for form in ("BMP", "GIF", "TIFF", "PPM", "JPEG")),
            *(encoded(np.zeros(shape, np.uint8)) for shape in ((1, 1), (8, 8, 3), (8, 8, 4))),
            encoded(np.zeros((8, 8), np.uint16)),
        ),
        "image changed": _changed_image,
        "columns": _columns,
        "plain columns": _plain_columns,
        "no rows": lambda dice, folder: write(folder / "data" / "train-00000.parquet", [], []),
        "other names": _other_names,
        **in_file("data/train-*.parquet", BYTES),
    },
    check,
    cases=120,
)
