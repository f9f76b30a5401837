"""Form: what a candidate computes, as a digest that is equal for candidates that compute the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from prescreen.failures import CandidateFailed, failing_as
from prescreen.forms.network import Described, described
from prescreen.heads.execute import call
from prescreen.screening.deadline import Deadline
from prescreen.screening.memory import MemoryLimit
from prescreen.screening.plan import Plan
from prescreen.screening.plan import build as build_network
from prescreen.screening.surroundings import Surroundings
from prescreen.spaces.candidate import Candidate
from prescreen.trees import to_device


@dataclass(frozen=True)
class Form:
    """What a candidate computes.

    Args:
        digest: equal for candidates that compute the same and train alike; empty if that cannot be told.
        parameters: how many it trains, also those that its loss does not depend on.
        reason: why there is no digest.
    """

    digest: str
    parameters: int = 0
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """A dict for strict JSON."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Form:
        """The form that ``to_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is none.
        """
        return cls(str(data["digest"]), int(data["parameters"]), str(data["reason"]))


class Forms:
    """Finds the forms of candidates; to executors it is a plan.

    Args:
        plan: how candidates are screened.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.timeout, self.training = plan.timeout, plan.training
        self._given: tuple[Any, Any] | None = None

    def of(self, candidate: Candidate) -> Form:
        """The form of one candidate; without a digest if its code fails or draws what it computes."""
        memory = MemoryLimit(self.plan.memory)
        found: list[Described] = []
        try:
            given = self._inputs()
            for number in range(2):
                own = Surroundings(self.training.seed + number)
                with own.entered(), failing_as("run"), memory.active(), Deadline(self.timeout):
                    found += self._described(candidate, number, *given)
        except CandidateFailed as failure:
            return Form("", 0, failure.reason)
        first, *untrained, second = found
        if first.text != second.text or not _begin_alike(first, second):
            return Form("", first.parameters, "it is another network with another seed")
        text = "\n\n".join(one.text for one in (first, *untrained))
        return Form(hashlib.sha256(text.encode()).hexdigest()[:32], first.parameters)

    def _described(
        self, candidate: Candidate, number: int, batch: Any, probe: Any
    ) -> Iterator[Described]:
        """The network with the weights of a seed, and at first that which is measured untrained."""
        training = replace(self.training, seed=self.training.seed + number)
        plan = replace(self.plan, training=training)
        build = partial(build_network, candidate, plan)
        yield described(build, call, probe, self._loss, batch, twice=not number)
        of_network = any(one.of_network for one in plan.table.values())
        if of_network and candidate.build_untrained is not None and not number:
            yield described(partial(build, untrained=True), call, probe)

    def _loss(self, model: nn.Module, batch: Any) -> Tensor:
        amp = self.training.amp
        dtype = torch.bfloat16 if amp == "bf16" else torch.float16
        device = torch.device(self.training.device).type
        with torch.enable_grad(), torch.autocast(device, dtype, enabled=amp is not None):
            return self.plan.task.loss(model, batch)

    def _inputs(self) -> tuple[Any, Any]:
        """A batch and the probe, the same for all candidates."""
        if self._given is None:
            training, task = self.training, self.plan.task
            batch = next(task.batches(training.batch_size, training.seed))
            self._given = to_device((batch, task.probe), training.device)
        return self._given

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_given": None}


def _begin_alike(one: Described, other: Described) -> bool:
    """Whether values that are not drawn are equal, as they must be."""
    return all(torch.equal(a, b) for a, b in zip(one.fixed, other.fixed, strict=True))
