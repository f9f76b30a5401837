from __future__ import annotations

import copy
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.distributed
from torch import nn

from prescreen import Probe
from prescreen.heads.capturing import capture
from prescreen.heads.preserve import preserve


class Restless(nn.Module):
    """A model whose forward pass changes everything that it can, and raises on demand."""

    def __init__(self, fail=False):
        super().__init__()
        self.embedding = nn.Embedding(5, 4, max_norm=0.1)
        self.convolution = nn.utils.spectral_norm(nn.Conv1d(4, 6, 1))
        self.norm = nn.BatchNorm1d(6)
        self.parametrized = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        self.dropout = nn.Dropout(0.5)
        self.frozen = nn.BatchNorm1d(6).eval()
        self.weighted = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
        self.fc = nn.Linear(6, 3)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("rebound", torch.zeros(2))
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.register_buffer("by_data", torch.zeros(2))
        self.register_buffer("not_finite", torch.tensor([torch.nan, torch.inf]))
        self.register_buffer("nothing", None)
        self.cache = torch.zeros(1)
        self.cached = {}
        self.fail = fail
        self.fc.bias.requires_grad_(False)
        self.dropout.eval()
        self.register_forward_hook(lambda *_: None)
        self.fc.register_forward_pre_hook(lambda *_: None)

    def forward(self, tokens):
        self.count.add_(1)
        self.hidden.add_(torch.rand(2))
        self.not_finite.mul_(2)
        self.by_data.data.fill_(7)
        self.rebound = self.rebound + 1
        self.nothing = torch.ones(1)
        self.cache = torch.ones(1)
        self.cached["cpu"] = torch.ones(1)
        if "late" not in self._buffers:
            self.register_buffer("late", torch.ones(1), persistent=False)
        self.train()
        self.fc.weight.requires_grad_(False)
        self.fc.weight.grad = torch.ones_like(self.fc.weight)
        torch.set_grad_enabled(True)
        if self.fail:
            raise RuntimeError("boom\nand more")
        self.eval()
        torch.set_grad_enabled(False)
        x = self.convolution(self.embedding(tokens).unsqueeze(-1)).squeeze(-1)
        x = self.frozen(self.dropout(self.parametrized(self.norm(x))))
        return self.fc(self.weighted(x))


def snapshot(model):
    """All that a capture must not change: bits by value, objects by identity."""

    def bits(tensor):
        return None if tensor is None else tensor.detach().numpy().tobytes()

    tables = ("_parameters", "_buffers")
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs")
    hooks += ("_forward_hooks_always_called", "_backward_hooks", "_non_persistent_buffers_set")
    modules = dict(model.named_modules())
    return {
        "tensors": {
            f"{name}.{key}": (id(value), bits(value))
            for name, module in modules.items()
            for table in tables
            for key, value in getattr(module, table).items()
        },
        "state": {key: bits(value) for key, value in model.state_dict().items()},
        "plain": {
            f"{name}.{key}": (id(value), bits(value))
            for name, module in modules.items()
            for key, value in vars(module).items()
            if isinstance(value, torch.Tensor)
        },
        "dicts": {
            f"{name}.{key}": list(value)
            for name, module in modules.items()
            for key, value in vars(module).items()
            if type(value) is dict
        },
        "flags": {name: module.training for name, module in modules.items()},
        "hooks": {
            f"{name}.{table}": list(getattr(module, table))
            for name, module in modules.items()
            for table in hooks
        },
        "gradients": {
            name: (p.requires_grad, id(p.grad), bits(p.grad))
            for name, p in model.named_parameters()
        },
        "random": bits(torch.get_rng_state()),
        "grad mode": torch.is_grad_enabled(),
        "autocast cache": torch.is_autocast_cache_enabled(),
    }


@pytest.mark.parametrize("batch_statistics", [True, False])
@pytest.mark.parametrize("training", [True, False, None])
@pytest.mark.parametrize("fail", [True, False])
@pytest.mark.parametrize("enabled", [True, False])
def test_the_model_is_as_it_was(batch_statistics, training, fail, enabled):
    torch.manual_seed(0)
    model, tokens = Restless(fail), torch.arange(5)
    if training is not None:  # else mixed
        model.train(training)
    model.weighted.bias.grad = torch.ones(6)
    before = snapshot(model)
    with torch.set_grad_enabled(enabled):
        before["grad mode"] = enabled
        if fail:
            with pytest.raises(
                ValueError, match=r"^`inputs` must be .*, got int64 \(5,\) on cpu: boom$"
            ) as caught:
                capture(model, tokens, batch_statistics=batch_statistics)
            assert isinstance(caught.value.__cause__, RuntimeError)
        else:
            capture(model, tokens, batch_statistics=batch_statistics)
        assert snapshot(model) == before


def test_the_plain_tensor_of_spectral_norm_is_as_it_was():
    model = Restless()
    model.convolution(torch.randn(2, 4, 1))
    weight = model.convolution.weight
    assert weight.grad_fn is not None
    capture(model, torch.arange(5))
    assert model.convolution.weight is weight


def test_inside():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout())
    with preserve(model):
        assert not torch.is_grad_enabled()
        assert not any(module.training for module in model.modules())
        assert model[1].running_mean is None
    with preserve(model, batch_statistics=False):
        assert model[1].running_mean is not None


class Frozen(OrderedDict):
    """Refuses changes once it is made, as the configurations of diffusers do, but not `clear`."""

    def __setitem__(self, key, value):
        if getattr(self, "frozen", False):
            raise TypeError("frozen")
        super().__setitem__(key, value)

    def __delitem__(self, key):
        raise TypeError("frozen")

    def update(self, *args, **kwargs):
        raise TypeError("frozen")


def test_frozen_mappings_are_as_they_were():
    model, inputs = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), torch.randn(8, 3)
    config = Frozen(size=3, names=("a", "b"))
    config.frozen = True
    model.config = model[0].config = config
    model.counts = {"a": 1, "b": 2}

    def count(*_):
        model.counts["c"] = model.counts.pop("a")

    model.register_forward_hook(count)
    capture(model, inputs)
    assert model.config is config
    assert list(config.items()) == [("size", 3), ("names", ("a", "b"))]
    assert list(model.counts.items()) == [("a", 1), ("b", 2)]


def test_a_pending_backward_pass_is_not_disturbed():
    model, inputs = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).eval(), torch.randn(8, 3)
    loss = model(inputs).sum()
    for batch_statistics in (True, False):
        capture(model, inputs, batch_statistics=batch_statistics)
    loss.backward()


def train(capturing, steps=5, autocast=False, wrap=lambda model: model):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6, momentum=None),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.utils.parametrizations.spectral_norm(nn.Linear(6 * 16, 8)),
        nn.BatchNorm1d(8),
        nn.Linear(8, 4),
    )
    wrapped = wrap(model)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    probe = torch.randn(7, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        inputs, labels = torch.randn(8, 3, 6, 6), torch.randint(4, (8,))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            if capturing:
                capture(wrapped, probe)
            loss = nn.functional.cross_entropy(wrapped(inputs), labels)
            if capturing:
                capture(wrapped, probe, batch_statistics=False)
        loss.backward()
        if capturing:
            capture(wrapped, probe)
        optimizer.step()
        optimizer.zero_grad()
    return model.state_dict(), copy.deepcopy(optimizer.state_dict()), torch.get_rng_state()


def assert_same(first, second):
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("autocast", [False, True])
def test_training_is_not_disturbed(autocast):
    assert_same(train(True, autocast=autocast), train(False, autocast=autocast))


def test_compiled_training_is_not_disturbed():
    def wrap(model):
        return torch.compile(model, backend="aot_eager")

    assert_same(train(True, 2, wrap=wrap), train(False, 2, wrap=wrap))


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_distributed_training_is_not_disturbed():
    wrap = nn.parallel.DistributedDataParallel
    expected = train(False, wrap=wrap)
    assert_same(train(True, wrap=wrap), expected)
    assert_same(train(False), expected)


@pytest.mark.usefixtures("process_group")
def test_nothing_is_communicated(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Identity(), nn.Flatten(), nn.Linear(96, 4))
    wrapped, inputs = nn.parallel.DistributedDataParallel(model), torch.randn(8, 3, 6, 6)
    model[1] = nn.SyncBatchNorm(6)  # DistributedDataParallel itself accepts it on GPUs only

    def communicate(*_, **__):
        raise AssertionError

    monkeypatch.setattr(torch.distributed, "get_world_size", communicate)
    monkeypatch.setattr(wrapped, "forward", communicate)
    capture(wrapped, inputs)


def shared_models():
    torch.manual_seed(0)
    layers = [layer for _ in range(4) for layer in (nn.Linear(12, 12), nn.BatchNorm1d(12))]
    body = nn.Sequential(*layers, nn.Dropout(0.5))
    return [nn.Sequential(body, nn.Linear(12, 4)), nn.Sequential(body, nn.Linear(12, 6))]


@pytest.mark.parametrize("count", [1, 2])
def test_threads_that_read_at_once(count):
    """One model, or models that share modules: every value is that of a reading alone."""
    models = shared_models()[:count]
    for model in models:
        model[0][1].eval()  # flags are mixed
    inputs = torch.randn(32, 12)
    panel = ["sample_gradient", "isotropy", "synflow", "flops", "rankme"]

    def reading(model):
        probe = Probe(inputs, panel)
        probe.read_untrained(model)
        return dict(probe.read(model, 1).values)

    expected = [reading(model) for model in models]
    before = [snapshot(model) for model in models]
    with ThreadPoolExecutor(8) as threads:
        values = list(threads.map(reading, models * 6))
    assert values == expected * 6
    assert [snapshot(model) for model in models] == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_random_numbers_are_as_they_were():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    model = nn.Sequential(nn.Linear(3, 3), Noise(), nn.Linear(3, 2)).cuda()
    inputs = torch.randn(8, 3, device="cuda")
    state = torch.cuda.get_rng_state()
    first = capture(model, inputs)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert torch.equal(capture(model, inputs).features, first.features)
    with pytest.raises(ValueError, match=r"^`inputs` must be .*, got float32 \(8, 3\) on cpu: "):
        capture(model, inputs.cpu())
