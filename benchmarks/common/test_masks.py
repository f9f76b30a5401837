import math

import pytest
import torch
from torch import nn

from benchmarks.common.masks import overlap, predict_masks

RANDOMS = torch.Generator().manual_seed(0)


def test_overlaps_are_those_of_sets_of_pixels():
    predicted, masks = (torch.randint(3, (4, 6, 7), generator=RANDOMS) for _ in range(2))
    masks[:, 0] = 255
    made = overlap(predicted, masks, 4)
    places = [(n, y, x) for n in range(4) for y in range(1, 6) for x in range(7)]
    for k in range(3):
        ours = {at for at in places if predicted[at] == k}
        true = {at for at in places if masks[at] == k}
        assert made.dice[k] == pytest.approx(2 * len(ours & true) / (len(ours) + len(true)))
        assert made.iou[k] == pytest.approx(len(ours & true) / len(ours | true))
    assert math.isnan(made.dice[3])
    assert made.mean_dice == pytest.approx(made.dice[1:3].mean().item())
    assert made.mean_iou == pytest.approx(made.iou[:3].mean().item())


def test_a_model_predicts_with_the_statistics_that_are_asked_for():
    torch.manual_seed(0)
    images = 5 + torch.randn(6, 2, 8, 8, generator=RANDOMS)
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 2, 2))
    running = model.eval()(images).argmax(1)
    batch = model.train()(images).argmax(1)
    model[0].reset_running_stats()
    for flag, expected in ((False, running), (True, batch)):
        made = predict_masks(model, images, (4, 4), batch_statistics=flag)
        assert torch.equal(made, expected)
    assert not torch.equal(running, batch)
    assert predict_masks(model, images, (8, 8), batch_statistics=True).shape == (6, 8, 8)
    single = predict_masks(nn.Conv2d(2, 1, 1), images, (8, 8), batch_statistics=True)
    assert set(single.unique().tolist()) <= {0, 1}
