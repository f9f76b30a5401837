"""Outline: what a run was asked for: which candidates, trained how often, compared by what."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor

from prescreen.lines import Damaged
from prescreen.ranking.replay import Record
from prescreen.readouts import Need, Readout, get_readout
from prescreen.readouts.committee import Committee
from prescreen.spaces.candidate import Candidate

_EVENT = "run"
_KEYS = {"event", "candidates", "seeds", "samples", "readouts", "given"}


@dataclass(frozen=True)
class Outline:
    """What a call of ``rank`` was given, as far as the journal's settings do not say it.

    Args:
        candidates: names and configs, in the order that equal scores keep.
        seeds: how often each was trained.
        samples: how many the probe batch has.
        readouts: the panel, in its order: which way is good, and what each readout needs.
        given: other arguments and the versions of what ran, for people; JSON values.
    """

    candidates: Sequence[Mapping[str, Any]]
    seeds: int
    samples: int
    readouts: Mapping[str, Mapping[str, Any]]
    given: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        candidates: Sequence[Candidate],
        readouts: Mapping[str, Readout],
        *,
        seeds: int,
        samples: int,
        given: Mapping[str, Any],
    ) -> Outline:
        """The outline of a run of these candidates."""
        panel = {name: _plain(one) for name, one in readouts.items()}
        chosen = [{"name": one.name, "config": dict(one.config)} for one in candidates]
        return cls(chosen, seeds, samples, panel, given)

    def to_event(self) -> dict[str, Any]:
        """The journal's event."""
        return {"event": _EVENT, **vars(self)}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Outline:
        """The outline that ``to_event`` wrote.

        Raises:
            Damaged: it is none.
        """
        holds = set(event) == _KEYS and _is_outline(event)
        if not holds:
            raise Damaged("an outline of another form")
        return cls(**{key: event[key] for key in _KEYS - {"event"}})


def is_outline(event: Mapping[str, Any]) -> bool:
    """Whether an event says what a run was asked for, and not what became of a candidate."""
    return event.get("event") == _EVENT


def outline_of(records: Mapping[str, Record], settings: Mapping[str, Any]) -> Outline:
    """The outline of a run whose journal, by an earlier version, has none.

    Candidates are those of the records in their order. Readouts that are known by name are those of the
    settings; which way is better in others is not known, and they are left out.

    Raises:
        ValueError: the records are not those of candidates.
    """
    found: dict[str, Mapping[str, Any]] = {}
    seeds = 1
    for key in records:
        try:
            parts = json.loads(key)
            found[str(parts["name"])] = dict(parts["config"])
            seeds = max(seeds, 1 + int(parts.get("repeat", 0)))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(
                f"`folder` must hold a journal of `rank`, got events of {key!r:.200}"
            ) from None
    readouts = {name: one for name in settings.get("readouts", ()) if (one := _known(name))}
    chosen = [{"name": name, "config": config} for name, config in found.items()]
    return Outline(chosen, seeds, 0, {n: _plain(one) for n, one in readouts.items()})


def panel_of(outline: Outline) -> dict[str, Readout]:
    """The panel for comparing values that were read; its functions are those of known names alone."""
    return {
        name: Readout(_function_of(name), tuple(one["needs"]), one["higher_is_better"])
        for name, one in outline.readouts.items()
    }


def _known(name: str) -> Readout | None:
    """The readout of a name; None if it is a user's own."""
    try:
        return get_readout(name, torch.zeros(1))
    except ValueError:
        return None


def _function_of(name: str) -> Callable[..., Tensor | float]:
    known = _known(name)
    return _undefined if known is None else known.function


def _undefined(committee: Committee) -> Tensor:
    """Of a user's own readout beside other candidates, whose code is not here."""
    return torch.full((len(committee.own),), math.nan)


def _plain(readout: Readout) -> dict[str, Any]:
    return {"higher_is_better": readout.higher_is_better, "needs": [*readout.needs]}


def _is_outline(event: Mapping[str, Any]) -> bool:
    candidates, readouts = event["candidates"], event["readouts"]
    return (
        all(type(event[name]) is int for name in ("seeds", "samples"))
        and event["seeds"] >= 1
        and event["samples"] >= 0
        and isinstance(event["given"], dict)
        and isinstance(candidates, list)
        and all(map(_is_candidate, candidates))
        and isinstance(readouts, dict)
        and all(map(_is_readout, readouts.values()))
    )


def _is_candidate(one: object) -> bool:
    return (
        isinstance(one, dict)
        and set(one) == {"name", "config"}
        and isinstance(one["name"], str)
        and bool(one["name"])
        and isinstance(one["config"], dict)
    )


def _is_readout(one: object) -> bool:
    if not isinstance(one, dict) or set(one) != {"higher_is_better", "needs"}:
        return False
    needs = one["needs"]
    known = isinstance(needs, list) and bool(needs) and all(n in get_args(Need) for n in needs)
    alone = known and (needs == ["network"] or "network" not in needs)
    return alone and isinstance(one["higher_is_better"], bool)
