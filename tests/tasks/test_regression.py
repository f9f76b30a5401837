import pytest
import torch
from torch import nn
from torch.nn import functional
from toy_tasks import regression, table

from prescreen import Training, rank
from prescreen.tasks import RegressionTask

INPUTS, SCORES = table(0)


class Squeezed(nn.Module):
    """One number per input, without a dimension for it."""

    def __init__(self, width, in_features):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(in_features, width), nn.ReLU())
        self.head = nn.Linear(width, 1)

    def forward(self, inputs):
        return self.head(self.body(inputs)).squeeze(1)


def squeezed(width):
    return lambda *, in_features: Squeezed(width, in_features)


@pytest.mark.parametrize("targets", [SCORES[:, 0], SCORES[:, :1]])
def test_single_outputs_are_ranked_with_or_without_a_dimension(targets):
    task = RegressionTask(INPUTS, targets, probe_size=32)
    assert task.sizes == {"num_outputs": 1, "num_classes": 1, "in_features": 8}
    training = Training(steps=40, batch_size=32, lr=0.02)
    ranking = rank({"narrow": squeezed(2), "wide": squeezed(64)}, task, training=training)
    assert [(row.name, row.status) for row in ranking] == [("wide", "ok"), ("narrow", "ok")]


def test_the_loss_is_the_mean_squared_error():
    task = regression(0)
    inputs, targets = next(task.batches(16, 0))
    model = nn.Linear(8, 4)
    expected = (model(inputs) - targets).square().sum() / (16 * 4)
    torch.testing.assert_close(task.loss(model, (inputs, targets)), expected)
    with pytest.raises(ValueError, match=r"^`model` must return shape \(16, 4\), got \(16, 1\)$"):
        task.loss(nn.Linear(8, 1), (inputs, targets))


def test_images_and_a_given_probe_are_taken_as_they_are():
    images = torch.rand(20, 3, 5, 6, dtype=torch.float64)
    task = RegressionTask(images, torch.arange(20), probe=images[:4] + 1)
    assert task.sizes["in_channels"] == 3
    assert task.sizes["image_size"] == (5, 6)
    assert torch.equal(task.probe, (images[:4] + 1).float())
    inputs, targets = next(task.batches(20, 0))  # all of the data: nothing is held out
    assert torch.equal(inputs, images.float()[targets[:, 0].long()])
    assert sorted(targets[:, 0].tolist()) == list(range(20))


def test_rows_keep_their_targets_and_a_view_can_be_given():
    task = RegressionTask(INPUTS, INPUTS * 2, probe_size=32, view=functional.relu)
    inputs, targets = next(task.batches(64, 1))
    assert torch.equal(inputs * 2, targets)
    assert torch.equal(task.views(task.probe), task.probe.relu())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"inputs": None},
            "`inputs` must be a non-empty tensor of 2 to 4 dimensions, got NoneType",
        ),
        ({"inputs": torch.ones(9)}, r"`inputs` must be a non-empty tensor .*, got float32 \(9,\)"),
        (
            {"inputs": INPUTS / 0},
            "`inputs` must be finite, got 1280 NaN or infinite of 1280 values",
        ),
        ({"inputs": INPUTS[:9]}, "equally many rows, got 160 of targets, 9 of inputs"),
        ({"targets": torch.ones(160, 2, 2)}, r"`targets` must .*got float32 \(160, 2, 2\)"),
        ({"targets": torch.ones(0)}, "`targets` must be a non-empty tensor .*, got float32"),
        ({"targets": SCORES * float("nan")}, "`targets` must be finite, got "),
        ({"probe": INPUTS[:, :3]}, r"`probe` must .*float32 \(160, 8\), got .*\(160, 3\)"),
        ({"probe": INPUTS[:1]}, r"`probe` must be at least 2 rows .*got .*\(1, 8\)"),
        (
            {"probe": INPUTS[0]},
            r"`probe` must be a non-empty tensor of 2 dimensions, got float32 \(8,\)",
        ),
        ({"probe_size": 1}, "`probe_size` must be from 2 to 159, with 160 samples .*, got 1"),
        ({"probe_size": 160}, "`probe_size` must be from 2 to 159, .* got 160"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(changes, message):
    arguments = {"inputs": INPUTS, "targets": SCORES, "probe_size": 32, **changes}
    with pytest.raises(ValueError, match=message) as caught:
        RegressionTask(**arguments)
    assert "\n" not in str(caught.value)


def test_a_batch_size_below_one_is_refused_at_once():
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        regression(0).batches(0, 0)
