"""What is read: every readout that is defined for a task, by link and by part."""

from __future__ import annotations

from functools import partial
from itertools import product

from torch import Tensor

from prescreen import READOUTS, Readout
from prescreen.captured import Capture
from prescreen.part import Part
from prescreen.predictions import Link
from prescreen.readouts import NORMALIZATIONS, compose, get_readout, labels, require_defined
from prescreen.readouts.table import AHEAD
from prescreen.tasks import Task
from prescreen.tasks.base import parts_of, targets_of

# Points of the grid, of which a few have names of their own as well.
ANCHORS = ("prior", "uniform", "pseudo", "view")
PROJECTIONS = ("gradient", "batch_gradient", "centred_batch_gradient")
SCALES = tuple(NORMALIZATIONS)
GRID = tuple(
    f"{anchor}/{projection}/{scale}"
    for anchor, projection, scale in product(ANCHORS, PROJECTIONS, SCALES)
)
# The probe of Wu & Summa 2026 with the model's own labels.
KNOWN = ("batch_gradient", "gradient")
PROBE = tuple(f"pseudo/batch_gradient/{scale}" for scale in ("none", "head", "feature", "both"))

# They take seconds for the thousands of rows of dense predictions.
COSTLY = ("cot", "curvature_rank")

# What is measured beside readouts: the column's name, and which way is good.
OTHERS = {"training.loss": False, "held_out_loss": False, "parameters": True}


def readouts_of(task: Task, *, own_head: bool = True, seen: bool = False) -> dict[str, Readout]:
    """Readouts of the head and of the untrained network by name, as a `Probe` takes them.

    Where targets are known without annotation, so are the loss on the probe and the gradients of the
    loss, which is the published form of the paper's probe.

    Args:
        task: whose link, parts and targets say which are defined.
        own_head: whether those of the model's own head are among them.
        seen: whether to compare with inputs that were trained on, too, instead of measuring the
            untrained network.
    """
    targets = targets_of(task)
    names: list[str] = [] if seen else _of_network()
    table = {}
    for part, settings in parts_of(task).items():
        if not part and not own_head:
            continue
        prefix = f"{part}:" if part else ""
        whole = settings.share == (0, 1)
        own = defined(settings.link, seen=seen and whole)
        # In a mirrored image a box has left and right exchanged.
        own = [n for n in own if settings.role != "boxes" or "view" not in get_readout(n).needs]
        names += [prefix + name for name in own]
        if targets is not None and settings.role is None and settings.background is None:
            names.append(f"{prefix}held_out_loss")
            for projection, scale in product(KNOWN, SCALES):
                function = partial(_with_targets, targets, projection, scale)
                readout = Readout(function, higher_is_better=False, part=part)
                table[f"{prefix}labels/{projection}/{scale}"] = readout
    return {name: get_readout(name, targets) for name in names} | table


def _with_targets(targets: Tensor, projection: str, scale: str, head: Capture) -> float:
    assert head.positions is not None
    return compose(labels(targets[head.positions]), projection, scale)(head)


def defined(link: Link, *, seen: bool = False) -> list[str]:
    """Readouts of the head that are defined for a link."""
    needs = {"head", "view", "before"}
    named = [n for n, one in READOUTS.items() if n not in COSTLY and set(one.needs) <= needs]
    found = [name for name in (*named, *GRID) if _is_defined(name, link)]
    if seen:
        found += [f"gap/{n}" for n in found if n in READOUTS and READOUTS[n].needs == ("head",)]
    return found


def ahead(name: str) -> str:
    """The name of what a readout of a head is expected to be after half as much training again."""
    part, colon, own = name.rpartition(":")
    return f"{part}{colon}{AHEAD}{own}"


def plain(name: str) -> str:
    """A readout's name without that of its part."""
    return name.rpartition(":")[2]


def higher_is_better(name: str) -> bool:
    """Which way a column is good."""
    own = plain(name).removeprefix(AHEAD)
    if own in OTHERS or own.startswith("labels/"):
        return OTHERS.get(own, False)
    return get_readout(own).higher_is_better


def is_of_network(name: str) -> bool:
    """Whether a column is the same before training as after."""
    return name == "parameters" or name in _of_network()


def _of_network() -> list[str]:
    return [name for name, one in READOUTS.items() if one.of_network]


def _is_defined(name: str, link: Link) -> bool:
    try:
        require_defined({name: get_readout(name)}, {"": Part(link)})
    except ValueError:
        return False
    return True
