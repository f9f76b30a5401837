"""Order: in which the checkpoint files of one run were written."""

from __future__ import annotations

import re
from collections import Counter
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

    The order is that of counts in the files, else that of the numbers in their names. Files that say
    neither come after the others, and those that are called last, latest or final at the end.
    """
    others = [i for i, one in enumerate(found) if not is_called_last(one.paths[0])]
    others = others or [*range(len(found))]
    order = _by_counts(found, others) or _by_names(found, others)

    def place(i: int) -> tuple[Any, ...]:
        path, known = found[i].paths[0], i in order.keys
        return (not known, not known and i not in others, order.keys.get(i, ()), numbers(path))

    doubt = order.doubt
    if unknown := [i for i in others if i not in order.keys]:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        first = min((found[i].paths[0] for i in unknown), key=numbers)
        doubt = f"The training order is a guess for {first}{more}, without a step in it."
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


class _Order(NamedTuple):
    """Sort keys of the checkpoints whose place is known, and what is doubtful about them."""

    keys: Mapping[int, Any]
    doubt: str | None


def _by_counts(found: Sequence[Trained], others: Sequence[int]) -> _Order | None:
    """The order of counts that files have in common and that are not the same in all."""
    holding = [i for i in others if found[i].counts]
    names = [
        name
        for name in COUNTS
        if all(name in found[i].counts for i in holding)
        and len({found[i].counts[name] for i in holding}) > 1
    ]
    if not names:
        return None
    keys = {
        i: [one.counts[name] for name in names]
        for i, one in enumerate(found)
        if all(name in one.counts for name in names)
    }
    are_equal = len({tuple(keys[i]) for i in holding}) < len(holding)
    equal = f"The training order is a guess where {' and '.join(names)} of files are equal."
    return _Order(keys, equal if are_equal else None)


def _by_names(found: Sequence[Trained], others: Sequence[int]) -> _Order:
    """The order of the numbers in names.

    Names of the most frequent pattern are in the order of their only number that changes, or of those
    that are called epoch or step.
    """
    patterns = Counter(pattern(found[i].paths[0]) for i in others)
    usual = max(patterns, key=lambda one: (patterns[one], one))
    alike = [i for i in others if pattern(found[i].paths[0]) == usual]
    rows = [_numbers_in(found[i].paths[0]) for i in alike]
    changing = [i for i, column in enumerate(zip(*rows, strict=True)) if len({*column}) > 1]
    words = re.split(r"\d+", str(found[alike[0]].paths[0]))
    named = [i for word in WORDS for i in changing if _ends_with(words[i], word)]
    chosen = named or (changing if len(changing) == 1 else [])
    if not chosen:
        guess = "The training order is a guess by names: the files hold no step in common."
        return _Order({i: numbers(found[i].paths[0]) for i in others}, guess)

    def key(path: Path) -> Any:
        return [_numbers_in(path)[i] for i in chosen]

    keys = {i: key(found[i].paths[0]) for i in alike}
    doubts = [_contradiction(found[i].paths, key) for i in alike]
    if len({*map(tuple, keys.values())}) < len(alike):
        doubts.append("The training order is a guess where the steps in names are equal.")
    return _Order(keys, next(filter(None, doubts), None))


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
