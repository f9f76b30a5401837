"""Names: which part of a checkpoint holds the weights of a model, and under which prefix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

# Entries and prefixes that training scripts and wrappers use, in the order in which they are taken.
_USUAL = (
    *("state_dict", "model_state_dict", "model", "module", "weights", "params", "net", "network"),
    *("backbone", "model_state", "net_state_dict"),
)
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa|averaged?|shadow)(?![a-z])")
# Wrappers add these anywhere in a name. DataParallel's "module" can be a name of the model as well.
_ADDED = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
_DEPTH = 4


@dataclass(frozen=True)
class Place:
    """A part of a checkpoint with names of a model, perhaps behind a prefix.

    Args:
        entries: that lead to it.
        prefix: of the names, "" or with a dot at its end.
        count: how many of the model's names it has.
        named: all values of the part, without what wrappers add to names.
        ours: the model's names, by the same names without what wrappers add.
    """

    entries: tuple[str, ...]
    prefix: str
    count: int
    named: Mapping[str, Any] = field(repr=False)
    ours: Mapping[str, str] = field(repr=False)

    @cached_property
    def weights(self) -> dict[str, Any]:
        """The values of the model, by its own names."""
        return {self.ours[k]: v for k, v in self._after.items() if k in self.ours}

    @cached_property
    def extra(self) -> dict[str, Any]:
        """Values behind the same prefix that are not of the model."""
        return {k: v for k, v in self._after.items() if k not in self.ours}

    @cached_property
    def outside(self) -> list[str]:
        """Names without the prefix."""
        return [name for name in self.named if not name.startswith(self.prefix)]

    @cached_property
    def averaged(self) -> bool:
        """Whether the weights were averaged over training, by the names of entries and prefix."""
        return any(_AVERAGED.search(part.lower()) for part in self._path)

    @cached_property
    def rank(self) -> tuple[int, int, tuple[int, ...]]:
        """The lowest is taken: averaged weights, as they are meant for use, then the usual names."""
        unusual = sum(part not in _USUAL for part in self._path) - self.averaged
        usual = tuple(_USUAL.index(part) for part in self._path if part in _USUAL)
        return (0 if self.averaged else 1, unusual, () if unusual > 0 else usual)

    @property
    def _path(self) -> tuple[str, ...]:
        return (*self.entries, *(part for part in self.prefix.split(".") if part))

    @property
    def _after(self) -> dict[str, Any]:
        start = len(self.prefix)
        return {k[start:]: v for k, v in self.named.items() if k.startswith(self.prefix)}

    def __str__(self) -> str:
        return ".".join(self._path) or "the top"


def places(content: Any, names: Mapping[str, Any]) -> list[Place]:
    """The parts of a checkpoint with at least half as many of a model's names as the fullest has.

    The fullest come first; among equals those that are to be taken.

    Args:
        content: of the file, in any nesting.
        names: of the model's state.
    """
    found: list[Place] = []
    for added in (_ADDED, _ADDED | {"module"}):
        ours = {_without(name, added): name for name in names}
        if len(ours) < len(names):
            ours, added = {name: name for name in names}, frozenset()
        found += [
            Place(entries, prefix, count, named, ours)
            for entries, state in states(content)
            for named in [_named(state, added)]
            for prefix, count in _prefixes(named, ours)
        ]
        most = max((place.count for place in found), default=0)
        if most == len(names):
            break
    some = [place for place in found if 2 * place.count >= most]
    return sorted(some, key=lambda place: (-place.count, place.rank, place.entries, place.prefix))


def states(
    content: Any, entries: tuple[str, ...] = (), seen: set[int] | None = None
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Mappings that hold tensors by name, with the entries that lead to them; each once."""
    seen = set() if seen is None else seen
    if not isinstance(content, Mapping) or id(content) in seen or len(entries) > _DEPTH:
        return
    seen.add(id(content))
    if any(isinstance(value, Tensor) and isinstance(key, str) for key, value in content.items()):
        yield entries, content
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Mapping):
            yield from states(value, (*entries, key), seen)


def _named(state: Mapping[Any, Any], added: frozenset[str]) -> dict[str, Any]:
    """Values by name, without what wrappers add unless that makes two names alike."""
    whole = {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and (isinstance(value, Tensor) or name.endswith("_extra_state"))
    }
    short = {_without(name, added): value for name, value in whole.items()}
    return short if len(short) == len(whole) else whole


def _without(name: str, added: frozenset[str]) -> str:
    return ".".join(part for part in name.split(".") if part not in added)


def _prefixes(named: Mapping[str, Any], ours: Mapping[str, str]) -> list[tuple[str, int]]:
    """Prefixes behind which our names are found, and how many of them."""
    counts: Counter[str] = Counter()
    for name in named:
        start = 0
        while True:
            if name[start:] in ours:
                counts[name[:start]] += 1
            start = name.find(".", start) + 1
            if not start:
                break
    most = max(counts.values(), default=0)
    return [(prefix, count) for prefix, count in counts.items() if 2 * count >= most]
