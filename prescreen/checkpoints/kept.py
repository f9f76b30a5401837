"""Kept: a file of weights, and what it held when it was written."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prescreen.checks import require, require_at_least
from prescreen.files import PICKLED, SAFETENSORS

ENDINGS = (SAFETENSORS, PICKLED)
_STEM = re.compile(r"step-\d+(-\d+)?", re.ASCII)


@dataclass(frozen=True)
class Kept:
    """A file of weights.

    Args:
        path: absolute.
        size: in bytes.
        sha256: of its content.
    """

    path: Path
    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Kept:
        """A file that has just been written."""
        return cls(path, path.stat().st_size, _digest(path))

    @classmethod
    def from_json(cls, data: Mapping[str, Any], folder: Path | None = None) -> Kept:
        """What ``to_json`` wrote, with a plain name in ``folder``, or with its whole path.

        Raises:
            ValueError, KeyError, TypeError: it is not.
        """
        path, size, sha256 = Path(data["file"]), data["size"], data["sha256"]
        ours = is_stem(path.stem) and path.suffix in ENDINGS
        plain = folder is None or data["file"] == path.name
        require("file", "a plain name that selectors give", data["file"], ours and plain)
        require_at_least("size", size, 0)
        digits = re.fullmatch("[0-9a-f]{64}", sha256) is not None
        require("sha256", "64 hexadecimal digits", sha256, digits)
        return cls(path if folder is None else folder / path, size, sha256)

    def to_json(self, *, plain: bool) -> dict[str, Any]:
        """For strict JSON, with a plain name or the whole path."""
        file = self.path.name if plain else str(self.path)
        return {"file": file, "size": self.size, "sha256": self.sha256}

    @property
    def is_there(self) -> bool:
        """Whether there is a file of its size, and no link to one."""
        there = self.path.is_file() and not self.path.is_symlink()
        return there and self.path.stat().st_size == self.size

    @property
    def is_whole(self) -> bool:
        """Whether the file is there as it was written."""
        return self.is_there and _digest(self.path) == self.sha256

    def found(self, folder: Path) -> Kept | None:
        """The file in a folder, or else where it was; None if it has changed or is missing."""
        for one in (Kept(folder / self.path.name, self.size, self.sha256), self):
            if one.is_whole:
                return one
        return None

    def copied_to(self, folder: Path) -> Kept | None:
        """A copy in another folder; None if the file has changed, or its name is taken there."""
        target = folder / self.path.name
        if not self.is_there or os.path.lexists(target):
            return None
        part = folder / f".{target.name}.{secrets.token_hex(4)}.part"
        shutil.copyfile(self.path, part)
        copy = Kept(part, self.size, self.sha256)
        if not copy.is_whole:
            part.unlink()
            return None
        part.replace(target)
        return Kept(target, self.size, self.sha256)


def is_stem(name: object) -> bool:
    """Whether a selector may give this name, without its ending, to a file."""
    return isinstance(name, str) and _STEM.fullmatch(name) is not None


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
