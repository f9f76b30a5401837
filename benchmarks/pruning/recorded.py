"""What do the package's own decisions save in every recorded space?

    python -m benchmarks.pruning.recorded --recordings RECORDINGS --truths TRUTHS

The recordings of `architectures.record` are replayed through the package's own decisions, as
`decisions` does, whose columns these are. Only the candidates for tuning count; with --report those
that are reported on. They are read at the ends of the quarters of their brief training and, untrained,
at step 0. If fewer are recorded than a search needs, it takes all of them, in another order each time.

validation is accuracy on 1,000 labelled images in evaluation mode; spaces in which that was not
recorded at every quarter are left out of its rows. Below each table is what the pruner reports at the
end of one search. The last table is the mean over spaces, of those with such rows.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.architectures.recording import QUARTERS, Recording
from benchmarks.architectures.recordings import load
from benchmarks.architectures.spaces import SPACES
from benchmarks.common.options import command, need
from benchmarks.pruning.decisions import ASHA, UNGUARDED, Way, panel_of, search, summary
from benchmarks.pruning.replay import Recordings
from prescreen import DEFAULT_PANEL
from prescreen.pruning import Halving, Improvement, Median, Population, report
from prescreen.ranks import Floats
from prescreen.text import plain_table

VALIDATION = "validation_accuracy"
HEADER = ["", "steps %", "finish", "regret", "lost %"]


def ways(first: int) -> dict[str, Way]:
    """The rows by name, for trajectories whose first reading after step 0 is at a step."""
    panel, head, validation = DEFAULT_PANEL, DEFAULT_PANEL[:1], (VALIDATION,)
    return {
        "Improvement()": Way(Improvement(), names=panel),
        **{f"Improvement({one})": Way(Improvement(one), names=panel) for one in (0.1, 0.3, 1.0)},
        "Improvement(max_regret=0.2)": Way(Improvement(max_regret=0.2), names=panel),
        "head alone, Improvement()": Way(Improvement(), names=head),
        "with validation, Improvement()": Way(Improvement(), names=(*panel, VALIDATION)),
        "validation, Improvement()": Way(Improvement(), names=validation),
        "validation, Median(), unguarded": Way(Median(), UNGUARDED, validation),
        "validation, Halving, unguarded": Way(Halving(first, 2), ASHA, validation),
    }


def main() -> None:
    """Print a table for every space, and one over spaces."""
    options = {"recordings": Path("prescreen-runs/recordings"), "truths": Path, "report": False}
    options |= {"spaces": [*SPACES], "size": 25, "searches": 30, "seed": 0}
    args = command(__doc__, **options).parse_args()
    args.do = "recorded"
    need(args, "truths")
    found: dict[str, list[Floats]] = {}
    for space in args.spaces:
        recordings = of_space(space, args)
        if recordings is None:
            continue
        for name, rows in replayed(recordings, args).items():
            found.setdefault(name, []).append(rows.mean(axis=0))
    if found:
        print(f"\nmean over spaces, and the largest regret of one\n{over_spaces(found)}")


def of_space(space: str, args: Namespace) -> Recordings | None:
    """The candidates that did not fail, as `decisions` replays them; None if there are too few."""
    loaded = load(space, args.recordings, args.truths, report=args.report)
    ran = [one for one in loaded.found if not one.failure]
    print(f"\n{space}: {len(ran)} candidates")
    if len(ran) < 3:
        return None
    columns = {name: trajectories(ran, name) for name in DEFAULT_PANEL}
    if (validation := trajectories(ran, VALIDATION)).size:
        columns[VALIDATION] = validation
    steps = [0, *(int(ran[0].array("step")[ran[0].quarter(q)]) for q in quarters())]
    return Recordings(
        np.array([one.truth for one in ran]),
        np.array(steps),
        columns,
        tuple(one.architecture for one in ran),
    )


def trajectories(ran: Sequence[Recording], name: str) -> Floats:
    """A column from step 0 on, shape (candidates, readings); empty if not recorded at every one."""
    try:
        rows = [[one.value(name, one.quarter(q)) for q in quarters()] for one in ran]
    except KeyError:
        return np.empty(0)
    values = np.array(rows, float)
    untrained = name in DEFAULT_PANEL[1:]
    return np.hstack([values[:, :1] if untrained else np.full((len(ran), 1), np.nan), values])


def quarters() -> range:
    """Of the training, at whose ends candidates are read."""
    return range(1, QUARTERS + 1)


def replayed(recordings: Recordings, args: Namespace) -> dict[str, Floats]:
    """Print what every way does; returns the figures of all searches by name."""
    rng, count = np.random.default_rng(args.seed), len(recordings.truth)
    orders = [rng.permutation(count)[: args.size].tolist() for _ in range(args.searches)]
    found = {}
    for name, way in ways(int(recordings.steps[1])).items():
        if set(way.names) <= set(recordings.columns):
            found[name] = np.array([search(recordings, order, way) for order in orders])
    rows = [[name, *summary([*map(tuple, one)])] for name, one in found.items()]
    print(plain_table(HEADER, rows))
    print(f"{next(iter(found))} in the first search: {told(recordings, orders[0])}", flush=True)
    return found


def told(recordings: Recordings, order: list[int]) -> str:
    """What the default way reports at the end of a search."""
    way = next(iter(ways(int(recordings.steps[1])).values()))
    population = Population(panel_of(way.names))
    _, finished, _ = search(recordings, order, way, population)
    return report(population, way.guard, len(order) - finished)


def over_spaces(found: Mapping[str, Sequence[Floats]]) -> str:
    """A line for every way: the number of spaces, means over them, and the largest regret."""
    rows = []
    for name, one in found.items():
        spent, _, regret = np.array(one).T
        figures = f"{100 * spent.mean():.0f}", f"{regret.mean():.2f}", f"{regret.max():.2f}"
        rows.append([name, str(len(one)), *figures])
    return plain_table(["", "spaces", "steps %", "regret", "largest"], rows)


if __name__ == "__main__":
    main()
