"""The campaign: every kind of hostile input, and how a case is watched and counted."""

import collections
import hashlib
import os
import shutil
import tempfile

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
counts = collections.defaultdict(collections.Counter)  # verdicts by kind
kills = {}  # what came of the kills, by what was killed


class Campaign:
    """Cases in folders of their own; each runs in a process that is forked for it."""

    def __init__(self, root):
        self._root, self._right = root, {}
        for name in ("home", "sound", "cases"):
            (root / name).mkdir()

    def run(self, name, seed):
        """The outcome of a case; its folder is kept if it is a fault."""
        if name not in self._right:
            self._right[name] = call(_prepare, name, self._root / "sound" / name)
        folder = self._root / "cases" / f"{name}-{seed:03d}"
        before = self._files(folder)
        try:
            outcome = call(_run, name, seed, self._root, folder, self._right[name])
        except Died as death:
            outcome = Outcome("", FAULT, f"the process {death}")
        if touched := set(self._files(folder)) ^ set(before):
            told = f"files outside were touched: {sorted(touched)}; {outcome}"
            outcome = Outcome(outcome.change, FAULT, told)
        counts[name][outcome.verdict] += 1
        if outcome.verdict != FAULT:
            _remove(folder)
        return outcome

    def _files(self, case):
        """Every file but those of a case, with its digest."""
        files = [path for path in self._root.rglob("*") if path.is_file()]
        return [
            (str(path), hashlib.sha256(path.read_bytes()).hexdigest())
            for path in files
            if case not in path.parents
        ]


def _remove(folder):
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)  # a candidate may have changed the mask of new files
    shutil.rmtree(folder)


def _prepare(name, base):
    base.mkdir()
    os.chdir(base)
    return KINDS[name].prepare(base)


def _run(name, seed, root, folder, right):
    os.environ.update(HOME=str(root / "home"), TMPDIR=str(folder), COLUMNS="200")
    tempfile.tempdir = None
    return run_case(KINDS[name], name, seed, root / "sound" / name, folder, right)
