"""The campaign: every kind of hostile input, and how a case is run, watched and counted."""

import collections
import hashlib
import shutil

import command_lines
import image_folders
import journals
import npz_files
import parquet_files
import selector_folders
import space_files
import weight_files
from forked import Died, call
from kinds import FAULT, Outcome, run_case

KINDS = {
    "journal": journals.KIND,
    "manifest": selector_folders.MANIFEST,
    "selector-file": selector_folders.FILES,
    "checkpoint": weight_files.KIND,
    "npz": npz_files.KIND,
    "parquet": parquet_files.KIND,
    "images": image_folders.KIND,
    "space": space_files.KIND,
    "worker": space_files.WORKERS,
    "command": command_lines.KIND,
}
counts = collections.defaultdict(collections.Counter)


class Campaign:
    """Cases in a folder of their own: each runs in a process that is forked for it."""

    def __init__(self, root):
        self._root, self._right = root, {}
        (root / "home").mkdir()

    def run(self, name, seed):
        """The outcome of a case; its folder is kept if it is a fault."""
        base = self._root / "sound" / name
        if name not in self._right:
            base.mkdir(parents=True)
            self._right[name] = call(_prepare, name, base)
        before = self._files()
        folder = self._root / "cases" / f"{name}-{seed:03d}"
        folder.parent.mkdir(exist_ok=True)
        try:
            outcome = call(_run, name, seed, self._root, folder, self._right[name])
        except Died as death:
            outcome = Outcome("", FAULT, f"the process {death}")
        if (after := self._files()) != before:
            strange = sorted(set(after.items()) ^ set(before.items()))
            outcome = Outcome(outcome.change, FAULT, f"files outside: {strange}; {outcome}")
        counts[name][outcome.verdict] += 1
        if outcome.verdict != FAULT:
            for path in (folder, *folder.rglob("*")):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o700)
            shutil.rmtree(folder)
        return outcome

    def _files(self):
        """Every file beside those of the cases, with a digest."""
        found = {}
        for path in self._root.rglob("*"):
            inside = path.relative_to(self._root).parts
            if path.is_file() and not (inside[0] == "cases" and len(inside) > 2):
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


def _prepare(name, base):
    import os

    os.chdir(base)
    return KINDS[name].prepare(base)


def _run(name, seed, root, folder, right):
    import os
    import tempfile

    os.environ.update(HOME=str(root / "home"), TMPDIR=str(folder.parent), COLUMNS="200")
    tempfile.tempdir = None
    return run_case(KINDS[name], name, seed, root / "sound" / name, folder, right)
