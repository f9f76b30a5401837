"""Random trajectories of many trials, interleaved in time, and their replay through any host."""

from dataclasses import dataclass

import numpy as np

from prescreen.panel import Panel
from prescreen.pruning import Population, decide
from prescreen.pruning.rules import bounded
from prescreen.readouts import resolve_readouts

HEAD = ("confidence", "entropy")  # higher is better, lower is better
NETWORK = ("isotropy", "synflow")
STEPS = (1, 2, 4, 6, 8, 12)

# What trials have in common: name -> readouts, architectures (0: every trial has its own).
KINDS = {
    "head alone": (HEAD, None),
    "unknown architectures": (HEAD + NETWORK, None),
    "own architectures": (HEAD + NETWORK, 0),
    "some architectures": (HEAD + NETWORK, 4),
    "one architecture": (HEAD + NETWORK, 1),
    "undefined": (NETWORK + HEAD, 5),
    "network alone": (NETWORK, 6),
}

GUARDS = {
    "free": {"n_startup_trials": 0, "min_agreement": None},
    "agreement": {"n_startup_trials": 3, "min_agreement": 0.2},
    "warm-up": {
        "n_startup_trials": 1, "min_agreement": None, "n_warmup_steps": 3, "interval_steps": 3,
    },
    "bound": {"n_startup_trials": 2, "min_agreement": None, "max_false_prune": 0.3},
}  # fmt: skip


@dataclass
class Recorded:
    """One trial: step -> readout -> value, its final value (None: it fails), its architecture."""

    readings: dict
    objective: float | None
    architecture: str


@dataclass
class Recording:
    """Trials, and which of them is read next; a trial begins with its first turn."""

    readouts: tuple
    trials: list
    turns: list


def recording(kind, seed, trials=40, concurrent=5):
    """Noisy readings, better with a trial's quality, with ties, NaN and networks that diverge."""
    rng = np.random.default_rng(seed)
    names, architectures = KINDS[kind]
    made = []
    for number in range(trials):
        quality = rng.random()
        readings = {}
        network = np.round(quality + rng.normal(0, 0.3, size=2), 1)
        if kind == "undefined" and number == trials // 2:
            network[rng.integers(2)] = np.nan
        diverges = rng.random() < 0.1
        for step in STEPS:
            if rng.random() < 0.15:
                continue
            head = np.round(quality + rng.normal(0, 0.2, size=2), 1) * [1, -1]
            head[rng.random(2) < 0.05] = np.nan
            if diverges and rng.random() < 0.4:
                head[:] = np.nan
            values = dict(zip(HEAD + NETWORK, [*head, *network], strict=True))
            readings[step] = {name: float(values[name]) for name in names}
        if architectures is None:
            architecture = ""
        else:
            architecture = f"a{rng.integers(architectures) if architectures else number}"
        objective = None if rng.random() < 0.1 else float(quality)
        made.append(Recorded(readings, objective, architecture))
    return Recording(names, made, _turns(rng, made, concurrent))


def _turns(rng, trials, concurrent):
    left = {number: len(trial.readings) for number, trial in enumerate(trials)}
    turns, running, waiting = [], [], [number for number in left if left[number]]
    while running or waiting:
        while waiting and len(running) < concurrent:
            running.append(waiting.pop(0))
        number = running[rng.integers(len(running))]
        turns.append(number)
        left[number] -= 1
        if not left[number]:
            running.remove(number)
    return turns


def replay(recorded, host):
    """The decisions of a host: (trial, step) -> whether the trial was pruned there."""
    decisions, ended = {}, set()
    for number in range(len(recorded.trials)):
        host.begin(number)
    left = {number: iter(trial.readings.items()) for number, trial in enumerate(recorded.trials)}
    for number in recorded.turns:
        if number in ended:
            continue
        trial = recorded.trials[number]
        step, values = next(left[number])
        decisions[number, step] = host.read(number, step, values, trial.architecture)
        if decisions[number, step]:
            host.pruned(number)
            ended.add(number)
        elif step == max(trial.readings):
            host.ends(number, trial.objective)
            ended.add(number)
    return decisions


class Direct:
    """No host at all: a population and the decision."""

    def __init__(self, rule, guard, readouts):
        # A host gives the bound of its guard to a rule that has one of its own.
        self.rule, self.guard = bounded(rule, guard.max_false_prune, None), guard
        self.population = Population(Panel.of(resolve_readouts(readouts)))

    def begin(self, number):
        pass

    def read(self, number, step, values, architecture):
        self.population.read(number, step, values, architecture)
        return decide(self.rule, self.guard, self.population, number, step)

    def pruned(self, number):
        pass

    def ends(self, number, objective):
        if objective is not None:
            self.population.complete(number, (objective,))
