"""Folders of a CheckpointSelector: the weights are some of those written, or it is refused."""

import json
import math
import shutil
import zlib

import torch
from judge import refusing
from kinds import Kind, in_file
from mutators import BYTES, JSON_LINES, LINES

from prescreen import CheckpointSelector, Reading
from prescreen.files import save_state

VALUES = [1.0, 4.0, math.nan, 5.0, 2.0, 3.0]
FOREIGN = ("notes.txt", "step-mine.pt")
NAMES = (
    *("step-00000001.pt", "../precious.safetensors", "notes.txt", "step-mine.pt", ".", ""),
    *("x" * 300, "a\0b", "/etc/passwd", "..", "~", "selection.jsonl", "\ud800", "step-1.pt/x"),
)


def state(step):
    """Weights, at last with a number beside them, which safetensors cannot hold."""
    weights = {"weight": torch.full((3,), float(step)), "half": torch.ones(2, dtype=torch.bfloat16)}
    return weights | ({"epoch": step} if step > 5 else {})


def reading(step, value):
    return Reading(step, {"stable_information": value})


def opened(folder):
    """A selector that continues a folder."""
    return CheckpointSelector(folder, save_top_k=3, resume=(folder / "selection.jsonl").exists())


def filled(folder, values=VALUES):
    selector = opened(folder)
    for step, value in enumerate(values, start=1):
        selector.update(reading(step, value), state(step))
    return selector


def prepare(folder):
    filled(folder / "best")
    for name in FOREIGN:
        (folder / "best" / name).write_text("mine")
    save_state(folder / "precious", state(99))


def plain(content):
    return {key: torch.as_tensor(value).tolist() for key, value in content.items()}


WRITTEN = [plain(state(step)) for step in (*range(1, len(VALUES) + 1), 200)]


def require_written(selector, steps):
    for step in steps:
        with refusing():
            found = selector.load(step)
        assert plain(found) in WRITTEN, f"weights that nobody wrote, for step {step}: {found}"


def listing(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def check(folder, right):
    best = folder / "best"
    before = listing(best)
    try:
        with refusing():
            selector = opened(best)
    finally:
        after = {name: content for name, content in listing(best).items() if name in before}
        gone = [name for name in before if name not in after]
        assert not gone, f"deleted when opened: {gone}"
    try:
        with refusing():
            known = [int(step) for step in selector.state_dict()["files"]]
            assert selector.best is None or selector.best.step in known
            require_written(selector, known)
        with refusing():
            selector.update(reading(200, 9.0), state(200))
        require_written(selector, [200])
    finally:
        assert all((best / name).read_text() == "mine" for name in FOREIGN), (
            "a foreign file is gone"
        )


def _forged_name(dice, data):
    """A line names another file, and its checksum is right."""
    lines = data.splitlines(keepends=True)
    row = dice.choice([row for row, line in enumerate(lines) if b"step-" in line])
    content = json.loads(lines[row])
    del content["crc"]
    _rename(content, dice.choice(NAMES))
    text = json.dumps(content)
    checksum = f', "crc": "{zlib.crc32(text.encode()):08x}"}}\n'
    lines[row] = (text[:-1] + checksum).encode()
    return b"".join(lines)


def _rename(content, name):
    for key, value in content.items():
        if isinstance(value, dict):
            _rename(value, name)
        elif isinstance(value, str) and value.startswith("step-"):
            content[key] = name


def _file_gone(dice, folder):
    dice.choice(sorted((folder / "best").glob("step-0*"))).unlink()


def _files_swapped(dice, folder):
    one, other = dice.sample(sorted((folder / "best").glob("step-0*")), 2)
    content = one.read_bytes()
    shutil.copyfile(other, one)
    other.write_bytes(content)


MANIFEST = Kind(
    prepare,
    in_file("best/selection.jsonl", {**BYTES, **LINES, **JSON_LINES, "forged": _forged_name}),
    check,
    cases=170,
)
FILES = Kind(
    prepare,
    {
        **in_file("best/step-0*", BYTES),
        "a file is missing": _file_gone,
        "files swapped": _files_swapped,
    },
    check,
    cases=90,
)
