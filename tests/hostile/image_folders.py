"""Folders of images: equal to what Pillow reads in the plain files of every class, or refused."""

import os

import numpy as np
from data_files import (
    CLASSES,
    PROBE,
    TRAIN,
    decoded,
    encoded,
    expected,
    pixels,
    require_equal,
    seen,
)
from kinds import Kind, in_file
from mutators import BYTES

NAMES = ("cat", "dog", "eel")
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
MORE = {".jfif", ".heic"}  # may be read or left out, but not without a word


def prepare(folder):
    for split, seed, count in (("train", 0, TRAIN), ("val", 1, PROBE)):
        for number, image in enumerate(pixels(seed, count)):
            of_class = folder / "data" / split / NAMES[number % CLASSES]
            of_class.mkdir(parents=True, exist_ok=True)
            (of_class / f"{number:03d}.png").write_bytes(encoded(image))
    return truth(folder / "data")


def check(folder, right):
    reads = [lambda some=some: truth(folder / "data", some) for some in (SUFFIXES, SUFFIXES | MORE)]
    require_equal(seen(folder / "data"), right, *reads)


def truth(folder, suffixes=SUFFIXES):
    train, probe = folder / "train", folder / "val"
    classes = sorted(path for path in train.iterdir() if path.is_dir() and path.name[0] != ".")
    files = [files_of(one, suffixes) for one in classes]
    labels = [number for number, some in enumerate(files) for _ in some]
    images = [decoded(file.read_bytes()) for some in files for file in some]
    held = [decoded(file.read_bytes()) for file in files_of(probe, suffixes)]
    return expected(images, labels, held, len(classes))


def files_of(folder, suffixes):
    """The images in a folder: plain files, without hidden ones and those in hidden folders."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _new(*names, content=None, where="data/train/cat"):
    """One more file of some name; another image, unless its content is given."""

    def change(dice, folder):
        path = folder / where / dice.choice(names)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels(7, 1)[0]) if content is None else dice.choice(content))

    return change


def _made(make, *names):
    """Something else than a plain file."""
    return lambda dice, folder: make(folder / "data" / "train" / "dog" / dice.choice(names))


def _renamed(dice, folder):
    splits = {
        "train": ("Train", "TRAIN", "training", "Training"),
        "val": ("Val", "valid", "test", "Testing", "VALIDATION"),
    }
    for old, names in splits.items():
        (folder / "data" / old).rename(folder / "data" / dice.choice([old, *names]))


def _class_named(dice, folder):
    for split in ("train", "val"):
        name = dice.choice(["train", "val", ".hidden", "a b", "a\nb", "=cmd", "\x1b[31m", "ü", "1"])
        (folder / "data" / split / "cat").rename(folder / "data" / split / name)


def _undecodable(dice, folder):
    path = os.fsencode(folder / "data" / "train" / "cat") + b"/\xff\xfe.png"
    with open(path, "wb") as file:
        file.write(encoded(pixels(7, 1)[0]))


def _moved(dice, folder):
    """An image under the name of another format."""
    path = dice.choice(sorted((folder / "data" / "train").rglob("*.png")))
    path.rename(path.with_suffix(dice.choice([".jpg", ".PNG", ".txt", ".jfif", ".heic", ".tiff"])))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(../../CANARY) (w) file closefile\nshowpage\n"
ODD = [encoded(np.zeros(s, t)) for s, t in (((1, 1), "u1"), ((8, 8), "u2"), ((300, 2, 3), "u1"))]
KIND = Kind(
    prepare,
    {
        "one more": _new("a b.png", "ü.png", "a\nb.png", "=cmd.png", "x" * 200 + ".png"),
        "hidden": _new(".more.png", ".hidden/more.png", ".ipynb_checkpoints/000.png"),
        "beside": _new("notes.txt", "x.json", "more.jfif", "more.heic", "Thumbs.db", "README"),
        "in no class": _new("more.png", "notes.txt", where="data/train"),
        "another program": _new("0.png", "0.eps", "0.jpg", content=[EPS]),
        "odd images": _new("more.png", content=[*ODD, b"", b"P5 99999 99999 255\n", b"GIF89a"]),
        "a pipe": _made(os.mkfifo, "x.png", "x.jpg"),
        "a folder": _made(os.mkdir, "x.png", "empty"),
        "a link to nothing": _made(lambda path: path.symlink_to("nowhere"), "x.png"),
        "a link in a circle": _made(lambda path: path.symlink_to(path.parent), "x.png", "circle"),
        "a device": _made(lambda path: path.symlink_to("/dev/null"), "x.png"),
        "not decodable": _undecodable,
        "other splits": _renamed,
        "other classes": _class_named,
        "other endings": _moved,
        **in_file("data/train/*/*.png", BYTES),
    },
    check,
    cases=130,
)
