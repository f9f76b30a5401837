from __future__ import annotations

import inspect
import itertools
import re
import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from torch import nn

from prescreen.heads.capturing import capture
from prescreen.heads.find import Head, find_heads

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
    """timm's own test model of a family if there is one, else the shortest name."""
    return min(
        timm.list_models(module=family), key=lambda name: (name[:5] != "test_", len(name), name)
    )


def torchvision_on_meta(name):
    builder = torchvision.models.get_model_builder(name)
    weights = [key for key in inspect.signature(builder).parameters if key.startswith("weights")]

    def build(num_classes):
        # A RegNet computes its widths from tensor values, which meta tensors lack.
        with torch.device("cpu" if name.startswith("regnet") else "meta"):
            return builder(num_classes=num_classes, **dict.fromkeys(weights))

    return build


# RAFT has no classes. Larger RegNets differ in size only, and take seconds to build.
TORCHVISION = [
    name
    for name in sorted(torchvision.models.list_models())
    if not name.startswith("raft") and (not name.startswith("regnet") or "400mf" in name)
]
# The first of names that differ in numbers only is enough; the others are left to the slow tests.
TORCHVISION = [
    pytest.param(name, marks=[pytest.mark.slow] * (place > 0))
    for _, names in itertools.groupby(TORCHVISION, lambda name: re.sub(r"\d", "", name))
    for place, name in enumerate(names)
]


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


@pytest.mark.parametrize(
    "name",
    [
        "deit_tiny_distilled_patch16_224",
        "pit_ti_distilled_224",
        "efficientvim_m1_dist",
        "levit_384_s8",  # its settings name one of its two heads
        "tiny_vit_5m_224",
        "mobilenetv4_conv_small",
    ],
)
def test_further_timm_models(name):
    model, changed = resized(timm_on_meta(name))
    assert names(model) == changed


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
@pytest.mark.parametrize("known", [True, False])
def test_what_enters_the_head_is_what_timm_calls_pre_logits(name, known):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=7)
    inputs = torch.randn(4, 3, *model.default_cfg["input_size"][1:])
    if not known:  # squeeze-and-excite convolutions must not be taken for the head either
        model.pretrained_cfg = model.default_cfg = {}
    taken = capture(model, inputs, batch_statistics=False)
    model.eval()
    with torch.no_grad():
        body = model.forward_features(inputs)
        assert torch.equal(taken.features, model.forward_head(body, pre_logits=True))
        assert torch.equal(taken.logits, model.forward_head(body))


def test_timm_without_a_head():
    model = timm.create_model("test_resnet", num_classes=0)
    with pytest.raises(
        ValueError, match=r"^`model` must have .* head at fc, got ResNet without; build"
    ):
        find_heads(model)
    assert names(model, "layer4.0.conv2") == {"layer4.0.conv2"}


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name):
    model, changed = resized(torchvision_on_meta(name))
    expected = {path for path in changed if not any(part in path for part in NO_CLASSIFIERS)}
    assert expected
    assert names(model) == expected


def test_named_by_the_user(mlp):
    assert find_heads(mlp, "body.0") == (Head("body.0", mlp.body[0]),)
    assert find_heads(mlp, mlp.body[0]) == (Head("body.0", mlp.body[0]),)
    assert find_heads(nn.DataParallel(mlp), "module.body.0") == (Head("body.0", mlp.body[0]),)
    compiled = torch.compile(mlp, backend="eager")
    assert find_heads(compiled, "_orig_mod.body.0") == (Head("body.0", mlp.body[0]),)
    assert find_heads(compiled, compiled.fc) == (Head("fc", mlp.fc),)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("fcc", r"got 'fcc', which is unknown; close to it: fc$"),
        ("body", r"got 'body', which is Sequential; close to it: body\.0$"),
        ("body.1", r"got 'body\.1', which is BatchNorm1d; close to it: body\.0$"),
        ("xyz", r"got 'xyz', which is unknown; close to it: body\.0, fc$"),
        (nn.Linear(2, 2), r"a layer of the model, got another, Linear\(in_features=2"),
    ],
)
def test_named_wrongly(mlp, head, message):
    with pytest.raises(ValueError, match=f"^`head` must be .*{message}"):
        find_heads(mlp, head)


def test_not_linear():
    grouped = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2))
    with pytest.raises(
        ValueError, match=r"^`head` must be a convolution with groups=1, got '0' with groups=2$"
    ):
        find_heads(grouped, "0")
    with pytest.raises(ValueError, match=r"^`head` must be .* 2d or 3d, got 'x', which is ReLU$"):
        Head("x", nn.ReLU())
    with pytest.raises(
        ValueError, match=r"^`model` must have a Linear .*, got none in Sequential$"
    ):
        find_heads(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match=r"^`model` must be an nn\.Module, got function$"):
        find_heads(lambda x: x)


def test_wrappers_are_looked_through(mlp):
    expected = (Head("fc", mlp.fc),)
    compiled = torch.compile(mlp, backend="eager")
    for wrapped in (mlp, compiled, nn.DataParallel(mlp), nn.DataParallel(compiled)):
        assert find_heads(wrapped) == expected
    assert find_heads(torch.compile(nn.DataParallel(mlp), backend="eager")) == expected
    mlp.fc = torch.compile(mlp.fc, backend="eager")
    assert find_heads(mlp) == find_heads(mlp, "fc._orig_mod")
    assert find_heads(mlp, "fc")[0].module is mlp.fc._orig_mod


def test_a_single_layer():
    model = nn.Linear(3, 2)
    assert find_heads(model) == (Head("", model),)


def test_what_looks_like_a_linear_layer():
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.in_features, self.out_features = 3, 2
            self.weight, self.bias = nn.Parameter(torch.randn(2, 3)), None

        def forward(self, x):
            return x @ self.weight.T

    model = nn.Sequential(nn.Linear(5, 3), Dense())
    assert find_heads(model) == (Head("1", model[1]),)
    assert capture(model, torch.randn(4, 5)).weight.shape == (2, 3)


class LanguageModel(nn.Module):
    """What models of transformers have in common with regard to heads."""

    def __init__(self, tie):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.lm_head = nn.Linear(6, 11, bias=False)
        if tie:
            self.lm_head.weight = self.embedding.weight
        self.pooler = nn.Linear(6, 6)  # registered last

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, input_ids):
        return {"logits": self.lm_head(self.embedding(input_ids))}


class SequenceClassifier(nn.Module):
    def __init__(self, **heads):
        super().__init__()
        for name, head in heads.items():
            self.add_module(name, head)
        self.dense = nn.Linear(6, 6)

    def get_output_embeddings(self):
        return None


@pytest.mark.parametrize("tie", [True, False])
def test_language_models(tie):
    model = LanguageModel(tie)
    assert names(model) == {"lm_head"}
    taken = capture(model, {"input_ids": torch.randint(11, (3, 5))})
    assert taken.features.shape == (15, 6)
    assert taken.logits.shape == (15, 11)
    assert (taken.weight.data_ptr() == model.embedding.weight.data_ptr()) is tie


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ({"classifier": nn.Linear(6, 3)}, {"classifier"}),
        ({"score": nn.Linear(6, 3)}, {"score"}),
        ({"qa_outputs": nn.Linear(6, 2)}, {"qa_outputs"}),
        # RoBERTa's classifier is an MLP.
        ({"classifier": nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))}, {"classifier.1"}),
        (
            {"cls_classifier": nn.Linear(6, 3), "distillation_classifier": nn.Linear(6, 3)},
            {"cls_classifier", "distillation_classifier"},
        ),
    ],
)
def test_other_transformers(heads, expected):
    assert names(SequenceClassifier(**heads)) == expected


def test_no_library_is_imported():
    code = (
        "import sys, prescreen.heads.capturing;"
        "heavy = {'timm', 'torchvision', 'transformers', 'torch._dynamo'};"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.fixture
def mlp():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5))
            self.fc = nn.Linear(5, 3)

        def forward(self, x):
            return self.fc(self.body(x))

    return Model()
