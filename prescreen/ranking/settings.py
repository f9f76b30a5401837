"""Settings: what two measurements must share to be the same, and what is noted beside it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import torch

from prescreen.ranking.executors import Executor
from prescreen.ranking.halving import Halving
from prescreen.screening import Plan
from prescreen.spaces.code import Code

# Settings that journals of schema 1 do not hold.
ADDED = ("torch", "measures")


def settings_of(plan: Plan, threads: int) -> dict[str, Any]:
    """Two measurements are the same if these are equal, and the code of the candidates."""
    return {
        "version": version("prescreen"),
        "torch": str(torch.__version__),
        "task": f"{plan.task.name} {plan.task.fingerprint}",
        **plan.training.to_json(),
        "readouts": list(plan.table),
        "readings": plan.readings,
        "head": plan.head,
        "extra": list(plan.extra),
        "measures": _measures(plan),
        "threads": threads,
        **({"limits": plan.limits.to_json()} if plan.limits else {}),
    }


def _measures(plan: Plan) -> dict[str, str]:
    """The code of what is a user's own: readouts, measurements, the task and its criterion."""
    functions = {name: readout.function for name, readout in plan.table.items()}
    task = {"task": type(plan.task), "criterion": getattr(plan.task, "criterion", None)}
    return Code().of_functions({**functions, **plan.extra, **task})


def given_of(on: Executor, plan: Plan, seed: int, halving: Halving | None = None) -> dict[str, Any]:
    """For people who look at the run: what no measurement depends on."""
    return {
        "seed": seed,
        "on": type(on).__name__,
        "timeout": plan.timeout,
        "memory": plan.memory,
        "python": platform.python_version(),
        "machine": platform.platform(),
        **({"halving": halving.to_json()} if halving else {}),
    }
