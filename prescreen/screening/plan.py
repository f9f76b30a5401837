"""Plan: how candidates are screened, the same for all of them, and how their networks are built."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from prescreen.checks import require, require_at_least, require_kind
from prescreen.failures import CandidateFailed, failing_as
from prescreen.heads.find import known_heads
from prescreen.random_state import forked
from prescreen.readouts import Need, Readout, Readouts, require_defined, resolve_readouts
from prescreen.screening.deadline import Deadline
from prescreen.screening.limits import Limits
from prescreen.screening.surroundings import Surroundings
from prescreen.spaces.candidate import Candidate
from prescreen.tasks.base import Task, check_task, check_trains, panel_of, parts_of, targets_of
from prescreen.training.recipe import Training
from prescreen.trees import count_samples

Extra = Mapping[str, Callable[[nn.Module], float]]


@dataclass(frozen=True)
class Plan:
    """How candidates are screened, the same for all of them.

    Args:
        task: the training data and the probe batch.
        training: budget and recipe.
        readouts: names or a mapping, as in ``Probe``; by default those of the task, or
            ``DEFAULT_PANEL``. Measures of the untrained network are in every reading.
        readings: the number of readings; they divide the budget into equal parts.
        head: dotted name of the head, if it is not found.
        extra: your own measurements by name: functions of the model, which is in eval mode without
            gradients and restored afterwards. Their values join the readouts in the readings.
        timeout: seconds after which a ranking ends a candidate, or None.
        memory: GiB that a candidate may take from the process that screens it, or None; on Linux
            only, and not of a GPU's memory.
        limits: how large and slow a candidate may be; looked at before it is trained.
        ranking: whether candidates are compared with one another: the last reading then says how it
            varies with the samples of the probe, and readouts may need the other candidates.
        rungs: numbers of further readings at which they are compared.

    Raises:
        ValueError: an argument is not allowed.
    """

    task: Task
    training: Training = field(default_factory=Training)
    readouts: Readouts | None = None
    readings: int = 4
    head: str | None = None
    extra: Extra = field(default_factory=dict)
    timeout: float | None = None
    memory: float | None = None
    limits: Limits = field(default_factory=Limits)
    ranking: bool = False
    rungs: tuple[int, ...] = ()
    table: dict[str, Readout] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_trains(check_task(self.task))
        require_kind("training", self.training, Training)
        readouts = panel_of(self.task) if self.readouts is None else self.readouts
        object.__setattr__(self, "table", resolve_readouts(readouts, targets_of(self.task)))
        require_defined(self.table, parts_of(self.task))
        self._check_compared()
        require_at_least("readings", self.readings, 1)
        for name in ("timeout", "memory"):
            value = getattr(self, name)
            require(name, "above 0, or None", value, value is None or 0 < value < math.inf)
        memory, linux = self.memory, sys.platform == "linux"
        require("memory", "None where the platform is not Linux", memory, memory is None or linux)
        batch, samples = self.limits.latency_batch, count_samples(self.task.probe)
        require("latency_batch", f"at most the probe's {samples}", batch, batch <= samples)
        if self.head is not None:
            require_kind("head", self.head, str)
        if not isinstance(self.extra, Mapping) or not all(map(callable, self.extra.values())):
            raise ValueError(f"`extra` must map names to functions, got {self.extra!r}")
        if twice := sorted(set(self.table) & set(self.extra)):
            raise ValueError(f"`extra` must have names that no readout has, got {', '.join(twice)}")

    def needing(self, need: Need) -> dict[str, Readout]:
        """The readouts that need something, by name."""
        return {name: one for name, one in self.table.items() if need in one.needs}

    def _check_compared(self) -> None:
        for name in self.needing("others"):
            require("readouts", "of one candidate except in `rank`", name, self.ranking)
            link = self.task.link
            require("readouts", f"of one candidate for {link} predictions", name, link == "softmax")


def build(candidate: Candidate, plan: Plan, *, untrained: bool = False) -> nn.Module:
    """A candidate's network for a task, with weights from the training's seed, on its device."""
    with forked(seed=plan.training.seed):
        model = candidate.model(untrained=untrained, **plan.task.sizes)
    return model.to(plan.training.device)


def require_head(candidates: Sequence[Candidate], plan: Plan) -> None:
    """Refuse a head that no candidate has; if some have it, the others fail, which is a result.

    Raises:
        ValueError: none of the candidates that can be built has the head.
    """
    problem: ValueError | None = None
    for candidate in candidates:
        try:
            own = Surroundings(plan.training.seed)
            with own.entered(), failing_as("build"), Deadline(plan.timeout):
                model = build(candidate, plan)
        except CandidateFailed:
            continue
        try:
            known_heads(model, plan.head)
        except ValueError as error:
            problem = problem or error
        else:
            return
    if problem is not None:
        raise problem
