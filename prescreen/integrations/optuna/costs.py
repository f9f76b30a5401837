"""Costs: the size and operations of a candidate's network, known before training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from optuna.trial import BaseTrial
from torch import nn

from prescreen.failures import CandidateFailed, failing_as
from prescreen.random_state import forked
from prescreen.readouts.network.operations import flops
from prescreen.screening.surroundings import Surroundings
from prescreen.spaces.candidate import Candidate
from prescreen.tasks.base import Task
from prescreen.trees import first_sample, to_device

Cost = Literal["parameters", "flops"]


def costs_of(candidate: Candidate, task: Task, wanted: Sequence[str]) -> dict[str, float]:
    """Trainable parameters, and floating-point operations of one forward pass of one sample.

    Operations are counted as the readout ``flops`` does. The network is built on the meta device, where
    nothing is computed, or on the CPU if its code does not run there.

    Raises:
        CandidateFailed: it does not run on the CPU either.
    """
    if not wanted:
        return {}
    try:
        return _measured(candidate, task, wanted, "meta")
    except CandidateFailed:  # on the CPU it must run anyway
        return _measured(candidate, task, wanted, "cpu")


def set_limits(trial: BaseTrial, costs: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    """Set the limits as constraints of the trial; returns whether it is within all of them.

    A constraint is the logarithm of cost over limit, because samplers compare violations of unlike
    costs.
    """
    for name, limit in limits.items():
        trial.set_constraint(name, math.log(max(costs[name], 1.0) / limit))
    return all(costs[name] <= limit for name, limit in limits.items())


def require_costs(argument: str, names: Sequence[str]) -> None:
    """Refuse unknown names.

    Raises:
        ValueError: a name is not a cost, or is given twice.
    """
    if isinstance(names, str) or len(set(names)) != len(names) or set(names) - {*get_args(Cost)}:
        raise ValueError(
            f"`{argument}` must be distinct ones of {', '.join(get_args(Cost))}, got {names!r}"
        )


def _measured(
    candidate: Candidate, task: Task, wanted: Sequence[str], device: str
) -> dict[str, float]:
    with Surroundings(0).entered(), failing_as("build"):
        with forked(), torch.device(device):
            model = candidate.model(**task.sizes).eval()
        costs = {"parameters": float(_parameters(model))}
        if "flops" in wanted:
            sample = to_device(first_sample(task.probe), device)
            costs["flops"] = flops(model, sample)
        return costs


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
