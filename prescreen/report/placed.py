"""Placed: the trials of a host, in the order of their final results, with scores by their readings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from prescreen.ranks import Floats
from prescreen.report.data import OK, Entry, Findings, sign_of


def placed(findings: Findings) -> Findings:
    """The same with scores, and with ranks for trials that ran to their end, which come first.

    Without any final result, they are ranked by their scores.
    """
    scores = shares_beaten(findings.entries, findings.measures)
    entries = [replace(one, score=s) for one, s in zip(findings.entries, scores, strict=True)]
    sign = 1 if findings.higher else -1
    by_result = any(not math.isnan(one.final) for one in entries)

    def worth(one: Entry) -> float:
        value = sign * one.final if by_result else one.score
        return -math.inf if math.isnan(value) else value

    ended = sorted((one for one in entries if one.status == OK), key=worth, reverse=True)
    others = sorted(
        (one for one in entries if one.status != OK), key=lambda one: (one.failed, -_known(one))
    )
    ranked = [replace(one, rank=place) for place, one in enumerate(ended, start=1)]
    return replace(findings, entries=(*ranked, *others))


def _known(one: Entry) -> float:
    return -1.0 if math.isnan(one.score) else one.score


def shares_beaten(entries: Sequence[Entry], measures: Sequence[str]) -> list[float]:
    """The share of the other trials that ran to their end which each beats at its last step.

    It is a mean over measures; ties count half. NaN without a reading, or if no other was read there.
    """
    ended: dict[int, list[int]] = {}
    last: dict[int, list[int]] = {}
    rows: dict[tuple[int, int], list[float]] = {}
    signs = [sign_of(name) for name in measures]
    for index, one in enumerate(entries):
        for reading in one.trajectory:
            if one.status == OK:
                ended.setdefault(reading.step, []).append(index)
            if one.status == OK or reading.step == one.step:
                values = (reading.values.get(name, math.nan) for name in measures)
                rows[index, reading.step] = [s * v for s, v in zip(signs, values, strict=True)]
        if len(one.trajectory):
            last.setdefault(one.step, []).append(index)
    found = [math.nan] * len(entries)
    for step, judged in last.items():
        others = ended.get(step, [])
        if not others or not measures:
            continue
        among = np.array([rows[index, step] for index in others])
        own = np.array([rows[index, step] for index in judged])
        member = np.array([entries[index].status == OK for index in judged])
        for index, share in zip(judged, _shares(own, among, member), strict=True):
            found[index] = float(share)
    return found


def _shares(own: Floats, among: Floats, member: Floats) -> Floats:
    """Wins of rows over others, shape (rows,); members are not compared with themselves."""
    wins = np.zeros(len(own))
    defined = 0
    for mine, theirs in zip(own.T, among.T, strict=True):
        if np.isnan(mine).any() or np.isnan(theirs).any():
            mine, theirs = (np.nan_to_num(one, nan=-np.inf) for one in (mine, theirs))
        known = np.sort(theirs)
        below = np.searchsorted(known, mine, "left") + np.searchsorted(known, mine, "right")
        wins += below / 2 - member / 2
        defined += 1
    others = len(among) - member
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(others > 0, wins / (defined * np.maximum(others, 1)), math.nan)
