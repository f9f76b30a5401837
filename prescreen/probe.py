"""Probe: the only place where models are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from torch import Tensor, nn

from prescreen.captured import Capture, NonFiniteError
from prescreen.checks import require_one_of
from prescreen.earlier import Earlier
from prescreen.extrapolation import Curves
from prescreen.heads.execute import on_device_of
from prescreen.panel import DEFAULT_PANEL, LONE_PANEL
from prescreen.part import Part, Subjects, with_own
from prescreen.predictions import Link, Logits, Predictions
from prescreen.random_state import ONE_AT_A_TIME
from prescreen.reading import Reading
from prescreen.readouts import Network, Readouts, require_defined, resolve_readouts
from prescreen.readouts.naming import naming
from prescreen.readouts.network import structure
from prescreen.readouts.others import of_one_model
from prescreen.readouts.readout import to_floats
from prescreen.text import showing
from prescreen.trees import count_samples
from prescreen.views import Moved, Noisy, ViewChoice, captures, default_view, view_of

OnDiverged = Literal["raise", "nan"]
Look = Callable[[Mapping[str, Subjects]], None]


class Probe:
    """Reads models on fixed unlabelled inputs and leaves them exactly as they were.

    ::

        probe = Probe(unlabelled)
        probe.read_untrained(model)
        for step in range(1, 1001):
            ...
            if step % 100 == 0:
                print(probe.read(model, step))

    It remembers the measures of the untrained network, and the predictions that the next reading is
    compared with.

    Args:
        inputs: unlabelled inputs, the same for all readings, in the form that the model takes: a tensor,
            a tuple of arguments or a dict of keywords. They are moved to the model's device. Masks
            among them say which tokens are read (docs/tasks.md).
        readouts: names, or a mapping from your own names to ``Readout``.
        seen: inputs that the model is trained on; for readouts that need them, such as ``"gap/..."``.
        view: for readouts that need one, a function that changes inputs but not what they show, or
            ``"shift"``, ``"mirror"``, ``"crop"``, ``"tokens"`` or ``"noise"`` (docs/readouts.md). By
            default images are shifted, and all else is read with noise in the weights.
        head: dotted name of the prediction head, if it is not found.
        link: how logits become predictions: ``"softmax"``, ``"sigmoid"`` or ``"identity"``.
        parts: by name what else is read, or what of it: see `Part`. Heads of several roles are read in
            one forward pass.
        batch_statistics: let BatchNorm use the batch's own statistics. Right while training is brief;
            for checkpoints of a long run choose False.
        on_diverged: if the model's features, logits or weights are not finite, ``"raise"``, or give
            ``"nan"`` for all readouts of the head.

    Raises:
        ValueError: an unknown readout, part or view, or a readout that needs ``seen`` or another link.
    """

    __repr__ = showing(readouts="readouts")

    def __init__(
        self,
        inputs: Any,
        readouts: Readouts = DEFAULT_PANEL,
        *,
        seen: Any = None,
        view: ViewChoice = None,
        head: str | None = None,
        link: Link = "softmax",
        parts: Mapping[str, Part] | None = None,
        batch_statistics: bool = True,
        on_diverged: OnDiverged = "raise",
    ) -> None:
        known = with_own(parts, link)
        require_one_of("on_diverged", on_diverged, get_args(OnDiverged))
        self.readouts = of_one_model(resolve_readouts(readouts))
        require_defined(self.readouts, known)
        self._of_network = [name for name, one in self.readouts.items() if one.of_network]
        needs = {need: name for name, one in self.readouts.items() for need in one.needs}
        if "seen" in needs and seen is None:
            raise ValueError(f"`seen` must be given for the readout {needs['seen']!r}, got None")
        chosen = view_of(inputs, view) if "view" in needs else None
        if "view" in needs and chosen is None:
            chosen = default_view(inputs)
        self._inputs = {"head": inputs, "seen": seen, "view": chosen}
        self._follows = "before" in needs
        # The next reading looks back at the head, and parts choose their rows by it.
        wanted = {*needs, "head"} if self._follows or parts else {*needs}
        self._captured = [need for need in self._inputs if need in wanted]
        used = {one.part for one in self.readouts.values() if not one.of_network}
        self._parts = {name: part for name, part in known.items() if name in used}
        self._links = {part.role or "": part.link for part in self._parts.values()}
        self._head, self._batch_statistics = head, batch_statistics
        self._on_diverged = on_diverged
        self._untrained: dict[str, float] = {}
        self._architecture = ""
        self._restored = False
        self._earlier = Earlier()
        self._curves = Curves(name for name, readout in self.readouts.items() if readout.ahead)

    def read_untrained(self, model: nn.Module) -> None:
        """Measure a network before its first step; all later readings include the values.

        Does nothing if no readout is of the untrained network, or if the state of a network of this
        architecture was loaded: the model may be trained by now.

        Raises:
            RuntimeError: a measure failed, which is an error of its own code; the message names it. One
                that is not defined for the network is NaN.
        """
        if not self._of_network or (self._restored and structure(model) == self._architecture):
            return
        with ONE_AT_A_TIME:
            noted: dict[str, float] | None = {} if len(self._of_network) > 1 else None
            network = Network(model, on_device_of(model, self._inputs["head"]), self._head, noted)
            for name in self._of_network:
                with naming(name, of_network=True):
                    self._untrained[name] = self.readouts[name](network)
            self._architecture = structure(model)

    @property
    def before_training(self) -> Reading | None:
        """What `read_untrained` found, as a reading at step 0: NaN for the head; None if nothing."""
        return self._reading(0, {}) if self._untrained else None

    def read(self, model: nn.Module, step: int, look: Look | None = None) -> Reading:
        """Read a model.

        Args:
            model: as it is trained, wrapped or not.
            step: optimizer steps taken so far.
            look: is shown what the readouts of the head were given, by part and need, before it is
                let go.

        Returns:
            All readouts. A value is NaN if it is undefined, or if it needs an earlier reading and there
            is none.

        Raises:
            ValueError: the model cannot take the inputs, its head is not found, or a readout is of the
                untrained network and that has not been measured.
            NonFiniteError: the model has diverged, and ``on_diverged`` is ``"raise"``.
        """
        if unmeasured := [name for name in self._of_network if name not in self._untrained]:
            raise ValueError(
                "`readouts` must be of the head unless read_untrained was called before, "
                f"got {', '.join(unmeasured)}"
            )
        try:
            with ONE_AT_A_TIME:
                of_head = self._read_head(model, step, look)
        except NonFiniteError:
            if self._on_diverged == "raise":
                raise
            of_head = {}
        return self._reading(step, of_head)

    def state_dict(self) -> dict[str, Any]:
        """The state for ``load_state_dict``: tensors and plain values."""
        return {
            **self._earlier.state_dict(),
            "untrained": self._untrained,
            "curves": self._curves.known,
            "architecture": self._architecture,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        self._earlier.load_state_dict(state)
        self._untrained = dict(state.get("untrained", {}))
        self._restored = bool(self._untrained)
        self._curves.known |= state.get("curves", {})
        self._architecture = str(state.get("architecture", ""))

    def _reading(self, step: int, of_head: Mapping[str, float]) -> Reading:
        known = {**of_head, **self._untrained}
        values = {name: known.get(name, math.nan) for name in self.readouts}
        return Reading(step, values, architecture=self._architecture)

    def _read_head(self, model: nn.Module, step: int, look: Look | None) -> dict[str, float]:
        if not self._links:
            return {}
        by_need: dict[str, Mapping[str, Capture | Logits]] = {}
        for need in self._captured:
            is_view = need == "view"
            inputs = self._view_beside(by_need.get("head")) if is_view else self._inputs[need]
            by_need[need] = captures(
                model,
                inputs,
                self._links,
                head=self._head,
                batch_statistics=self._batch_statistics,
            )
        if self._follows and (before := self._earlier.before(step, by_need["head"])) is not None:
            by_need["before"] = before
        subjects = {
            name: part.of({need: roles[part.role or ""] for need, roles in by_need.items()})
            for name, part in self._parts.items()
        }
        values: dict[str, Tensor | float] = {}
        for name, readout in self.readouts.items():
            if readout.of_network:
                continue
            own = subjects[readout.part]
            if own.keys() >= set(readout.needs):
                with naming(name):
                    values[name] = readout.lazily(*(own[need] for need in readout.needs))
        found = dict(zip(values, to_floats([*values.values()]), strict=True))
        if look is not None:
            look(subjects)
        return self._curves.ahead(step, found)

    def _view_beside(self, heads: Mapping[str, Predictions] | None) -> Any:
        """The view; noise if it would move the places of dense predictions, and not back."""
        view = self._inputs["view"]
        if heads is None or not isinstance(view, Moved) or view.back is not None:
            return view
        samples = count_samples(view.inputs)
        is_dense = any(head.num_samples > samples for head in heads.values())
        return Noisy(self._inputs["head"]) if is_dense else view


def read(
    model: nn.Module,
    inputs: Any,
    readouts: Readouts = LONE_PANEL,
    *,
    head: str | None = None,
    link: Link = "softmax",
    batch_statistics: bool = True,
) -> dict[str, float]:
    """Read a model's prediction head on unlabelled inputs; the model is left exactly as it was.

    Args:
        model: any module whose logits are linear in some features, wrapped or not.
        inputs: a tensor, a tuple of arguments or a dict of keywords, as the model takes it.
        readouts: names or a mapping, as in `Probe`.
        head: dotted name of the head, if it is not found.
        link: how logits become predictions.
        batch_statistics: let BatchNorm use the batch's own statistics. Right while training is
            brief; for checkpoints of a long run choose False.

    Returns:
        Readout name to value.

    Raises:
        ValueError: an unknown readout or head, inputs that the model cannot take, or a readout that
            needs more than the head and a view: `Probe` reads these.
    """
    probe = Probe(inputs, readouts, head=head, link=link, batch_statistics=batch_statistics)
    return dict(probe.read(model, 0).values)
