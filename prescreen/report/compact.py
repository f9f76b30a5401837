"""Compact: findings as columns of plain numbers, for a page to draw."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from prescreen.report.data import Entry, Findings, is_of_network, sign_of
from prescreen.report.orders import agreement_table, column, costs, front, places
from prescreen.text import printable, shortened

_DIGITS = 5
_LONGEST = 300


def compact(findings: Findings) -> dict[str, Any]:
    """Strict JSON: one list a column, five digits a number; texts are on one line and not too long."""
    entries = findings.entries
    ranked = findings.ranked
    measures = [*dict.fromkeys([*findings.measures, *_others(entries)])]
    names, table = agreement_table(findings)
    capacity = [*dict.fromkeys(name for one in entries for name in one.costs)]
    scores = np.array([one.score for one in ranked], dtype=float)
    return {
        "score": findings.score,
        "final": _text(findings.final),
        "measures": [
            {
                "name": _text(name),
                "higher": sign_of(name) > 0,
                "network": is_of_network(name),
                "panel": name in findings.measures and name not in findings.left_out,
            }
            for name in measures
        ],
        "name": [_text(one.name) for one in entries],
        "rank": [one.rank for one in entries],
        "tied": [int(one.tied) for one in entries],
        "status": coded([one.status for one in entries]),
        "reason": coded([_text(one.reason) for one in entries]),
        "changes": {
            at: [*map(_text, one.changes)] for at, one in enumerate(entries) if one.changes
        },
        "step": [one.step for one in entries],
        **{
            key: _numbers(getattr(one, key) for one in entries)
            for key in ("low", "high", "seconds")
        },
        "scores": _numbers(one.score for one in entries),
        "loss": _numbers(_loss(one) for one in entries),
        "results": _numbers(one.final for one in entries) if findings.final else [],
        "values": [
            _numbers(one.values.get(name, math.nan) for one in entries) for name in measures
        ],
        "places": [
            [*places(column(ranked, name)), *[None] * (len(entries) - len(ranked))]
            for name in measures
        ],
        "config": _configs(entries),
        "costs": {name: _numbers(costs(entries, name).tolist()) for name in capacity},
        "fronts": {name: front(costs(ranked, name), scores) for name in capacity},
        "agreement": {
            "names": [*map(_text, names)],
            "rho": [_numbers(one.rho for one in row) for row in table],
            "low": [_numbers(one.low for one in row) for row in table],
            "high": [_numbers(one.high for one in row) for row in table],
        },
        "trajectories": _trajectories(entries, measures),
    }


def embedded(data: Any) -> str:
    """JSON that is safe inside of a script element: no text of it can end the element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def coded(values: Sequence[Hashable]) -> dict[str, Any]:
    """Distinct values, and for each place the index of its own."""
    index: dict[Hashable, int] = {}
    at = [index.setdefault(one, len(index)) for one in values]
    return {"levels": [*index], "at": at}


def _trajectories(entries: Sequence[Entry], measures: Sequence[str]) -> dict[str, Any]:
    """Steps, mostly the same ones, and values; measures that never change are absent."""
    moving = [name for name in measures if not is_of_network(name)]
    series = {
        name: [_numbers(one.trajectory.series(name)[1]) for one in entries] for name in moving
    }
    series["training loss"] = [
        _numbers(reading.training_loss for reading in one.trajectory) for one in entries
    ]
    known = {
        _text(name): own
        for name, own in series.items()
        if any(number is not None for one in own for number in one)
    }
    steps = coded([tuple(reading.step for reading in one.trajectory) for one in entries])
    return {"steps": steps, "series": known}


def _configs(entries: Sequence[Entry]) -> dict[str, Any]:
    keys = [*dict.fromkeys(key for one in entries for key in one.config)]
    return {_text(key): coded([_cell(one.config.get(key)) for one in entries]) for key in keys}


def _cell(value: Any) -> str | float | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None if value is None else str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return _text(value if isinstance(value, str) else json.dumps(value, default=str))


def _others(entries: Sequence[Entry]) -> list[str]:
    return [*dict.fromkeys(name for one in entries for name in one.values)]


def _loss(one: Entry) -> float:
    return one.trajectory.last.training_loss if len(one.trajectory) else math.nan


def _numbers(values: Iterable[float]) -> list[float | int | None]:
    return [_short(float(one)) for one in values]


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    if value.is_integer() and abs(value) < 2**53:  # counts stay exact
        return int(value)
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() else short


def _text(text: str) -> str:
    return shortened(printable(text), _LONGEST)
