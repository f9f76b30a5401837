"""Noising against the formulas of the papers, written down once more: schedules, x_t and targets."""

import math

import pytest
import torch

from prescreen.tasks.noising import BANDS, Noising, rows_of_bands

SCHEDULES = ("linear", "cosine")
PREDICTIONS = ("epsilon", "v", "x0")


def kept(schedule, t, steps):
    """ᾱ of one time, from 0: Ho et al. 2020 for 1,000 linear steps; Nichol & Dhariwal 2021."""

    def falling(s):
        return math.cos((s / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    product = 1.0
    for s in range(t + 1):
        linear = (1e-4 + (0.02 - 1e-4) * s / (steps - 1)) * 1000 / steps
        beta = linear if schedule == "linear" else 1 - falling(s + 1) / falling(s)
        product *= 1 - min(beta, 0.999)
    return product


@pytest.mark.parametrize("steps", [10, 50, 1000, 4000])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_are_those_of_the_papers(schedule, steps):
    every = Noising(schedule=schedule, steps=steps).kept
    assert len(every) == steps
    for t in (0, 1, steps // 10, steps // 2, steps - 2, steps - 1):
        assert every[t].item() == pytest.approx(kept(schedule, t, steps), rel=1e-9)
    assert 0.9 < every[0] < 1
    assert every[-1] < 1e-3


def test_known_values():
    linear, cosine = (Noising(schedule=schedule).kept for schedule in SCHEDULES)
    assert linear[0].item() == pytest.approx(1 - 1e-4)
    assert linear[999].item() == pytest.approx(4.036e-5, rel=1e-3)  # of published checkpoints
    assert cosine[499].item() == pytest.approx(0.4938, abs=1e-3)  # half of the way, less the offset


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_images_are_mixed_with_noise_and_targets_are_what_they_are_called(prediction, schedule):
    generator = torch.Generator().manual_seed(0)
    images, noise = (torch.randn(6, 2, 3, 4, generator=generator) for _ in range(2))
    times = torch.tensor([0, 1, 90, 500, 900, 999])
    made = Noising(prediction, schedule)(images, times, noise)
    assert torch.equal(made.times, times)
    for i, t in enumerate(times.tolist()):
        share = kept(schedule, t, 1000)
        for at in [(0, 0, 0), (1, 2, 3), (0, 1, 2)]:
            x, e = images[i][at].item(), noise[i][at].item()
            a, b = math.sqrt(share), math.sqrt(1 - share)
            expected = {"epsilon": e, "v": a * e - b * x, "x0": x}[prediction]
            assert made.images[i][at].item() == pytest.approx(a * x + b * e, abs=1e-5)
            assert made.target[i][at].item() == pytest.approx(expected, abs=1e-5)
    assert made.images.dtype == made.target.dtype == torch.float32


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_targets_say_the_same_of_an_image(schedule):
    """x₀ from ε, from v and as it is: √ᾱ x_t − √(1 − ᾱ) v = x₀ and x_t = √ᾱ x₀ + √(1 − ᾱ) ε."""
    generator = torch.Generator().manual_seed(1)
    images, noise = (torch.randn(5, 1, 2, 2, generator=generator) for _ in range(2))
    times = torch.tensor([0, 50, 300, 600, 800])
    made = {name: Noising(name, schedule)(images, times, noise) for name in PREDICTIONS}
    share = torch.tensor([kept(schedule, t, 1000) for t in times.tolist()]).view(-1, 1, 1, 1)
    a, b = share.sqrt(), (1 - share).sqrt()
    x = made["v"].images
    assert all(torch.equal(x, one.images) for one in made.values())
    torch.testing.assert_close(a * x - b * made["v"].target, made["x0"].target, atol=1e-5, rtol=0)
    torch.testing.assert_close(x - b * made["epsilon"].target, a * images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_bands_part_the_samples_by_their_share_of_noise(schedule):
    noise = 1 - Noising(schedule=schedule).kept
    rows = rows_of_bands(noise)
    assert [*rows] == [*BANDS]
    assert [row for band in rows.values() for row in band] == [*range(1000)]
    assert noise[rows["small_t"][-1]] <= 0.1 < noise[rows["middle_t"][0]]
    assert noise[rows["middle_t"][-1]] <= 0.9 < noise[rows["large_t"][0]]
    assert rows["small_t"].stop == {"linear": 98, "cosine": 198}[schedule]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction": "noise"}, "`prediction` must be one of epsilon, v, x0, got 'noise'"),
        ({"schedule": "sigmoid"}, "`schedule` must be one of linear, cosine, got 'sigmoid'"),
        ({"steps": 9}, "`steps` must be at least 10, got 9"),
        ({"steps": 1e3}, "`steps` must be an integer, got 1000.0"),
    ],
)
def test_what_is_unknown_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Noising(**options)
