import math
from dataclasses import replace

import pytest
import torch
from lowest import later_than
from torch import nn

from prescreen.tasks import ImageTask
from prescreen.training.loop import BriefTraining, brief_training
from prescreen.training.recipe import Training, schedule_factor


def batches(batch_size, seed):
    """Two classes of noise around ±1, without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        y = torch.randint(2, (batch_size,), generator=generator)
        noise = torch.randn(batch_size, 1, 4, 4, generator=generator)
        yield noise + (2 * y - 1).view(-1, 1, 1, 1), y


def make_task(**changes):
    probe = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return replace(ImageTask("noise", probe, 2, 1, (4, 4), batches), **changes)


def make_model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
            nn.Linear(16, 2),
        )  # fmt: skip


def train(training, disturb=lambda model: None, **changes):
    model = make_model()
    steps = []
    for step in brief_training(model, make_task(**changes), training):
        steps.append(step)
        disturb(model)
    return model, steps


SMALL = Training(steps=12, batch_size=16)


def test_it_learns():
    _, steps = train(Training(steps=60, batch_size=32))
    assert [step.number for step in steps] == list(range(1, 61))
    assert steps[0].loss > 0.5
    assert steps[-1].loss < 0.2
    assert steps[-1].share == 1.0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_equal_seeds_give_bit_identical_weights_whatever_the_caller_does(optimizer):
    def disturb(model):
        torch.rand(3)  # moves the global random state
        model(torch.zeros(2, 1, 4, 4)) if not model.training else None

    training = replace(SMALL, optimizer=optimizer)
    calm, calm_steps = train(training)
    torch.manual_seed(99)
    disturbed, disturbed_steps = train(training, disturb)
    assert calm_steps == disturbed_steps
    for name, value in calm.state_dict().items():
        assert torch.equal(value, disturbed.state_dict()[name]), name
    other, _ = train(replace(training, seed=1))
    assert not torch.equal(other[0].weight, calm[0].weight)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(SMALL)
    assert torch.equal(torch.get_rng_state(), before)


@later_than("torch", "2.6", "draws other weights")
@pytest.mark.parametrize(
    ("changes", "recorded"),
    [
        ({"optimizer": "sgd"}, [0.669698, 0.743195, 0.540418, 0.553009, 0.540893, 0.448461]),
        ({"optimizer": "adamw"}, [0.669698, 0.744251, 0.663139, 0.666401, 0.874352, 0.779500]),
    ],
)
def test_images_are_trained_on_as_they_always_were(changes, recorded):
    """Runs may continue journals of earlier versions: the values are those recorded then."""
    _, steps = train(Training(steps=6, batch_size=16, **changes))
    assert [step.loss for step in steps] == pytest.approx(recorded, rel=1e-4)


@pytest.mark.parametrize("loss", [1.0, torch.ones(2, requires_grad=True)])
def test_a_loss_that_is_not_a_scalar_is_refused(loss):
    with pytest.raises(ValueError, match="`loss` must return a scalar tensor, got "):
        train(SMALL, criterion=lambda logits, targets: loss)


def test_one_step_equals_torch_by_hand():
    training = Training(steps=1, batch_size=16, warmup=0, clip=None, weight_decay=0.1)
    model, reference = make_model().eval(), make_model()
    reference[3].p = 0.0
    model[3].p = 0.0
    list(brief_training(model, make_task(), training))
    inputs, targets = next(batches(16, 0))
    nn.functional.cross_entropy(reference(inputs), targets).backward()
    for (name, ours), theirs in zip(model.named_parameters(), reference.parameters(), strict=True):
        decayed = theirs.grad + (0.1 * theirs if theirs.ndim > 1 else 0)
        # Nesterov's first step: the buffer is the gradient, the update (1 + momentum) times it.
        expected = theirs - 0.1 * 1.9 * decayed
        torch.testing.assert_close(ours, expected, msg=name)


def test_gradients_are_clipped_to_the_norm():
    training = Training(steps=1, warmup=0, momentum=0, weight_decay=0, clip=1e-3, lr=1.0)
    before, after = make_model(), make_model()
    list(brief_training(after, make_task(), training))
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    moved = torch.cat([(a - b).flatten() for b, a in pairs]).norm()
    assert moved.item() == pytest.approx(1e-3, rel=1e-3)


def test_divergence_is_the_last_step_and_not_an_exception():
    _, steps = train(Training(steps=50, lr=1e30, clip=None, warmup=0))
    assert steps[-1].diverged
    assert len(steps) < 50
    assert not any(step.diverged for step in steps[:-1])


def test_a_budget_in_seconds_counts_training_only(monkeypatch):
    now = 0.0

    def clock():
        nonlocal now
        now += 1 / 32  # read when a step begins and when it ends
        return now

    def wait(model):
        nonlocal now
        now += 100

    monkeypatch.setattr("prescreen.training.loop.time.perf_counter", clock)
    _, steps = train(Training(seconds=10 / 32, batch_size=4), wait)
    assert [step.share for step in steps] == [number / 10 for number in range(1, 11)]


def test_schedules_fit_the_budget():
    for name in ("cosine", "linear", "constant"):
        training = Training(schedule=name, warmup=0.2)
        factors = [schedule_factor(training, share / 100) for share in range(101)]
        assert 0 < factors[0] < 0.05
        assert factors[20] == pytest.approx(1.0)
        assert factors[100] == pytest.approx(1.0 if name == "constant" else 0.0)
        assert factors[:21] == sorted(factors[:21])
        assert factors[20:] == sorted(factors[20:], reverse=True)
    assert schedule_factor(Training(warmup=0), 0.0) == 1.0


def test_bfloat16_autocast_trains():
    _, steps = train(Training(steps=40, batch_size=32, amp="bf16"))
    assert steps[-1].loss < 0.3


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ValueError, match=r"^`model` must have parameters to train, got none$"):
        list(brief_training(nn.Flatten(), make_task(), SMALL))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("seed", -1),
        ("momentum", 1.0),
        ("weight_decay", -0.1),
        ("warmup", 1.0),
        ("seconds", 0.0),
        ("lr", -1.0),
        ("lr", math.nan),
        ("clip", 0.0),
        ("optimizer", "adam"),
        ("schedule", "step"),
        ("amp", "int8"),
        ("execution", "fast"),
        ("device", "cuda:99"),
    ],
)
def test_arguments_are_checked_by_name(argument, value):
    with pytest.raises(ValueError, match=rf"^`{argument}` must be .*, got {value!r}") as error:
        Training(**{argument: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop", [1, 7, 11])
def test_resumed_training_is_bit_identical(optimizer, stop, tmp_path):
    training = replace(SMALL, optimizer=optimizer)
    whole, steps = train(training)
    first = BriefTraining(make_model(), make_task(), training)
    begun = [next(first) for _ in range(stop)]
    torch.save(first.state_dict(), tmp_path / "state.pt")
    torch.rand(3)
    model = make_model()
    resumed = BriefTraining(model, make_task(), training)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [*begun, *resumed] == steps
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_a_finished_or_diverged_training_stays_so_when_resumed():
    for training in (SMALL, Training(steps=50, lr=1e30, clip=None, warmup=0)):
        ended = BriefTraining(make_model(), make_task(), training)
        assert list(ended)
        resumed = BriefTraining(make_model(), make_task(), training)
        resumed.load_state_dict(ended.state_dict())
        assert list(resumed) == []
