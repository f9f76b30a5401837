"""What it costs to find out which candidates compute the same, beside their screening.

    python -m benchmarks.equal.cost                     # 5 candidates of each space, 3 minutes
    python -m benchmarks.equal.cost --spaces darts --steps 20

CPU seconds of the form and of the screening of a candidate on handwritten digits, in turn, in this
process with one thread. The shares are ratios of medians.
"""

from __future__ import annotations

import os
import statistics
import time

import torch

from benchmarks.common.options import command
from prescreen import Candidate, Training, load_task
from prescreen.failures import CandidateFailed
from prescreen.screening import Plan, Screening
from prescreen.screening.form import Forms
from prescreen.spaces.chosen import as_candidates
from prescreen.text import plain_table

SPACES = ["nas_bench_201", "nas_bench_101", "darts", "mobile", "vit"]


def main() -> None:
    """Measure and print the table."""
    args = command(__doc__, spaces=SPACES, candidates=5, steps=100, seed=0).parse_args()
    torch.set_num_threads(1)
    task = load_task("digits")
    plan = Plan(task, Training(steps=args.steps), ranking=True)
    forms = Forms(plan)
    rows = []
    for space in args.spaces:
        chosen = as_candidates(space, args.candidates, args.seed, task.sizes)
        forms.of(chosen[0])  # what is done once
        found = [(*_seconds(forms, plan, one),) for one in chosen]
        of_form, of_screening, known = (list(column) for column in zip(*found, strict=True))
        medians = statistics.median(of_form), statistics.median(of_screening)
        share = f"{100 * medians[0] / medians[1]:.0f} %"
        rows.append([space, *(f"{one:.2f}" for one in medians), share, f"{sum(known)}"])
    print(
        f"{args.candidates} candidates a space, {args.steps} steps, torch {torch.__version__}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(plain_table(["space", "form s", "screening s", "share", "with a form"], rows))


def _seconds(forms: Forms, plan: Plan, candidate: Candidate) -> tuple[float, float, bool]:
    """CPU seconds of the form and of the screening, and whether there is a form."""
    begin = time.process_time()
    form = forms.of(candidate)
    middle = time.process_time()
    try:
        list(Screening(candidate, plan))
    except CandidateFailed:
        pass
    if form.reason:
        print(form.reason)
    return middle - begin, time.process_time() - middle, bool(form.digest)


if __name__ == "__main__":
    main()
