"""Whether a ranking stays the same if networks are trained as they are fastest.

    python -m benchmarks.throughput.agreement                       # a few minutes a space
    python -m benchmarks.throughput.agreement --spaces darts --candidates 6 --steps 20

The same candidates on handwritten digits, seed 0, ranked with `Training(execution="auto")` and
"plain". Their builders' own choice of a layout is undone, so that both differ in all that is chosen.
"threads" is what rounding alone does: plain with one thread for each candidate, and with two.
Kendall's tau and Spearman's rho are of the scores, and the largest difference is of one score.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from scipy.stats import kendalltau, spearmanr
from torch import nn

from benchmarks.common.options import command
from prescreen import Candidate, Processes, Ranking, Training, load_task, rank
from prescreen.spaces.chosen import as_candidates
from prescreen.text import plain_table
from prescreen.training.execution import lay_out


@dataclass(frozen=True)
class Contiguous:
    """Builds a candidate in the default layout."""

    candidate: Candidate

    def __call__(self, **sizes: Any) -> nn.Module:
        """The network."""
        model = self.candidate.model(**sizes)
        lay_out(model, channels_last=False)
        return model


def main() -> None:
    """Two rows a space."""
    numbers = {"candidates": 12, "steps": 100, "batch": 64, "workers": 2}
    args = command(__doc__, spaces=["nas_bench_201", "timm_models"], **numbers).parse_args()
    task = load_task("digits")
    training = Training(steps=args.steps, batch_size=args.batch)
    rows = []
    for space in args.spaces:
        candidates = [
            replace(one, build=Contiguous(one)) for one in as_candidates(space, args.candidates, 0)
        ]
        auto, plain = (
            rank(candidates, task, training=one, on=Processes(args.workers))
            for one in (training, replace(training, execution="plain"))
        )
        other = rank(candidates, task, training=replace(training, execution="plain"), threads=2)
        rows += [compared(f"{space}: auto", plain, auto), compared("threads", plain, other)]
        print(*rows[-2:], flush=True)
    print(plain_table(["", "candidates", "tau", "rho", "largest difference", "trained"], rows))


def compared(name: str, plain: Ranking, other: Ranking) -> list[str]:
    """One row: how alike two rankings of the same candidates are."""
    scores = {row.name: row.score for row in plain}
    pairs = [(row.score, scores[row.name]) for row in other if row.rank is not None]
    return [
        name,
        f"{len(pairs)}",
        f"{kendalltau(*zip(*pairs, strict=True)).statistic:.3f}",
        f"{spearmanr(*zip(*pairs, strict=True)).statistic:.3f}",
        f"{max(abs(a - b) for a, b in pairs):.3f}",
        ", ".join(f"{n} {name}" for name, n in Counter(row.execution for row in other).items()),
    ]


if __name__ == "__main__":
    main()
