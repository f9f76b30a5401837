"""What a pruning decision costs, compared with Optuna's MedianPruner on the same study.

    python -m benchmarks.hosts.optuna_pruning_cost                  # 1,000 trials of 50 readings
    python -m benchmarks.hosts.optuna_pruning_cost --trials 300 --rounds 50

Every trial of the study holds the same numbers twice: as reported values for the native pruner, and
as readings. The trial that is judged is a poor one at the last step, so every check is made. Before
every round one more trial finishes, so nothing can be kept from the round before. All rows are
measured in turn and given as medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, MedianPruner
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.common.options import command
from prescreen import Reading
from prescreen.integrations.optuna import Halving, Median, ReadoutPruner, Recorder
from prescreen.integrations.optuna.attributes import latest_state
from prescreen.panel import DEFAULT_PANEL as PANEL
from prescreen.text import plain_table


class _CountingStorage(InMemoryStorage):
    """Counts what is written to trials."""

    writes = 0

    def set_trial_user_attr(self, *args: Any) -> None:
        self.writes += 1
        super().set_trial_user_attr(*args)

    def set_trial_system_attr(self, *args: Any) -> None:
        self.writes += 1
        super().set_trial_system_attr(*args)

    def set_trial_intermediate_value(self, *args: Any) -> None:
        self.writes += 1
        super().set_trial_intermediate_value(*args)


def main() -> None:
    """Print the writes of a reading and the table of costs."""
    args = command(__doc__, trials=1000, readings=50, rounds=30).parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"optuna {optuna.__version__}, seed 0, {args.trials} finished trials in memory")
    count_writes()
    trial = filled_study(args.trials, args.readings)
    measure(trial, args.rounds, args.readings)


def count_writes() -> None:
    """What one reading writes."""
    storage = _CountingStorage()
    for mirror in (False, True):
        study = optuna.create_study(storage=storage)
        recorder = Recorder(study.ask(), mirror=mirror)
        before = storage.writes
        recorder.record(1, dict.fromkeys(PANEL, 0.5))
        recorder.should_prune()
        print(f"writes a reading{', mirrored' if mirror else ''}: {storage.writes - before}")


def filled_study(trials: int, readings: int) -> optuna.Trial:
    """A running trial in a study of finished ones, all read at the same steps."""
    rng = np.random.default_rng(0)
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    for _ in range(trials):
        finish_one(study, rng, readings)
    recorder = Recorder(trial)
    for step, row in noisy(rng, 0.05, readings).items():
        recorder.record(step, as_reading(step, row).values)
        trial.report(row[0], step)
    return trial


def finish_one(study: optuna.Study, rng: np.random.Generator, readings: int) -> None:
    """Add a finished trial of random quality."""
    quality = rng.random()
    values = noisy(rng, quality, readings)
    number = len(study.get_trials(deepcopy=False))
    reported = {step: row[0] for step, row in values.items()}
    kept = {f"prescreen:{number}:{s}": as_reading(s, r).to_json() for s, r in values.items()}
    study.add_trial(create_trial(value=quality, intermediate_values=reported, user_attrs=kept))


def noisy(rng: np.random.Generator, quality: float, readings: int) -> dict[int, list[float]]:
    """Step to one value per readout, about as good as the trial."""
    rows = quality + rng.normal(0, 0.1, size=(readings, len(PANEL)))
    return dict(enumerate(rows.tolist(), start=1))


def as_reading(step: int, row: Sequence[float]) -> Reading:
    """A reading of the default panel."""
    return Reading(step, dict(zip(PANEL, row, strict=True)))


def measure(trial: optuna.Trial, rounds: int, readings: int) -> None:
    """One row for each way to decide."""
    study, frozen = trial.study, latest_state(trial)
    one = PANEL[:1]
    ways: dict[str, BasePruner] = {
        "Optuna's MedianPruner on reported values": MedianPruner(),
        f"ReadoutPruner(), panel of {len(PANEL)}": ReadoutPruner(),
        "ReadoutPruner(Median()), one readout": ReadoutPruner(Median(), one),
        f"ReadoutPruner(Median()), panel of {len(PANEL)}": ReadoutPruner(Median()),
        "the same, max_false_prune=0.05": ReadoutPruner(Median(), max_false_prune=0.05),
        f"ReadoutPruner(Halving({readings}))": ReadoutPruner(Halving(readings)),
        f"ReadoutPruner(MedianPruner()), panel of {len(PANEL)}": ReadoutPruner(MedianPruner()),
        "a study in memory for every decision": SyntheticStudyPruner(one[0]),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    answers: dict[str, bool] = {}
    rng = np.random.default_rng(1)
    for _ in range(rounds + 1):
        finish_one(study, rng, readings)
        for name, way in ways.items():
            start = time.perf_counter(), time.process_time()
            answers[name] = way.prune(study, frozen)
            wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
            seconds[name].append((wall, cpu))
    rows = []
    for name, times in seconds.items():
        medians = [f"{1e3 * statistics.median(kind):.2f}" for kind in zip(*times[1:], strict=True)]
        answer = "prune" if answers[name] else "keep"
        rows.append([name, *medians, f"{1e3 * times[0][0]:.0f}", answer])
    print(plain_table(["a decision by", "median ms", "of CPU", "first ms", "answer"], rows))


class SyntheticStudyPruner(BasePruner):
    """The alternative: copy one readout of all trials into a study, and let it decide."""

    def __init__(self, readout: str) -> None:
        self.readout = readout

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether a median pruner prunes in the copy."""
        copy = optuna.create_study(direction="maximize")
        for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            copy.add_trial(create_trial(value=0.0, intermediate_values=self._values(other)))
        judged = create_trial(state=TrialState.RUNNING, intermediate_values=self._values(trial))
        return MedianPruner().prune(copy, judged)

    def _values(self, trial: FrozenTrial) -> dict[int, float]:
        readings = trial.user_attrs.values()
        return {reading["step"]: reading["values"][self.readout] for reading in readings}


if __name__ == "__main__":
    main()
