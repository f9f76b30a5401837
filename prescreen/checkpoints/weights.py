"""Weights: the network of a checkpoint file of any origin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from prescreen.checkpoints.foreign import Inert, load_foreign
from prescreen.checkpoints.names import Place, places, states
from prescreen.importing import import_function
from prescreen.spaces.candidate import Candidate
from prescreen.tasks import Task
from prescreen.text import first_line, named_line

Builder = Callable[..., nn.Module]

_NAMED = 3  # how many names a message lists
_RIVALS = 100  # more sets of weights than this are not compared


@dataclass(frozen=True)
class Loaded:
    """A network with the weights of a checkpoint file.

    Args:
        model: the network.
        content: all of the file.
        notes: what was taken where there was a choice, and what was left out, each a clause.
    """

    model: nn.Module
    content: Any
    notes: tuple[str, ...]


def load_network(file: Path, builder: str | Builder, task: Task) -> Loaded:
    """The network of a checkpoint, with its weights.

    Entries, prefixes and what wrappers add to names are looked through. All of the model's state must
    be there. Averaged weights are taken before others.

    Raises:
        ValueError: the file does not hold weights of the model, or the model cannot be built.
    """
    build = import_function(builder, "models") if isinstance(builder, str) else builder
    content = load_foreign(file)
    model = _built(build, builder, file, task)
    names = model.state_dict()
    found = places(content, names)
    if not found and next(states(content), None) is None:
        raise ValueError(f"checkpoint must hold a state dict, got {_what(content)} in {file}")
    if found:
        place = _chosen([place for place in found if place.count == found[0].count], file)
        problems = _problems(model, place)
    else:
        problems = [f"it lacks {_listed([*names])}"]
    if problems:
        raise ValueError(
            f"checkpoint must hold the weights of the model, got {file}: {'; '.join(problems)}"
        )
    return Loaded(model, content, tuple(_notes(place, found)))


def _built(build: Builder, named: str | Builder, file: Path, task: Task) -> nn.Module:
    try:
        return Candidate(str(file), {}, build).model(**task.sizes)
    except ValueError:
        raise
    except (Exception, SystemExit) as error:  # it is the user's code
        name = named if isinstance(named, str) else getattr(named, "__name__", "a function")
        raise ValueError(
            f"`models` must build a network from {', '.join(task.sizes)}, got {name}, which raises "
            f"{named_line(error)}"
        ) from error


def _what(content: Any) -> str:
    if isinstance(content, Mapping):
        return "none"
    name = content.origin if isinstance(content, Inert) else type(content).__name__
    return f"an object of {name}"


def _chosen(best: list[Place], file: Path) -> Place:
    """The place to be taken.

    Raises:
        ValueError: several have different weights and an equal claim.
    """
    first = best[0]
    rivals = [place for place in best[1:] if place.rank == first.rank]
    for rival in rivals:
        if len(rivals) > _RIVALS or not _equal(first.weights, rival.weights):
            raise ValueError(
                f"checkpoint must hold one set of weights of the model, got {first} and {rival} "
                f"in {file}; save the one that is meant"
            )
    return first


def _equal(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return ours.keys() == theirs.keys() and all(
        isinstance(value, Tensor)
        and isinstance(theirs[name], Tensor)
        and value.dtype == theirs[name].dtype
        and torch.equal(value, theirs[name])
        for name, value in ours.items()
    )


def _problems(model: nn.Module, place: Place) -> list[str]:
    """Load the weights; what keeps them from being those of the model."""
    ours = model.state_dict()
    unlike = [
        name
        for name, value in place.weights.items()
        if isinstance(ours[name], Tensor)
        and not is_lazy(ours[name])
        and _shape(value) != _shape(ours[name])
    ]
    if unlike:
        name = unlike[0]
        more = f", and so on for {len(unlike) - 1} more" if len(unlike) > 1 else ""
        got = f"{_shape(place.weights[name])} where the model has {_shape(ours[name])}"
        return [f"{name} is {got}{more}"]
    try:
        missing = model.load_state_dict(place.weights, strict=False).missing_keys
    except Exception as error:  # hooks of the model may raise anything
        return [first_line(error)[:200]]
    # Tied weights are stored once.
    there = {value.data_ptr() for name, value in ours.items() if name in place.weights}
    lacking = [name for name in missing if ours[name].data_ptr() not in there]
    beyond = _beyond(model, place.extra)
    problems = [f"it lacks {_listed(lacking)}"] if lacking else []
    return [*problems, f"the model lacks {_listed(beyond)}"] if beyond else problems


def _beyond(model: nn.Module, extra: Mapping[str, Any]) -> list[str]:
    """Names that the model lacks and that show that the checkpoint is of another network.

    Beside the model's own modules anything may stand, such as a criterion with weights. Among them, a
    further layer would be left out of the computation. Counters and buffers that the model makes
    itself are not part of it.
    """
    modules = dict(model.named_modules())
    kinds = {_kind(name) for name in (*modules, *model.state_dict()) if name}

    def is_beyond(name: str, value: Any) -> bool:
        parent, _, leaf = name.rpartition(".")
        if _kind(name) not in kinds:
            return False
        if parent not in modules:
            return True
        counts = not (isinstance(value, Tensor) and value.is_floating_point())
        return not counts and leaf not in modules[parent]._buffers

    return [name for name, value in extra.items() if is_beyond(name, value)]


def _kind(name: str) -> str:
    """The first part of a name without its number: the same for layer1 and layer4."""
    return re.sub(r"\d+", "", name.partition(".")[0])


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _notes(place: Place, found: Iterable[Place]) -> Iterable[str]:
    others = [other for other in found if other is not place and other.averaged != place.averaged]
    if others and place.averaged:
        yield f"The averaged weights ({place}) were read, not those of {others[0]}"
    elif others:
        yield f"The weights of {place} were read; the averaged ones ({others[0]}) are not complete"
    ignored = [*place.extra, *place.outside]
    if ignored:
        yield f"Entries that are not of the model were ignored: {_listed(ignored)}"


def _listed(names: list[str]) -> str:
    """Some of the names, and how many there are beyond."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(name[:80] for name in names[:_NAMED]) + more
