import io
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice

import pytest
import torch
from lowest import later_than
from torch import Tensor, nn

from prescreen import Candidate, capture, screen
from prescreen.failures import CandidateFailed
from prescreen.tasks import ImageTask
from prescreen.training.execution import Execution, execution_of, lay_out
from prescreen.training.loop import BriefTraining, brief_training
from prescreen.training.recipe import Training

CPU = torch.device("cpu")
TRAINING = Training(steps=6, batch_size=16)


def batches(batch_size, seed):
    generator = torch.Generator().manual_seed(seed)
    while True:
        y = torch.randint(3, (batch_size,), generator=generator)
        yield torch.randn(batch_size, 3, 6, 6, generator=generator) + y.view(-1, 1, 1, 1) - 1, y


def make_task(**changes):
    task = ImageTask("noise", next(batches(32, 1))[0], 3, 3, (6, 6), batches)
    return replace(task, **changes)


class Flat(nn.Module):
    """Flattens with a `view`, which only takes what is contiguous."""

    def forward(self, x):
        return x.view(len(x), -1)


class Raw(nn.Module):
    """Reads memory in its own order: another layout gives other numbers, and no error."""

    def forward(self, x):
        return torch.as_strided(x, (len(x), x[0].numel()), (x[0].numel(), 1))


class Counted(nn.Module):
    """Has a buffer, which trying a layout must not be seen in."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x


def convolutional(flatten=nn.Flatten, width=32, dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), Counted(),
        nn.Conv2d(16, width, 1), nn.Dropout(dropout), nn.ReLU(), nn.AvgPool2d(3), flatten(),
        nn.Dropout(0.1), nn.Linear(4 * width, 3),
    )  # fmt: skip


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(108, 3))


def mostly_linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 192, 1), nn.Flatten(), nn.Linear(6912, 3))


def trained(model, training=TRAINING):
    steps = BriefTraining(model, make_task(), training)
    losses = [step.loss for step in steps]
    return steps.execution, losses


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (convolutional, "channels_last"),
        (lambda: convolutional(Flat), "plain"),
        (lambda: convolutional(Raw), "plain"),
        # Masks would be drawn for other pixels.
        pytest.param(
            partial(convolutional, dropout=0.1),
            "plain",
            marks=later_than("torch", "2.6", "draws the same in either layout"),
        ),
        (linear, "plain"),
        (mostly_linear, "plain"),
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_execution_changes_results_by_rounding_only(build, expected, optimizer):
    training = replace(TRAINING, optimizer=optimizer)
    fast, plain = build(), build()
    execution, losses = trained(fast, training)
    assert str(execution) == expected
    assert Execution.named(expected) == execution
    without, reference = trained(plain, replace(training, execution="plain"))
    assert str(without) == "plain"
    assert losses == pytest.approx(reference, rel=1e-3)
    for (name, ours), theirs in zip(
        fast.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=2e-3, msg=name)


def test_the_rule_is_for_processors_and_convolutions():
    assert execution_of(convolutional(), torch.device("meta")) == Execution()
    assert execution_of(linear(), CPU) == Execution()
    already = convolutional().to(memory_format=torch.channels_last)
    assert execution_of(already, CPU) == Execution()
    assert execution_of(convolutional().double(), CPU) == Execution(channels_last=True)


def test_layouts_keep_all_numbers_and_can_be_set_back():
    model = convolutional()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lay_out(model, channels_last=True)
    assert model[4].weight.stride() == (16, 1, 16, 16)  # a kernel of one pixel
    outputs = model.eval()(make_task().probe)
    lay_out(model, channels_last=False)
    assert model[4].weight.stride() == (16, 1, 1, 1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) or name.endswith("calls"), name
    assert outputs.isfinite().all()


def test_a_capture_is_the_same_in_both_layouts():
    model = convolutional().eval()
    model[3] = nn.Identity()
    one = capture(model, make_task().probe)
    lay_out(model, channels_last=True)
    other = capture(model, make_task().probe)
    torch.testing.assert_close(one.features, other.features)
    torch.testing.assert_close(one.logits, other.logits)
    assert torch.equal(one.weight, other.weight)


def laid_out(**changes):
    return convolutional(**changes).to(memory_format=torch.channels_last)


LAYOUTS = {
    "chosen": (convolutional, {}, "channels_last"),
    "plain": (convolutional, {"execution": "plain"}, "plain"),
    "built": (laid_out, {}, "plain"),
    "built, with masks": (partial(laid_out, dropout=0.3), {}, "plain"),
    "built, and plain": (laid_out, {"execution": "plain"}, "plain"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("stop", [0, 1, 4])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_in_any_layout_resumes_bit_for_bit(stop, optimizer, layout):
    build, changes, expected = LAYOUTS[layout]
    training = replace(TRAINING, optimizer=optimizer, **changes)
    whole = build()
    steps = list(brief_training(whole, make_task(), training))
    first = BriefTraining(build(), make_task(), training)
    begun = [next(first) for _ in range(stop)]
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    model = build()
    resumed = BriefTraining(model, make_task(), training)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert [*begun, *resumed] == steps
    assert str(resumed.execution) == expected
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_a_state_of_an_earlier_version_goes_on_plain():
    plain = replace(TRAINING, execution="plain")
    whole = convolutional()
    losses = trained(whole, plain)[1]
    first = BriefTraining(convolutional(), make_task(), plain)
    begun = [next(first).loss for _ in range(3)]
    state = first.state_dict()
    del state["execution"]
    resumed = BriefTraining(convolutional(), make_task(), TRAINING)
    resumed.load_state_dict(state)
    assert [*begun, *(step.loss for step in resumed)] == losses
    assert str(resumed.execution) == "plain"


def test_every_reading_says_how_its_candidate_was_trained():
    for build, expected in ((convolutional, "channels_last"), (linear, "plain")):
        readings = list(screen(Candidate("one", {}, build), make_task(), TRAINING))
        assert [reading.execution for reading in readings] == [expected] * 4
        assert type(readings[0]).from_json(readings[0].to_json()) == readings[0]


def test_no_step_waits_for_its_device(monkeypatch):
    """Tensors on the meta device hold no numbers: asking for one is an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    for optimizer in ("sgd", "adamw"):
        training = replace(TRAINING, device="meta", optimizer=optimizer)
        with torch.device("meta"):
            model = convolutional()
        steps = list(brief_training(model, make_task(), training))
        assert [step.number for step in steps] == list(range(1, 7))
        with pytest.raises(RuntimeError):
            float(steps[-1].loss)


def test_screening_waits_for_an_accelerator_only_at_readings(monkeypatch):
    waits = []
    monkeypatch.setattr(BriefTraining, "is_asynchronous", True)
    for name in ("item", "tolist", "__float__", "__bool__"):
        original = getattr(Tensor, name)

        def counted(self, *args, original=original):
            waits.append(original)
            return original(self, *args)

        monkeypatch.setattr(Tensor, name, counted)
    step = BriefTraining.__next__
    inside = []

    def watched(self):
        before = len(waits)
        taken = step(self)
        inside.append(len(waits) - before)
        return taken

    monkeypatch.setattr(BriefTraining, "__next__", watched)
    training = replace(TRAINING, steps=12)
    found = list(screen(Candidate("one", {}, linear), make_task(), training, readings=2))
    assert len(inside) == 12
    assert sum(inside) == 0
    monkeypatch.undo()
    expected = list(screen(Candidate("one", {}, linear), make_task(), training, readings=2))
    assert [one.training_loss for one in found] == [one.training_loss for one in expected]
    assert [one.values for one in found] == [one.values for one in expected]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_divergence_is_reported_with_its_step(monkeypatch, asynchronous):
    if asynchronous:
        monkeypatch.setattr(BriefTraining, "is_asynchronous", True)

    counted = iter(range(100))

    def exploding(logits, targets):
        loss = nn.functional.cross_entropy(logits, targets)
        return loss * (torch.inf if next(counted) == 7 else 1)

    task = make_task(criterion=exploding)
    training = replace(TRAINING, steps=20)
    readings = screen(Candidate("one", {}, linear), task, training, readings=2)
    with pytest.raises(CandidateFailed, match=r"^diverged: loss inf at step 8$"):
        list(readings)


def test_losses_on_an_accelerator_end_training_once_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(BriefTraining, "is_asynchronous", True)
    training = Training(steps=50, lr=1e30, clip=None, warmup=0, batch_size=16)
    unasked = list(islice(brief_training(linear(), make_task(), training), 50))
    assert len(unasked) == 50
    asked = []
    for step in brief_training(linear(), make_task(), training):
        asked.append(step)
        step.loss  # noqa: B018
    assert asked[-1].diverged
    assert len(asked) < 50
