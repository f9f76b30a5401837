"""Roles: which layers of a known model predict classes, boxes, masks, keypoints or noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Literal, get_args

from torch import nn

from prescreen.checks import require_one_of
from prescreen.heads.wrappers import attribute
from prescreen.predictions import Link
from prescreen.trees import modules_of

Role = Literal["classes", "boxes", "masks", "keypoints", "noise"]

# Those that are read where no role is asked for, of which a model has at most one.
MAIN: tuple[Role, ...] = ("classes", "noise")

# Layers whose loss is a softmax over the positions of a sequence or map, by the end of their name.
OVER_POSITIONS = ("qa_outputs", "kps_score_lowres")


@dataclass(frozen=True)
class Row:
    """The layers of one role, and how they make predictions.

    Args:
        layers: their paths. Of a module that is no layer the last one is meant, of a list that of each.
        outputs: how many outputs one prediction has, or the path of an attribute that says it. A layer
            of A times as many predicts for A anchors at each place. None if one prediction has all.
        summed: one prediction is the sum of all layers' outputs.
        last: only the last run is the prediction; those before are of inner decoder layers.
        inside: where in the model that is read the model of these layers is.
    """

    layers: tuple[str | Callable[[nn.Module], str], ...]
    outputs: int | str | None = None
    summed: bool = False
    last: bool = False
    inside: str = ""

    def paths(self, model: nn.Module) -> list[str]:
        """Where the layers are."""
        own, before = model.get_submodule(self.inside), f"{self.inside}." if self.inside else ""
        found = (layer if isinstance(layer, str) else layer(own) for layer in self.layers)
        return [f"{before}{path}" for path in found]

    def width(self, model: nn.Module) -> int | None:
        """How many outputs one prediction has; None if all."""
        if isinstance(self.outputs, str):
            return int(attrgetter(self.outputs)(model.get_submodule(self.inside)))
        return self.outputs


def _one(*layers: str, summed: bool = False, last: bool = False) -> Row:
    return Row(layers, summed=summed, last=last)


def _of_last_decoder_layer(path: str) -> Row:
    """Lists have a layer for each decoder layer, and may have one more for the encoder's proposals."""

    def last(model: Any) -> str:
        return f"{path}.{model.config.decoder_layers - 1}"

    return Row((last,), last=True)


_DETR = {"classes": _one("class_labels_classifier"), "boxes": _one("bbox_predictor")}
_SEGMENTATION = {"classes": _one("classifier")}
_SSD = {
    "classes": Row(
        ("head.classification_head.module_list",), "head.classification_head.num_columns"
    ),
    "boxes": Row(("head.regression_head.module_list",), 4),
}
_DENSE = {
    "classes": Row(
        ("head.classification_head.cls_logits",), "head.classification_head.num_classes"
    ),
    "boxes": Row(("head.regression_head.bbox_reg",), 4),
}

# By library and class; a subclass has the rows of its bases. Names that serve many classes of a library
# are in find.py. Boxes of transformers are read before their sigmoid, without their reference points.
ROWS: dict[str, Mapping[str, Row]] = {
    "torchvision.RetinaNet": _DENSE,
    "torchvision.FCOS": _DENSE,
    "torchvision.SSD": _SSD,
    "torchvision.FasterRCNN": {
        "classes": _one("roi_heads.box_predictor.cls_score"),
        "boxes": _one("roi_heads.box_predictor.bbox_pred"),
    },
    "torchvision.MaskRCNN": {"masks": _one("roi_heads.mask_predictor.mask_fcn_logits")},
    "torchvision.KeypointRCNN": {
        "keypoints": _one("roi_heads.keypoint_predictor.kps_score_lowres")
    },
    "torchvision.FCN": _SEGMENTATION,
    "torchvision.DeepLabV3": _SEGMENTATION,
    "torchvision.LRASPP": {
        "classes": _one("classifier.low_classifier", "classifier.high_classifier", summed=True)
    },
    "transformers.DetrForObjectDetection": _DETR,
    "transformers.DetrForSegmentation": {
        "classes": _one("detr.class_labels_classifier"),
        "boxes": _one("detr.bbox_predictor"),
    },
    "transformers.ConditionalDetrForObjectDetection": _DETR,
    "transformers.TableTransformerForObjectDetection": _DETR,
    "transformers.YolosForObjectDetection": _DETR,
    "transformers.DeformableDetrForObjectDetection": {
        "classes": _of_last_decoder_layer("class_embed"),
        "boxes": _of_last_decoder_layer("bbox_embed"),
    },
    "transformers.RTDetrForObjectDetection": {
        "classes": _of_last_decoder_layer("model.decoder.class_embed"),
        "boxes": _of_last_decoder_layer("model.decoder.bbox_embed"),
    },
    "transformers.MaskFormerForInstanceSegmentation": {"classes": _one("class_predictor")},
    "transformers.Mask2FormerForUniversalSegmentation": {
        "classes": _one("class_predictor", last=True)
    },
    # Also where they predict the image or the velocity.
    "diffusers.UNet2DModel": {"noise": _one("conv_out")},
    "diffusers.UNet2DConditionModel": {"noise": _one("conv_out")},
    "diffusers.DiTTransformer2DModel": {"noise": _one("proj_out_2")},
    "transformers.UperNetForSemanticSegmentation": {"classes": _one("decode_head.classifier")},
    "transformers.DPTForSemanticSegmentation": {"classes": _one("head.head")},
}


def row_of(model: nn.Module, role: str | None) -> Row | None:
    """How a model makes one kind of prediction, or its main one; None if that is not known.

    A model of your own may say it: ``head_roles = {"classes": "head.cls", "boxes": ("head.box", 4)}``,
    a path, or a path and the number of outputs of one prediction. If the model itself has no such role,
    that of the only model inside which has it is meant, as in a module of Lightning; the main one only
    if there are no parameters beside it.

    Raises:
        ValueError: an unknown role.
    """
    if role is None:
        if not _may_say(model):
            return None
        rows = filter(None, (row_of(model, main) for main in MAIN))
        return next(
            (row for row in rows if holds_all(model.get_submodule(row.inside), model)), None
        )
    require_one_of("role", role, get_args(Role))
    found: list[tuple[str, Row]] = []
    of_class = {kind: _row_of_class(kind, role) for kind in {type(m) for m in modules_of(model)}}
    for path, module in model.named_modules():
        if any(path.startswith(f"{outer}." if outer else "") for outer, _ in found):
            continue
        if (row := _said(module, role) or of_class[type(module)]) is not None:
            found.append((path, row))
    return replace(found[0][1], inside=found[0][0]) if len(found) == 1 else None


def holds_all(inner: nn.Module, model: nn.Module) -> bool:
    """Whether a module inside a model has all parameters of the model."""
    inside = {id(one) for one in inner.parameters()}
    return all(id(one) in inside for one in model.parameters())


def _may_say(model: nn.Module) -> bool:
    """Whether any module has rows, of itself or of its class; most models have none."""
    modules = modules_of(model)
    names = {name for kind in {type(m) for m in modules} for name in _names(kind)}
    return not names.isdisjoint(ROWS) or any(attribute(m, "head_roles") for m in modules)


def _names(kind: type) -> list[str]:
    """The names of a class and its bases, as in the table."""
    return [f"{one.__module__.partition('.')[0]}.{one.__name__}" for one in kind.__mro__]


def _said(model: nn.Module, role: str) -> Row | None:
    """What a model of your own says."""
    own = attribute(model, "head_roles")
    if isinstance(own, Mapping) and role in own:
        said = own[role]
        return Row((said,)) if isinstance(said, str) else Row((said[0],), *said[1:])
    return None


def _row_of_class(kind: type[nn.Module], role: str) -> Row | None:
    rows = (ROWS.get(name, {}) for name in _names(kind))
    return next((own[role] for own in rows if role in own), None)


def require_rows(layer: str, link: Link) -> None:
    """Refuse a softmax over the outputs of a layer whose loss is a softmax over positions.

    Raises:
        ValueError: it is one.
    """
    if link == "softmax" and layer.endswith(OVER_POSITIONS):
        raise ValueError(
            "`link` must be 'sigmoid' or 'identity' where the loss is a softmax over positions, "
            f"got 'softmax' for {layer!r}; it is read all the same with head={layer!r}"
        )
