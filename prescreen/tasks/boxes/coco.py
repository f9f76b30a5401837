"""Folders in the format of COCO: a JSON file of annotations beside images.

Reference: Lin et al. 2014, arXiv 1405.0312.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from prescreen.tasks.boxes.annotations import Annotated, Objects, as_box, unreadable
from prescreen.tasks.images.folders import ImageFiles
from prescreen.tasks.images.splits import Role, probe_role, role
from prescreen.tasks.images.walk import list_files, list_images, reason, shown, sub_folders

# Words in the names of files that do not say which split they are of.
_WORDS = re.compile(r"instances?|annotations?|labels?|coco", re.IGNORECASE)


def open_coco(folder: Path) -> Annotated:
    """Open a folder that holds files of annotations, ``instances_*.json`` or others, and images.

    Splits are told by the names of the files, else of their folders, such as ``instances_train2017``
    or ``train/_annotations.coco.json``; a single file is of training. Images are found by the end of
    their path, first in a folder of their split. Annotations of crowds are left out.

    Raises:
        ValueError: there are no such files, or one cannot be read.
    """
    by_role = _files(folder)
    known = list_images(folder).images
    train = _only(by_role.get("train") or by_role.get(None) or [], folder)
    left_out = Counter[str]()
    content = _content(train, ("images", "annotations", "categories"))
    places = _Places(known, train, _role(train))
    paths = {_id(entry, train): places.find(entry) for entry in content["images"]}
    classes = _classes(content["categories"], train)
    objects = {key: Objects([], []) for key, path in paths.items() if path}
    left_out["listed images without a file"] = len(paths) - len(objects)
    for entry in content["annotations"]:
        image = _key(entry.get("image_id"))
        own = None if image is None else objects.get(image)
        if own is None:
            left_out["objects of images that are not listed"] += image not in paths
        elif entry.get("iscrowd"):
            left_out["crowds"] += 1
        else:
            place = classes.get(_key(entry.get("category_id")))
            if place is None:
                raise unreadable(train, f"an unknown category {str(entry.get('category_id'))[:60]}")
            box = entry.get("bbox")
            left, top, width, height = as_box(box if isinstance(box, list) else [box], train)
            own.boxes.append((left, top, left + width, top + height))
            own.labels.append(place[0])
    used = [path for path in paths.values() if path]
    held = [path for path in _held(folder, by_role, known) if path not in set(used)]
    return Annotated(
        ImageFiles(used),
        [*objects.values()],
        tuple(name for _, name in classes.values()),
        ImageFiles(held) if held else None,
        left_out,
    )


class _Places:
    """Finds images by what annotations call them, among the files that are there."""

    def __init__(self, known: Sequence[Path], annotations: Path, split: Role | None) -> None:
        self._annotations, self._split = annotations, split
        self._by_name: dict[str, list[Path]] = {}
        for path in known:
            self._by_name.setdefault(path.name, []).append(path)

    def find(self, entry: Mapping[str, Any]) -> str | None:
        """The path of an image; None if it is not there.

        Raises:
            ValueError: it has no name, or it may be one of several.
        """
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            raise unreadable(self._annotations, "an image without a file_name")
        parts = PurePosixPath(name.replace("\\", "/")).parts
        parts = parts[-1:] if parts[0] == "/" else parts  # of another machine
        near = self._annotations.parent.joinpath(*parts)
        fits = [
            path for path in self._by_name.get(parts[-1], []) if path.parts[-len(parts) :] == parts
        ]
        own = [path for path in fits if self._split in map(role, path.parts)]
        found = [near] if near in fits else own if self._split and own else fits
        if len(found) > 1:
            first, second = map(shown, found[:2])
            raise unreadable(self._annotations, f"{first} and {second} are both called so")
        return str(found[0]) if found else None


def _files(folder: Path) -> dict[Role | None, list[Path]]:
    """Files of annotations by split; if some are called instances, no others."""
    found = list_files(folder, (".json",)).images
    named = [path for path in found if path.stem.startswith("instances")]
    if not found:
        raise ValueError(
            f"`data` must hold annotations, such as annotations/instances_train.json, got none in "
            f"{shown(folder)}"
        )
    chosen = named or found
    if len(chosen) == 1:
        return {None: chosen}
    by_role: dict[Role | None, list[Path]] = {}
    for path in chosen:
        by_role.setdefault(_role(path), []).append(path)
    return by_role


def _role(path: Path) -> Role | None:
    return role(_WORDS.sub("", path.stem)) or role(path.parent.name)


def _only(files: Sequence[Path], folder: Path) -> Path:
    if len(files) == 1:
        return files[0]
    got = " and ".join(shown(path.relative_to(folder)) for path in files[:3]) or "none"
    raise ValueError(
        "`data` must hold one file of annotations for training, such as "
        f"annotations/instances_train.json, got {got} in {shown(folder)}"
    )


def _held(
    folder: Path, by_role: Mapping[Role | None, Sequence[Path]], known: Sequence[Path]
) -> list[str]:
    """Images for the probe: those that the file of a split lists, else those of its folder."""
    if split := probe_role(by_role):
        path = _only(by_role[split], folder)
        places = _Places(known, path, split)
        found = [places.find(entry) for entry in _content(path, ("images",))["images"]]
        return [one for one in found if one]
    folders = {role(sub.name): sub for sub in _below(folder)}
    split = probe_role(folders)
    return [str(path) for path in list_images(folders[split]).images] if split else []


def _below(folder: Path) -> list[Path]:
    """Sub-folders, and those of a folder of images."""
    first = sub_folders(folder)
    return [*first, *(sub for one in first if one.name == "images" for sub in sub_folders(one))]


def _content(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """What is in a file, with lists of objects under some keys."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, reason(error)) from error
    for key in keys:
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise unreadable(path, f"no list of objects under {key!r}")
    return dict(content)


def _id(entry: Mapping[str, Any], path: Path) -> int | str:
    key = _key(entry.get("id"))
    if key is None:
        raise unreadable(path, f"an id {str(entry.get('id'))[:60]}")
    return key


def _key(value: object) -> int | str | None:
    return value if isinstance(value, int | str) else None


def _classes(entries: Sequence[Mapping[str, Any]], path: Path) -> dict[Any, tuple[int, str]]:
    """Numbers from 1 and names by id, in the order of ids."""
    ids = {_id(entry, path): str(entry.get("name", entry["id"])) for entry in entries}
    if len({type(key) for key in ids}) > 1:
        raise unreadable(path, "ids of categories that are numbers and texts")
    ordered: Any = ids
    return {key: (k, ids[key]) for k, key in enumerate(sorted(ordered), start=1)}
