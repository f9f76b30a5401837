"""Kind: one kind of task, as the harness sees it, and the trainings that are planned for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from torch import nn

from prescreen import Candidate, Training
from prescreen.panel import DEFAULT_PANEL
from prescreen.spaces.candidate import candidate_of
from prescreen.spaces.chosen import as_candidates
from prescreen.spaces.space import resolve_space
from prescreen.tasks import Task

Measure = Callable[[nn.Module], dict[str, float]]

BRIEF_SEED, TRUTH_SEEDS, RUN_SEED = 0, (1, 2), 3


@dataclass(frozen=True, eq=False)
class Data:
    """What networks are trained, read and judged on.

    Args:
        task: the training data and the unlabelled probe.
        test: the true quality in eval mode, on data that neither training nor the probe has.
        regimes: tasks with the same probe and sizes, whose training data have a defect.
        late: what takes too long for a checkpoint, and is measured at the end of long trainings.
    """

    task: Task
    test: Measure
    regimes: Mapping[str, Task] = field(default_factory=dict)
    late: Measure | None = None

    def quality(self, model: nn.Module) -> dict[str, float]:
        """What a model is worth."""
        return {f"test.{name}": value for name, value in self.test(model).items()}

    def worth(self, model: nn.Module) -> dict[str, float]:
        """What it is worth at the end of a long training."""
        late = {} if self.late is None else self.late(model)
        return self.quality(model) | {f"test.{name}": value for name, value in late.items()}


@dataclass(frozen=True)
class Run:
    """One long training that is read at checkpoints.

    Args:
        regime: of `Data.regimes`, or ``clean``.
        config: of the network.
        recipe: what differs from the brief training.
    """

    regime: str
    config: Mapping[str, Any]
    recipe: Mapping[str, Any]

    @property
    def clean(self) -> bool:
        """Whether it is an ordinary training, whose last checkpoint is nearly always the best."""
        return self.regime == "clean" and self.recipe.get("schedule") != "constant"


def hard_runs(configs: Iterable[Mapping[str, Any]], steps: int) -> tuple[Run, ...]:
    """Few examples, wrong targets, and few or all at a constant rate: the last checkpoint may be bad."""
    long: dict[str, Any] = {"steps": steps}
    constant = {**long, "schedule": "constant"}
    recipes = (("few", long), ("wrong", long), ("few", constant), ("clean", constant))
    networks = [*configs]
    return tuple(Run(regime, one, recipe) for regime, recipe in recipes for one in networks)


@dataclass(frozen=True)
class Kind:
    """One kind of task.

    Args:
        name: as in commands and results.
        space: of the candidates.
        load: makes the data from a path.
        training: the brief one.
        longer: how many times its steps the truth has.
        quality: the name of the true quality.
        higher_is_better: which way it is good.
        others: names of other true qualities, and which way each is good.
        dead: a network of no better quality than this never learned; None if there is no such thing.
        runs: the trainings that are read at checkpoints.
        candidates_count: how many are drawn.
        most_parameters: larger networks are passed over; None for no limit.
        checkpoints: how many are read in each run.
        panel: the task's default.
        own_head: whether the model's own head is read, beside the parts of the task.
    """

    name: str
    space: str
    load: Callable[[Path], Data]
    training: Training
    longer: int
    quality: str
    higher_is_better: bool
    others: Mapping[str, bool] = field(default_factory=dict)
    dead: float | None = None
    runs: tuple[Run, ...] = ()
    candidates_count: int = 20
    most_parameters: int | None = None
    checkpoints: int = 20
    panel: tuple[str, ...] = DEFAULT_PANEL
    own_head: bool = True

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The same ones every time."""
        if self.most_parameters is None:
            return as_candidates(self.space, self.candidates_count, seed=0)
        drawn = as_candidates(self.space, 8 * self.candidates_count, seed=0)
        small = (one for one in drawn if _parameters(one) <= self.most_parameters)
        return [*islice(small, self.candidates_count)]

    @property
    def plans(self) -> list[Plan]:
        """All trainings: the brief ones, those that are read at checkpoints, and the truths by seed."""
        brief = replace(self.training, seed=BRIEF_SEED)
        plans = [Plan(f"brief {one.name}", one, brief) for one in self.candidates]
        space = resolve_space(self.space)
        for run in self.runs:
            candidate = candidate_of(space, dict(run.config))
            training = replace(self.training, seed=RUN_SEED, **run.recipe)
            constant = " constant" if training.schedule == "constant" else ""
            name = f"run {run.regime}{constant} {candidate.name}"
            plans.append(Plan(name, candidate, training, run.regime))
        for seed in TRUTH_SEEDS:
            long = replace(self.training, seed=seed, steps=self.longer * self.training.steps)
            plans += [Plan(f"truth {one.name} {seed}", one, long) for one in self.candidates]
        return plans


def _parameters(candidate: Candidate) -> int:
    return sum(p.numel() for p in candidate.model().parameters())


@dataclass(frozen=True)
class Plan:
    """One training; its name begins with what it is for: ``brief``, ``run`` or ``truth``."""

    name: str
    candidate: Candidate
    training: Training
    regime: str = "clean"

    @property
    def purpose(self) -> str:
        """``brief``, ``run`` or ``truth``."""
        return self.name.split()[0]
