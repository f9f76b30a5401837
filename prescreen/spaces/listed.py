"""Listed: candidates that a function gives, or that a file lists by name.

They are built by reference: whoever builds one, also another process, calls the function again and
takes what has the candidate's name. So a function may give lambdas, or networks themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from prescreen.documents import is_document, read_document
from prescreen.importing import import_function
from prescreen.random_state import forked
from prescreen.spaces.candidate import Candidate, candidate_of, refused
from prescreen.spaces.space import accepted, resolve_space

# A module has more than one letter: C:\space.py is a file.
_FUNCTION = re.compile(r"(?s)(.+\.py|[A-Za-z_][\w.]+):([A-Za-z_]\w*)")
# The space that knows how to build other libraries' networks by their names.
_BY_NAME = "timm_models"


@dataclass(frozen=True)
class Made:
    """Builds what a function gives under a name.

    Args:
        reference: ``"FILE.py:function"`` or ``"module:function"``.
        name: of the candidate; None if the function itself builds the network.
        untrained: build the network that is measured without training.
    """

    reference: str
    name: str | None = None
    untrained: bool = False

    @property
    def function(self) -> Callable[..., Any]:
        """The function that the reference names."""
        return import_function(self.reference, "candidates")

    def __call__(self, **sizes: Any) -> Any:
        """Build the network with those of the task's sizes that the functions accept."""
        if self.name is None:
            return self.function(**accepted(self.function, sizes))
        named = (one for name, one in _given(self.reference, sizes) if name == self.name)
        one = next(named, None)
        if one is None:
            raise ValueError(f"`candidates` must give {self.name!r} at every call, got it once")
        if isinstance(one, Candidate):
            return one.model(untrained=self.untrained, **sizes)
        return one if isinstance(one, nn.Module) else one(**accepted(one, sizes))


def is_listed(candidates: str | Path) -> bool:
    """Whether a text is no search space: a function, or a file that lists candidates."""
    return is_document(candidates) or _FUNCTION.fullmatch(str(candidates)) is not None


def listed(candidates: str | Path, sizes: Mapping[str, Any]) -> list[Candidate]:
    """The candidates of a function or file.

    Args:
        candidates: ``"FILE.py:function"``; the function gives candidates, networks, functions that build
            them, or a mapping from names to either. Or a file: a list of names of timm's models and of
            functions that each build a network, or a mapping from names to these.
        sizes: of the task; those that the function's signature accepts are given to it.

    Raises:
        ValueError: it cannot be read or called, or gives something else.
        ImportError: timm is needed and not installed.
    """
    if is_document(candidates):
        return _of_file(Path(candidates).expanduser(), sizes)
    reference = str(candidates)
    with forked(seed=0), refused(reference, "candidates", "give candidates"):
        return [_candidate(reference, name, one) for name, one in _given(reference, sizes)]


def _candidate(reference: str, name: str, one: Any) -> Candidate:
    if not isinstance(one, Candidate):
        return Candidate(name, {}, Made(reference, name))
    untrained = Made(reference, name, untrained=True) if one.build_untrained else None
    return Candidate(name, one.config, Made(reference, name), untrained)


def _given(reference: str, sizes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names, and what a function gives under them: a candidate, a network, or a function."""
    function = import_function(reference, "candidates")
    given = function(**accepted(function, dict(sizes)))
    if isinstance(given, nn.Module | Candidate):
        given = {getattr(given, "name", reference.rpartition(":")[2]): given}
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise _not_candidates(given)
    taken: dict[str, int] = {}
    for one in given.items() if isinstance(given, Mapping) else given:
        pair = one if isinstance(one, tuple) and len(one) == 2 else (None, one)
        name, value = pair
        if not isinstance(value, Candidate | nn.Module) and not callable(value):
            raise _not_candidates(value)
        if not isinstance(name, str):
            name = _own_name(value)
            taken[name] = taken.get(name, 0) + 1
            name += f" {taken[name]}" if taken[name] > 1 else ""
        yield name, value


def _own_name(value: Any) -> str:
    if isinstance(value, Candidate):
        return value.name
    return str(getattr(value, "__name__", type(value).__name__))


def _not_candidates(value: object) -> ValueError:
    got = "nothing" if value is None else type(value).__name__
    return ValueError(
        f"`candidates` must be networks, functions that build them, or Candidates, got {got}"
    )


def _of_file(path: Path, sizes: Mapping[str, Any]) -> list[Candidate]:
    content = read_document(path, "candidates")
    own: Mapping[Any, Any] = content if isinstance(content, Mapping) else {}
    entries = [*own.values()] if own else content
    if not isinstance(entries, list) or not all(isinstance(one, str) for one in entries):
        raise ValueError(
            f"`candidates` must list names of timm's models and FILE.py:function, got {path} with "
            "something else"
        )
    names: list[Any] = [*map(str, own)] or [None] * len(entries)
    return [_entry(path.parent, *pair, sizes) for pair in zip(names, entries, strict=True)]


def _entry(folder: Path, name: str | None, entry: str, sizes: Mapping[str, Any]) -> Candidate:
    if (function := _FUNCTION.fullmatch(entry)) is not None:
        file = Path(function[1]).expanduser()
        where = str(folder.resolve() / file) if function[1].endswith(".py") else function[1]
        made = Made(f"{where}:{function[2]}")
        _ = made.function  # it is there
        return Candidate(name or function[2], {}, made)
    space = resolve_space(_BY_NAME)
    space.check({**sizes, "names": [entry]})
    one = candidate_of(space, {"model": entry})
    return one if name is None else Candidate(name, one.config, one.build, one.build_untrained)
