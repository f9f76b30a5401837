"""A selector's folder after damage: read as it was written, or refused in one line; never changed."""

import json
import random
import zlib
from pathlib import Path

import pytest
import torch

from prescreen import CheckpointSelector, Reading
from prescreen.checkpoints.record import MANIFEST

VALUES = [1.0, 3.0, float("nan"), 2.0, 5.0, 4.0]


def state(step):
    return {"weight": torch.full((3,), float(step))}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "kept"
    with CheckpointSelector(folder, save_top_k=2) as selector:
        for step, value in enumerate(VALUES, start=1):
            selector.update(Reading(step, {"stable_information": value}), state(step))
    return folder


def opened(folder):
    return CheckpointSelector(folder, save_top_k=2)


def refusal(folder):
    """Why a folder cannot be opened, as one line; the folder stays as it was."""
    before = contents(folder)
    with pytest.raises(ValueError, match=r"^`folder` must ") as caught:
        opened(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert contents(folder) == before
    return str(caught.value)


def contents(folder):
    return {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def lines(folder):
    return [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]


def write(folder, events):
    """A manifest with right checksums, whatever it says."""
    text = ""
    for event in events:
        plain = json.dumps({key: value for key, value in event.items() if key != "crc"})
        text += f'{plain[:-1]}, "crc": "{zlib.crc32(plain.encode()):08x}"}}\n'
    (folder / MANIFEST).write_text(text)


def test_a_manifest_written_here_is_read(folder):
    expected = opened(folder).state_dict()
    write(folder, lines(folder))
    assert opened(folder).state_dict() == expected


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_is_refused_wherever_it_is(folder, seed):
    content = (folder / MANIFEST).read_bytes()
    generator = random.Random(seed)
    places = [generator.randrange(8 * len(content)) for _ in range(60)]
    for place in (*places, *range(8 * len(content) - 24, 8 * len(content))):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        (folder / MANIFEST).write_bytes(damaged)
        assert f"undamaged {MANIFEST}, got line" in refusal(folder)


def test_a_line_that_was_cut_short_does_not_count(tmp_path):
    with CheckpointSelector(tmp_path, save_top_k=-1) as selector:
        for step, value in enumerate(VALUES, start=1):
            selector.update(Reading(step, {"stable_information": value}), state(step))
    whole = selector.state_dict()["readings"]
    content = (tmp_path / MANIFEST).read_bytes()
    last = content[:-1].rindex(b"\n") + 1
    ends = {content[:end]: 5 for end in range(last, len(content) - 1)}
    # A whole line is one without its end as well; zeros are what a loss of power may leave.
    for cut, count in {**ends, content[:-1]: 6, content[:last] + bytes(100): 5}.items():
        (tmp_path / MANIFEST).write_bytes(cut)
        again = CheckpointSelector(tmp_path, save_top_k=-1, resume=True)
        assert again.state_dict()["readings"] == whole[:count]
    with again:
        again.update(Reading(6, {"stable_information": 9.0}), state(6))
    assert CheckpointSelector(tmp_path, save_top_k=-1).load()["weight"][0] == 6


def test_lines_that_are_missing_doubled_or_of_others_are_refused(folder):
    events = lines(folder)
    for changed in ([], events[1:], [events[0], events[0]], [*events[:-1], {}, events[-1]], [[]]):
        write(folder, [one if isinstance(one, dict) else {"list": one} for one in changed])
        assert MANIFEST in refusal(folder)
    for text in (b"", b"\n", b"null\n", b"[" * 10**5 + b"\n", b"\xff\xfe\n", b"{}\n"):
        (folder / MANIFEST).write_bytes(text)
        assert MANIFEST in refusal(folder)


WRONG = {
    "file": ["../x.pt", "/etc/passwd", "step-1.exe", "a/step-1.pt", "", "step-1.pt\0", 3, None, []],
    "size": [-1, 1.5, True, "3", None, 10**9],
    "sha256": ["", "x" * 64, 3, None],
    "dropped": [["step-00000099.pt"], ["../x"], 3, [[]], "step"],
    "reading.step": [-1, 1.5, True, "1", None],
    "reading.parameters": [-1, 0.5, None],
    "reading.seconds": [None, "soon", True],
    "reading.values": [{}, [], None, {"stable_information": "high"}, {"stable_information": True}],
    "claim": ["../x", "step-1.pt", 3, None, "/step-1"],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in WRONG.items() for v in values])
def test_what_no_selector_writes_is_refused(folder, key, value):
    events = lines(folder)
    first, _, second = key.partition(".")
    place = len(events) - 1 if first != "claim" else len(events) - 2
    if second:
        events[place][first][second] = value
    else:
        events[place][first] = value
    write(folder, events)
    assert MANIFEST in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value"), [("prescreen_selection", 1), ("prescreen_selection", "2"), ("settings", {})]
)
def test_other_versions_and_settings_are_refused(folder, key, value):
    events = lines(folder)
    events[0][key] = value
    write(folder, events)
    refusal(folder)


def test_a_folder_of_an_earlier_version_is_named(tmp_path):
    (tmp_path / "selection.json").write_text("{}")
    (tmp_path / "step-00000001.safetensors").write_text("weights")
    assert "selection.json" in refusal(tmp_path)


@pytest.mark.parametrize("how", ["absent", "shorter", "link", "folder"])
def test_a_file_that_is_missing_is_named(folder, how, tmp_path):
    path = opened(folder).path()
    content = path.read_bytes()
    path.unlink()
    if how == "shorter":
        path.write_bytes(content[:-1])
    elif how == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    elif how == "folder":
        path.mkdir()
    assert str(path) in refusal(folder)


def test_a_flipped_bit_in_a_file_is_found_when_it_is_loaded(folder):
    path = opened(folder).path()
    content = path.read_bytes()
    generator = random.Random(0)
    for place in (generator.randrange(8 * len(content)) for _ in range(40)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"^checkpoint must be as it was written, got '/"):
            opened(folder).load()


def test_a_file_or_another_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "step-1.pt").write_text("mine")
    for name in ("file", "other"):
        with pytest.raises(ValueError, match=rf"^`folder` must .*{name}"):
            CheckpointSelector(tmp_path / name)
    assert Path(tmp_path / "other" / "step-1.pt").read_text() == "mine"
