"""Small timm models: convolutional networks and Transformers of many families."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

# Take images of any size.
CONVOLUTIONAL = (
    # plain and residual
    "test_resnet",
    "test_byobnet",
    "test_nfnet",
    "resnet10t",
    "regnetx_002",
    "regnety_002",
    "gernet_s",
    "dla46_c",
    "densenet121",
    "ese_vovnet19b_slim_dw",
    "hgnetv2_b0",
    # depthwise, for phones
    "test_efficientnet",
    "mobilenetv1_100",
    "mobilenetv2_050",
    "mobilenetv3_small_050",
    "mobilenetv3_small_100",
    "mobilenetv4_conv_small_050",
    "mobilenetv4_conv_small",
    "efficientnet_lite0",
    "tinynet_e",
    "mnasnet_small",
    "spnasnet_100",
    "fbnetc_100",
    "hardcorenas_a",
    "lcnet_050",
    "rexnet_100",
    "ghostnet_050",
    "ghostnetv3_050",
    # reparametrised
    "mobileone_s0",
    "repvit_m0_9",
    # modern
    "test_convnext",
    "test_mambaout",
    "convnext_zepto_rms",
    "convnext_atto",
    "convnextv2_atto",
    "inception_next_atto",
    "mambaout_femto",
    "starnet_s050",
    "fasternet_t0",
)
HYBRID = (
    "edgenext_xx_small",
    "mobilevit_xxs",
    "mobilevitv2_050",
    "fastvit_t8",
    "efficientvit_b0",
    "efficientvit_m0",
    "shvit_s1",
    "swiftformer_xs",
    "tiny_vit_5m_224",
    "pvt_v2_b0",
    "xcit_nano_12_p8_224",
)
# Must be told the image size, which their windows or position embeddings depend on.
SIZED = (
    "test_coatnet",
    "test_maxvit",
    "levit_128s",
    "pit_ti_224",
    "efficientformerv2_s0",
    "coat_lite_tiny",
)
# Likewise; their patches, made for 224×224, are made smaller for smaller images.
PATCHED = (
    "test_vit",
    "test_vit2",
    "deit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "eva02_tiny_patch14_224",
)
MODELS = CONVOLUTIONAL + HYBRID + SIZED + PATCHED


def sample(trial: Any) -> dict[str, str]:
    """Draw a model."""
    return {"model": trial.suggest_categorical("model", list(MODELS))}


def grid() -> Iterable[dict[str, str]]:
    """All models."""
    return ({"model": model} for model in MODELS)


def name(config: Mapping[str, str]) -> str:
    """The model's name in timm."""
    return config["model"]


def build(
    config: Mapping[str, str],
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int | tuple[int, int] = 32,
) -> nn.Module:
    """An untrained timm model for images of one size.

    Args:
        config: ``{"model": name}`` with a name of `MODELS`, or another one of timm.
        num_classes: K.
        in_channels: channels of the images.
        image_size: their side, or (height, width), in pixels.

    Raises:
        ValueError: a model that timm does not have or that cannot take images of this size.
        ImportError: timm is not installed.
    """
    model = config["model"]
    timm = _timm()
    if not timm.is_model(model):
        raise ValueError(_unknown(timm, model))
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"`image_size` must be a side or (height, width), got {image_size!r}")
    try:
        network = _made(timm, model, num_classes, in_channels, size)
        _try(network, in_channels, size)
    # Errors of timm and torch for an image that is too small or cannot be divided.
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"`image_size` must be one that {model} can take, got {size[0]}×{size[1]}: {reason}"
        ) from error
    return network


def check(
    *, names: Sequence[str] = MODELS, image_size: int | tuple[int, int] | None = None
) -> str | None:
    """Look, before a model is built, whether models can be.

    Args:
        names: of models.
        image_size: the side of images, or (height, width), in pixels.

    Returns:
        A line about images that are small.

    Raises:
        ImportError: timm is not installed.
        ValueError: timm has no such model.
    """
    timm = _timm()
    unknown = [name for name in names if not timm.is_model(name)]
    if unknown:
        raise ValueError(_unknown(timm, unknown[0]))
    if image_size is None or names is not MODELS:
        return None
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(size) < 32:
        return (
            f"a quarter of these models need larger images than {size[0]}×{size[1]} and will fail; "
            "--image-size 32, in Python load_task(image_size=32), enlarges them"
        )
    return None


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            "`timm_models` needs the 'timm' extra: pip install 'prescreen[timm]'"
        ) from error
    return timm


def _unknown(timm: Any, name: str) -> str:
    close = get_close_matches(str(name), timm.list_models())
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"`model` must be one that timm has, got {name!r}{hint}"


def _made(timm: Any, model: str, num_classes: int, in_channels: int, size: Any) -> nn.Module:
    """The network, which is told the image size if it must be, or if that is not known and it can be."""
    options = {"pretrained": False, "num_classes": num_classes, "in_chans": in_channels}
    if model not in MODELS:
        try:
            return timm.create_model(model, **options, img_size=size)
        except TypeError:
            return timm.create_model(model, **options)
    return timm.create_model(model, **options, **_size_keywords(model, size))


def _size_keywords(model: str, size: tuple[int, int]) -> dict[str, Any]:
    """Keywords by which `timm.create_model` learns the image size."""
    if model in SIZED:
        return {"img_size": size}
    if model in PATCHED:
        return {"img_size": size, "patch_size": patch_size(size)}
    return {}


def patch_size(size: tuple[int, int]) -> int:
    """The largest patch that divides the image into at least 7×7: 4 for 32 and 28, 16 for 224."""
    fitting = (
        p for p in (16, 8, 4, 2) if not size[0] % p and not size[1] % p and min(size) >= 7 * p
    )
    return next(fitting, 1)


def _try(network: nn.Module, in_channels: int, size: tuple[int, int]) -> None:
    """Run one image: only a forward pass shows whether a model can take a size."""
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, in_channels, *size))
    network.train()
