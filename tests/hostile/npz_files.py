"""Archives of arrays (.npz): equal to what NumPy reads in them, or refused."""

import io
import struct
from functools import partial

import numpy as np
from data_files import LABELS, PROBE, TRAIN, expected, pixels, require_equal, seen
from kinds import Kind, in_file
from mutators import BYTES, ZIP, rezipped

FILE = "data.npz"
ARRAYS = {"x_train": pixels(0, TRAIN), "y_train": LABELS, "x_test": pixels(1, PROBE)}


def prepare(folder):
    np.savez(folder / FILE, **ARRAYS)
    return expected(*read(folder / FILE))


def check(folder, right):
    readers = (counted, resized, named)
    require_equal(seen(folder / FILE), right, *(partial(reader, folder) for reader in readers))


def counted(folder):
    """Labels are class indices."""
    train, labels, probe = read(folder / FILE)
    assert labels.dtype.kind in "iu"
    assert 0 <= labels.min() <= labels.max() < len(labels)
    return expected(train, labels, probe)


def resized(folder):
    """Labels are class indices, and images of another size are resized as bytes, which are rounded."""
    return expected(*read(folder / FILE, whole=True))


def named(folder):
    """Labels are names of classes, whatever they look like."""
    train, labels, probe = read(folder / FILE)
    return expected(train, np.unique(labels, return_inverse=True)[1], probe)


def read(path, *, whole=False):
    with np.load(path, allow_pickle=False) as archive:
        train = images(first(archive, "x_train", "x"), whole)
        labels = first(archive, "y_train", "labels").reshape(-1)
        probe = images(archive["x_test"], whole) if "x_test" in archive else None
    assert len(labels) == len(train)
    return train, labels, probe


def first(archive, *keys):
    return archive[next(key for key in keys if key in archive)]


def images(array, whole):
    """(n, C, H, W) of numbers."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    assert array.shape[1] in (1, 3)
    return array if whole else array.astype(np.float32)


def _arrays(change):
    def write(dice, folder):
        np.savez(folder / FILE, **change(dice, dict(ARRAYS)))

    return write


def _each(key, *forms):
    """One of several other arrays under a key."""
    return _arrays(lambda dice, arrays: {**arrays, key: dice.choice(forms)(arrays[key])})


class Evil:
    def __reduce__(self):
        return open, ("../../CANARY", "w")


def _object(dice, folder):
    with (folder / FILE).open("wb") as file:
        np.savez(file, **{**ARRAYS, dice.choice(list(ARRAYS)): np.array([Evil()] * TRAIN)})


def _header(dice, data):
    """The header of one array claims another shape, type or order."""
    claims = [
        {"shape": dice.choice([(2**40,), (2**62, 8, 8), (-1, 8, 8), (), (24, 8), (0, 8, 8), "x"])},
        {"descr": dice.choice(["|O", "<f8", ">u2", "|S8", "|V16", "<M8[s]", "x", ["a"], "<c16"])},
        {"fortran_order": dice.choice([True, "yes", 1])},
        {"shape": (TRAIN, 16, 4)},
    ]
    claim, name = dice.choice(claims), dice.choice(list(ARRAYS))

    def change(members):
        for member, content in members:
            if member == f"{name}.npy":
                array = np.load(io.BytesIO(content))
                header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
                text = f"{header | claim}\n".encode()
                content = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + array.tobytes()
            yield member, content

    return rezipped(data, change)


FORMS = {
    "types of images": _each(
        "x_train",
        *(lambda x, t=t: x.astype(t) for t in ("f2", "f8", ">u2", "i8", "?", "c8", "S4", "u8")),
    ),
    "types of probe": _each("x_test", *(lambda x, t=t: x.astype(t) for t in ("f8", "u2", "i1"))),
    "sixteen bits, dark probe": _arrays(
        lambda _, arrays: {**arrays, "x_train": arrays["x_train"].astype("u2") * 200}
    ),
    "values of images": _each(
        "x_train",
        *(lambda x, v=v: np.where(x > 250, v, x.astype("f4")) for v in (np.nan, np.inf, -1, 3e38)),
        lambda x: x * 0,
        lambda x: x.astype("i8") - 2**40,
    ),
    "shapes of images": _each(
        "x_train",
        lambda x: np.repeat(x[..., None], 3, 3),
        lambda x: np.repeat(x[:, None], 3, 1),
        lambda x: np.repeat(x[..., None], 32, 3),
        lambda x: x[:, None, None],
        lambda x: x[:0],
        lambda x: x[:, :1, :1],
        lambda x: x.reshape(len(x), -1),
        lambda x: x[:1],
        lambda x: x[:, :, :0],
    ),
    "types of labels": _each(
        "y_train",
        *(lambda y, t=t: y.astype(t) for t in ("u8", "f8", "S1", "U3", "i1", "?", "M8[s]", "c8")),
    ),
    "values of labels": _each(
        "y_train",
        *(lambda y, v=v: np.where(y == 1, v, y) for v in (-1, 7, 100_001, 2**40, 2**62)),
        lambda y: y.astype("u8") + np.uint64(2**64 - 3),
        lambda y: y * 100_001,
        lambda y: y * 0,
    ),
    "shapes of labels": _each(
        "y_train", lambda y: y[:-1], lambda y: y[:, None], lambda y: np.eye(3)[y], lambda y: y[0]
    ),
    "key missing": _arrays(lambda dice, a: {k: a[k] for k in dice.sample(list(a), 2)}),
    "other keys": _arrays(lambda _, a: {"x": a["x_train"], "labels": a["y_train"]}),
    "pickled objects": _object,
}
KIND = Kind(
    prepare,
    {**FORMS, **in_file(FILE, {"claims": _header, **ZIP, **BYTES})},
    check,
    cases=170,
)
