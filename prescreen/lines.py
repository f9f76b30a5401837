"""Lines: JSON objects that end with a checksum, for files to which a line at a time is added."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

_CRC = ', "crc": "'


class Damaged(Exception):
    """A line that cannot be true; the message says why."""


def line_of(content: Mapping[str, Any]) -> bytes:
    """A JSON object as a line that ends with the checksum of the text before it."""
    text = json.dumps(content, allow_nan=False)
    return f'{text[:-1]}{_CRC}{_checksum(text)}"}}\n'.encode()


def content_of(line: bytes, *, checked: bool = True) -> dict[str, Any]:
    """The object that ``line_of`` wrote.

    Args:
        line: without its newline.
        checked: whether a line without checksum is refused.

    Raises:
        Damaged: it is not a JSON object, or another than was written.
    """
    try:
        text = line.decode()
        content = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise Damaged("it is not JSON") from None
    if not isinstance(content, dict):
        raise Damaged("it is not an event")
    if checked or "crc" in content:
        before, _, end = text.rpartition(_CRC)
        if end != f'{_checksum(f"{before}}}")}"}}':
            raise Damaged("its checksum is wrong")
        del content["crc"]
    return content


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError  # caught by ``content_of``
    return found
