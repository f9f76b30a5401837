"""Folders of a CheckpointSelector: the weights are some of those written, or it is refused."""

import inspect
import math
import shutil

import torch
from judge import refusing
from kinds import Kind, in_file
from mutators import BYTES, JSON, STRANGE

from prescreen import CheckpointSelector, Reading
from prescreen.files import save_state

VALUES = [1.0, 4.0, math.nan, 5.0, 2.0, 3.0]
FOREIGN = ("notes.txt", "step-mine.pt")
OUTSIDE = "precious.safetensors"
NAMES = (
    "../precious.safetensors",
    "notes.txt",
    "step-mine.pt",
    ".",
    "",
    "x" * 300,
    "a\0b",
    *STRANGE,
)


def state(step):
    """Weights, at last with a number beside them, which safetensors cannot hold."""
    weights = {"weight": torch.full((3,), float(step)), "half": torch.ones(2, dtype=torch.bfloat16)}
    return weights | ({"epoch": step} if step > 5 else {})


def reading(step, value):
    return Reading(step, {"stable_information": value})


def opened(folder):
    """A selector that continues a folder."""
    asked = inspect.signature(CheckpointSelector).parameters.get("resume") is not None
    resume = {"resume": True} if asked and (folder / "selection.json").exists() else {}
    return CheckpointSelector(folder, save_top_k=3, **resume)


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
            require_written(selector, [selector.best.step, *known])
        with refusing():
            selector.update(reading(200, 9.0), state(200))
        require_written(selector, [200])
    finally:
        assert all((best / name).read_text() == "mine" for name in FOREIGN), (
            "a foreign file is gone"
        )


def _renamed_file(dice, data):
    """One of the manifest's names of files becomes another."""
    import json

    manifest = json.loads(data)
    step = dice.choice(list(manifest["files"]))
    manifest["files"][step] = dice.choice(NAMES)
    return json.dumps(manifest).encode()


def _file_gone(dice, folder):
    dice.choice(sorted((folder / "best").glob("step-0*"))).unlink()


def _files_swapped(dice, folder):
    one, other = dice.sample(sorted((folder / "best").glob("step-0*")), 2)
    content = one.read_bytes()
    shutil.copyfile(other, one)
    other.write_bytes(content)


MANIFEST = Kind(
    prepare,
    in_file("best/selection.json", {**BYTES, **JSON, "other name": _renamed_file}),
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
