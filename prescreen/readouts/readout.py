"""Readout: a function, what it needs, and which way is good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

Need = Literal["head", "network", "view", "before", "seen", "losses", "others"]


@dataclass(frozen=True)
class Readout:
    """A number read from a network, without labels.

    Args:
        function: takes what the readout needs, in that order. Returns a number, or a tensor: of shape
            (N,) if the readout is its mean over samples, else of shape ().
        needs: the function's arguments: ``"head"``, a `Capture` of the unlabelled inputs;
            ``"network"``, the untrained `Network`; ``"view"``, a Capture of the same inputs, changed in
            a way that keeps what they show; ``"before"``, `Predictions` of the same inputs at the
            previous reading; ``"seen"``, a Capture of inputs that the network was trained on;
            ``"losses"``, those of the training steps so far; ``"others"``, a `Committee` of candidates.
        higher_is_better: which way is good.
        reference: where it was published.
        degree: the power to which normalizations are raised that it is divided by, 2 for curvature.
        ahead: whether a `Probe` that has read the network before gives the value that is expected after
            half as much training again: see ``extrapolated``.
        part: which part of a model it is read of, by the name that a `Probe` or task has for it; empty
            for the model's own head.

    Raises:
        ValueError: a need is unknown, or ``"network"`` comes with others: an untrained network is
            measured once, before there is anything else; or ``part`` is given for what no head has.
    """

    function: Callable[..., Tensor | float]
    needs: tuple[Need, ...] = ("head",)
    higher_is_better: bool = True
    reference: str = ""
    degree: int = 1
    ahead: bool = False
    part: str = ""

    def __repr__(self) -> str:
        """What it needs and which way is good, beside the name of its function."""
        better = "higher" if self.higher_is_better else "lower"
        ahead = ", ahead=True" if self.ahead else ""
        part = f", part={self.part!r}" if self.part else ""
        needs = ", ".join(self.needs)
        return f"Readout({name_of(self.function)} of {needs}, {better} is better{ahead}{part})"

    def __post_init__(self) -> None:
        unknown = set(self.needs) - set(get_args(Need))
        if unknown or not self.needs or ("network" in self.needs and len(self.needs) > 1):
            raise ValueError(
                f'`needs` must be ("network",) or some of {", ".join(get_args(Need))}, '
                f"got {self.needs!r}"
            )
        if self.part and {"network", "losses", "others"} & set(self.needs):
            raise ValueError(f"`part` must be empty for what is not of a head, got {self.part!r}")

    @property
    def of_network(self) -> bool:
        """Whether it is a measure of the untrained network."""
        return self.needs == ("network",)

    @property
    def of_before(self) -> bool:
        """Whether it needs the reading before."""
        return "before" in self.needs

    def __call__(self, *subjects: Any) -> float:
        """The readout's value; NaN if it is undefined for these subjects.

        Args:
            *subjects: the things that the readout needs, in the order of ``needs``.

        Raises:
            ValueError: the readout is not defined for the head's link, or the subjects do not fit.
        """
        return to_floats([self.lazily(*subjects)])[0]

    def lazily(self, *subjects: Any) -> Tensor | float:
        """The value where it was computed: a tensor of shape (), which may be on an accelerator.

        Raises:
            ValueError: as for a call.
        """
        values = self._values(subjects)
        return values.mean() if isinstance(values, Tensor) else values

    def per_sample(self, *subjects: Any) -> Tensor:
        """The values whose mean is the readout, shape (N,).

        Raises:
            ValueError: the readout is not a mean over samples.
        """
        values = self._values(subjects)
        if not isinstance(values, Tensor) or values.ndim == 0:
            got = name_of(self.function)
            raise ValueError(f"the readout must be a mean over samples, got {got!r}")
        return values

    def score(self, value: float) -> float:
        """``value`` oriented so that higher is better."""
        return value if self.higher_is_better else -value

    @torch.no_grad()
    def _values(self, subjects: tuple[Any, ...]) -> Tensor | float:
        if len(subjects) != len(self.needs):
            raise ValueError(
                f"the readout must be given {', '.join(self.needs)}, got {len(subjects)} subjects"
            )
        return self.function(*subjects)


def to_floats(values: Sequence[Tensor | float]) -> list[float]:
    """Values of readouts as numbers; those on an accelerator leave it together."""
    tensors = [one for one in values if isinstance(one, Tensor)]
    if len(tensors) > 1:
        # Apple's GPUs have no float64, and no value of a readout there is one.
        exact = torch.float32 if tensors[0].device.type == "mps" else torch.float64
        here = tensors[0].device
        known = iter(torch.stack([one.detach().to(here, exact) for one in tensors]).tolist())
    else:
        known = iter([one.item() for one in tensors])
    return [float(next(known) if isinstance(one, Tensor) else one) for one in values]


def name_of(function: Any) -> str:
    """The name of a function, also of a partial one."""
    if hasattr(function, "func"):
        return name_of(function.keywords.get("projection", function.func))
    return getattr(function, "__name__", type(function).__name__)
