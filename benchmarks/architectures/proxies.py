"""The peers' proxies at initialisation of the recorded candidates of a space, beside their recordings.

    python -m benchmarks.architectures.proxies darts --data DATA --truths TRUTHS

They see the network that is trained briefly, at the same image size; with --full the one whose accuracy
was published, at 32×32, as in their papers. The values go to OUT/SPACE/untrained.csv, where `ask` finds
them. If it is interrupted, rerun it: what is measured is not measured again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.architectures.measure import score_untrained
from benchmarks.architectures.record import PROBE, RECORDED
from benchmarks.architectures.spaces import SPACES
from benchmarks.common.options import command, need
from benchmarks.common.results import write
from prescreen import load_task

UNTRAINED = "untrained.csv"
PUBLISHED_SIZE = 32


def main() -> None:
    """Measure what `record` has recorded, or the first --limit of these."""
    options = {"data": Path, "truths": Path, "workers": 2, "limit": int, "full": False}
    parser = command(__doc__, space=tuple(SPACES), **options, out=Path("prescreen-runs/recordings"))
    args = parser.parse_args()
    args.do = "proxies"
    need(args, "data")
    space, folder = SPACES[args.space], args.out / args.space
    size = PUBLISHED_SIZE if args.full else space.image_size
    recorded = {path.stem for path in folder.glob(f"seed-*/*{RECORDED}")}
    numbered = enumerate(space.candidates(args.truths))
    candidates = [one for number, one in numbered if f"{number:04d}" in recorded][: args.limit]
    if args.full:
        candidates = [replace(c, build=partial(c.build, **space.full)) for c in candidates]
    task = load_task(args.data, probe_size=PROBE, image_size=size)
    journal = folder / f"untrained-{'full' if args.full else 'reduced'}"
    found = score_untrained(task, candidates, args.workers, journal)
    write(folder / UNTRAINED, ({"run": name, **values} for name, values in found.items()))


if __name__ == "__main__":
    main()
