"""Ten public scripts in our own words, as they are published and with prescreen's lines.

    python -m benchmarks.hosts.scripts run    # half an hour; it resumes
    python -m benchmarks.hosts.scripts run --scripts optuna_simple --epochs 3 --out FILE
    python -m benchmarks.hosts.scripts table

Each script is a file of this folder. Lines that end in "# theirs" are what the published script does to
prune or to choose, lines that end in "# prescreen" are ours. A run has those of one kind or none: it is
plain, theirs or prescreen. Each run is a process of its own with one thread.

lines: how many are prescreen's. pruned: trials that did not run to their end, of all; of one training,
the share of epochs that were not run. CPU: seconds of the run, without imports. regret: how much
better the winner of the plain run is, in points of final validation accuracy; of one training, how
much better the plain run's best checkpoint is than the model that is kept. Of one seed, the drawn
trials are the same.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.common.options import command
from benchmarks.common.results import Row, read, write
from benchmarks.hosts.scripts.program import FOUND
from prescreen.text import plain_table

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "scripts.csv"
WAYS = ("plain", "theirs", "prescreen")
# Script -> what the published one is, trials (0 of one training), and what it needs.
SCRIPTS = {
    "optuna_simple": ("Optuna, PyTorch", 20, "optuna"),
    "optuna_lightning": ("Optuna, Lightning", 20, "lightning"),
    "optuna_objectives": ("Optuna, two objectives", 20, "optuna"),
    "optuna_distributed": ("Optuna, distributed", 10, "optuna_integration"),
    "ray_mnist": ("Ray Tune, MNIST", 10, "ray"),
    "ray_cifar": ("Ray Tune, CIFAR", 10, "ray"),
    "torch_mnist": ("PyTorch, MNIST", 0, "torch"),
    "lightning_trainer": ("Lightning", 0, "lightning"),
    "transformers_images": ("transformers", 0, "transformers"),
    "timm_train": ("timm, train.py", 0, "timm"),
}
HEADER = ["script", "lines", "pruned", "by theirs", "CPU plain", "theirs", "prescreen", "regret"]
HEADER += ["of theirs"]


def main() -> None:
    """Run what is missing, and print the table."""
    parser = command(__doc__, out=RESULTS, seeds=1, trials=0, epochs=0)
    parser.add_argument("do", nargs="?", choices=("run", "table"), default="table")
    parser.add_argument("--scripts", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    args = parser.parse_args()
    rows = read(args.out) if args.out.exists() else []
    done = {row["run"] for row in rows}
    options = [f"--{name}={getattr(args, name)}" for name in ("trials", "epochs")]
    options = [option for option in options if not option.endswith("=0")]
    for script in args.scripts if args.do == "run" else ():
        if find_spec(SCRIPTS[script][2]) is None:
            print(f"{script} needs {SCRIPTS[script][2]}, which is not installed", file=sys.stderr)
            continue
        for seed in range(args.seeds):
            for way in WAYS:
                if (name := f"{script} {way} {seed}") not in done:
                    rows.append({"run": name, **run(script, way, [*options, f"--seed={seed}"])})
                    args.out.parent.mkdir(parents=True, exist_ok=True)
                    write(args.out, rows)
    print(plain_table(HEADER, table(rows)))


def source(script: str, way: str) -> str:
    """The text of a script with the lines of one way."""
    lines = (HERE / f"{script}.py").read_text().splitlines()
    others = [f"# {one}" for one in WAYS if one != way]
    return "\n".join(line for line in lines if not line.endswith(tuple(others))) + "\n"


def added(script: str) -> int:
    """How many lines are prescreen's."""
    return len(re.findall(r"# prescreen$", (HERE / f"{script}.py").read_text(), re.MULTILINE))


def run(script: str, way: str, options: Sequence[str] = ()) -> dict[str, float]:
    """Run a script in a process and a folder of its own; returns what it found.

    Raises:
        RuntimeError: it fails.
    """
    root = HERE.parents[2]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{script}_{way}.py"
        file.write_text(source(script, way))
        done = subprocess.run(
            [sys.executable, str(file), *options],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith(FOUND)]
    if done.returncode or not lines:
        raise RuntimeError(f"{script} {way} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found: dict[str, float] = json.loads(lines[-1].removeprefix(FOUND))
    return found


def table(rows: Sequence[Row]) -> list[list[str]]:
    """A line for each script, with means over seeds."""
    by_name: dict[tuple[str, ...], Any] = {tuple(row["run"].split()): row for row in rows}
    lines = []
    for script, (title, trials, _) in SCRIPTS.items():
        seeds = [s for one, way, s in by_name if (one, way) == (script, "plain")]
        seeds = [s for s in seeds if all((script, way, s) in by_name for way in WAYS)]
        runs = (
            {way: [by_name[script, way, seed] for seed in seeds] for way in WAYS} if seeds else {}
        )
        if not runs:
            continue
        plain = [row["best"] if trials else row["top"] for row in runs["plain"]]
        regret = {
            way: _mean(
                max(0.0, 100 * (best - row["best"])) for best, row in zip(plain, of, strict=True)
            )
            for way, of in runs.items()
        }
        cpu = {way: _mean(row["cpu"] for row in of) for way, of in runs.items()}
        pruned = {way: _pruned(of, trials) for way, of in runs.items()}
        lines.append(
            [
                title,
                str(added(script)),
                pruned["prescreen"],
                pruned["theirs"],
                *(f"{cpu[way]:.1f}" for way in WAYS),
                f"{regret['prescreen']:.1f}",
                f"{regret['theirs']:.1f}",
            ]
        )
    return lines


def _pruned(rows: Sequence[Row], trials: int) -> str:
    if not trials:
        return f"{100 * _mean(row['cut'] for row in rows):.0f} %"
    return f"{_mean(row['pruned'] for row in rows):.0f} of {trials}"


def _mean(values: Any) -> float:
    known = [*values]
    return sum(known) / len(known)


if __name__ == "__main__":
    main()
