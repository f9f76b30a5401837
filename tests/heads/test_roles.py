"""What is read of known models by role, against what they return."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
import transformers
from role_models import CASES, HEADLESS, IDS, LIST, TEXT, of
from torch import nn
from torch.nn import functional

from prescreen.heads import capture, capture_heads, capture_roles, find_heads
from prescreen.heads.execute import call
from prescreen.heads.roles import ROWS, Role

ROLES = get_args(Role)
READ: dict[str, Any] = {"link": "identity", "batch_statistics": False}


def build(name, k=7):
    torch.manual_seed(0)
    return CASES[name].build(k).eval()


def expected(name, role):
    """Paths; `a.0 .1` are `a.0` and `a.1`."""
    first, *others = CASES[name].heads[role].split()
    stem = first.partition(".module_list")[0] + ".module_list"
    return [first, *(stem + other if other[0] == "." else other for other in others)]


def flat(logits):
    return logits.flatten(0, -2)


@pytest.mark.parametrize("name", CASES)
def test_heads(name):
    model, large = build(name), build(name, 11)
    for role in ROLES:
        if role in CASES[name].heads:
            # By identity: in transformers 4 one layer has several paths.
            found = [model.get_submodule(head.name) for head in find_heads(model, role=role)]
            assert found == [model.get_submodule(path) for path in expected(name, role)]
        else:
            with pytest.raises(ValueError, match=rf"^`head` must be named for the role '{role}'"):
                find_heads(model, role=role)
    assert find_heads(model) == find_heads(model, role="classes")
    if CASES[name].resizes:
        shapes = {key: one.shape for key, one in large.named_parameters()}
        changed = [key for key, one in model.named_parameters() if one.shape != shapes[key]]
        assert {key.rpartition(".")[0] for key in changed} == set(expected(name, "classes"))


class Inside(nn.Module):
    """A module of one's own around a model, such as Lightning's, perhaps with layers beside it."""

    def __init__(self, model, beside):
        super().__init__()
        self.beside, self.model = beside, model

    def forward(self, *inputs, **keywords):
        return self.model(*inputs, **keywords)


@pytest.mark.parametrize("name", CASES)
def test_heads_inside_of_another_module(name):
    model, case = build(name), CASES[name]
    for role in case.heads:
        inside = [f"model.{head.name}" for head in find_heads(model, role=role)]
        assert [head.name for head in find_heads(Inside(model, None), role=role)] == inside
    role = next(iter(case.heads))
    one, other = (
        capture(each, case.inputs, role=role, **READ) for each in (model, Inside(model, None))
    )
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.features, other.features)


def test_a_role_of_two_models_inside_is_not_guessed():
    two = Inside(build("retinanet"), build("fcos"))
    with pytest.raises(ValueError, match=r"^`head` must be named for the role 'boxes'"):
        find_heads(two, role="boxes")
    one = Inside(build("retinanet"), nn.Linear(4, 4))
    assert [head.name for head in find_heads(one, role="boxes")] == [
        "model.head.regression_head.bbox_reg"
    ]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.logits])
def test_the_logits_are_those_that_the_model_returns(name):
    model, case = build(name), CASES[name]
    taken = capture(model, case.inputs, role="classes", **READ)
    with torch.no_grad():
        logits = getattr(call(model, case.inputs), case.logits)
    logits = logits.movedim(1, -1) if name == "segformer" else logits
    assert torch.equal(taken.logits, flat(logits))
    if case.logits == "logits":
        assert torch.equal(capture(model, case.inputs, **READ).features, taken.features)


@pytest.mark.parametrize("name", ["fcn", "deeplab", "lraspp", "upernet", "dpt"])
def test_logits_are_read_before_they_are_interpolated(name):
    model, inputs = build(name), CASES[name].inputs
    taken = capture(model, inputs, role="classes", **READ)
    with torch.no_grad():
        output = model(inputs)
    logits = output["out"] if name in ("fcn", "deeplab", "lraspp") else output.logits
    side = round((len(taken.logits) / len(inputs)) ** 0.5)
    small = taken.logits.unflatten(0, (len(inputs), side, side)).movedim(-1, 1)
    # DPT doubles the size, with corners aligned, whatever that of the image is.
    large = functional.interpolate(
        small, logits.shape[2:], mode="bilinear", align_corners=name == "dpt"
    )
    assert torch.allclose(large, logits, atol=1e-6)


@pytest.mark.parametrize("name", ["detr", "yolos"])
def test_boxes_are_read_before_their_sigmoid(name):
    model, inputs = build(name), CASES[name].inputs
    taken = capture(model, inputs, role="boxes", **READ)
    with torch.no_grad():
        assert torch.equal(taken.logits.sigmoid(), flat(model(inputs).pred_boxes))


def by_level(model, role, anchors):
    """What a head of torchvision returns, one level after the other."""
    key = {"classes": "cls_logits", "boxes": "bbox_regression"}[role]
    with torch.no_grad():
        features = [*model.backbone(model.transform(*LIST)[0].tensors).values()]
        sizes = [n * part[0, 0].numel() for n, part in zip(anchors, features, strict=True)]
        return torch.cat([flat(level) for level in model.head(features)[key].split(sizes, 1)])


ANCHORS = {"retinanet": [4, 4], "fcos": [1, 1], "ssd": [4, 6], "ssdlite": [4, 6]}


@pytest.mark.parametrize("role", ["classes", "boxes"])
@pytest.mark.parametrize("name", ANCHORS)
def test_a_row_is_one_anchor(name, role):
    model = build(name)
    taken = capture(model, LIST, role=role, link="sigmoid", batch_statistics=False)
    logits = by_level(model, role, ANCHORS[name])
    assert taken.num_classes == (7 if role == "classes" else 4)
    read = taken.logits.relu() if (name, role) == ("fcos", "boxes") else taken.logits
    assert torch.allclose(read, logits, atol=1e-6)
    product = taken.features.double() @ taken.weight.double().T + taken.bias.double()
    assert torch.allclose(product, taken.logits.double(), atol=1e-5)
    few = capture(model, LIST, role=role, link="sigmoid", batch_statistics=False, max_positions=20)
    at = [(taken.logits == row).all(1).nonzero()[0].item() for row in few.logits]
    assert len(at) == 20
    assert at == sorted(set(at))
    assert torch.equal(few.features, taken.features[at])


def test_features_of_an_anchor_stand_in_its_block():
    model = build("retinanet")
    taken = capture(model, LIST, role="classes", **READ)
    layer = model.head.classification_head.cls_logits
    blocks = taken.features.unflatten(1, (4, 8 * 9 + 1))
    anchor = torch.arange(len(blocks)) % 4
    assert torch.equal(blocks[..., -1], functional.one_hot(anchor, 4).float())
    assert not blocks[functional.one_hot(anchor, 4) == 0].any()
    weight = taken.weight.unflatten(1, (4, 8 * 9 + 1))
    assert torch.equal(weight[..., :-1].transpose(0, 1).flatten(0, 1), layer.weight.flatten(1))
    biases = weight[..., -1].T + taken.bias
    assert torch.allclose(biases.flatten(), layer.bias)
    assert torch.allclose(taken.bias, layer.bias.unflatten(0, (4, 7)).mean(0))


@pytest.mark.parametrize("name", ["retinanet", "ssd", "lraspp", "fcn", "faster"])
def test_classes_are_read_where_the_output_names_no_logits(name):
    model, inputs = build(name), CASES[name].inputs
    taken, wanted = capture(model, inputs), capture(model, inputs, role="classes")
    assert torch.equal(taken.logits, wanted.logits)
    assert torch.equal(taken.features, wanted.features)


def test_a_layer_of_several_anchors_that_is_named():
    model = build("retinanet")
    named = capture(model, LIST, head="head.classification_head.cls_logits")
    assert torch.equal(named.features, capture(model, LIST, role="classes").features)
    levels = capture_heads(build("ssd"), LIST)
    assert [(level.num_classes, level.features.shape[1]) for level in levels.values()] == [
        (7, 4 * 73),
        (7, 6 * 73),
    ]


def test_wide_features_are_of_fewer_predictions(monkeypatch):
    monkeypatch.setattr("prescreen.heads.predicting._MOST", 25 * 4 * 73)
    assert len(capture(build("retinanet"), LIST, role="classes").features) == 25


@pytest.mark.parametrize("name", ["faster", "mask", "keypoint"])
def test_heads_of_regions(name):
    model, seen = build(name), {}
    for part in ("box_predictor", "mask_predictor", "keypoint_predictor"):
        if (module := getattr(model.roi_heads, part, None)) is not None:
            module.register_forward_hook(lambda *args, part=part: seen.update({part: args[2]}))
    taken = capture_roles(
        model, LIST, dict.fromkeys(CASES[name].heads, "identity"), max_positions=10_000
    )
    assert torch.equal(taken["classes"].logits, seen["box_predictor"][0])
    assert torch.equal(taken["boxes"].logits, seen["box_predictor"][1])
    if name == "mask":
        masks = seen["mask_predictor"].movedim(1, -1)
        assert torch.equal(taken["masks"].logits, flat(masks))
    if name == "keypoint":
        small = taken["keypoints"].logits.unflatten(0, (-1, 28, 28)).movedim(-1, 1)
        large = functional.interpolate(small, scale_factor=2.0, mode="bilinear")
        assert torch.allclose(large, seen["keypoint_predictor"], atol=1e-6)


def test_roles_in_one_pass():
    model, runs = build("retinanet"), []
    model.register_forward_hook(lambda *_: runs.append(1))
    links = {"classes": "sigmoid", "boxes": "identity"}
    taken = capture_roles(model, LIST, links)
    assert len(runs) == 1
    for role, link in links.items():
        alone = capture(model, LIST, role=role, link=link)
        assert taken[role].link == link
        assert torch.equal(taken[role].features, alone.features)
        assert torch.equal(taken[role].weight, alone.weight)


def test_detectors_in_training_are_read_as_they_are():
    model = build("retinanet").train()
    taken = capture(model, LIST, role="classes")
    assert model.training
    assert torch.equal(taken.logits, capture(model.eval(), LIST, role="classes").logits)


def test_sum_of_two_heads():
    model, inputs = build("lraspp"), CASES["lraspp"].inputs
    taken = capture(model, inputs, role="classes", **READ)
    head = model.classifier
    assert torch.equal(
        taken.weight,
        torch.cat([head.low_classifier.weight, head.high_classifier.weight], 1).flatten(1),
    )
    assert torch.equal(taken.bias, head.low_classifier.bias + head.high_classifier.bias)
    assert len(capture_heads(model, inputs)) == 2


def test_soft_capped_logits_are_read_before_the_cap():
    name = "gemma 2, soft-capped"
    model = build(name)
    nn.init.normal_(model.lm_head.weight, std=9)
    taken = capture(model, IDS, role="classes", **READ)
    cap = model.config.final_logit_softcapping
    with torch.no_grad():
        logits = flat(model(IDS).logits)
    assert taken.logits.abs().max() > cap
    assert torch.allclose(cap * (taken.logits / cap).tanh(), logits, atol=1e-4)
    with pytest.raises(ValueError, match=r"^`head` must be named where .*head='lm_head'$"):
        capture(model, IDS)  # these are not what the loss sees


def test_a_softmax_over_positions():
    model = of(transformers.BertForQuestionAnswering, transformers.BertConfig, **TEXT)(2).eval()
    for role in ("classes", None):
        with pytest.raises(ValueError, match=r"^`link` must be .* over positions, got 'softmax'"):
            capture(model, IDS, role=role)
    taken = capture(model, IDS, role="classes", link="sigmoid")
    with torch.no_grad():
        output = model(IDS)
    assert torch.equal(taken.logits, flat(torch.stack([output.start_logits, output.end_logits], 2)))
    with pytest.raises(ValueError, match=r"^`link` must be .* over positions, got 'softmax'"):
        capture(build("keypoint"), LIST, role="keypoints")


def test_a_softmax_over_choices():
    model = of(transformers.BertForMultipleChoice, transformers.BertConfig, **TEXT)(2)
    inputs = IDS[None]
    with pytest.raises(ValueError, match=r"^`link` must be .* for a head of 1 class"):
        capture(model, inputs, role="classes")
    taken = capture(model, inputs, role="classes", link="identity")
    with torch.no_grad():
        assert torch.allclose(taken.logits.flatten(), model.eval()(inputs).logits.flatten())


@pytest.mark.parametrize("name", HEADLESS)
def test_models_without_a_known_head(name):
    model = HEADLESS[name](2)
    for role in (None, *ROLES):
        with pytest.raises(
            ValueError, match=r"^`head` must be named for .*head='path\.to\.layer'$"
        ):
            find_heads(model, role=role)


def in_diffusers(name, **parts):
    """A stand-in for a class of diffusers, which need not be installed: a dict of a sample."""

    def init(self):
        nn.Module.__init__(self)
        for key, part in parts.items():
            self.add_module(key, part())

    def forward(self, sample, timestep):
        for part in self.children():
            sample = part(sample)
        return {"sample": sample}

    return type(
        name, (nn.Module,), {"__module__": "diffusers.models", "__init__": init, "forward": forward}
    )


@pytest.mark.parametrize(
    ("name", "head"), [("UNet2DModel", "conv_out"), ("UNet2DConditionModel", "conv_out")]
)
def test_noise_of_diffusers(name, head):
    parts = {"conv_in": lambda: nn.Conv2d(3, 4, 3), head: lambda: nn.Conv2d(4, 3, 3)}
    model, inputs = in_diffusers(name, **parts)(), (torch.randn(2, 3, 9, 9), torch.tensor(1))
    assert [one.name for one in find_heads(model)] == [head]
    taken = capture(model, inputs, link="identity")
    assert torch.equal(taken.logits, flat(model(*inputs)["sample"].movedim(1, -1)))
    assert torch.equal(capture(model, inputs, role="noise", link="identity").logits, taken.logits)
    with pytest.raises(ValueError, match=r"^`head` must be named for the role 'classes' of UNet2D"):
        find_heads(model, role="classes")


def test_other_models_of_diffusers():
    parts = {"proj_out_1": lambda: nn.Linear(4, 8), "proj_out_2": lambda: nn.Linear(8, 3)}
    dit = in_diffusers("DiTTransformer2DModel", **parts)()
    assert [one.name for one in find_heads(dit)] == ["proj_out_2"]
    with pytest.raises(ValueError, match=r"^`head` must be named for AutoencoderKL, where none"):
        find_heads(in_diffusers("AutoencoderKL", **parts)())


class Own(nn.Module):
    """A detector of two anchors that says where its heads are."""

    def __init__(self):
        super().__init__()
        self.classes, self.boxes = nn.Conv2d(3, 2 * 5, 1), nn.Conv2d(3, 2 * 4, 1)
        self.head_roles = {"classes": ("classes", 5), "boxes": ("boxes", 4)}

    def forward(self, images):
        return [{"scores": self.classes(one), "boxes": self.boxes(one)} for one in images]


def test_a_model_that_says_where_its_heads_are():
    model = Own()
    images = ([torch.rand(3, 6, 6), torch.rand(3, 5, 7)],)
    taken = capture_roles(model, images, {"classes": "sigmoid", "boxes": "identity"})
    for role, width in (("classes", 5), ("boxes", 4)):
        layer = getattr(model, role)
        made = [layer(one).unflatten(0, (2, width)).permute(2, 3, 0, 1) for one in images[0]]
        assert torch.allclose(taken[role].logits, torch.cat([one.flatten(0, 2) for one in made]))


def test_anchors_are_told_apart_in_logits_that_a_model_returns():
    model, images = nn.Sequential(nn.Conv2d(3, 2 * 5, 1)), torch.rand(2, 3, 4, 4)
    model.head_roles = {"classes": ("0", 5)}
    logits = flat(model(images).unflatten(1, (2, 5)).permute(0, 3, 4, 1, 2))
    for named in ({}, {"head": "0"}, {"role": "classes"}):
        assert torch.equal(capture(model, images, **named).logits, logits)
    assert capture_heads(model, images)["0"].num_classes == 5


class Anchored(nn.Module):
    """Two anchors at each place, in a map that is an output beside others."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, 2 * 7, 3, stride=4, padding=1)
        self.head_roles = {"classes": ("head", 7)}

    def forward(self, images):
        return {"classes": self.head(images), "images": images}


def in_places(name):
    """A model with a role in one map, and how many predictions there are at a place."""
    return (Anchored(), 2) if name == "anchors" else (build(name), 1)


@pytest.mark.parametrize("name", ["fcn", "lraspp", "segformer", "anchors"])
def test_positions_of_a_role(name):
    (model, _), images = in_places(name), torch.rand(2, 3, 64, 64)
    taken = capture(model, images, role="classes", max_positions=10_000, **READ)
    assert torch.equal(taken.positions, torch.arange(len(taken.logits)))
    few = capture(model, images, role="classes", max_positions=11, **READ)
    assert len(few.positions) == 11
    assert torch.equal(few.logits, taken.logits[few.positions])


def test_positions_of_several_levels_are_not_told():
    assert capture(build("retinanet"), LIST, role="classes").positions is None


@pytest.mark.parametrize("most", [10_000, 11])
@pytest.mark.parametrize("name", ["fcn", "lraspp", "segformer", "anchors"])
def test_predictions_of_a_role_are_brought_to_their_places(name, most):
    (model, anchors), images = in_places(name), torch.rand(2, 3, 64, 64)
    options = {"role": "classes", "max_positions": most, **READ}
    whole = capture(model, images, role="classes", max_positions=10_000, **READ).logits
    side = round((len(whole) / 2 / anchors) ** 0.5)
    mirrored = whole.unflatten(0, (2, side, side, anchors)).flip(2).flatten(0, 3)
    plain = capture(model, images, **options)
    taken = capture(model, images, places=lambda maps: maps.flip(-1), **options)
    assert torch.equal(taken.logits, mirrored[plain.positions])


@pytest.mark.parametrize("name", ["retinanet", "lraspp", "fcn"])
def test_logits_of_a_role_are_bounded(monkeypatch, name):
    monkeypatch.setattr("prescreen.heads.positions.MOST_LOGITS", 7 * 9)
    assert len(capture(build(name), CASES[name].inputs, role="classes").logits) == 9


def test_a_width_that_does_not_fit():
    model = nn.Sequential(nn.Conv2d(3, 10, 1))
    model.head_roles = {"classes": ("0", 4)}
    with pytest.raises(ValueError, match=r"^`head` must be .* multiple of 4 .*, got '0 with 10'$"):
        capture(model, torch.rand(2, 3, 4, 4))


def test_arguments():
    model = build("resnet")
    with pytest.raises(ValueError, match=r"^`role` must be one of classes, .*, got 'boxen'$"):
        find_heads(model, role="boxen")
    with pytest.raises(
        ValueError, match=r"^`role` must be None where a head is named, got 'boxes'"
    ):
        capture(model, CASES["resnet"].inputs, head="fc", role="boxes")
    with pytest.raises(ValueError, match=r"^`head` must be named for the role 'masks' of ResNet"):
        capture_roles(model, CASES["resnet"].inputs, {"masks": "sigmoid"})


def test_every_row_is_tested():
    """But for two classes that share their rows with one that is."""
    kinds = {kind for name in CASES for kind in type(build(name)).__mro__}
    named = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in kinds}
    assert {row for row in set(ROWS) - named if not row.startswith("diffusers.")} == {
        "transformers.DetrForSegmentation",
        "transformers.TableTransformerForObjectDetection",
    }
