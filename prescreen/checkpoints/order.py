"""Order: in which the checkpoint files of one run were written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Where trainers write how far a checkpoint was trained. Some count steps from the start of an epoch.
COUNTS = (
    *("epoch", "epochs", "global_step", "step", "steps", "num_steps"),
    *("iteration", "iterations", "iter", "num_updates"),
)
# Words before the number of a file's name.
WORDS = ("epoch", "ep", "step", "iteration", "iter", "checkpoint", "ckpt")

_LAST = re.compile(r"(?<![a-z])(last|latest|final)(?![a-z])", re.IGNORECASE)


class Trained(NamedTuple):
    """What is known of when a checkpoint was written.

    Args:
        paths: its files; the first is the one that counts.
        counts: in the file, of how far it was trained.
    """

    paths: tuple[Path, ...]
    counts: Mapping[str, float]


def training_order(found: Sequence[Trained]) -> tuple[list[int], str | None]:
    """Places of the checkpoints of one run in the order of training, and what is doubtful about it.

    The order is that of counts that all files hold, else that of the numbers in their names. Files that
    are called last, latest or final come after the others, unless they hold these counts as well.
    """
    others = [i for i, one in enumerate(found) if not is_called_last(one.paths[0])]
    others = others or [*range(len(found))]
    keys = _telling([found[i].counts for i in others])
    key_of, doubt = _by_name([found[i].paths for i in others])
    if keys:
        distinct = {tuple(found[i].counts[key] for key in keys) for i in others}
        equal = f"The training order is a guess where {' and '.join(keys)} of files are equal."
        doubt = equal if len(distinct) < len(others) else None

    def place(i: int) -> tuple[Any, ...]:
        path, counts = found[i].paths[0], found[i].counts
        at_the_end = i not in others and not (keys and all(key in counts for key in keys))
        return (at_the_end, *(counts.get(key, 0) for key in keys), key_of(path), numbers(path))

    return sorted(range(len(found)), key=place), doubt if len(others) > 1 else None


def numbers(path: Path) -> tuple[tuple[int, str], ...]:
    """Sorts epoch=9 before epoch=10."""
    parts: Sequence[str] = re.split(r"(\d+)", str(path))
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def pattern(path: Path) -> str:
    """A path without its numbers."""
    return re.sub(r"\d+", "#", str(path))


def is_called_last(path: Path) -> bool:
    """Whether a file's name says that it is the last of its run."""
    return _LAST.search(path.stem) is not None


def _telling(counts: Sequence[Mapping[str, float]]) -> list[str]:
    """The counts that all files have and that are not the same in all."""
    return [
        key
        for key in COUNTS
        if all(key in one for one in counts) and len({one[key] for one in counts}) > 1
    ]


def _by_name(
    groups: Sequence[tuple[Path, ...]],
) -> tuple[Callable[[Path], Any], str | None]:
    """A sort key that names give, and what is doubtful about it.

    Names of one pattern are in the order of their only number that changes, or of those that are called
    epoch or step.
    """
    guess = "The training order is a guess by names: the files hold no step in common."
    if len({pattern(paths[0]) for paths in groups}) != 1:
        return numbers, guess
    rows = [_numbers_in(paths[0]) for paths in groups]
    changing = [i for i, column in enumerate(zip(*rows, strict=True)) if len({*column}) > 1]
    words = re.split(r"\d+", str(groups[0][0]))
    named = [i for word in WORDS for i in changing if _ends_with(words[i], word)]
    chosen = named or (changing if len(changing) == 1 else [])
    if not chosen:
        return numbers, guess

    def key(path: Path) -> Any:
        found = _numbers_in(path)
        return [found[i] for i in chosen if i < len(found)]

    return key, next(filter(None, (_contradiction(paths, key) for paths in groups)), None)


def _numbers_in(path: Path) -> list[int]:
    return [int(found) for found in re.findall(r"\d+", str(path))]


def _ends_with(text: str, word: str) -> bool:
    return re.search(rf"(?<![a-z]){word}s?[^a-z]*$", text, re.IGNORECASE) is not None


def _contradiction(paths: tuple[Path, ...], key: Callable[[Path], Any]) -> str | None:
    """What is doubtful where copies have names of one pattern with different numbers."""
    first, *others = paths
    for other in others:
        if pattern(other) == pattern(first) and key(other) != key(first):
            return f"The training order is a guess: {first} and {other} hold equal weights."
    return None
