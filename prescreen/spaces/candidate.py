"""Candidate: an architecture not built yet, given by hand or drawn from a search space."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import random
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from prescreen.spaces.random_trial import RandomTrial
from prescreen.spaces.space import Space, accepted, resolve_space

# After so many draws without a new config a space counts as exhausted.
MAX_REPEATS = 1000

_MAX_NAME = 40


@dataclass(frozen=True)
class Candidate:
    """An architecture not built yet.

    Args:
        name: what tables call it; unique within a ranking.
        config: what tells it from other candidates, as JSON values.
        build: makes the untrained network; of the task's sizes, such as ``num_classes``, it is
            given those that its signature accepts.
        build_untrained: makes the network that is measured without training, if that is another
            than the one that is trained: a wider or deeper one, since it costs a pass or two.

    Raises:
        ValueError: an empty name, a config that is no JSON object, a build that is no function.
    """

    name: str
    config: Mapping[str, Any]
    build: Callable[..., nn.Module] = field(compare=False, repr=False)
    build_untrained: Callable[..., nn.Module] | None = field(
        default=None, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name: a non-empty string is needed, got {self.name!r}")
        builders = {"build": self.build, "build_untrained": self.build_untrained or self.build}
        for name, build in builders.items():
            if not callable(build) or isinstance(build, nn.Module):
                got = type(build).__name__
                raise ValueError(
                    f"{name}: a function that returns a new network is needed, got {got}"
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
            untrained: build the one that is measured without training.
            sizes: of the task (see ``Task.sizes``); those that the builder's signature does not
                accept are left out.

        Raises:
            ValueError: something else than a torch.nn.Module was built.
        """
        build = (self.build_untrained if untrained else None) or self.build
        model: object = build(**accepted(build, sizes))
        if not isinstance(model, nn.Module):
            got = type(model).__name__
            raise ValueError(f"build: {self.name} must build a torch.nn.Module, got {got}")
        return model


def sample_candidates(space: Space, num_samples: int | None, seed: int) -> list[Candidate]:
    """Distinct candidates of a search space.

    The first of a larger sample are the smaller sample of the same seed. Where `num_samples` is
    None, or no less than a finite space has, all of its grid is returned, in the grid's order.
    A space that has no grid and gives no new config any more ends the sample early, with a
    warning: fewer candidates are still a ranking.

    Args:
        space: where configs come from.
        num_samples: how many candidates; None for all of a finite space.
        seed: a non-negative integer.

    Raises:
        ValueError: `num_samples` below 1, or None for a space without ``grid``; a bad seed;
            a ``name`` that calls two configs the same.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed: a non-negative integer is needed, got {seed!r}")
    if num_samples is not None and num_samples < 1:
        raise ValueError(f"samples: at least 1 is needed, got {num_samples}")
    grid = space.grid()
    if grid is not None:
        configs = list(itertools.islice(grid, None if num_samples is None else num_samples + 1))
        if num_samples is None or len(configs) <= num_samples:
            return _distinctly_named([candidate_of(space, config) for config in configs])
    if num_samples is None:
        raise ValueError(f"samples: a number is needed, {space.name} has no grid(), got None")
    return _distinctly_named(_draw(space, num_samples, random.Random(seed)))


def as_candidates(
    candidates: (
        str
        | Path
        | ModuleType
        | Space
        | Mapping[str, Callable[..., nn.Module]]
        | Iterable[Candidate]
    ),
    num_samples: int | None = None,
    seed: int = 0,
) -> list[Candidate]:
    """Candidates from whatever names them.

    Args:
        candidates: a search space (see `resolve_space`), which is sampled; candidates; or names
            and the functions that build them, such as ``{"small": make_small}``.
        num_samples: how many to sample, None for all of a finite space; for search spaces only.
        seed: of the sample.

    Raises:
        ValueError: no candidates, two of one name, something that is no candidate, or
            `num_samples` for candidates that are given.
    """
    if isinstance(candidates, str | Path | ModuleType | Space):
        return sample_candidates(resolve_space(candidates), num_samples, seed)
    if num_samples is not None:
        raise ValueError(f"samples: only a search space is sampled, got {num_samples}")
    given: list[object] = (
        [Candidate(name, {}, build) for name, build in candidates.items()]
        if isinstance(candidates, Mapping)
        else list(candidates)
    )
    strangers = [type(other).__name__ for other in given if not isinstance(other, Candidate)]
    if strangers or not given:
        raise ValueError(
            "candidates: a search space, Candidates or {name: function} is needed, "
            f"got {strangers[0] if strangers else 'none'}"
        )
    return _distinctly_named([one for one in given if isinstance(one, Candidate)])


def candidate_of(space: Space, config: dict[str, Any]) -> Candidate:
    """The candidate of a space's config."""
    name = space.name_of(config) or _default_name(config) or space.name
    return Candidate(name, config, *builders(space, config))


def builders(
    space: Space, config: Mapping[str, Any]
) -> tuple[Callable[..., nn.Module], Callable[..., nn.Module] | None]:
    """What builds a config's network, and the one that is measured untrained if it is another."""
    untrained = functools.partial(space.build_untrained, config) if space.has_untrained else None
    return functools.partial(space.build, config), untrained


def _draw(space: Space, num_samples: int, generator: random.Random) -> list[Candidate]:
    """Draw until there are enough distinct configs or no new ones come."""
    found: dict[str, dict[str, Any]] = {}
    repeats = 0
    while len(found) < num_samples and repeats < MAX_REPEATS:
        config = space.sample(RandomTrial(generator))
        key = _canonical_json(config)
        repeats = repeats + 1 if key in found else 0
        found.setdefault(key, config)
    if len(found) < num_samples:
        warnings.warn(
            f"samples: {space.name} gave {len(found)} distinct configs and no new one in "
            f"{MAX_REPEATS} further draws, {num_samples} were asked for",
            stacklevel=2,
        )
    return [candidate_of(space, config) for config in found.values()]


def _distinctly_named(candidates: list[Candidate]) -> list[Candidate]:
    seen: set[str] = set()
    for candidate in candidates:
        if candidate.name in seen:
            raise ValueError(f"name: every candidate needs its own, got {candidate.name!r} twice")
        seen.add(candidate.name)
    return candidates


def _canonical_json(config: Mapping[str, Any]) -> str:
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        raise ValueError(f"config: a dict with string keys is needed, got {config!r}")
    try:
        text = json.dumps(dict(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"config: JSON values are needed, got {config!r} ({error})") from error
    return text


def _default_name(config: Mapping[str, Any]) -> str:
    """``key=value`` of every entry, cut and made unique by a digest where it is long."""
    text = " ".join(f"{key}={value}" for key, value in config.items())
    if len(text) <= _MAX_NAME:
        return text
    digest = hashlib.sha256(_canonical_json(config).encode()).hexdigest()[:8]
    return f"{text[: _MAX_NAME - len(digest) - 1]}…{digest}"
