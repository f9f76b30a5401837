"""Views by name: what they change, what they keep, and what they refuse."""

import pytest
import torch

from prescreen.views import VIEWS, Noisy, default_view, view_of

IMAGES = torch.arange(2 * 3 * 16 * 32.0).reshape(2, 3, 16, 32)


@pytest.mark.parametrize("name", ["shift", "mirror", "crop"])
def test_images_change_and_keep_their_shape_wherever_they_are(name):
    kept = IMAGES.clone()
    view = view_of(IMAGES, name).inputs
    assert view.shape == IMAGES.shape
    assert view.dtype == IMAGES.dtype
    assert not torch.equal(view, IMAGES)
    assert torch.equal(IMAGES, kept)
    table = torch.ones(2, 5)
    keywords = view_of({"pixels": IMAGES, "table": table}, name).inputs
    assert torch.equal(keywords["pixels"], view)
    assert keywords["table"] is table


def test_what_each_view_of_images_is():
    assert torch.equal(view_of(IMAGES, "shift").inputs[..., 2:], IMAGES[..., :-2])
    view = view_of(IMAGES, "mirror")
    assert torch.equal(view.inputs.flip(-1), IMAGES)
    assert torch.equal(view.back(view.inputs), IMAGES)
    # The ramp of these images is linear in rows and columns: a crop keeps the centre, not the edges.
    ramp = torch.arange(32.0).expand(1, 1, 16, 32)
    row = view_of(ramp, "crop").inputs[0, 0, 5]
    assert row.mean() == pytest.approx(ramp.mean().item())
    assert 1.5 < row[0] < 2.5
    assert torch.equal(row, row.sort().values)


@pytest.mark.parametrize("name", ["shift", "mirror", "crop"])
@pytest.mark.parametrize("inputs", [torch.ones(4, 5), torch.ones(2, 3, 8, 8).byte(), "text"])
def test_inputs_without_images_are_refused(name, inputs):
    with pytest.raises(ValueError, match=r"^`inputs` must hold images \(N, C, H, W\) .*, got "):
        view_of(inputs, name)


def test_noise_is_of_the_same_inputs():
    assert view_of(IMAGES, "noise") == Noisy(IMAGES)


@pytest.mark.parametrize("choice", ["rotate", 3, ["shift"]])
def test_what_is_no_view_is_refused(choice):
    with pytest.raises(ValueError, match=f"^`view` must be one of {', '.join(VIEWS)}, got "):
        view_of(IMAGES, choice)


def test_functions_and_none():
    assert view_of(IMAGES, None) is None
    assert view_of(IMAGES, lambda inputs: None) is None
    assert torch.equal(view_of(IMAGES, torch.neg), -IMAGES)


@pytest.mark.parametrize(
    ("inputs", "is_shifted"),
    [
        (IMAGES, True),
        ((IMAGES,), True),
        ({"pixel_values": IMAGES}, True),
        ((IMAGES, torch.ones(2)), False),
        (IMAGES[..., :7], False),
        (IMAGES.long(), False),
        (IMAGES[0], False),
        (torch.ones(4, 5), False),
        ({"input_ids": torch.ones(4, 5).long()}, False),
    ],
)
def test_the_default(inputs, is_shifted):
    assert isinstance(default_view(inputs), Noisy) is not is_shifted
