"""The Fréchet distance against closed forms, and sampling with a model that knows the noise."""

import pytest
import torch
from torch import nn

from benchmarks.tasks.frechet import Classifier, Sampler, distance
from prescreen.tasks.noising import Noising


def test_the_distance_of_moved_and_scaled_features():
    features = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    move = torch.tensor([1.0, -2.0, 0.5])
    assert distance(features, features) == pytest.approx(0, abs=1e-6)
    assert distance(features + move, features) == pytest.approx(move.square().sum().item())
    variances, means = features.double().var(0).sum().item(), features.double().mean(0)
    apart = (2 * means).square().sum().item()
    assert distance(3 * features, features) == pytest.approx(4 * variances + apart, rel=1e-5)


def test_sampling_ends_at_the_image_that_the_model_has_in_mind():
    noising = Noising()
    image = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1

    class Knowing(nn.Module):
        def forward(self, x, times):
            kept = noising.kept[times].view(-1, 1, 1, 1)
            return ((x - kept.sqrt() * image) / (1 - kept).sqrt()).float()

    made = Sampler(noising, (2, 1, 4, 4), steps=5)(Knowing())
    assert torch.allclose(made, image, atol=1e-4)


def test_features_of_the_classifier():
    model = Classifier(3, 10).eval()
    images = torch.rand(2, 3, 16, 16)
    assert model.features(images).shape == (2, 64)
    assert model(images).shape == (2, 10)
