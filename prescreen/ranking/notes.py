"""Notes: what the intervals of a ranking are of, and what would tell its first two apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from prescreen.ranking.replay import Record
from prescreen.ranking.uncertainty import Uncertainty

# Above these, a number is no advice any more.
_MOST_TIMES, _MOST_SEEDS = 100, 100


def notes(
    sure: Uncertainty | None,
    varied: Mapping[str, bool],
    *,
    candidates: int,
    seeds: int,
    samples: int,
) -> tuple[str, ...]:
    """Lines for people.

    Args:
        sure: how sure the order is; None if that is not known.
        varied: readouts of which it is known how they vary with the probe, and whether of all.
        candidates: how many were ranked.
        seeds: how often each was trained.
        samples: how many the probe batch has; 0 if that is not known.
    """
    if candidates < 2:
        return ()
    if not all(varied.values()):
        return ("No intervals: some candidates were measured by an earlier version.",)
    if sure is None:
        return ("No intervals with one seed of this panel; 3 seeds (--seeds 3) give them.",)
    over = [f"{seeds} seeds"] if seeds > 1 else []
    over += [f"samples of the probe ({', '.join(varied)})"] if varied else []
    training = " Training noise is not in it: --seeds 3 adds it." if seeds == 1 else ""
    lines = [f"±  95 % interval over {' and '.join(over)}.{training}"]
    if sure.tied.any():
        advice = f" {_advice(sure, seeds, samples)}" if sure.probe != 1 else ""
        lines.append(f"=  not told from the first by it.{advice}")
    return tuple(lines)


def cached_note(records: Sequence[Record]) -> tuple[str, ...]:
    """How many trainings were taken from the cache; nothing if none was."""
    count = sum(one.cached for one in records)
    if not count:
        return ()
    return (f"{count} of {len(records)} trainings were measured by other runs (cache).",)


def _advice(sure: Uncertainty, seeds: int, samples: int) -> str:
    ways = []
    if seeds > 1 and sure.seeds <= _MOST_SEEDS:
        ways.append(f"{max(math.ceil(sure.seeds), seeds + 1)} seeds")
    if sure.probe <= _MOST_TIMES and samples:
        ways.append(f"{max(math.ceil(sure.probe * samples), samples + 1)} samples of the probe")
    if ways:
        return f"About {' or '.join(ways)} would tell the first two apart, if their scores stay."
    tried = "samples of the probe" if seeds == 1 else "seeds or samples of the probe"
    return f"No number of {tried} within reach would tell the first two apart."
