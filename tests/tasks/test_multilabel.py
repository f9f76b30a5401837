import pytest
import torch
from torch import nn
from toy_tasks import multilabel, table

from prescreen import rank
from prescreen.tasks import MultilabelTask
from prescreen.tasks.images.views import shifted
from prescreen.training.recipe import Training

INPUTS, SCORES = table(0)


def test_the_loss_is_the_mean_binary_cross_entropy():
    task = multilabel(0)
    inputs, targets = next(task.batches(16, 0))
    model = nn.Linear(8, 4)
    right = torch.where(targets > 0, model(inputs).sigmoid(), 1 - model(inputs).sigmoid())
    torch.testing.assert_close(task.loss(model, (inputs, targets)), -right.log().mean())


def test_search_spaces_of_images_serve_several_labels_as_well():
    images = INPUTS.repeat(1, 96).view(-1, 3, 16, 16)
    task = MultilabelTask(images, SCORES > 0, probe_size=16, view=shifted)
    assert task.sizes == {"num_classes": 4, "in_channels": 3, "image_size": (16, 16)}
    assert torch.equal(task.views(images), shifted(images))
    ranking = rank("nas_bench_201", task, samples=2, training=Training(steps=2, batch_size=16))
    assert [row.status for row in ranking] == ["ok", "ok"]


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float64])
def test_targets_may_be_of_any_type(kind):
    task = MultilabelTask(INPUTS, (SCORES > 0).to(kind), probe_size=32, view=torch.neg)
    assert task.fingerprint == multilabel(0).fingerprint


def test_another_view_is_another_task():
    task = MultilabelTask(INPUTS, SCORES > 0, probe_size=32)
    assert task.fingerprint != multilabel(0).fingerprint


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (SCORES, "`targets` must be 0 or 1, got -?[0-9]"),
        (
            SCORES[:, 0] > 0,
            r"`targets` must be a non-empty tensor of 2 dimensions, got bool \(160,\)",
        ),
        (SCORES[:5] > 0, "equally many rows, got 5 of targets, 160 of inputs"),
    ],
)
def test_wrong_targets_are_refused_in_one_line(targets, message):
    with pytest.raises(ValueError, match=message) as caught:
        MultilabelTask(INPUTS, targets)
    assert "\n" not in str(caught.value)
