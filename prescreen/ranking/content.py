"""Content: what a journal file holds, read without changing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prescreen.lines import Damaged, content_of
from prescreen.ranking.folder import begins_like_one, header_of
from prescreen.ranking.formed import Formed, is_formed
from prescreen.ranking.outline import Outline, is_outline
from prescreen.ranking.replay import Complete, Record, apply


@dataclass
class Content:
    """The whole lines of a journal; a last line without newline was being written.

    Args:
        path: of the file, for messages.
        argument: what messages call the place of the file.
        whole: how many bytes the whole lines have.
        version: the schema; 0 if not even the first line is there.
        settings: of the first line.
        lines: the other lines.
    """

    path: Path
    argument: str
    whole: int
    version: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path, content: bytes, argument: str = "out") -> Content:
        """Split the bytes of a file.

        Raises:
            ValueError: it is not a journal.
        """
        whole = content[: content.rfind(b"\n") + 1]
        first, *lines = whole.split(b"\n")[:-1] or [b""]
        if first:
            version, settings = header_of(path, first, argument)
            return cls(path, argument, len(whole), version, settings, lines)
        if whole or not begins_like_one(content):
            raise ValueError(
                f"`{argument}` must hold a journal of prescreen, got another file in {path}"
            )
        return cls(path, argument, len(whole))

    def replay(
        self, complete: Complete | None
    ) -> tuple[dict[str, Record], Outline | None, dict[str, Formed]]:
        """The state of every candidate by its key, what the latest run was asked for, and forms.

        Args:
            complete: what is known about the readings of finished candidates.

        Raises:
            ValueError: a line is damaged.
        """
        records: dict[str, Record] = {}
        forms: dict[str, Formed] = {}
        outline = None
        for number, line in enumerate(self.lines, start=2):
            try:
                event = content_of(line, checked=self.version > 1)
                if is_outline(event):
                    outline = Outline.from_event(event)
                elif is_formed(event):
                    key, formed = Formed.from_event(event)
                    forms[key] = formed
                else:
                    apply(records, event, complete)
            except Damaged as error:
                raise ValueError(
                    f"`{self.argument}` must hold undamaged events, got {line[:40]!r} ({error}) as line "
                    f"{number} of {self.path}; remove the line to measure its candidate again, or "
                    "choose another folder"
                ) from None
        return records, outline, forms
