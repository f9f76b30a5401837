"""Formed: what candidates compute, as a journal keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prescreen.lines import Damaged
from prescreen.screening.form import Form

_EVENT = "form"
_KEYS = {"event", "candidate", "digest", "parameters", "reason", "code"}


@dataclass(frozen=True)
class Formed:
    """The form of a candidate, and the code that it is of.

    Args:
        form: what the candidate computes.
        code: what builds it: part to digest or version.
    """

    form: Form
    code: Mapping[str, str] = field(default_factory=dict)

    def to_event(self, key: str) -> dict[str, Any]:
        """The journal's event, of the candidate with this key."""
        return {
            "event": _EVENT,
            "candidate": key,
            **self.form.to_json(),
            "code": dict(self.code),
        }

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> tuple[str, Formed]:
        """The candidate's key, and what ``to_event`` wrote.

        Raises:
            Damaged: it is none.
        """
        texts = [event.get(name) for name in ("candidate", "digest", "reason")]
        code, parameters = event.get("code"), event.get("parameters")
        is_one = (
            set(event) == _KEYS
            and all(isinstance(one, str) for one in texts)
            and type(parameters) is int
            and isinstance(code, dict)
            and all(isinstance(one, str) for one in code.values())
        )
        if not is_one:
            raise Damaged("a form with other parts")
        return event["candidate"], cls(Form.from_json(event), event["code"])


def is_formed(event: Mapping[str, Any]) -> bool:
    """Whether an event says what a candidate computes, and not what became of it."""
    return event.get("event") == _EVENT
