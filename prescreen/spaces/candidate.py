"""Candidate: an architecture not built yet, given by hand or drawn from a search space."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from prescreen.checks import require_at_least
from prescreen.interrupts import is_from_outside
from prescreen.spaces.random_trial import RandomTrial
from prescreen.spaces.space import Space, accepted
from prescreen.text import first_line, named_line

# A space counts as exhausted after this many draws without a new config.
MAX_REPEATS = 1000

_MAX_NAME = 40

# Lines that already name the function, or the config that it gave.
_OURS = ("`sample` of ", "`config` must ", "`candidates` must ")


@dataclass(frozen=True)
class Candidate:
    """An architecture not built yet.

    Args:
        name: its name in tables; unique within a ranking.
        config: JSON values that distinguish it from other candidates.
        build: makes the untrained network. It is given those of the task's sizes, such as
            ``num_classes``, that its signature accepts.
        build_untrained: makes another network for the measures of the untrained one. It may be wider
            or deeper than the trained one, since a measure costs a pass or two.

    Raises:
        ValueError: an empty name, a config that is not a JSON object, a build that is not a function.
    """

    name: str
    config: Mapping[str, Any]
    build: Callable[..., nn.Module] = field(compare=False, repr=False)
    build_untrained: Callable[..., nn.Module] | None = field(
        default=None, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"`name` must be a non-empty string, got {self.name!r}")
        builders = {"build": self.build, "build_untrained": self.build_untrained or self.build}
        for name, build in builders.items():
            if not callable(build) or isinstance(build, nn.Module):
                got = type(build).__name__
                raise ValueError(
                    f"`{name}` must be a function that returns a new network, got {got}"
                )
        _canonical_json(self.config)

    def __hash__(self) -> int:
        return hash(self.key)

    @functools.cached_property
    def key(self) -> str:
        """Identity across processes and sessions: canonical JSON of name and config."""
        return _canonical_json({"config": dict(self.config), "name": self.name})

    def model(self, *, untrained: bool = False, **sizes: Any) -> nn.Module:
        """Build the network with new weights.

        Args:
            untrained: build the network that is measured without training.
            sizes: the task's (see ``Task.sizes``); those that the builder's signature does not accept
                are left out.

        Raises:
            ValueError: what was built is not a torch.nn.Module.
        """
        build = (self.build_untrained if untrained else None) or self.build
        model: object = build(**accepted(build, sizes))
        if not isinstance(model, nn.Module):
            got = type(model).__name__
            raise ValueError(f"`build` of {self.name} must return a torch.nn.Module, got {got}")
        return model


def sample_candidates(space: Space, num_samples: int | None, seed: int) -> list[Candidate]:
    """Distinct candidates of a search space.

    With the same seed, a larger sample begins with the smaller one. If `num_samples` is None, or
    covers a finite space, the whole grid is returned in its own order. If a space without a grid
    stops giving new configs, the sample ends early with a warning: fewer candidates can still be
    ranked.

    Args:
        space: the source of configs.
        num_samples: how many candidates; None for all of a finite space.
        seed: a non-negative integer.

    Raises:
        ValueError: `num_samples` below 1, or None for a space without ``grid``; a bad seed;
            a ``name`` function that gives two configs the same name.
    """
    require_at_least("seed", seed, 0)
    if num_samples is not None:
        require_at_least("samples", num_samples, 1)
    with refused(space.name, "grid", "list configs"):
        grid = space.grid()
        most = None if num_samples is None else num_samples + 1
        configs = None if grid is None else list(itertools.islice(grid, most))
    if configs is not None and (num_samples is None or len(configs) <= num_samples):
        return distinctly_named([candidate_of(space, config) for config in configs])
    if num_samples is None:
        raise ValueError(f"`samples` must be a number, as {space.name} has no grid(), got None")
    return distinctly_named(_draw(space, num_samples, random.Random(seed)))


def candidate_of(space: Space, config: dict[str, Any]) -> Candidate:
    """The candidate for a config of a space."""
    with refused(space.name, "name", "return a name"):
        own = space.name_of(config)
    name = own or _default_name(config) or space.name
    return Candidate(name, config, *builders(space, config))


def builders(
    space: Space, config: Mapping[str, Any]
) -> tuple[Callable[..., nn.Module], Callable[..., nn.Module] | None]:
    """The builders of a config's network and, if another is measured untrained, of that one."""
    untrained = functools.partial(space.build_untrained, config) if space.has_untrained else None
    return functools.partial(space.build, config), untrained


def _draw(space: Space, num_samples: int, generator: random.Random) -> list[Candidate]:
    """Draw until there are enough distinct configs, or the space is exhausted."""
    found: dict[str, dict[str, Any]] = {}
    repeats = 0
    while len(found) < num_samples and repeats < MAX_REPEATS:
        with refused(space.name, "sample", "return a dict"):
            config = space.sample(RandomTrial(generator))
            key = _canonical_json(config)
        repeats = repeats + 1 if key in found else 0
        found.setdefault(key, config)
    if len(found) < num_samples:
        warnings.warn(
            f"`samples` must be at most what {space.name} has, got {num_samples}: it gave {len(found)} "
            f"distinct configs and no new one in {MAX_REPEATS} further draws",
            stacklevel=2,
        )
    return [candidate_of(space, config) for config in found.values()]


@contextmanager
def refused(owner: str, function: str, task: str) -> Iterator[None]:
    """Refuse in one line whatever a user's function raises, sys.exit() included."""
    try:
        yield
    except BaseException as error:  # the code is not ours
        line = first_line(error)
        if is_from_outside(error) or (isinstance(error, ValueError) and line.startswith(_OURS)):
            raise
        raise ValueError(f"`{function}` of {owner} must {task}, got {named_line(error)}") from error


def distinctly_named(candidates: list[Candidate]) -> list[Candidate]:
    """The same candidates; two of one name are refused."""
    seen: set[str] = set()
    for candidate in candidates:
        if candidate.name in seen:
            raise ValueError(f"`name` must be unique, got {candidate.name!r:.200} twice")
        seen.add(candidate.name)
    return candidates


def _canonical_json(config: Mapping[str, Any]) -> str:
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        raise ValueError(f"`config` must be a dict with string keys, got {config!r}")
    try:
        text = json.dumps(dict(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`config` must hold JSON values, got {config!r} ({error})") from error
    return text


def _default_name(config: Mapping[str, Any]) -> str:
    """``key=value`` of every entry; if too long, cut and made unique by a digest."""
    text = " ".join(f"{key}={value}" for key, value in config.items())
    if len(text) <= _MAX_NAME:
        return text
    digest = hashlib.sha256(_canonical_json(config).encode()).hexdigest()[:8]
    return f"{text[: _MAX_NAME - len(digest) - 1]}…{digest}"
