"""Threads share torch's generators: nobody's draws repeat, and nobody's change another's."""

import os
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from prescreen import Probe, read
from prescreen.heads.preserve import preserve
from prescreen.random_state import ONE_AT_A_TIME, forked, undisturbed
from prescreen.readouts import READOUTS
from prescreen.readouts.network import Network

INPUTS = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
RECURRENT = nn.LSTM(6, 6, num_layers=2, dropout=0.5)


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.head = function, nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.function(x))


# Models that draw random numbers in eval mode as well.
DRAWS = {
    "none": lambda x: x,
    "dropout": lambda x: functional.dropout(x, 0.5, True),
    "alpha_dropout": lambda x: functional.alpha_dropout(x, 0.5, True),
    "rand": lambda x: x + torch.rand(6),
    "rand_like": lambda x: x + torch.rand_like(x),
    "randn": lambda x: x + torch.randn(6, dtype=x.dtype),
    "randn_like": lambda x: x + torch.randn_like(x),
    "randint": lambda x: x * torch.randint(2, 5, (6,)),
    "randperm": lambda x: x[:, torch.randperm(6)],
    "bernoulli": lambda x: x * torch.bernoulli(x.sigmoid()),
    "multinomial": lambda x: x[:, torch.multinomial(torch.ones(6), 6)],
    "normal": lambda x: torch.normal(x, 1.0),
    "rrelu": lambda x: functional.rrelu(x, training=True),
    "gumbel": lambda x: functional.gumbel_softmax(x),
    "exponential_": lambda x: x + torch.empty(6).exponential_(),
    "attention": lambda x: functional.scaled_dot_product_attention(x[None], x[None], x[None])[0],
    "attention, dropped": lambda x: functional.scaled_dot_product_attention(
        x[None], x[None], x[None], dropout_p=0.5
    )[0],
    "recurrent": lambda x: RECURRENT(x)[0],
    "own generator": lambda x: x + torch.rand(6, generator=torch.Generator().manual_seed(3)),
}


@pytest.fixture
def other_thread():
    """A thread that does nothing, but could draw."""
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    yield
    ends.set()
    thread.join()


def made(name):
    torch.manual_seed(1)
    return Calls(DRAWS[name])


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_the_same_whether_there_are_other_threads_or_not(name, request):
    model = made(name)
    values = read(model, INPUTS, ["confidence", "sample_gradient"])
    flow = READOUTS["synflow"](Network(model, INPUTS))
    state = torch.get_rng_state()
    request.getfixturevalue("other_thread")
    assert threading.active_count() > 1
    assert read(model, INPUTS, ["confidence", "sample_gradient"]) == values
    assert READOUTS["synflow"](Network(model, INPUTS)) == pytest.approx(
        flow, nan_ok=True, rel=1e-12
    )
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("other_thread")
@pytest.mark.parametrize("name", DRAWS)
def test_models_on_the_meta_device_run(name):
    model = made(name).to("meta")
    with undisturbed(model), torch.device("meta"), torch.no_grad():
        draws = name not in ("recurrent", "own generator")  # these are on the CPU
        assert not draws or model(INPUTS.to("meta")).shape == (16, 3)


@pytest.mark.parametrize("name", DRAWS)
def test_draws_of_another_thread_inside_a_reading_are_not_set_back(name):
    """As if it drew in the middle of the reading."""
    drawn = []

    def draw():
        drawn.append(torch.rand(4))

    def elsewhere(x):
        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()
        return DRAWS[name](x)

    started = threading.Event()
    idle = threading.Thread(target=started.wait)
    idle.start()
    model = made(name)
    model.function = elsewhere
    for _ in range(3):
        with preserve(model):
            model(INPUTS)
        draw()
    started.set()
    idle.join()
    torch.manual_seed(1)
    made(name)  # the weights
    expected = [torch.rand(4) for _ in drawn]
    assert [one.tolist() for one in drawn] == [one.tolist() for one in expected]


def test_readings_in_threads_repeat_no_draws():
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
    drawn, ends = [], threading.Event()

    def draw():
        while not ends.is_set():
            drawn.append(torch.rand(2).tolist())

    def measure():
        probe = Probe(INPUTS)
        probe.read_untrained(model)
        for step in range(40):
            probe.read(model, step)

    drawing, reading = threading.Thread(target=draw), threading.Thread(target=measure)
    drawing.start()
    reading.start()
    reading.join()
    ends.set()
    drawing.join()
    assert len({tuple(one) for one in drawn}) == len(drawn)


def test_what_is_forked_in_one_thread_waits_for_another():
    found = {}

    def draw(seed):
        for _ in range(50):
            with forked(seed=seed):
                numbers = [torch.rand(()).item() for _ in range(5)]
            found.setdefault(seed, set()).add(tuple(numbers))

    state = torch.get_rng_state()
    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(each) == 1 for each in found.values())
    assert torch.equal(torch.get_rng_state(), state)


def test_nested_readings_do_not_wait_for_themselves():
    model = made("dropout")
    with undisturbed(model), preserve(model), forked(seed=1):
        assert read(model, INPUTS, ["confidence"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_forked_while_another_thread_reads_can_read():
    inside, ends = threading.Event(), threading.Event()

    def hold():
        with forked():
            inside.set()
            ends.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
        child = os.fork()
    if child == 0:
        os._exit(0 if ONE_AT_A_TIME.acquire(blocking=False) else 1)
    ends.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
