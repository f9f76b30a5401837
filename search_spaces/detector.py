"""Small detectors of varied backbone, neck and head, on torchvision's FCOS and RetinaNet.

Images are taken at their size, with values from 0 to 1. Classes are counted from 1, as torchvision does.

References: FCOS, Tian et al. 2019, arXiv 1904.01355; RetinaNet, Lin et al. 2017, arXiv 1708.02002;
feature pyramids, Lin et al. 2017, arXiv 1612.03144.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

try:
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.fcos import (
        FCOS,
        FCOSClassificationHead,
        FCOSHead,
        FCOSRegressionHead,
    )
    from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
    from torchvision.models.detection.transform import GeneralizedRCNNTransform
    from torchvision.ops import FeaturePyramidNetwork
except ImportError as error:
    raise ImportError(
        "`detector` needs the 'images' extra: pip install 'prescreen[images]'"
    ) from error

GroupNorm = partial(nn.GroupNorm, 4)
NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "group": GroupNorm}
CHOICES: dict[str, tuple[Any, ...]] = {
    "depth": (1, 2, 3),
    "width": (8, 12, 16, 24),
    "norm": tuple(NORMS),
    "neck": ("none", "fpn"),
    "head": ("fcos", "retinanet"),
    "head_depth": (1, 2, 3, 4),
}
# A network without a neck predicts from the map of the first stride alone.
STRIDES = (8, 16, 32)
# Sizes of RetinaNet's anchors, in strides: those of torchvision are from 4 to 6.3.
_ANCHOR_SCALES = (4.0, 6.0)
_ASPECTS = (0.5, 1.0, 2.0)
# How far the sides of FCOS' boxes are from their place at first, in strides.
_FIRST_SIDE = 2.0


def sample(trial: Any) -> dict[str, Any]:
    """Draw the backbone's depth, width and norm, the neck, and the kind and depth of the head."""
    return {key: trial.suggest_categorical(key, list(CHOICES[key])) for key in CHOICES}


def name(config: Mapping[str, Any]) -> str:
    """Backbone, neck and head, such as ``d2 w16 batch fpn fcos h2``."""
    return "d{depth} w{width} {norm} {neck} {head} h{head_depth}".format(**config)


def build(
    config: Mapping[str, Any],
    *,
    num_classes: int = 2,
    in_channels: int = 3,
    image_size: int | tuple[int, int] | None = None,
) -> nn.Module:
    """A detector, called as those of torchvision; nothing is downloaded.

    In training mode, with images and targets, it returns a dict of losses; in evaluation mode it
    returns ``boxes``, ``labels`` and ``scores`` for each image.

    Args:
        config: as `sample` returns it.
        num_classes: K, with the background, which is class 0.
        in_channels: channels of the images, of values from 0 to 1.
        image_size: ignored: the network takes every size, best in multiples of 32.

    Raises:
        ValueError: a key is missing or unknown, or a value is not one of its choices.
    """
    _check(config)
    backbone = Backbone(config, in_channels)
    strides = STRIDES if config["neck"] == "fpn" else STRIDES[:1]
    make = _fcos if config["head"] == "fcos" else _retinanet
    model = make(backbone, num_classes, config["head_depth"], strides)
    middle, scale = [0.5] * in_channels, [0.25] * in_channels
    model.transform = Unresized(1, 1, middle, scale, size_divisible=strides[-1])
    return model


class Backbone(nn.Module):
    """Residual stages, each of half the size, up to the strides that are predicted from."""

    def __init__(self, config: Mapping[str, Any], in_channels: int) -> None:
        super().__init__()
        width, depth, norm = config["width"], config["depth"], NORMS[config["norm"]]
        self.stem = _convolution(in_channels, width, norm, 2)
        has_neck = config["neck"] == "fpn"
        count = len(STRIDES) + 1 if has_neck else 2
        widths = [width << stage for stage in range(count)]
        self.stages = nn.ModuleList(
            Stage(entering, leaving, depth, norm)
            for entering, leaving in zip([width, *widths], widths, strict=False)
        )
        self.out_channels = 4 * width if has_neck else widths[-1]
        self.neck = (
            FeaturePyramidNetwork(widths[1:], self.out_channels, norm_layer=norm)
            if has_neck
            else None
        )

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Map (N, C, H, W) to maps of the strides, by number."""
        x, maps = self.stem(images), OrderedDict[str, Tensor]()
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number:  # the first has a stride of 4
                maps[str(number)] = x
        return maps if self.neck is None else self.neck(maps)


class Stage(nn.Module):
    """A convolution of stride 2, then residual pairs of convolutions."""

    def __init__(
        self, entering: int, leaving: int, depth: int, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.down = _convolution(entering, leaving, norm, 2)
        self.pairs = nn.ModuleList(
            nn.Sequential(
                _convolution(leaving, leaving, norm), _convolution(leaving, leaving, norm)
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / 2, W / 2)."""
        x = self.down(x)
        for pair in self.pairs:
            x = x + pair(x)
        return x


class Unresized(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision has no types
    """Normalises and pads images, but leaves them at their size."""

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """The same image and target."""
        return image, target


def _fcos(backbone: Backbone, num_classes: int, depth: int, strides: tuple[int, ...]) -> nn.Module:
    # FCOS reads strides off the sizes of its anchors, one at each place.
    anchors = AnchorGenerator(tuple((stride,) for stride in strides), ((1.0,),) * len(strides))
    width = backbone.out_channels
    head = FCOSHead(32, 1, num_classes, 1)  # its own norms need multiples of 32
    head.classification_head = FCOSClassificationHead(
        width, 1, num_classes, depth, norm_layer=GroupNorm
    )
    head.regression_head = FCOSRegressionHead(width, 1, depth, norm_layer=GroupNorm)
    # Behind a ReLU, a side whose outputs begin below zero would never move.
    nn.init.constant_(head.regression_head.bbox_reg.bias, _FIRST_SIDE)
    return FCOS(backbone, num_classes, anchor_generator=anchors, head=head, **_KEPT)


def _retinanet(
    backbone: Backbone, num_classes: int, depth: int, strides: tuple[int, ...]
) -> nn.Module:
    sizes = tuple(tuple(scale * stride for scale in _ANCHOR_SCALES) for stride in strides)
    anchors = AnchorGenerator(sizes, (_ASPECTS,) * len(strides))
    count = anchors.num_anchors_per_location()[0]
    head = RetinaNetHead(backbone.out_channels, count, num_classes, norm_layer=GroupNorm)
    for part in (head.classification_head, head.regression_head):
        part.conv = part.conv[:depth]
    return RetinaNet(backbone, num_classes, anchor_generator=anchors, head=head, **_KEPT)


# Which boxes are kept: as many as a small image can have.
_KEPT = {"score_thresh": 0.05, "topk_candidates": 300, "detections_per_img": 100}


def _convolution(
    entering: int, leaving: int, norm: Callable[[int], nn.Module], stride: int = 1
) -> nn.Module:
    convolution = nn.Conv2d(entering, leaving, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, norm(leaving), nn.ReLU(inplace=True))


def _check(config: Mapping[str, Any]) -> None:
    if set(config) != set(CHOICES):
        raise ValueError(f"`config` must have the keys {', '.join(CHOICES)}, got {[*config]}")
    for key, allowed in CHOICES.items():
        if config[key] not in allowed:
            choices = ", ".join(map(str, allowed))
            raise ValueError(f"`{key}` must be one of {choices}, got {config[key]!r}")
