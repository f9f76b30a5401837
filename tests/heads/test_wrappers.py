from __future__ import annotations

import warnings

import pytest
import torch
import torch.distributed
from timm.utils import ModelEma, ModelEmaV2, ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel

from prescreen import Probe, read
from prescreen.heads.capturing import capture
from prescreen.heads.find import find_heads
from prescreen.heads.wrappers import unwrap


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 4)
    )


def images():
    return torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))


class DeepSpeedEngine(nn.Module):
    """A wrapper of a library that is not installed here: only its name is known."""

    def __init__(self, module):
        super().__init__()
        self.module = module


class EMA(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.online_model, self.ema_model = nn.Linear(2, 2), model


def ema_v1(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ModelEma(model)


WRAPPERS = {
    "AveragedModel": AveragedModel,
    "averages of averages": lambda model: AveragedModel(AveragedModel(model)),
    "ModelEma": ema_v1,
    "ModelEmaV2": ModelEmaV2,
    "ModelEmaV3": ModelEmaV3,
    "DataParallel": nn.DataParallel,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "compiled average": lambda model: torch.compile(AveragedModel(model), backend="eager"),
    "average of compiled": lambda model: ModelEmaV3(torch.compile(model, backend="eager")),
    "DeepSpeed": DeepSpeedEngine,
    "ema_pytorch": EMA,
}
INSIDE = [name for name in WRAPPERS if name != "ModelEma"]  # which is no module


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_reads_as_what_it_wraps(name, training):
    model, inputs = network(), images()
    model.train(training)
    wrapper = WRAPPERS[name](model)
    inner = unwrap(wrapper)
    assert type(inner) is nn.Sequential
    before = {key: value.clone() for key, value in inner.state_dict().items()}
    panel = ["sample_gradient", "isotropy", "synflow", "rankme"]

    def values(of):
        probe = Probe(inputs, panel)
        probe.read_untrained(of)
        return dict(probe.read(of, 1).values)

    assert values(wrapper) == values(inner)
    assert read(wrapper, inputs) == read(inner, inputs)
    assert read(wrapper, inputs, head="4") == read(inner, inputs)
    assert [head.name for head in find_heads(wrapper)] == ["4"]
    for key, value in inner.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("part", ["body", "head", "both"])
@pytest.mark.parametrize("name", INSIDE)
def test_wrappers_inside_a_model(name, part):
    inputs = images()
    plain = network()
    wrap = WRAPPERS[name]
    body = plain[:4] if part == "head" else wrap(plain[:4])
    head = plain[4] if part == "body" else wrap(plain[4])
    model = nn.Sequential(body, head).train()
    unwrapped = nn.Sequential(unwrap(body), unwrap(head))
    for module, other in zip(unwrap(body), plain[:4], strict=True):  # averages start in eval mode
        module.training = other.training = True
    forwards = [module.forward for module in model.modules()]
    taken, expected = capture(model, inputs), capture(unwrapped, inputs)
    assert torch.equal(taken.features, expected.features)
    assert torch.equal(taken.logits, expected.logits)
    assert [module.forward for module in model.modules()] == forwards


def test_distributed_inside_a_model(tmp_path, monkeypatch):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    try:
        plain, inputs = network(), images()
        expected = capture(plain, inputs)
        inside = nn.parallel.DistributedDataParallel(plain[:4])

        def communicate(*_, **__):
            raise AssertionError

        monkeypatch.setattr(inside, "forward", communicate)
        taken = capture(nn.Sequential(inside, plain[4]), inputs)
        assert torch.equal(taken.logits, expected.logits)
        assert inside.forward is communicate
    finally:
        torch.distributed.destroy_process_group()


def test_sharded_models_are_refused():
    class FSDPModule:
        pass

    class FSDPLinear(FSDPModule, nn.Linear):
        pass

    with pytest.raises(
        ValueError,
        match=r"^`model` must have all its parameters here, got one sharded by FSDPModule; read a",
    ):
        capture(nn.Sequential(FSDPLinear(3, 2)), torch.randn(4, 3))
