"""The figures of the documents: the README's ranking, its scores and how its candidates got there.

    python -m benchmarks.figures    # writes docs/ranking.png

It ranks as the README's first command does; a run that is there already is not measured again.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.common.options import command
from prescreen import Processes, load_task, rank
from prescreen.plots import plot_ranking, plot_trajectories


def main() -> None:
    """Rank, and write both figures side by side."""
    parser = command(__doc__, out=Path("docs/ranking.png"), run=Path("prescreen-runs/figures"))
    args = parser.parse_args()
    ranking = rank("nas_bench_201", load_task("digits"), samples=12, on=Processes(2), out=args.run)
    figure = Figure(figsize=(11, 4.2), facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_ranking(ranking, ax=left)
    plot_trajectories(ranking, ax=right)
    figure.savefig(args.out, dpi=100)


if __name__ == "__main__":
    main()
