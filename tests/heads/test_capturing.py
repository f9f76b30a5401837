from __future__ import annotations

import re

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional

from prescreen.captured import NonFiniteError
from prescreen.heads.capturing import capture, capture_heads


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def convnet(head=None):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        *(head or (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 4))),
    )


def assert_linear(taken):
    product = taken.features.double() @ taken.weight.double().T
    bias = 0 if taken.bias is None else taken.bias.double()
    assert torch.allclose(product + bias, taken.logits.double(), atol=1e-5)


def test_classifier():
    model, inputs = convnet(), torch.randn(8, 3, 9, 9)
    taken = capture(model, inputs, batch_statistics=False)
    model.eval()
    assert torch.equal(taken.logits, model(inputs))
    assert torch.equal(taken.features, model[:-1](inputs))
    assert taken.weight.data_ptr() == model[-1].weight.data_ptr()
    assert taken.bias.data_ptr() == model[-1].bias.data_ptr()
    assert taken.link == "softmax"
    for tensor in (taken.features, taken.logits, taken.weight, taken.bias):
        assert not tensor.requires_grad


def test_twice_is_the_same():
    model, inputs = convnet(), torch.randn(8, 3, 9, 9)
    first = capture(model, inputs, max_positions=5)
    torch.manual_seed(3)
    second = capture(model, inputs, max_positions=5)
    assert torch.equal(first.features, second.features)
    assert torch.equal(first.logits, second.logits)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 1},
        {"kernel_size": 3},
        {"kernel_size": (3, 2), "stride": (2, 1), "dilation": (1, 2), "padding": (1, 2)},
        {"kernel_size": 3, "padding": "same", "dilation": 2},
        {"kernel_size": (4, 3), "padding": "same"},
        {"kernel_size": 2, "padding": "valid", "stride": 3},
        {"kernel_size": 3, "padding": (2, 1), "padding_mode": "reflect"},
        {"kernel_size": 3, "padding": "same", "padding_mode": "circular"},
        {"kernel_size": 5, "padding": 2, "padding_mode": "replicate", "stride": 2},
    ],
)
@pytest.mark.parametrize("max_positions", [10_000, 17])
def test_convolutions(arguments, bias, max_positions):
    head = nn.Conv2d(6, 4, bias=bias, **arguments)
    model, inputs = convnet((head,)), torch.randn(3, 3, 11, 12)
    taken = capture(model, inputs, max_positions=max_positions, batch_statistics=False)
    everything = model.eval()(inputs).movedim(1, -1).flatten(0, 2)
    assert taken.features.shape[1] == head.weight[0].numel()
    assert len(taken.features) == min(max_positions, len(everything))
    assert_linear(taken)
    if max_positions > len(everything):
        assert torch.equal(taken.logits, everything)
    else:  # in order, and none twice
        order = [(everything == row).all(1).nonzero().item() for row in taken.logits]
        assert order == sorted(set(order))


@pytest.mark.parametrize("max_positions", [10_000, 9])
@pytest.mark.parametrize(
    ("head", "shape"),
    [(nn.Conv1d(2, 3, 3, padding=1), (4, 2, 7)), (nn.Conv3d(2, 3, 2, stride=2), (2, 2, 5, 6, 7))],
)
def test_one_and_three_dimensions(head, shape, max_positions):
    inputs = torch.randn(shape)
    taken = capture(nn.Sequential(head), inputs, max_positions=max_positions)
    assert_linear(taken)
    if max_positions > 9:
        assert torch.equal(taken.logits, head(inputs).movedim(1, -1).flatten(0, -2))


def test_unfolding_agrees_with_torch():
    head, inputs = nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=2), torch.randn(2, 3, 9, 8)
    taken = capture(nn.Sequential(head), inputs)
    patches = functional.unfold(inputs, 3, dilation=2, padding=1, stride=2)
    assert torch.equal(taken.features, patches.transpose(1, 2).flatten(0, 1))


def test_a_sample_without_its_dimension():
    taken = capture(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.randn(3, 6, 6))
    assert taken.logits.shape == (16, 4)


def test_tokens():
    model, inputs = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)), torch.randn(4, 7, 5)
    taken = capture(model, inputs)
    assert torch.equal(taken.features, model[:2](inputs).flatten(0, 1))
    few = capture(model, inputs, max_positions=6)
    assert few.features.shape == (6, 6)
    assert_linear(few)
    # One position from each sixth of the 28.
    order = [(taken.logits == row).all(1).nonzero().item() for row in few.logits]
    assert all(28 * i // 6 <= row < 28 * (i + 1) // 6 for i, row in enumerate(order))


class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.cls = nn.Conv2d(3, 5, 3, padding=1)
        self.box = nn.Conv2d(3, 4, 1)

    def forward(self, image, levels=3):
        maps = [functional.avg_pool2d(image, 2**level) for level in range(levels)]
        boxes = [self.box(level) for level in maps]
        return {"boxes": boxes, "scores": [self.cls(level).flatten(2) for level in maps]}


def test_levels_of_a_pyramid_are_concatenated():
    model, inputs, head = Pyramid(), torch.randn(2, 3, 8, 8), "cls"
    with pytest.raises(ValueError, match=r"^`head` must be named where .* got None and dict; name"):
        capture(model, inputs, link="sigmoid")  # which of the outputs a loss sees is not said
    taken = capture(model, inputs, head=head, link="sigmoid")
    expected = [level.transpose(1, 2).flatten(0, 1) for level in model(inputs)["scores"]]
    assert torch.equal(taken.logits, torch.cat(expected))
    few = capture(model, inputs, head=head, link="sigmoid", max_positions=42)
    assert few.features.shape == (42, 27)
    assert_linear(few)


def test_more_levels_than_are_held():
    model, inputs = Pyramid(), (torch.randn(1, 3, 4, 4), 1)
    model.levels = nn.ModuleList()
    forward = model.forward
    model.forward = lambda image, _: [forward(image, 1)["scores"][0] for _ in range(40)]
    assert len(capture(model, inputs).logits) == 16  # what a loss sees: the first of several
    assert len(capture(model, inputs, head="cls").logits) == 40 * 16


def test_ways_to_give_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x, scale, *, shift=0.0):
            return self.fc(x * scale + shift)

    model, x = Two(), torch.randn(4, 3)
    assert torch.equal(capture(model, (x, 2.0)).features, 2 * x)
    assert torch.equal(capture(model, [x, 2.0]).features, 2 * x)
    assert torch.equal(capture(model, {"x": x, "scale": 2.0, "shift": 1.0}).features, 2 * x + 1)


class Heads(nn.Module):
    """Two heads, mixed by a function."""

    def __init__(self, mix, classes=(3, 3), bias=(True, True)):
        super().__init__()
        self.first = nn.Linear(4, classes[0], bias=bias[0])
        self.second = nn.Linear(4, classes[1], bias=bias[1])
        self.pretrained_cfg = {"classifier": ("first", "second")}
        self.mix = mix

    def forward(self, x):
        return self.mix(self.first(x), self.second(x.square()))


@pytest.mark.parametrize("bias", [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: (a + b) / 2,
        lambda a, b: a + b,
        lambda a, b: 0.3 * a + 0.7 * b,
        lambda a, b: {"loss": torch.zeros(()), "logits": a - b},
    ],
)
def test_heads_whose_weighted_sum_is_the_output(mix, bias):
    model, inputs = Heads(mix, bias=bias), torch.randn(6, 4)
    taken = capture(model, inputs)
    output = model(inputs)
    assert torch.equal(taken.features, torch.cat([inputs, inputs.square()], 1))
    assert torch.equal(taken.logits, output["logits"] if isinstance(output, dict) else output)
    assert (taken.bias is None) is (bias == (False, False))
    assert_linear(taken)
    apart = capture_heads(model, inputs)
    assert list(apart) == ["first", "second"]
    assert torch.equal(apart["second"].logits, model.second(inputs.square()))


@pytest.mark.parametrize(
    ("mix", "classes"),
    [
        (torch.maximum, (3, 3)),
        (lambda a, b: a @ b.T, (3, 3)),
        (lambda a, b: a @ b[:5].T, (3, 3)),
    ],
)
def test_heads_apart(mix, classes):
    model, inputs = Heads(mix, classes), torch.randn(6, 4)
    with pytest.raises(
        ValueError, match=r"^`head` must name one .*, got None for first, second; choose one"
    ):
        capture(model, inputs)
    taken = capture_heads(model, inputs)
    assert torch.equal(taken["first"].features, inputs)
    assert torch.equal(capture(model, inputs, head="second").logits, taken["second"].logits)


def test_the_first_of_several_outputs_is_what_a_loss_sees():
    model, inputs = Heads(lambda a, b: (b, a), (3, 5)), torch.randn(6, 4)
    taken = capture(model, inputs)
    assert torch.equal(taken.logits, model(inputs)[0])
    assert torch.equal(taken.weight, model.second.weight)
    assert list(capture_heads(model, inputs)) == ["first", "second"]


@pytest.mark.parametrize(
    ("name", "size"),
    [("deit_tiny_distilled_patch16_224", 32), ("efficientvim_m1", 64), ("crossvit_tiny_240", 240)],
)
def test_models_with_several_heads(name, size):
    sizes = {"img_size": size} if name.startswith("deit") else {}
    model = timm.create_model(name, num_classes=5, **sizes)
    if hasattr(model, "weights"):  # learned
        nn.init.normal_(model.weights)
    inputs = torch.randn(2, 3, size, size)
    taken = capture(model, inputs, batch_statistics=False)
    model.eval()
    assert torch.equal(taken.logits, model(inputs))
    assert taken.features.shape[1] == sum(
        c.features.shape[1] for c in capture_heads(model, inputs).values()
    )
    assert_linear(taken)


def test_detector():
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    )
    images = [torch.rand(3, 64, 64), torch.rand(3, 64, 64)]
    taken = capture_heads(model, (images,), batch_statistics=False)
    assert len(taken) == 6
    for level in taken.values():
        assert_linear(level)


def test_the_last_layer_executed_is_not_the_head():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(4, 3)
            self.gate = nn.Conv2d(4, 4, 1)  # squeeze and excite, registered after the head
            self.auxiliary = nn.Linear(4, 2)

        def forward(self, x):
            x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
            logits = self.out(x.mean((2, 3)))
            self.auxiliary(x.mean((2, 3)))  # executed last, but not returned
            return logits.view(-1, 3)

    model, inputs = Model(), torch.randn(5, 4, 3, 3)
    assert torch.equal(capture(model, inputs).logits, model(inputs))


def test_logits_that_the_model_changes_in_place():
    class Change(nn.Module):
        def __init__(self, change):
            super().__init__()
            self.forward = change

    inputs = torch.randn(4, 3)
    model = nn.Sequential(nn.Linear(3, 2), Change(lambda x: x.mul_(2)))
    taken = capture(model, inputs)
    assert torch.equal(taken.logits, model(inputs))
    assert torch.equal(taken.weight, 2 * model[0].weight)
    assert torch.equal(capture(model, inputs, head="0").logits, model[0](inputs))
    rectified = nn.Sequential(nn.Linear(3, 2), Change(lambda x: x.relu_()))
    with pytest.raises(ValueError, match=r"^`head` must be named where no linear map"):
        capture(rectified, inputs)
    assert torch.equal(capture(rectified, inputs, head="0").logits, rectified[0](inputs))


def test_features_that_the_model_changes_in_place():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            x = x + 1
            logits = self.fc(x)
            x.zero_()
            return logits

    with pytest.raises(
        ValueError, match=r"^`head` must have an input that stays, got 'fc', changed in place$"
    ):
        capture(Model(), torch.randn(4, 3))


def test_batch_statistics_are_those_of_training():
    model, inputs = convnet(), torch.randn(8, 3, 9, 9)
    taken = capture(model, inputs)
    model.train()
    model[-2].eval()  # dropout
    assert torch.equal(taken.logits, model(inputs))
    assert not torch.equal(taken.logits, capture(model, inputs, batch_statistics=False).logits)


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(6, momentum=None),
        nn.BatchNorm2d(6, track_running_stats=False),
        nn.BatchNorm2d(6, affine=False),
        nn.SyncBatchNorm(6),
        timm.layers.BatchNormAct2d(6),
        timm.layers.SyncBatchNormAct(6),
    ],
)
def test_every_batch_norm(norm):
    model, inputs = convnet(), torch.randn(8, 3, 9, 9)
    reference = capture(model, inputs).features
    model[1] = norm
    if isinstance(norm, timm.layers.SyncBatchNormAct):
        norm.act, norm.drop = nn.Identity(), nn.Identity()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    assert torch.equal(capture(model, inputs).features, reference)
    for name, value in norm.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_frozen_batch_norm():
    """In eval mode inside a model in train mode: like in training, it uses running statistics."""
    model, inputs = convnet(), torch.randn(8, 3, 9, 9)
    model[1].eval()
    frozen = capture(model, inputs).logits
    assert torch.equal(frozen, capture(model, inputs, batch_statistics=False).logits)
    model.eval()
    assert not torch.equal(frozen, capture(model, inputs).logits)


def test_compiled():
    compiled = []

    def backend(graph, _):
        compiled.append(graph)
        return graph.forward

    model, inputs = convnet(), torch.randn(8, 3, 9, 9)
    expected = capture(model, inputs)
    inside = nn.Sequential(torch.compile(model[:3], backend=backend), *model[3:])
    in_place = convnet()
    in_place.load_state_dict(model.state_dict())
    in_place.compile(backend=backend)
    head_inside = nn.Sequential(torch.compile(model, backend=backend))
    outside = torch.compile(nn.DataParallel(model), backend=backend)
    for candidate in (inside, in_place, head_inside, outside):
        candidate(inputs)
        number = len(compiled)
        model[1].reset_running_stats()
        in_place[1].reset_running_stats()
        taken = capture(candidate, inputs)
        assert torch.equal(taken.features, expected.features)
        candidate(inputs)
        assert len(compiled) == number  # capturing costs no compilation
    assert compiled


def test_compiled_for_real():
    model, inputs = convnet(), torch.randn(8, 3, 9, 9)
    expected = capture(model, inputs)
    compiled = torch.compile(model, backend="aot_eager")
    compiled(inputs).sum().backward()
    assert torch.equal(capture(compiled, inputs).features, expected.features)


def test_bfloat16_weights():
    taken = capture(convnet().bfloat16(), torch.randn(8, 3, 9, 9).bfloat16())
    assert taken.features.dtype == taken.logits.dtype == taken.weight.dtype == torch.bfloat16


def test_autocast():
    model, inputs = convnet(), torch.randn(8, 3, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        taken = capture(model, inputs)
    assert taken.logits.dtype == torch.bfloat16
    assert taken.weight.dtype == torch.float32


def test_autocast_does_not_use_weights_from_before_a_step():
    model, inputs = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), torch.randn(8, 3)
    with torch.autocast("cpu", torch.bfloat16):
        model(inputs)
        with torch.no_grad():
            model[0].weight.mul_(2)
        taken = capture(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(taken.features, model[0](inputs))


def test_parametrized_heads():
    for wrap in (
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.spectral_norm,
    ):
        model, inputs = nn.Sequential(nn.Linear(3, 4), wrap(nn.Linear(4, 3))), torch.randn(6, 3)
        for _ in range(2):
            taken = capture(model, inputs)
            assert_linear(taken)


def test_layers_that_do_more_than_their_class():
    class Cosine(nn.Linear):
        def forward(self, x):
            return functional.linear(functional.normalize(x), functional.normalize(self.weight))

    class Pair(nn.Linear):
        def forward(self, x):
            return torch.cat([super().forward(x)] * 2)

    inputs = torch.randn(6, 3)
    cosine, pair = nn.Sequential(nn.ReLU(), Cosine(3, 2)), nn.Sequential(Pair(3, 2))
    assert torch.equal(capture(cosine, inputs).weight, functional.normalize(cosine[1].weight))
    with pytest.raises(ValueError, match=r"^`logits` must be features .* head='path\.to\.layer'"):
        capture(cosine, inputs, head="1")
    with pytest.raises(ValueError, match=r"^`head` must be named where no linear map"):
        capture(pair, inputs)
    message = "`head` must return shape (6, 2) for inputs (6, 3), got (12, 2)"
    with pytest.raises(ValueError, match=re.escape(message)):
        capture(pair, inputs, head="0")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.empty(0, 3, 9, 9), r"a non-empty tensor.*, got shape \(0, 3, 9, 9\)"),
        ((), r"a non-empty tensor.*got \(\)"),
        ({}, r"a non-empty tensor.*got {}"),
        (torch.ones(8, 3, 9, 9).int(), r"got int32 \(8, 3, 9, 9\) on cpu: [^\n]*$"),
        (torch.ones(8, 5, 9, 9), r"got float32 \(8, 5, 9, 9\) on cpu: [^\n]*channels"),
        (torch.ones(8, 3, 9, 9).double(), r"got float64 \(8, 3, 9, 9\) on cpu: [^\n]*$"),
        ((torch.ones(8, 3, 9, 9), torch.ones(2)), r"float32 \(2,\) on cpu: [^\n]*argument"),
        ({"x": torch.ones(8, 3, 9, 9)}, r"unexpected keyword argument 'x'"),
    ],
)
def test_inputs_that_the_model_cannot_take(inputs, message):
    with pytest.raises(ValueError, match=f"^`inputs` must be .*{message}"):
        capture(convnet(), inputs)


def test_inputs_of_the_wrong_size_for_timm():
    model = timm.create_model("deit_tiny_patch16_224", num_classes=3)
    with pytest.raises(
        ValueError, match=r"^`inputs` must be .*, got float32 \(2, 3, 32, 32\) on cpu: Input height"
    ):
        capture(model, torch.randn(2, 3, 32, 32))


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        KeyboardInterrupt(),
        MemoryError(),
    ],
)
def test_errors_that_are_not_about_inputs_pass(error):
    class Fail(nn.Linear):
        def forward(self, x):
            raise error

    with pytest.raises(type(error)) as caught:
        capture(nn.Sequential(Fail(3, 2)), torch.randn(4, 3))
    assert caught.value is error


def test_few_samples_and_classes():
    with pytest.raises(
        ValueError, match=r"^`inputs` must be a probe batch of at least 2 samples, got 1$"
    ):
        capture(nn.Linear(3, 2), torch.randn(1, 3))
    with pytest.raises(
        ValueError, match=r"^`inputs` must be .*Expected more than 1 value per channel"
    ):
        capture(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)), torch.randn(1, 3))
    with pytest.raises(
        ValueError, match=r"^`link` must be .* for a head of 1 class, got 'softmax'$"
    ):
        capture(nn.Linear(3, 1), torch.randn(4, 3))
    assert capture(nn.Linear(3, 1), torch.randn(4, 3), link="identity").num_classes == 1
    with pytest.raises(ValueError, match=r"^`max_positions` must be at least 2, got 1$"):
        capture(nn.Linear(3, 2), torch.randn(4, 3), max_positions=1)


def test_not_finite():
    inputs = torch.ones(4, 3)
    inputs[1, 1] = torch.nan
    with pytest.raises(NonFiniteError, match=r"^`features` must be finite, got 1 NaN"):
        capture(nn.Linear(3, 2), inputs)
    with pytest.raises(NonFiniteError):
        capture(Heads(torch.add), torch.full((4, 4), torch.inf))


def test_head_not_executed():
    model = Pyramid()
    model.unused = nn.Linear(3, 3)
    with pytest.raises(
        ValueError, match=r"^`head` must be a layer that the model runs on a tensor, got 'unused'$"
    ):
        capture(model, torch.randn(2, 3, 8, 8), head="unused")


def test_lazy_model():
    with pytest.raises(
        ValueError, match=r"^`model` must have initialised parameters, got lazy ones in Seq"
    ):
        capture(nn.Sequential(nn.LazyLinear(3)), torch.randn(4, 2))


def test_inference_mode():
    with torch.inference_mode():
        taken = capture(convnet(), torch.randn(8, 3, 9, 9))
    assert_linear(taken)
