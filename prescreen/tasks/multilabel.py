"""MultilabelTask: any number of K labels at once, from tensors in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from prescreen.predictions import Link, model_logits
from prescreen.tasks.tables import open_table
from prescreen.tasks.tensors import Inputs, TensorData, as_floats, input_sizes
from prescreen.text import showing


class MultilabelTask:
    """K labels that an input has or lacks; training minimises their mean binary cross-entropy.

    Inputs are used as they are: standardise them first. Builders may accept ``num_classes`` (K), and
    ``in_features`` of a table, or ``in_channels`` and ``image_size`` of images.

    Args:
        inputs: (n, F), (n, C, L) or (n, C, H, W).
        targets: (n, K) of 0 and 1.
        probe: unlabelled inputs (N, ...) that training does not use, prepared as `inputs` are;
            None to hold `probe_size` rows out.
        probe_size: N, if the probe is held out.
        seed: of the draw of the probe.
        view: a function that changes inputs but not their labels, for readouts of stability, such as
            ``prescreen.tasks.images.views.shifted`` for images.
        name: the task's name.

    Raises:
        ValueError: shapes or values are not as above, or lengths are unequal.
    """

    link: Link = "sigmoid"

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
        name: str = "multilabel",
    ) -> None:
        inputs = as_floats("inputs", inputs, 2, 4)
        targets = as_floats("targets", targets, 2, 2)
        if len(other := targets[(targets != 0) & (targets != 1)]):
            raise ValueError(f"`targets` must be 0 or 1, got {other[0].item():g}")
        probe = None if probe is None else as_floats("probe", probe, inputs.ndim, inputs.ndim)
        self.name, self._view = name, view
        self._data = TensorData.split(inputs, targets, probe, probe_size, seed)
        self.probe = self._data.probe
        self.sizes = {"num_classes": targets.shape[1], **input_sizes(inputs)}

    @classmethod
    def from_file(
        cls,
        data: str | Path,
        *,
        probe_size: int = 256,
        seed: int = 0,
        image_size: int | None = None,
        name: str | None = None,
    ) -> MultilabelTask:
        """The task of a CSV, TSV or parquet file or an .npz archive; inputs are standardised.

        Args:
            data: the path, and behind ``#`` which columns are labels (docs/tasks.md).
            probe_size: N, rows that are held out as the probe.
            seed: of the draw of the probe.
            image_size: of images, in pixels; by default that of the first one.
            name: the task's name; by default the path.

        Raises:
            ValueError: the file cannot be read, is not of numbers, or has other labels than 0 and 1.
        """
        inputs, targets, _ = open_table(data, image_size)
        name = str(data) if name is None else name
        return cls(inputs, targets, probe_size=probe_size, seed=seed, name=name)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the data, the probe and the view's name."""
        return self._data.fingerprint("multilabel", self._view)

    def batches(self, batch_size: int, seed: int) -> Iterator[tuple[Inputs, Tensor]]:
        """(inputs (B, ...), targets (B, K)) without end."""
        return self._data.batches(batch_size, seed)

    def inputs(self, batch: tuple[Inputs, Tensor]) -> Inputs:
        """The inputs of a batch."""
        return batch[0]

    def loss(self, model: nn.Module, batch: tuple[Inputs, Tensor]) -> Tensor:
        """Mean binary cross-entropy of the logits (B, K) that the model returns."""
        inputs, targets = batch
        logits = model_logits(model(inputs))
        return functional.binary_cross_entropy_with_logits(logits, targets)

    def views(self, inputs: Inputs) -> Any | None:
        """The inputs as the given view changes them; None without a view."""
        return None if self._view is None else self._view(inputs)
