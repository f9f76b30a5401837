"""What is in a folder of images: files and sub-folders by kind, but for what systems leave there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from prescreen.text import first_line, printable, shortened

SUFFIXES = (
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)

_LONGEST = 200

# Left by macOS, Windows, Synology and file systems.
_SYSTEM = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information")
_SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")


class Listing(NamedTuple):
    """The images below a folder, in order, and how many other files there are of which ending."""

    images: list[Path]
    others: Counter[str]


def list_images(folder: Path) -> Listing:
    """All images below a folder; hidden files and folders, and links to folders, are passed over."""
    return list_files(folder, SUFFIXES)


def list_files(folder: Path, endings: Sequence[str]) -> Listing:
    """Like `list_images`, for files of other endings."""
    found, others = [], Counter[str]()
    for path, ending in _walk(folder):
        if ending in endings:
            found.append(path)
        else:
            others[ending] += 1
    return Listing(sorted(found), others)


def holds_images(folder: Path) -> bool:
    """Whether there is an image at any depth below a folder."""
    return any(ending in SUFFIXES for _, ending in _walk(folder))


def sub_folders(folder: Path) -> list[Path]:
    """The sub-folders that are not hidden, links to folders among them, in order."""
    return sorted(Path(entry.path) for entry in _entries(folder) if _is_folder(entry))


def called(folder: Path, names: Sequence[str]) -> Path | None:
    """The sub-folder of one of some names, in any case; of several, the first counts."""
    there = {sub.name.casefold(): sub for sub in sub_folders(folder)}
    return next((there[name] for name in names if name in there), None)


def require_folder(argument: str, path: str | Path) -> Path:
    """A folder that is there.

    Raises:
        ValueError: it is not.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"`{argument}` must be a folder, got {shown(path)}")
    return folder


def files_of(folder: Path, *endings: str) -> list[Path]:
    """The files of some endings in a folder itself, in order."""
    return sorted(Path(entry.path) for entry in _entries(folder) if _ending(entry) in endings)


def shown(path: Path | str) -> str:
    """A path on one line, with escapes for what cannot be printed."""
    return printable(str(path))


def short(text: str) -> str:
    """What came from a file, on one line that is not too long."""
    return printable(shortened(text, _LONGEST))


def reason(error: BaseException) -> str:
    """The first line of another library's error."""
    return short(first_line(error))


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """All that is not hidden below a folder, but for folders, with its ending."""
    waiting = [folder]
    while waiting:
        for entry in _entries(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                yield Path(entry.path), _ending(entry)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder that are not hidden."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not _is_hidden(entry.name)]
    except OSError as error:
        raise ValueError(
            f"`data` must have readable folders, got {shown(folder)}: {error.strerror}"
        ) from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in (*_SYSTEM, *_SYSTEM_FILES)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link to itself is neither."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _ending(entry: os.DirEntry[str]) -> str:
    """A file's suffix in lower case, or what it is else."""
    if _is_folder(entry):
        return "link to a folder"
    # A broken link passes for a file: reading it fails and names it.
    is_broken = entry.is_symlink() and not os.path.exists(entry.path)
    if not is_broken and not entry.is_file():
        return "special (pipe or device)"
    return os.path.splitext(entry.name)[1].lower() or "without ending"
