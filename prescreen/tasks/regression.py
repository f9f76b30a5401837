"""RegressionTask: real numbers to predict from tensors in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from prescreen.predictions import Link, model_logits
from prescreen.tasks.tables import open_table, standardised
from prescreen.tasks.tensors import Inputs, TensorData, as_floats, input_sizes
from prescreen.text import showing


class RegressionTask:
    """K real numbers for every input; training minimises the mean squared error.

    Inputs and targets are used as they are: standardise both first. Builders may accept
    ``num_outputs`` (K; also as ``num_classes``, the usual name for the width of the head), and
    ``in_features`` of a table, or ``in_channels`` and ``image_size`` of images.

    Args:
        inputs: (n, F), (n, C, L) or (n, C, H, W).
        targets: (n,) or (n, K).
        probe: unlabelled inputs (N, ...) that training does not use, prepared as `inputs` are;
            None to hold `probe_size` rows out.
        probe_size: N, if the probe is held out.
        seed: of the draw of the probe.
        view: a function that changes inputs but not their targets, for readouts of stability.
        name: the task's name.

    Raises:
        ValueError: shapes are not as above, lengths are unequal, or values are not finite.
    """

    link: Link = "identity"

    __repr__ = showing(name="name", sizes="sizes", probe="probe")

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        probe: Tensor | None = None,
        probe_size: int = 256,
        seed: int = 0,
        view: Callable[[Any], Any] | None = None,
        name: str = "regression",
    ) -> None:
        inputs = as_floats("inputs", inputs, 2, 4)
        targets = as_floats("targets", targets, 1, 2)
        targets = targets.reshape(len(targets), -1)
        probe = None if probe is None else as_floats("probe", probe, inputs.ndim, inputs.ndim)
        self.name, self._view = name, view
        self._data = TensorData.split(inputs, targets, probe, probe_size, seed)
        self.probe = self._data.probe
        width = targets.shape[1]
        self.sizes = {"num_outputs": width, "num_classes": width, **input_sizes(inputs)}

    @classmethod
    def from_file(
        cls,
        data: str | Path,
        *,
        probe_size: int = 256,
        seed: int = 0,
        image_size: int | None = None,
        name: str | None = None,
    ) -> RegressionTask:
        """The task of a CSV, TSV or parquet file or an .npz archive; inputs and targets standardised.

        Args:
            data: the path, and behind ``#`` which columns are targets (docs/tasks.md).
            probe_size: N, rows that are held out as the probe.
            seed: of the draw of the probe.
            image_size: of images, in pixels; by default that of the first one.
            name: the task's name; by default the path.

        Raises:
            ValueError: the file cannot be read, or is not of numbers.
        """
        table = open_table(data, image_size)
        targets, name = standardised(table.targets), str(data) if name is None else name
        return cls(table.inputs, targets, probe_size=probe_size, seed=seed, name=name)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the data, the probe and the view's name."""
        return self._data.fingerprint("regression", self._view)

    def batches(self, batch_size: int, seed: int) -> Iterator[tuple[Inputs, Tensor]]:
        """(inputs (B, ...), targets (B, K)) without end."""
        return self._data.batches(batch_size, seed)

    def inputs(self, batch: tuple[Inputs, Tensor]) -> Inputs:
        """The inputs of a batch."""
        return batch[0]

    def loss(self, model: nn.Module, batch: tuple[Inputs, Tensor]) -> Tensor:
        """Mean squared error of the model's outputs, (B, K) or, with one target, (B,)."""
        inputs, targets = batch
        outputs = model_logits(model(inputs))
        if outputs.ndim == 1:
            outputs = outputs[:, None]
        if outputs.shape != targets.shape:  # torch would stretch one to the other
            raise ValueError(
                f"`model` must return shape {tuple(targets.shape)}, got {tuple(outputs.shape)}"
            )
        return functional.mse_loss(outputs, targets)

    def views(self, inputs: Inputs) -> Any | None:
        """The inputs as the given view changes them; None without a view."""
        return None if self._view is None else self._view(inputs)
