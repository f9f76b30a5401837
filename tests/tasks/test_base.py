"""The contract of tasks, which training, screening and candidates rely on, for every kind."""

import copy
import math
import pickle
from functools import partial
from itertools import islice

import pytest
import torch
from torch import multiprocessing, nn
from toy_networks import network
from toy_tasks import TASKS, images, tokens

from prescreen import DEFAULT_PANEL, Candidate, Training, rank, screen
from prescreen.predictions import model_logits
from prescreen.tasks import TokenTask, load_task
from prescreen.tasks.base import check_task
from prescreen.training.loop import brief_training
from prescreen.trees import tensors_in

every = pytest.mark.parametrize("kind", TASKS)
# The default of detectors was chosen where sizes mislead, and says nothing of a toy's width.
PANELS = {"boxes": ("classes:ahead/expected_agreement", "boxes:sample_gradient", "flops")}


def take(task, count, batch_size=16, seed=0):
    return list(islice(task.batches(batch_size, seed), count))


def same(first, second):
    pairs = zip(tensors_in(first), tensors_in(second), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def rows(inputs):
    """Every sample of a tensor or of keywords, as bytes."""
    first = next(tensors_in(inputs))
    return {sample.numpy().tobytes() for sample in first}


@every
def test_a_task_has_what_the_contract_asks_for(kind):
    task = TASKS[kind](0)
    assert check_task(task) is task
    assert isinstance(task.name, str)
    assert task.sizes["num_classes"] == 4


@every
def test_a_seed_fixes_all_batches_and_global_randomness_is_left_alone(kind):
    task = TASKS[kind](0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = take(task, 12, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert same(first, take(task, 12, seed=3))
    assert same(first, take(pickle.loads(pickle.dumps(task)), 12, seed=3))
    assert not same(first[:1], take(task, 1, seed=4))


@every
def test_inputs_of_a_batch_have_the_form_of_the_probe(kind):
    task = TASKS[kind](0)
    seen = task.inputs(take(task, 1)[0])
    assert type(seen) is type(task.probe)
    for one, other in zip(tensors_in(seen), tensors_in(task.probe), strict=True):
        assert (one.dtype, one.shape[1:]) == (other.dtype, other.shape[1:])
        assert (len(one), len(other)) == (16, 32)


@every
def test_the_probe_is_never_trained_on(kind):
    task = TASKS[kind](0)
    trained = set().union(*(rows(task.inputs(batch)) for batch in take(task, 32)))
    assert len(rows(task.probe)) == 32
    assert trained.isdisjoint(rows(task.probe))


@every
def test_the_fingerprint_depends_on_the_data_not_the_name(kind):
    task = TASKS[kind](0)
    assert TASKS[kind](0, name="another").fingerprint == task.fingerprint
    assert TASKS[kind](1).fingerprint != task.fingerprint


def fingerprints():
    return [make(0).fingerprint for make in TASKS.values()]


def test_fingerprints_are_the_same_in_another_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(fingerprints) == fingerprints()


def test_images_keep_the_fingerprints_that_journals_hold():
    """Runs of earlier versions must be able to continue: the values are those recorded then."""
    assert load_task("digits").fingerprint == "5c2d3eff7496d9a0"
    other = load_task("digits", augment=False, probe_size=64, seed=1)
    assert other.fingerprint == "58a45aff56e3d080"
    pixels = torch.arange(40 * 3 * 8 * 8).remainder(251).to(torch.uint8).view(40, 3, 8, 8)
    data = torch.utils.data.TensorDataset(pixels, torch.arange(40) % 4)
    assert type(other).from_dataset(data, probe_size=8).fingerprint == "1114b13b32199ff9"
    some = torch.utils.data.TensorDataset(torch.zeros(20, 1, 4, 4), torch.arange(20) % 2)
    probe = (torch.arange(64.0) / 8 - 4).view(4, 1, 4, 4)
    of_loader = type(other).from_loader(
        torch.utils.data.DataLoader(some, batch_size=6), probe=probe, num_classes=2
    )
    assert of_loader.fingerprint == "3bc6ed3549d1b06a"


@every
def test_views_are_the_same_inputs_changed_or_none(kind):
    task = TASKS[kind](0)
    seen = task.inputs(take(task, 1)[0])
    kept = copy.deepcopy(seen)
    view = task.views(seen)
    assert same(seen, kept)
    assert (view is not None) == (kind not in ("regression", "spots"))
    pairs = [] if view is None else [*zip(tensors_in(view), tensors_in(seen), strict=True)]
    assert all(changed.shape == tensor.shape for changed, tensor in pairs)
    assert view is None or not same(view, seen)


def test_images_of_one_column_have_no_view():
    assert images(0).views(torch.ones(2, 1, 8, 1)) is None


@every
def test_training_minimises_the_loss(kind):
    task = TASKS[kind](0)
    candidate = Candidate("net", {}, partial(network(kind), 32))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = candidate.model(**task.sizes)
    training = Training(steps=60, batch_size=32)
    losses = [step.loss for step in brief_training(model, task, training)]
    assert math.isfinite(losses[0])
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@every
def test_the_wider_of_two_networks_is_ranked_first(kind):
    candidates = {
        width: partial(network(kind), size) for width, size in [("narrow", 2), ("wide", 64)]
    }
    task = TASKS[kind](0)
    panel = PANELS.get(kind, getattr(task, "panel", DEFAULT_PANEL))
    readouts = [*panel] if kind in PANELS else None
    ranking = rank(candidates, task, training=Training(steps=40, batch_size=32), readouts=readouts)
    assert [(row.name, row.status) for row in ranking] == [("wide", "ok"), ("narrow", "ok")]
    first, last = ranking
    assert set(first.values) == {*panel}
    assert not any(math.isnan(value) for row in ranking for value in row.values.values())
    assert first.training_loss < last.training_loss


def test_wrappers_of_a_task_are_tasks():
    class Renamed:
        def __init__(self, task):
            self.task = task

        def __getattr__(self, name):
            return getattr(self.task, name)

    assert check_task(Renamed(tokens(0))).link == "softmax"


class Half:
    name, link, probe, sizes = "half", "softmax", torch.zeros(2, 2), {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Half(), "got Half without fingerprint, batches, inputs, loss, views$"),
        ("digits", "got str without name, .*views$"),
        (None, "got NoneType without"),
        (TokenTask, "got the class TokenTask"),
    ],
)
def test_what_is_not_a_task_is_refused_in_one_line(given, message):
    with pytest.raises(
        ValueError, match=f"^`task` must be an object with all of prescreen.Task, {message}"
    ) as caught:
        check_task(given)
    assert "\n" not in str(caught.value)
    for use in (
        lambda: rank({"a": nn.Identity}, given),
        lambda: next(screen(Candidate("a", {}, nn.Identity), given)),
    ):
        with pytest.raises(
            ValueError, match=r"^`task` must be an object with all of prescreen.Task, got "
        ):
            use()


def test_an_unknown_link_is_refused():
    task = tokens(0)
    task.link = "logit"
    with pytest.raises(ValueError, match=r"`link` must be one of softmax, .*, got 'logit'"):
        check_task(task)


def test_logits_are_found_in_usual_outputs():
    class Output:
        logits = torch.ones(2)

    for output in (Output.logits, Output(), (Output.logits, None), [Output.logits]):
        assert model_logits(output) is Output.logits
    for output in ("text", {"loss": Output.logits}, [], ()):
        with pytest.raises(ValueError, match=r"`model` must return a tensor.* got "):
            model_logits(output)
