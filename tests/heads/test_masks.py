"""Sequences: what is read does not depend on how they are padded."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from prescreen import Probe, read
from prescreen.heads.capturing import capture
from prescreen.readouts import READOUTS, resolve_readouts

VOCABULARY, WIDTH, CLASSES, PAD = 17, 8, 3, 0
LENGTHS = torch.tensor([3, 7, 5, 4, 6, 7, 2, 5, 6, 4, 3, 7])


class Encoder(nn.Module):
    """Attention among the tokens that a mask leaves, without absolute positions."""

    def __init__(self, keyword="attention_mask", kind="tokens"):
        super().__init__()
        self.keyword, self.kind = keyword, kind
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.score = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids, **masks):
        mask = masks[self.keyword]
        keep = ~mask if "padding" in self.keyword and mask.dtype == torch.bool else mask > 0
        z = self.embedding(input_ids)
        weights = self.query(z) @ self.key(z).mT
        weights = weights.masked_fill(~keep[:, None], -torch.inf).softmax(-1)
        z = self.norm(z + weights @ z)
        if self.kind == "pooled features":
            return self.score((z * keep[..., None]).sum(1) / keep.sum(1, keepdim=True))
        logits = self.score(z)
        if self.kind == "pooled logits":
            return (logits * keep[..., None]).sum(1) / keep.sum(1, keepdim=True)
        places = torch.arange(keep.shape[1]) * keep
        rows = torch.arange(len(keep))
        if self.kind == "last token":  # as GPT2ForSequenceClassification
            return SimpleNamespace(logits=logits[rows, places.argmax(1)])
        if self.kind == "first token":
            return (logits[rows, keep.int().argmax(1)], z)
        if self.kind == "time first":
            return logits.transpose(0, 1)
        if self.kind == "classes first":
            return logits.movedim(-1, 1)
        return logits


def texts(length, left=False, keyword="attention_mask", generator=3):
    """The same texts, padded to a length."""
    draw = torch.Generator().manual_seed(generator)
    ids = torch.full((len(LENGTHS), length), PAD)
    mask = torch.zeros_like(ids)
    for row, count in enumerate(LENGTHS.tolist()):
        places = slice(length - count, length) if left else slice(count)
        ids[row, places] = torch.randint(1, VOCABULARY, (count,), generator=draw)
        mask[row, places] = 1
    if "padding" in keyword:
        mask = mask == 0
    return {"input_ids": ids, keyword: mask}


KINDS = (
    *("tokens", "classes first", "time first"),
    *("pooled features", "pooled logits", "last token", "first token"),
)


def readings(model, inputs, panel):
    """Of two models in turn, so that a reading before is there."""
    probe = Probe(inputs, panel, view=lambda batch: batch, seen=inputs)
    probe.read_untrained(model)
    probe.read(model, 1)
    with torch.no_grad():
        model.score.weight.mul_(1.5)
    try:
        return dict(probe.read(model, 2).values)
    finally:
        with torch.no_grad():
            model.score.weight.div_(1.5)


def of_heads():
    return [name for name in resolve_readouts([*READOUTS]) if name not in ("synflow", "flops")]


@pytest.mark.parametrize("kind", KINDS)
def test_no_readout_depends_on_padding(kind):
    torch.manual_seed(0)
    model = Encoder(kind=kind).double()
    panel = of_heads()
    expected = readings(model, texts(7), panel)
    assert "isotropy" in expected
    for padding in (texts(9), texts(20), texts(9, left=True), texts(20, left=True)):
        for name, value in readings(model, padding, panel).items():
            assert value == pytest.approx(expected[name], rel=1e-7, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_the_positions_that_count(kind):
    torch.manual_seed(0)
    model = Encoder(kind=kind)
    tokens = kind in KINDS[:3]
    count = int(LENGTHS.sum()) if tokens else len(LENGTHS)
    for head in (None, "score"):
        taken = capture(model, texts(9), head=head)
        assert taken.logits.shape == (count, CLASSES)
        assert taken.features.shape == (count, WIDTH)
    assert capture(model, texts(9), max_positions=8).logits.shape[0] == 8
    if not tokens:
        output = model(**texts(9))
        logits = output.logits if kind == "last token" else output
        logits = logits[0] if kind == "first token" else logits
        assert torch.allclose(capture(model, texts(9)).logits, logits, atol=1e-6)


@pytest.mark.parametrize(
    "keyword",
    ["attention_mask", "mask", "key_padding_mask", "src_key_padding_mask", "padding_mask"],
)
def test_names_of_masks(keyword):
    torch.manual_seed(0)
    model = Encoder(keyword)
    assert len(capture(model, texts(9, keyword=keyword)).logits) == LENGTHS.sum()
    expected = read(model, texts(7, keyword=keyword))
    for name, value in read(model, texts(12, keyword=keyword)).items():
        assert value == pytest.approx(expected[name], rel=1e-4), name


def test_masks_given_by_position():
    torch.manual_seed(0)

    class Positional(Encoder):
        def forward(self, ids, attention_mask):
            return super().forward(ids, attention_mask=attention_mask)

    model = Positional()
    taken = capture(model, tuple(texts(9).values()))
    assert torch.equal(taken.logits, capture(model, [*texts(9).values()]).logits)
    assert len(taken.logits) == LENGTHS.sum()


@pytest.mark.parametrize("named", [True, False])
def test_padding_that_the_embedding_declares(named):
    torch.manual_seed(0)

    class Tagger(nn.Module):
        def __init__(self, padding):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH, padding_idx=padding)
            self.score = nn.Linear(WIDTH, CLASSES)

        def forward(self, input_ids):
            return self.score(self.embedding(input_ids))

    ids = texts(9)["input_ids"]
    inputs = {"input_ids": ids} if named else ids
    model = Tagger(PAD)
    assert torch.equal(capture(model, inputs).logits, model(ids)[ids != PAD])
    assert len(capture(Tagger(None), inputs).logits) == ids.numel()


class Labelled(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.score = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids, labels):
        logits = self.score(self.embedding(input_ids))
        return {"loss": functional.cross_entropy(logits.movedim(-1, 1), labels), "logits": logits}


class NextForCausalLM(Labelled):
    """Named as transformers names what predicts the next token."""


def test_labels_that_are_ignored():
    torch.manual_seed(0)
    ids, labels = torch.randint(VOCABULARY, (4, 6)), torch.randint(CLASSES, (4, 6))
    labels[:, :2] = labels[0, 4:] = -100
    inputs = {"input_ids": ids, "labels": labels}
    model = Labelled()
    taken = capture(model, inputs)
    assert torch.equal(taken.logits, model(**inputs)["logits"][labels != -100])
    model = NextForCausalLM()
    taken = capture(model, inputs)
    assert torch.equal(taken.logits, model(**inputs)["logits"][:, :-1][labels[:, 1:] != -100])


def test_a_mask_of_another_length():
    class Prompted(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.score = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, CLASSES)

        def forward(self, input_ids, attention_mask):
            z = self.embedding(input_ids)
            return self.score(torch.cat([z.new_ones(len(z), 1, WIDTH), z], 1))

    model, inputs = Prompted(), texts(7)
    for head in (None, "score"):
        with pytest.raises(
            ValueError,
            match=r"^`inputs` must have a value of attention_mask .*, \(12, 8\), got \(12, 7\)$",
        ):
            capture(model, inputs, head=head)
    inputs["attention_mask"] = torch.ones_like(inputs["attention_mask"])
    assert len(capture(model, inputs).logits) == 12 * 8


@pytest.mark.parametrize("keyword", ["attention_mask", "mask", "src_key_padding_mask"])
def test_a_loss_mask_leaves_out_what_is_not_predicted_and_is_not_for_the_model(keyword):
    model = Encoder(keyword).eval()
    inputs = texts(7, keyword=keyword)
    loss_mask = torch.zeros(len(LENGTHS), 7, dtype=torch.bool)
    loss_mask[:, 1::3] = True
    taken = capture(model, {**inputs, "loss_mask": loss_mask})
    counts = (inputs[keyword] == (0 if "padding" in keyword else 1)) & loss_mask
    assert torch.equal(taken.positions, counts.flatten().nonzero()[:, 0])
    logits = model(**inputs).flatten(0, 1)[taken.positions]
    torch.testing.assert_close(taken.logits, logits)
