"""Another view of text: which tokens are replaced, by which, and that padding stays."""

import pytest
import torch

from prescreen.tasks.token_views import dropped_tokens

IDS = torch.randint(5, 1000, (200, 30), generator=torch.Generator().manual_seed(0))


def test_about_fifteen_percent_are_replaced_by_tokens_of_the_inputs():
    kept = IDS.clone()
    view = dropped_tokens(IDS)
    changed = view != IDS
    assert torch.equal(IDS, kept)
    assert 0.13 < changed.double().mean() < 0.17
    assert torch.isin(view, IDS).all()
    assert view.dtype == IDS.dtype
    assert torch.equal(view, dropped_tokens(IDS))


def test_what_a_mask_leaves_out_stays_and_is_not_drawn():
    mask = (torch.arange(30) < torch.arange(200)[:, None] % 29 + 1).long()
    inputs = {"input_ids": IDS.where(mask == 1, 3), "attention_mask": mask, "other": mask}
    view = dropped_tokens(inputs)
    assert view["attention_mask"] is mask
    assert view["other"] is mask
    assert torch.equal(view["input_ids"] == 3, mask == 0)
    assert not torch.equal(view["input_ids"], inputs["input_ids"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_without_a_mask_stays(side):
    padded = IDS.clone()
    for row, ids in enumerate(padded):
        ids[30 - row % 20 :] = 1
    padded = padded.flip(1) if side == "left" else padded
    view = dropped_tokens(padded)
    assert torch.equal(view == 1, padded == 1)
    assert not torch.equal(view, padded)


@pytest.mark.parametrize("ids", [torch.zeros(3, 8).long(), torch.zeros(3, 1).long()])
def test_nothing_to_replace_with(ids):
    assert torch.equal(dropped_tokens(ids), ids)


@pytest.mark.parametrize(
    ("inputs", "got"),
    [
        (torch.zeros(3, 8), r"torch.float32 \(3, 8\)"),
        (torch.zeros(3).long(), r"torch.int64 \(3,\)"),
        ({"pixels": IDS}, "NoneType"),
        ((IDS,), "tuple"),
    ],
)
def test_other_inputs_are_refused(inputs, got):
    with pytest.raises(ValueError, match=rf"^`inputs` must be token ids \(N, L\), .* got {got}$"):
        dropped_tokens(inputs)
