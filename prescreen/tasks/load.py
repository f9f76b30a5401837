"""load_task: a task from the name of a data set, or from the user's files of some kind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from prescreen.checks import require_one_of
from prescreen.tasks.base import Task
from prescreen.tasks.decoded import decoded
from prescreen.tasks.detection import DetectionTask
from prescreen.tasks.diffusion import DiffusionTask
from prescreen.tasks.images.named import DOWNLOADS, load_images
from prescreen.tasks.images.preparation import Statistics
from prescreen.tasks.images.task import Augment
from prescreen.tasks.language import LanguageTask
from prescreen.tasks.multilabel import MultilabelTask
from prescreen.tasks.regression import RegressionTask
from prescreen.tasks.segmentation import SegmentationTask

# KIND of ``KIND:PATH`` to what opens the path: a function of it and of those options of ``load_task``
# that it names.
KINDS: dict[str, Callable[..., Task]] = {
    "text": LanguageTask.from_files,
    "masked": partial(LanguageTask.from_files, objective="masked"),
    "diffusion": DiffusionTask.from_data,
    "masks": SegmentationTask.from_folder,
    "instances": partial(SegmentationTask.from_folder, instances=True),
    "voc": partial(DetectionTask.from_folder, form="voc"),
    "coco": partial(DetectionTask.from_folder, form="coco"),
    "regression": RegressionTask.from_file,
    "multilabel": MultilabelTask.from_file,
}


def load_task(
    data: str | Path = "digits",
    *,
    probe_size: int = 256,
    seed: int = 0,
    root: str | Path | None = None,
    augment: Augment = True,
    image_size: int | None = None,
    mean: Statistics | None = None,
    std: Statistics | None = None,
    preprocess: str | None = None,
    probe: str | Path | None = None,
    num_classes: int | None = None,
    cache: bool = True,
    **more: Any,
) -> Any:
    """A task from the name of a data set or from a path.

    Names come before paths (``./digits`` is a folder); case does not matter. They are ``digits``
    (8×8 grey, part of scikit-learn) and those of torchvision, such as ``cifar10``, ``mnist``, ``svhn``,
    which are downloaded if missing. A path is one of

    - a folder with a sub-folder of images for every class, or with such a folder ``train`` in any of
      the usual spellings, beside ``val`` or ``test``;
    - a folder of images without sub-folders of them: without labels models can be read on it, by
      ``select`` or a ``Probe``, but not trained;
    - a .parquet file or a folder of them, in the Hugging Face image schema: ``image`` or ``img``,
      and ``label`` or ``labels``;
    - an .npz archive with ``x`` and ``y``, ``images`` and ``labels``, ``x_train`` and ``y_train``,
      or ``train_images`` and ``train_labels``.

    The probe batch is drawn from the validation images, else from the test images, else it is held out
    of the training images, with its copies among files. Its labels are not kept. All images are
    standardised with the mean and deviation of the training images per channel, unless others are
    given, and resized to one size; grey images become RGB if others are. Up to 4 GiB of them are held
    in memory.

    ``KIND:PATH`` is another task than classification of images (docs/tasks.md). ``text:PATH`` is a
    `LanguageTask` of characters or of token ids, and ``masked:PATH`` one whose tokens are predicted in
    place. ``masks:PATH``, and ``instances:PATH`` where masks number objects, are a `SegmentationTask`
    of a folder of images beside one of masks. ``diffusion:PATH``, or ``diffusion:NAME`` of a data set,
    is a `DiffusionTask` of images, whose labels are not read. ``voc:PATH`` and
    ``coco:PATH`` are a `DetectionTask` of a folder in the format of either. ``regression:PATH`` and
    ``multilabel:PATH`` are of a table, or of an archive. A path that begins so is ``./KIND:PATH``. They
    have those of the options below that their tasks have, and those of their tasks alone.

    Args:
        data: a name, a path, or ``KIND:PATH``.
        probe_size: N, the number of images, or other samples, in the probe batch.
        seed: of the draw of the probe batch.
        root: the folder of downloaded data sets; by default ``~/.cache/prescreen``.
        augment: True pads by an eighth of the size, crops, and flips from left to right unless the
            images are known to be of characters or signs; ``"crop"`` never flips.
        image_size: height and width of all images in pixels; by default their own, or the median of
            64 images if sizes differ. The aspect is not kept. For objects, the longer side.
        mean: of each channel or of all, instead of the training images' own, of values from 0 to 1:
            images of 8 bits are divided by 255 first.
        std: deviation, likewise.
        preprocess: ``"timm:NAME"`` or ``"torchvision:NAME"``: images are resized, cropped and
            normalised as for that model in evaluation; nothing is downloaded.
        probe: a folder of unlabelled images, or another path as above, that the probe batch is drawn
            from; its labels are not used.
        num_classes: K, by default that of the data; for images without labels, if builders ask for it.
        cache: whether what was decoded is kept, and taken from there if neither files nor options have
            changed (docs/speed.md); the task is the same.
        more: what only the task of a kind has, such as ``prediction="v"`` of ``diffusion``, ``link`` of
            ``voc`` or ``context`` of ``text``.

    Returns:
        An `ImageTask`, or the task of the kind.

    Raises:
        ValueError: the data do not exist, cannot be read, or have too few images; an option is not one
            of theirs.
        ImportError: the `images` extra is missing.
    """
    options = {
        name: value for name, value in locals().items() if name not in ("data", "cache", "more")
    }

    def load() -> Any:
        return _load(data, options, more)

    if not cache:
        return load()
    return decoded(load, {"data": data, **options, **more}, Path(root or DOWNLOADS))


def _load(data: str | Path, options: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
    kind, _, path = str(data).partition(":")
    if kind not in KINDS or not isinstance(data, str):
        _require_known(more, options, "images")
        return load_images(data, **options)
    named = inspect.signature(KINDS[kind]).parameters
    known = {name: p.default for name, p in inspect.signature(load_task).parameters.items()}
    for name, value in options.items():
        if name not in named and value != known[name]:
            raise ValueError(f"`{name}` must be left out for {kind}:PATH, got {value!r}")
    _require_known(more, [*named][1:], f"{kind}:PATH")
    taken = {name: value for name, value in options.items() if name in named}
    return KINDS[kind](path, **{"name": data, **taken, **more})


def _require_known(more: Iterable[str], allowed: Iterable[str], what: str) -> None:
    for name in more:
        require_one_of(f"options of {what}", name, allowed)
