import os
import socket

import pytest
from toy_images import pictures, write_folder

from prescreen.tasks import load_task

SOME = pictures(12)


def base(folder):
    write_folder(folder, {"a": SOME[:4], "b": SOME[4:8]})


def save(path, i=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    SOME[i].save(path, "PNG")


@pytest.mark.parametrize(
    "name",
    [
        *("a/.ipynb_checkpoints/0-checkpoint.png", "a/.hidden.png", "a/._0.png", ".git/x/0.png"),
        *("__MACOSX/a/0.png", "a/__MACOSX/0.png", "a/@eaDir/0.png/SYNOPHOTO_THUMB_XL.jpg"),
        *("a/deep/.cache/0.png", ".Trash-0/0.png", "#recycle/0.png", "b/Thumbs.db", ".DS_Store"),
        *("a/.DS_Store", "desktop.ini", "$RECYCLE.BIN/0.png"),
    ],
)
def test_hidden_files_and_folders_are_passed_over_anywhere(tmp_path, name, caplog):
    base(tmp_path)
    before = load_task(tmp_path, probe_size=2).fingerprint
    save(tmp_path / name)
    task = load_task(tmp_path, probe_size=2)
    assert (task.fingerprint, task.classes) == (before, ("a", "b"))
    assert not caplog.records


def test_a_hidden_folder_may_be_given(tmp_path):
    base(tmp_path / ".cache" / "set")
    assert load_task(tmp_path / ".cache" / "set", probe_size=2).num_classes == 2


def test_what_is_left_out_is_said_in_one_line(tmp_path, caplog, monkeypatch):
    base(tmp_path)
    monkeypatch.chdir(tmp_path / "b")
    before = load_task(tmp_path, probe_size=2).fingerprint
    for name in ("a/1.heic", "a/2.HEIC", "b/deep/notes.txt", "a/README", "b/movie.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    save(tmp_path / "cover.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as some:
        some.bind("socket.png")  # a longer path may be too long
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "to_itself").symlink_to(tmp_path / "a" / "to_itself")
    assert load_task(tmp_path, probe_size=2).fingerprint == before
    (record,) = caplog.records
    where, _, what = record.message.partition(": left out ")
    assert where == str(tmp_path)
    for part in (
        "3 special (pipe or device)",
        "2 .heic",
        "1 .txt",
        "2 without ending",
        "1 .mp4",
        "1 link to a folder",
    ):
        assert part in what
    assert "1 outside of the class folders" in what


def test_what_is_left_out_of_unlabelled_images_is_said_as_well(tmp_path, caplog):
    for i in range(3):
        SOME[i].save(tmp_path / f"{i}.png")
    (tmp_path / "3.heic").write_text("no image")
    assert len(load_task(tmp_path).probe) == 3
    assert [record.message for record in caplog.records] == [f"{tmp_path}: left out 1 .heic"]


def test_endings_of_the_formats_that_are_read_are_read(tmp_path):
    endings = ("PNG", "jpg", "JPEG", "jpe", "jfif", "bmp", "gif", "tif", "TIFF", "webp")
    write_folder(tmp_path, {"b": SOME[:2]})
    (tmp_path / "a").mkdir()
    for ending, picture in zip((*endings, "pgm", "ppm", "pnm", "pbm"), pictures(14), strict=True):
        kind = {"jpe": "JPEG", "jfif": "JPEG", "jpg": "JPEG", "tif": "TIFF"}.get(ending, ending)
        kind = "PPM" if ending in ("pgm", "ppm", "pnm", "pbm") else kind.upper()
        picture.save(tmp_path / "a" / f"0.{ending}", kind)
    assert len(load_task(tmp_path, probe_size=2).batches.samples) == len(endings) + 4


def test_links_to_files_and_to_class_folders_are_followed(tmp_path):
    base(tmp_path / "stored")
    (tmp_path / "linked" / "b").mkdir(parents=True)
    (tmp_path / "linked" / "a").symlink_to(tmp_path / "stored" / "a")
    for path in (tmp_path / "stored" / "b").iterdir():
        (tmp_path / "linked" / "b" / path.name).symlink_to(path)
    load = [load_task(tmp_path / name, probe_size=2).fingerprint for name in ("stored", "linked")]
    assert load[0] == load[1]


@pytest.mark.parametrize("target", ["a", ".", ".."])
def test_links_to_other_classes_or_to_the_whole_are_refused(tmp_path, target):
    folder = tmp_path / "set"
    base(folder)
    (folder / "c").symlink_to(target)
    with pytest.raises(
        ValueError, match=r"^`data` must have a folder of its own for every class, got .*c, which"
    ):
        load_task(folder, probe_size=2)


def test_an_empty_class_is_refused_with_what_is_there_instead(tmp_path):
    base(tmp_path)
    (tmp_path / "c" / ".ipynb_checkpoints").mkdir(parents=True)
    save(tmp_path / "c" / ".ipynb_checkpoints" / "0.png")
    for name in ("0.heic", "1.heic"):
        (tmp_path / "c" / name).write_text("")
    with pytest.raises(ValueError, match=r"every folder, got none in .*c \(2 \.heic\)$"):
        load_task(tmp_path, probe_size=2)


def test_names_that_are_no_text_are_read_and_escaped_in_messages(tmp_path):
    base(tmp_path)
    odd = os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff\n\x1b[31m.png")
    SOME[8].save(odd, "PNG")
    assert len(load_task(tmp_path, probe_size=2).batches.samples) == 7
    with open(odd, "wb") as file:
        file.write(b"damaged")
    with pytest.raises(ValueError, match=r"got .*a/\\udcff\\n\\x1b\[31m\.png: ") as caught:
        load_task(tmp_path, probe_size=2)
    str(caught.value).encode("ascii")


def test_copies_of_probe_images_are_not_trained_on(tmp_path, caplog):
    some = pictures(6)
    write_folder(tmp_path, {"a": some[:3], "b": some[3:]})
    for folder in ("a", "b"):
        for path in list((tmp_path / folder).iterdir()):
            path.with_stem(f"{path.stem} (copy)").write_bytes(path.read_bytes())
    task = load_task(tmp_path, probe_size=3, augment=False)
    inputs, _ = next(task.batches(100, 0))
    shared = [row for row in inputs if any((row == one).all() for one in task.probe)]
    assert not shared
    assert len(inputs) in (6, 7, 8)  # two images of each of the three, or copies of one another
    said = f"left out of training: copies of probe images, {9 - len(inputs)} of them"
    assert [record.message for record in caplog.records] == [said]


def test_copies_among_images_given_for_the_probe_are_said(tmp_path, caplog):
    write_folder(tmp_path / "train", {"a": SOME[:4], "b": SOME[4:8]})
    write_folder(tmp_path, {"val": SOME[7:]})
    assert len(load_task(tmp_path, probe_size=5).batches.samples) == 8
    assert [record.message for record in caplog.records] == [
        "training images that are in the probe as well: 1 of them"
    ]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    base(tmp_path)

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        ValueError, match=r"^`data` must have readable folders, got .*: Permission denied$"
    ):
        load_task(tmp_path, probe_size=2)
