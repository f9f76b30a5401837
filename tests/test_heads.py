from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from torch import nn

from prescreen.forward import capture
from prescreen.heads import Head, find_heads

FAMILIES = sorted(timm.list_modules())

# timm 1.0.31 reuses the settings of the model with a head for these encoders without one.
TIMM_ENCODERS = ("gemma4_vit_167m_enc", "gemma4_vit_570m_enc", "mobilenetv5_300m_enc")

# Heads that classify: detectors have box regressors and masks whose size follows num_classes too,
# and googlenet, inception auxiliary classifiers that run in training only.
NO_CLASSIFIERS = ("bbox_pred", "mask_fcn_logits", "aux1", "aux2", "AuxLogits")


def names(model, head=None):
    return {found.name for found in find_heads(model, head)}


def resized(build):
    """The modules whose parameters change their shape with the number of classes."""
    small, large = build(7), build(11)
    shapes = {name: parameter.shape for name, parameter in large.named_parameters()}
    changed = {
        name.rpartition(".")[0]
        for name, parameter in small.named_parameters()
        if shapes.get(name) != parameter.shape
    }
    return small, changed


def timm_on_meta(name):
    def build(num_classes):
        with torch.device("meta"):
            return timm.create_model(name, num_classes=num_classes)

    return build


def smallest_of(family):
    """timm's own test models where there are any, else the shortest name."""
    return min(
        timm.list_models(module=family), key=lambda name: (name[:5] != "test_", len(name), name)
    )


def torchvision_model(name):
    builder = torchvision.models.get_model_builder(name)
    weights = [key for key in inspect.signature(builder).parameters if key.startswith("weights")]

    def build(num_classes):
        # regnet initialises with a generator that meta tensors do not take.
        with torch.device("cpu" if name.startswith("regnet") else "meta"):
            return builder(num_classes=num_classes, **dict.fromkeys(weights))

    return build


@pytest.mark.parametrize("family", FAMILIES)
def test_timm_families(family):
    model, changed = resized(timm_on_meta(smallest_of(family)))
    assert changed
    assert names(model) == changed
    for head in find_heads(model):
        assert model.get_submodule(head.name) is head.module


@pytest.mark.slow
def test_every_timm_model():
    for name in timm.list_models():
        if name not in TIMM_ENCODERS:
            model, changed = resized(timm_on_meta(name))
            assert names(model) == changed or not changed, name
