"""Weight noise: its size, what it leaves alone, and that it is gone afterwards."""

import copy

import pytest
import torch
from torch import nn

from prescreen.heads.noise import weight_noise


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 40)
        self.head = nn.Linear(40, 50)
        self.head.weight = self.embedding.weight

    def forward(self, inputs):
        return self.head(self.embedding(inputs.long().remainder(50).abs()))


MODELS = {
    "linear": lambda: nn.Linear(40, 50),
    "convolution": lambda: nn.Sequential(nn.Unflatten(1, (10, 4)), nn.Conv1d(10, 9, 3)),
    "tied": Tied,
    "LSTM": lambda: nn.LSTM(40, 8),
    "weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(40, 8)),
    "spectral_norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(40, 8)).eval(),
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(40, 8)),
    "float64": lambda: nn.Linear(40, 50).double(),
    "bfloat16": lambda: nn.Linear(40, 50).bfloat16(),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(nn.Linear(40, 50)),
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]()


def result(model):
    inputs = torch.randn(7, 40, generator=torch.Generator().manual_seed(1))
    inputs = inputs.to(next(model.parameters()).dtype)
    output = model(inputs)
    return output[0] if isinstance(output, tuple) else output


def test_results_change_and_come_back(model):
    before, addresses = result(model), [p.data_ptr() for p in model.parameters()]
    state = copy.deepcopy(model.state_dict())
    with weight_noise(model):
        noisy = result(model)
    with weight_noise(model):
        again = result(model)
    assert torch.equal(noisy, again)
    assert not torch.equal(noisy, before)
    assert torch.equal(result(model), before)
    assert [p.data_ptr() for p in model.parameters()] == addresses
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_noise_is_a_tenth_of_each_matrix_and_vectors_stay(model):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with weight_noise(model):
        for name, parameter in model.named_parameters():
            change = (parameter.detach().double() - before[name].double()).square().mean().sqrt()
            size = before[name].double().square().mean().sqrt()
            if parameter.ndim < 2:
                assert change == 0, name
            elif parameter.numel() > 100:
                assert (change / size).item() == pytest.approx(0.1, rel=0.2), name


def test_weights_come_back_if_the_model_raises(model):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ZeroDivisionError), weight_noise(model):
        raise ZeroDivisionError
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_pending_backward_pass_is_not_disturbed(model):
    gradients = []
    for reads in (False, True):
        model.zero_grad()
        loss = result(model).square().sum()
        if reads:
            with weight_noise(model), torch.no_grad():
                result(model)
        loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(map(torch.equal, *gradients))


def test_random_state_is_not_used(model):
    before = torch.get_rng_state()
    with weight_noise(model):
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_models_made_in_inference_mode():
    with torch.inference_mode():
        model = nn.Linear(40, 50)
    with torch.no_grad():
        before = result(model)
        with weight_noise(model):
            assert not torch.equal(result(model), before)
        assert torch.equal(result(model), before)
