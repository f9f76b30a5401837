"""Repeats: a candidate trained several times, each time with the next seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from prescreen.screening import Plan
from prescreen.spaces.candidate import Candidate


@dataclass(frozen=True)
class Repeat:
    """One training of a candidate.

    Args:
        candidate: the candidate.
        number: what is added to the seed of the training.
    """

    candidate: Candidate
    number: int = 0

    @property
    def name(self) -> str:
        """The candidate's name, with the seed's number if it is not the first."""
        return self.candidate.name + (f" (seed +{self.number})" if self.number else "")

    @property
    def key(self) -> str:
        """Identity in a journal; that of the first training is the candidate's own."""
        return self.key_of(self.candidate.key, self.number)

    @staticmethod
    def key_of(candidate: str, number: int) -> str:
        """The identity of a training of the candidate with this key."""
        if not number:
            return candidate
        parts = {**json.loads(candidate), "repeat": number}
        return json.dumps(parts, sort_keys=True, separators=(",", ":"))


def repeats(candidates: Sequence[Candidate], seeds: int) -> list[Repeat]:
    """All trainings: every candidate with the first seed, then with the next one."""
    return [Repeat(one, number) for number in range(seeds) for one in candidates]


def counted(trainings: Sequence[Repeat]) -> str:
    """What so many of them are called."""
    return "trainings" if any(one.number for one in trainings) else "candidates"


def seeded(plan: Plan, number: int) -> Plan:
    """The plan of the trainings with this number."""
    return replace(plan, training=replace(plan.training, seed=plan.training.seed + number))
