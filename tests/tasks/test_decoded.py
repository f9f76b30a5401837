"""The cache of decoded data: the same task, and made anew whenever anything has changed."""

import logging
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prescreen import load_task
from prescreen.tasks import decoded
from prescreen.trees import tensors_in


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of decoded data, where everything is worth keeping."""
    monkeypatch.setenv("PRESCREEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "WORTHWHILE", 0.0)
    return tmp_path / "cache" / "decoded"


def entries(cache):
    return sorted(cache.glob("*.pt"))


def draw(path, seed, size=(8, 8)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    for label in "ab":
        for number in range(9):
            draw(tmp_path / "data" / label / f"{number}.png", seed=100 * ord(label) + number)
    return tmp_path / "data"


def table(tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    np.savetxt(tmp_path / "t.csv", rows, delimiter=",", header="a,b,y", comments="")
    return f"regression:{tmp_path / 't.csv'}#y"


def text(tmp_path):
    (tmp_path / "t.txt").write_text("the same words again and again " * 40)
    return f"text:{tmp_path / 't.txt'}"


def masks(tmp_path):
    for number in range(8):
        draw(tmp_path / "m" / "images" / f"{number}.png", seed=number)
        labels = np.random.default_rng(number).integers(0, 2, (8, 8), np.uint8)
        (tmp_path / "m" / "masks").mkdir(exist_ok=True)
        Image.fromarray(labels).save(tmp_path / "m" / "masks" / f"{number}.png")
    return f"masks:{tmp_path / 'm'}"


def images(tmp_path):
    for label in "ab":
        for number in range(9):
            draw(tmp_path / "i" / label / f"{number}.png", seed=100 * ord(label) + number)
    return str(tmp_path / "i")


def noise(tmp_path):
    return f"diffusion:{images(tmp_path)}"


KINDS = {"images": images, "masks": masks, "noise": noise, "table": table, "text": text}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_task_is_the_same_bit_for_bit(kind, cache, tmp_path, monkeypatch):
    data = KINDS[kind](tmp_path)
    options = {
        "probe_size": 10 if kind == "noise" else 4,
        **({"context": 8} if kind == "text" else {}),
    }
    fresh = load_task(data, cache=False, **options)
    assert not cache.exists()
    made = load_task(data, **options)
    assert len(entries(cache)) == 1
    monkeypatch.setattr("prescreen.tasks.load._load", pytest.fail)
    kept = load_task(data, **options)
    for task in (made, kept):
        assert (task.name, task.fingerprint) == (fresh.name, fresh.fingerprint)
        assert task.sizes == fresh.sizes
        batches = (task.batches(3, 5), fresh.batches(3, 5))
        for _ in range(4):
            ours, theirs = ([*tensors_in(next(one))] for one in batches)
            assert ours
            assert all(map(torch.equal, ours, theirs))
        assert all(map(torch.equal, tensors_in(task.probe), tensors_in(fresh.probe)))


def rewrites(folder):
    draw(folder / "a" / "0.png", seed=99)


def touches(folder):
    os.utime(folder / "a" / "0.png", ns=(1, 1))


def puts_its_time_back(folder):
    path = folder / "a" / "0.png"
    before = path.stat()
    content = bytearray(path.read_bytes())
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def adds(folder):
    draw(folder / "b" / "9.png", seed=99)


def removes(folder):
    (folder / "b" / "8.png").unlink()


def renames(folder):
    (folder / "b").rename(folder / "c")


@pytest.mark.parametrize(
    "change",
    [rewrites, touches, puts_its_time_back, adds, removes, renames],
    ids=lambda f: f.__name__,
)
def test_changed_files_are_read_anew(change, cache, folder):
    load_task(folder, probe_size=4)
    change(folder)
    assert load_task(folder, probe_size=4).fingerprint == (
        load_task(folder, probe_size=4, cache=False).fingerprint
    )
    assert len(entries(cache)) == 2


@pytest.mark.parametrize(
    "options", [{"seed": 1}, {"probe_size": 5}, {"image_size": 4}, {"augment": False}], ids=str
)
def test_other_options_are_another_task(options, cache, folder):
    load_task(folder, probe_size=4)
    load_task(folder, **{"probe_size": 4, **options})
    assert len(entries(cache)) == 2


def test_another_version_of_a_decoder_decodes_anew(cache, folder, monkeypatch):
    load_task(folder, probe_size=4)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "999")
    load_task(folder, probe_size=4)
    assert len(entries(cache)) == 2


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    """Change one byte of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda one: one.file_size)
    content = bytearray(path.read_bytes())
    place = content.index(zipfile.ZipFile(path).read(largest))
    content[place + 7] ^= 1
    path.write_bytes(content)


def executes(path):
    torch.save({"task": os.getcwd, "said": []}, path)


@pytest.mark.parametrize("damage", [cut, empty, flip, executes], ids=lambda f: f.__name__)
def test_damaged_files_are_decoded_again_with_a_warning(damage, cache, folder, caplog):
    made = load_task(folder, probe_size=4)
    (path,) = entries(cache)
    damage(path)
    with caplog.at_level(logging.WARNING):
        again = load_task(folder, probe_size=4)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"decoded data are read anew: {path} is damaged (")
    assert "\n" not in record.getMessage()
    assert again.fingerprint == made.fingerprint
    caplog.clear()
    load_task(folder, probe_size=4)
    assert not caplog.records
    assert entries(cache) == [path]


def test_what_was_said_is_said_again(cache, folder, caplog):
    (folder / "a" / "notes.heic").touch()
    for _ in range(2):
        caplog.clear()
        load_task(folder, probe_size=4)
        assert [one.getMessage() for one in caplog.records] == [f"{folder}: left out 1 .heic"]
    dark = folder.parent / "dark"
    dark.mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(dark / f"{number}.png")
    for _ in range(2):
        with pytest.warns(UserWarning, match="must be images like those of training"):
            load_task(folder, probe=dark)


def test_nothing_fails_where_nothing_can_be_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded, "WORTHWHILE", 0.0)
    (tmp_path / "file").touch()
    fingerprint = load_task(folder, probe_size=4).fingerprint
    for place in ("off", tmp_path / "file" / "cache"):
        monkeypatch.setenv("PRESCREEN_CACHE", str(place))
        assert load_task(folder, probe_size=4).fingerprint == fingerprint
    monkeypatch.setenv("PRESCREEN_CACHE", str(tmp_path / "full"))
    monkeypatch.setattr(torch, "save", no_room)
    assert load_task(folder, probe_size=4).fingerprint == fingerprint
    assert entries(tmp_path / "full" / "decoded") == []


def no_room(content, path):
    Path(path).write_bytes(b"half")
    raise RuntimeError("no space left")


def test_functions_of_the_user_are_not_kept(cache, tmp_path):
    load_task(text(tmp_path), context=8, probe_size=4, tokenizer=lambda text: [*text.encode()])
    assert entries(cache) == []


def test_writing_to_a_kept_task_changes_no_file(cache, folder):
    load_task(folder, probe_size=4)
    kept = load_task(folder, probe_size=4)
    before = kept.fingerprint
    load_task(folder, probe_size=4).batches.samples.images.zero_()
    assert load_task(folder, probe_size=4).fingerprint == before
