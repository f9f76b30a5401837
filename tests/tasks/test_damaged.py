"""Damaged and odd data through load_task: each is read rightly, or refused in one line that says why."""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from toy_images import Image, encode, parquet, pictures, pyarrow, write_folder

from prescreen.tasks import load_task
from prescreen.tasks.images import dataset

SOME = pictures(8)


def refused(data, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_task(data, probe_size=2)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 700
    assert text.isprintable()


# -- one odd image in a folder


def with_one(folder, content, name="odd.png"):
    write_folder(folder, {"a": SOME[:4], "b": SOME[4:]})
    (folder / "b" / name).write_bytes(content)
    return folder


def png(width, height, depth=8, colour=2, data=b""):
    """A PNG whose header may promise more than there is."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    ]
    body = [
        struct.pack(">I", len(of)) + kind + of + struct.pack(">I", zlib.crc32(kind + of))
        for kind, of in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def many_frames(kind):
    buffer = io.BytesIO()
    SOME[0].save(buffer, kind, save_all=True, append_images=SOME[1:4])
    return buffer.getvalue()


PNG, JPEG = encode(SOME[0]), encode(SOME[0], "JPEG")
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"
NOT_MEANT = r"odd\.png: it is none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP$"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"undamaged images, got .*b/odd\.png: it is empty$"),
        (b"no image", NOT_MEANT),
        (PNG[:30], NOT_MEANT),
        (EPS, NOT_MEANT),
        (encode(SOME[0], "PDF"), NOT_MEANT),
        (encode(SOME[0], "ICO"), NOT_MEANT),
        (encode(SOME[0], "TGA"), NOT_MEANT),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NOT_MEANT),
        (PNG[: len(PNG) // 2], r"odd\.png: .*[Tt]runcated"),
        (JPEG[: len(JPEG) // 2], r"odd\.png: .*[Tt]runcated"),
        (png(16, 16), r"undamaged images, got .*odd\.png: "),
        (png(0, 16), r"undamaged images, got .*odd\.png: "),
        (png(16, 16, depth=9), r"undamaged images, got .*odd\.png: "),
        (png(20_000, 9_500), r"size that Pillow opens, got .*odd\.png: .*190000000 pixels"),
        (png(2**31 - 1, 2**31 - 1), r"size that Pillow opens, got .*odd\.png: "),
    ],
)
def test_a_damaged_image_is_named_with_the_reason(content, reason, tmp_path):
    refused(with_one(tmp_path, content), rf"^`data` must hold .*{reason}")


def test_postscript_starts_no_other_program(tmp_path, monkeypatch):
    import subprocess

    import PIL.EpsImagePlugin

    def refuse(*args, **kwargs):
        raise AssertionError("a program is started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(PIL.EpsImagePlugin, "Ghostscript", refuse)
    Image.init()
    refused(with_one(tmp_path, EPS), NOT_MEANT)


def expected(picture):
    return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)


DEEP = np.random.default_rng(0).integers(0, 2**16, (16, 16), dtype=np.uint16)
SCALED = np.broadcast_to((DEEP / 257).round(), (3, 16, 16))
CLEAR = SOME[0].convert("RGBA")
CLEAR.putalpha(Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)))


@pytest.mark.parametrize(
    ("content", "pixels"),
    {
        "16-bit PNG": (encode(Image.fromarray(DEEP)), SCALED),
        "16-bit TIFF": (encode(Image.fromarray(DEEP), "TIFF"), SCALED),
        "16-bit PGM": (b"P5 16 16 65535\n" + DEEP.astype(">u2").tobytes(), SCALED),
        "big-endian TIFF": (encode(Image.fromarray(DEEP.astype(">u2")), "TIFF"), SCALED),
        "RGBA": (encode(CLEAR), expected(SOME[0])),
        "grey and alpha": (encode(SOME[0].convert("LA")), expected(SOME[0].convert("L"))),
        "palette": (encode(SOME[0].convert("P")), expected(SOME[0].convert("P"))),
        "bits": (encode(SOME[0].convert("1")), expected(SOME[0].convert("1"))),
        "CMYK": (encode(SOME[0].convert("CMYK"), "TIFF"), expected(SOME[0].convert("CMYK"))),
        "first of a GIF": (
            many_frames("GIF"),
            expected(Image.open(io.BytesIO(many_frames("GIF")))),
        ),
        "first of a PNG": (many_frames("PNG"), expected(SOME[0])),
        "first of a TIFF": (many_frames("TIFF"), expected(SOME[0])),
        "JPEG called PNG": (JPEG, expected(Image.open(io.BytesIO(JPEG)))),
        "PNG with a tail": (PNG + b"and more", expected(SOME[0])),
        "one pixel": (encode(SOME[0].resize((1, 1))), None),
        "one column": (encode(SOME[0].resize((1, 40))), None),
        "a megapixel": (encode(Image.new("L", (1000, 1000), 7)), np.full((3, 16, 16), 7)),
    }.values(),
)
def test_an_odd_image_is_read_rightly(content, pixels, tmp_path):
    for seed in range(9):  # until it is not in the probe
        task = load_task(with_one(tmp_path / str(seed), content), probe_size=2, seed=seed)
        labels = task.batches.samples.labels
        if (labels == 1).sum() == 5:
            break
    image = task.batches.samples.images[-1]
    assert image.dtype == torch.uint8
    assert image.shape == (3, 16, 16)
    if pixels is not None:
        np.testing.assert_array_equal(image.numpy(), pixels)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_images_of_few_pixels(side, tmp_path):
    some = pictures(8, size=(side, side))
    write_folder(tmp_path, {"a": some[:4], "b": some[4:]})
    task = load_task(tmp_path, probe_size=2)
    assert (task.in_channels, *task.image_size) == (3, side, side)
    assert len(task.fingerprint) == 16
    assert next(task.batches(4, 0))[0].shape == (4, 3, side, side)


def test_an_8_bit_image_among_16_bit_ones_is_scaled_as_well(tmp_path):
    deep = [Image.fromarray(np.full((8, 8), 257 * v, np.uint16)) for v in (10, 20, 30)]
    low = Image.fromarray(np.full((8, 8), 30, np.uint8))
    write_folder(tmp_path / "train", {"a": deep[:2], "b": deep[2:]})
    write_folder(tmp_path, {"val": [low, deep[0], deep[1]]})
    probe = load_task(tmp_path, probe_size=3).probe
    np.testing.assert_allclose(
        sorted(probe[:, 0, 0, 0].tolist()),
        (np.array([10, 20, 30]) - 20) / np.std([10, 20, 30]),
        1e-4,
    )
    low.save(tmp_path / "train" / "b" / "1.png")
    images = load_task(tmp_path, probe_size=3).batches.samples.images
    assert sorted(images[:, 0, 0, 0].tolist()) == [10, 20, 30, 30]


def test_depths_are_scaled_on_demand_as_in_memory(tmp_path, monkeypatch):
    with_one(tmp_path, encode(Image.fromarray(DEEP)))
    held = load_task(tmp_path, probe_size=2, augment=False)
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", 0)
    lazy = load_task(tmp_path, probe_size=2, augment=False)
    assert torch.equal(lazy.probe, held.probe)
    pairs = zip(next(lazy.batches(7, 0)), next(held.batches(7, 0)), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_file_that_is_gone_or_links_to_itself_is_named(tmp_path):
    for target in ("nowhere.png", "odd.png"):
        folder = tmp_path / target
        write_folder(folder, {"a": SOME[:4], "b": SOME[4:]})
        (folder / "b" / "odd.png").symlink_to(folder / "b" / target)
        refused(folder, r"^`data` must have readable files, got .*b/odd\.png: ")


# -- .npz


def member(array=None, header=None, version=(1, 0), body=b""):
    """The bytes of an .npy file, with a header that may lie."""
    if header is None:
        buffer = io.BytesIO()
        np.save(buffer, array)
        return buffer.getvalue()
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header.encode() + body


def described(shape, kind="|u1", order=False):
    return f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}\n"


X, Y = member(np.zeros((4, 5, 5), np.uint8)), member(np.arange(4) % 2)


def archive(folder, members, compression=zipfile.ZIP_DEFLATED):
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w", compression) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


LIE = r"of .*a\.npz: its header says .*, but it has 100 bytes$"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"x.npy": member(header=described((2**40, 5, 5)), body=bytes(100))}, f"got x {LIE}"),
        ({"x.npy": member(header=described((4, 2**62, 4)), body=bytes(100))}, f"got x {LIE}"),
        ({"x.npy": member(header=described((2**64, 2, 2)), body=bytes(100))}, f"got x {LIE}"),
        ({"x.npy": member(header=described((-4, -5, 5)), body=bytes(100))}, f"got x {LIE}"),
        ({"x.npy": member(header=described((4, 5)), body=bytes(100))}, f"got x {LIE}"),
        ({"y.npy": member(header=described((2**50,), "<i8"), body=bytes(100))}, f"got y {LIE}"),
        (
            {"y.npy": member(header=described((4,), "|O"), body=b"cos\nsystem\n")},
            r"got y of .*a\.npz: it holds Python objects$",
        ),
        ({"x.npy": member(header="{'descr': __import__('os')}")}, r"got x of .*a\.npz: "),
        ({"x.npy": member(header="", version=(9, 0))}, r"got x of .*a\.npz: its format 9\.0"),
        ({"x.npy": member(header=" " * 60_000)}, r"got x of .*a\.npz: "),
        ({"x.npy": member(header="\0{" + "x" * 9000)}, r"got x of .*a\.npz: "),
        ({"x.npy": b"no array"}, r"got x of .*a\.npz: "),
        ({"x.npy": b""}, r"got x of .*a\.npz: "),
        ({"x.npy": X[:-3]}, r"got x of .*a\.npz: its header says uint8 \(4, 5, 5\), but it has 97"),
        ({"x.npy": X + b"more"}, r"got x of .*a\.npz: its header says .*, but it has 104"),
        ({"x.npy": None}, r"must have one of the keys .*, got y in .*a\.npz$"),
        ({"y.npy": None}, r"must have one of the keys .*, got x in .*a\.npz$"),
        ({"x.npy": None, "y.npy": None, "\x1b[2J": b""}, r"got \\x1b\[2J in .*a\.npz$"),
        ({"x.npy": member(np.float64(1))}, r"in x, got float64 \(\) in .*a\.npz$"),
        ({"x.npy": member(np.zeros((0, 5, 5)))}, r"in x, got float64 \(0, 5, 5\) in .*a\.npz$"),
        ({"x.npy": member(np.zeros((4, 5, 5), "c8"))}, r"in x, got complex64 \(4, 5, 5\) in "),
        ({"x.npy": member(np.zeros((4, 5, 5, 4)))}, r"in x, got float64 \(4, 5, 5, 4\) in "),
        ({"x.npy": member(np.full((4, 5, 5), np.inf))}, "must be finite, got NaN or infinite"),
        ({"x.npy": member(np.full((4, 5, 5), 1e300))}, "must be finite, got NaN or infinite"),
        ({"x.npy": None, **{f"{i}.npy": Y for i in range(500)}}, r"got y, 0, 1, .*… in .*a\.npz$"),
        ({"x.npy": member(np.zeros((5, 5, 5)))}, r"must have y of shape \(5,\), got \(4,\) in "),
        ({"y.npy": member(np.zeros(4, "M8[s]"))}, r"in y of .*a\.npz must be .*, got datetime64"),
        ({"y.npy": member(np.array([0, 1, -9, 1]))}, r"in y of .*a\.npz must be .*, got -9$"),
        ({"x_test.npy": b"no array"}, r"got x_test of .*a\.npz: "),
        ({"x_test.npy": member(np.zeros((4, 5)))}, r"in x_test, got float64 \(4, 5\) in "),
        (
            {"x_test.npy": member(np.zeros((4, 5, 5)))},
            r"must have x and x_test of one scale, got uint8 and float64 in .*a\.npz$",
        ),
    ],
)
def test_a_damaged_archive_is_named_with_key_and_reason(members, reason, tmp_path):
    whole = {"x.npy": X, "y.npy": Y} | members
    path = archive(tmp_path, {name: of for name, of in whole.items() if of is not None})
    refused(path, reason)


def test_an_array_of_zeros_larger_than_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 1000)
    x = member(np.zeros((1000, 30, 30), np.uint8))
    path = archive(tmp_path, {"x.npy": x, "y.npy": member(np.arange(1000) % 2)})
    refused(
        path, r"got x of .*a\.npz: its 900,000 bytes are more than half of this machine's memory$"
    )


@pytest.mark.parametrize("tell", [b"PK\x03\x04", b"PK", b"\x80\x04.", b"\x93NUMPY", b""])
def test_what_is_no_archive_is_named(tell, tmp_path):
    (tmp_path / "a.npz").write_bytes(tell)
    refused(tmp_path / "a.npz", r"^`data` must be an.* \.npz archive.*, got .*a\.npz")


def test_dark_test_images_of_16_bits_are_scaled_as_training_images_are(tmp_path):
    x = np.random.default_rng(0).integers(0, 2**16, (40, 6, 6), dtype=np.uint16)
    x[0] = 0, 1, 2, 3, 4, 5
    keys = {"y_train": np.arange(40) % 2, "x_test": x[:2]}
    for train, test in ((x, x[:1].repeat(3, 0)), (x // 256, x)):
        np.savez(tmp_path / "a.npz", **{**keys, "x_train": train, "x_test": test})
        with pytest.warns(UserWarning, match="^`probe` must be images like those of training"):
            task = load_task(tmp_path / "a.npz", probe_size=3)
        inputs = (test - train.mean()) / train.std()
        rows = np.abs(task.probe.numpy()[:, None, 0] - inputs[None]).max((2, 3)).min(1)
        assert rows.max() < 1e-4 * np.abs(inputs).max()


# -- parquet


def table(folder, name="a.parquet", **columns):
    good = [{"bytes": encode(p), "path": None} for p in pictures(4)]
    columns = {"image": good, "label": [0, 1, 0, 1]} | columns
    parquet.write_table(pyarrow.table(columns), folder / name, compression="none")
    return folder / name


BYTES = [encode(p) for p in pictures(4)]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"image": [*BYTES[:3], None]}, r"bytes in image, got none in row 3 of .*a\.parquet$"),
        ({"image": [*BYTES[:3], b""]}, r"bytes in image, got none in row 3 of .*a\.parquet$"),
        ({"image": [b"x", *BYTES[1:]]}, r"undamaged images, got row 0 of .*a\.parquet: it is none"),
        ({"image": [EPS, *BYTES[1:]]}, r"undamaged images, got row 0 of .*a\.parquet: it is none"),
        ({"image": [[[1]]] * 4}, r"bytes in image, got list in row 0 of .*a\.parquet$"),
        ({"image": ["0.png"] * 4}, r"bytes in image, got str in row 0 of .*a\.parquet$"),
        (
            {"image": [{"bytes": None, "path": "\x1b/etc/passwd"}] * 4},
            r"got only the path \\x1b/etc/passwd in row 0 of .*a\.parquet$",
        ),
        ({"image": [{"pixels": 3}] * 4}, r"got none in row 0 of .*a\.parquet$"),
        ({"label": [[0], [1], [0], [1]]}, r"must be .* names, got \[0\] in row 0 of .*a\.parquet$"),
        ({"label": [0, 1, None, 1]}, r"must be .* names, got None in row 2 of .*a\.parquet$"),
        ({"label": [b"\n" * 5000] * 4}, r"got b'\\n.*… in row 0 of .*a\.parquet$"),
        ({"label": [None] * 4}, r"must be .* names, got None in row 0 of .*a\.parquet$"),
        ({"label": [0.5, 1, 0, 1]}, r"must be .* names, got 0.5 in row 0 of .*a\.parquet$"),
        (
            {"image": pyarrow.array([], "binary"), "label": []},
            r"one row, got none in .*a\.parquet$",
        ),
    ],
)
def test_odd_columns_of_parquet_files_are_named(columns, reason, tmp_path):
    refused(table(tmp_path, **columns), reason)


def test_rows_are_counted_in_their_own_file(tmp_path):
    table(tmp_path, "train-0.parquet")
    table(tmp_path, "train-1.parquet", image=[*BYTES[:2], b"x", BYTES[3]])
    refused(tmp_path, r"undamaged images, got row 2 of .*train-1\.parquet: ")
    table(tmp_path, "train-1.parquet", label=[0, None, 1, 0])
    refused(tmp_path, r"got None in row 1 of .*train-1\.parquet$")


@pytest.mark.parametrize("kind", ["binary", "large_binary", "struct"])
def test_images_may_be_any_bytes(kind, tmp_path):
    plain = load_task(table(tmp_path), probe_size=2).fingerprint
    column = [{"bytes": b} for b in BYTES] if kind == "struct" else pyarrow.array(BYTES, kind)
    assert load_task(table(tmp_path, image=column), probe_size=2).fingerprint == plain


def test_corrupt_parquet_files_are_named(tmp_path):
    path = table(tmp_path)
    whole = path.read_bytes()
    for begin, end in ((4, 40), (len(whole) - 60, len(whole) - 8), (len(whole) - 8, len(whole))):
        path.write_bytes(whole[:begin] + bytes(b ^ 255 for b in whole[begin:end]) + whole[end:])
        refused(path, r"^`data` must be an undamaged parquet file, got .*a\.parquet: ")
    for cut in (b"", whole[:10], whole[: len(whole) // 2]):
        path.write_bytes(cut)
        refused(path, r"^`data` must be an undamaged parquet file, got .*a\.parquet: ")


def test_checksums_of_parquet_pages_are_checked(tmp_path):
    path = table(tmp_path)
    kept = parquet.read_table(path)
    parquet.write_table(kept, path, compression="none", write_page_checksum=True)
    whole = path.read_bytes()
    middle = whole.index(BYTES[1]) + len(BYTES[1]) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    refused(path, r"^`data` must be an undamaged parquet file, got image of .*a\.parquet: .*[Cc]RC")


def test_pipes_called_parquet_are_not_opened(tmp_path):
    table(tmp_path, "train-0.parquet")
    os.mkfifo(tmp_path / "train-1.parquet")
    assert len(load_task(tmp_path, probe_size=2).batches.samples) == 2


# -- paths


@pytest.mark.parametrize(
    "data", ["a\0b", "x" * 5000, "~nobody_of_this_name/x", "pipe.npz", "pipe.parquet", "", "\udcff"]
)
def test_paths_that_lead_nowhere_are_refused(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.npz")
    os.mkfifo("pipe.parquet")
    refused(
        data, r"^`data` must be a folder, a \.parquet or \.npz file, or one of digits, .*, got "
    )
