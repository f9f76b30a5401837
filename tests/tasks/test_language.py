"""Language modelling: what is predicted, what is left out, and the loss that needs no labels."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from toy_networks import Causal, Tagger
from toy_tasks import chain, language, masked_language

from prescreen import CheckpointSelector, Monitor, Probe, Training, capture, rank, screen
from prescreen.readouts import resolve_readouts
from prescreen.spaces import Candidate
from prescreen.tasks import LanguageTask

STREAM = torch.arange(200) % 7
ROWS = torch.arange(120).view(20, 6) % 7
MASK = torch.ones_like(ROWS)
MASK[::2, 4:] = 0  # padding at the end
MASK[1::2, 0] = 0  # and at the beginning
ANSWERS = torch.zeros_like(ROWS)
ANSWERS[:, 3:5] = 1


def make(**changes):
    return LanguageTask(**{"ids": ROWS, "probe_size": 4, **changes})


KINDS = {
    "stream": {"ids": STREAM, "context": 9},
    "sequences": {},
    "padding": {"mask": MASK},
    "answers": {"loss_mask": ANSWERS},
    "padded answers": {"mask": MASK, "loss_mask": ANSWERS},
    "padding token": {"ids": ROWS.masked_fill(MASK == 0, 7), "padding_id": 7},
}
EVERY = [
    pytest.param(kind, objective, id=f"{kind}, {objective}")
    for kind in KINDS
    for objective in ("causal", "masked")
]
every = pytest.mark.parametrize(("kind", "objective"), EVERY)


def parts_of(inputs):
    return inputs if isinstance(inputs, dict) else {"input_ids": inputs}


@every
def test_what_is_read_is_what_the_held_out_loss_is_of(kind, objective):
    """Targets that are gathered at the positions of a capture have the loss of the task."""
    task = make(**KINDS[kind], objective=objective)
    model = Tagger(8, task.sizes["vocab_size"], task.sizes["num_classes"])
    model.train()
    loss = task.held_out_loss(model)
    assert model.training
    assert all(module.training for module in model.modules())
    taken = capture(model, task.probe)
    targets = task._targets.flatten()
    counts = (targets != -100).nonzero()[:, 0]
    assert torch.equal(taken.positions, counts)
    assert Probe(task.probe, resolve_readouts(["held_out_loss"], task.targets)).read(
        model, 1
    ).values["held_out_loss"] == pytest.approx(loss, rel=1e-5)
    gathered = functional.cross_entropy(taken.logits, targets[taken.positions])
    assert loss == pytest.approx(gathered.item(), rel=1e-5)
    batch = (task.probe, task._targets)
    assert task.loss(model, batch).item() == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_causal_targets_are_the_next_tokens_that_are_known(kind):
    task = make(**KINDS[kind])
    inputs, targets = next(task.batches(5, 0))
    named = parts_of(inputs)
    length = task.sizes["max_length"]
    assert length == (9 if kind == "stream" else 5)
    assert named["input_ids"].shape == targets.shape == (5, length)
    known = targets != -100
    after = (named["input_ids"] + 1) % 7  # of all data above
    if kind != "padding token":
        assert torch.equal(targets[known], after[known])
    if kind in ("stream", "sequences"):
        assert bool(known.all())
        assert isinstance(inputs, torch.Tensor)
    else:
        assert torch.equal(named["loss_mask"], known)
    if "pad" in kind:  # neither of padding nor at padding
        real = named["attention_mask"] == 1
        assert not bool((known & ~real).any())
        assert not bool((known[:, :-1] & ~real[:, 1:]).any())
        assert bool(known.any(1).all())
    if "answers" in kind:
        assert not bool(known[:, [0, 1, 4]].any())


@pytest.mark.parametrize("kind", KINDS)
def test_masked_tokens_are_drawn_from_those_that_count(kind):
    options = KINDS[kind]
    task = make(**options, objective="masked")
    vocabulary = int(options.get("ids", ROWS).max()) + 1
    assert task.sizes["vocab_size"] == vocabulary + 1  # a token for masked ones
    batches = task.batches(16, 0)
    for _ in range(20):
        inputs, targets = next(batches)
        chosen = targets != -100
        assert torch.equal(chosen, inputs["loss_mask"])
        assert bool(chosen.any(1).all())
        ids = inputs["input_ids"]
        assert not bool((ids[~chosen] == vocabulary).any())
        if "pad" in kind:
            assert bool((inputs["attention_mask"][chosen] == 1).all())
            assert 7 not in targets[chosen]
        if "answers" in kind:
            assert not bool(chosen[:, [0, 1, 2, 5]].any())
        assert bool((ids[chosen & (ids != vocabulary)] < vocabulary).all())


def test_shares_of_masked_tokens_are_those_of_bert():
    ids = torch.randint(50, (400, 128), generator=torch.Generator().manual_seed(0))
    task = LanguageTask(ids, objective="masked", probe_size=16, vocab_size=50)
    inputs, targets = next(task.batches(384, 1))
    chosen = targets != -100
    assert chosen.float().mean() == pytest.approx(0.15, abs=0.005)
    now = inputs["input_ids"][chosen]
    assert (now == 50).float().mean() == pytest.approx(0.8, abs=0.02)
    assert (now == targets[chosen]).float().mean() == pytest.approx(0.1 + 0.1 / 50, abs=0.015)
    other = next(task.batches(384, 2))[0]["input_ids"]
    assert not torch.equal(other.sort(0).values, inputs["input_ids"].sort(0).values)


def test_a_stream_keeps_its_last_tenth_and_no_token_is_in_both():
    stream = torch.arange(10_000)
    task = LanguageTask(stream, context=16, probe_size=8)
    seen, targets = next(task.batches(10_000, 0))  # a batch of all that there is
    trained = torch.cat([seen, targets])
    assert task.probe.shape == (8, 16)
    assert trained.max() < task.probe.min()
    assert task.probe.min() >= 8_950
    assert len(seen.unique()) == seen.numel() >= 8_950
    few = LanguageTask(stream[:200], context=16, probe_size=6)
    assert few.probe.min() >= 200 - 6 * 16 - 1


def test_a_probe_that_is_given_is_read_instead():
    given = LanguageTask(STREAM, context=9, probe=STREAM[:50] + 3, probe_size=3)
    assert given.probe.shape == (3, 9)
    assert given.sizes["vocab_size"] == 10
    rows = make(probe={"ids": ROWS[:3], "mask": MASK[:3]}, mask=MASK)
    assert len(rows.probe["input_ids"]) == 3
    assert torch.equal(rows.probe["attention_mask"].sort(0).values, MASK[:3, :-1].sort(0).values)


def test_a_large_vocabulary_bounds_the_probe(caplog):
    task = LanguageTask(torch.arange(60_000), context=128, probe_size=256)
    assert task.probe.shape == (17, 128)
    assert 17 * 128 * 60_000 <= 2**27
    assert "the probe has 17 sequences, not 256" in caplog.text


def test_views_replace_tokens_but_not_what_is_predicted_in_place():
    task = masked_language(0)
    view = task.views(task.probe)
    same = view["input_ids"] == task.probe["input_ids"]
    assert bool(same[task.probe["loss_mask"]].all())
    assert bool(same[task.probe["attention_mask"] == 0].all())
    assert 0.7 < same.float().mean() < 1
    assert torch.equal(view["loss_mask"], task.probe["loss_mask"])
    # Tokens at the ends of sequences that happen to be alike are not taken for padding.
    ids = torch.zeros(64, 9, dtype=torch.long)
    ids[:, ::3] = 1
    ids[:, -2:] = 0
    changed = LanguageTask(ids, probe_size=4).views(ids)
    assert bool((changed != ids)[ids == 0].any())
    own = make(view=lambda inputs: inputs + 1)
    assert torch.equal(own.views(ROWS), ROWS + 1)


def test_a_candidate_that_predicts_one_token_has_not_collapsed():
    assert language(0).collapses is False


def test_readings_do_not_depend_on_how_sequences_are_padded():
    longer = torch.cat([ROWS, torch.zeros(20, 3, dtype=torch.long)], 1)
    mask = torch.cat([MASK, torch.zeros(20, 3, dtype=torch.long)], 1)
    model = Causal(8, 8, 8)
    one = make(mask=MASK)
    other = make(ids=longer, mask=mask)
    assert one.held_out_loss(model) == pytest.approx(other.held_out_loss(model), rel=1e-5)
    names = ["sample_gradient", "mutual_information"]
    values = [Probe(task.probe, names).read(model, 1).values for task in (one, other)]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_the_loss_of_transformers_models_is_theirs():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=7, n_positions=8, n_embd=16, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    task = make()
    inputs, targets = next(task.batches(16, 0))
    whole = torch.cat([inputs, targets[:, -1:]], 1)
    assert task.loss(model, (inputs, targets)).item() == pytest.approx(
        model(whole, labels=whole).loss.item(), rel=1e-5
    )
    bert = transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=8,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=8,
        )
    ).eval()
    task = make(mask=MASK, objective="masked")
    inputs, targets = next(task.batches(16, 0))
    given = {name: one for name, one in inputs.items() if name != "loss_mask"}
    assert task.loss(bert, (inputs, targets)).item() == pytest.approx(
        bert(**given, labels=targets).loss.item(), rel=1e-5
    )
    assert len(capture(bert, task.probe).logits) == int(task.probe["loss_mask"].sum())
    assert math.isfinite(task.held_out_loss(bert))


def test_held_out_loss_is_a_measurement_of_a_ranking_that_is_resumed(tmp_path):
    task = language(0)
    candidates = {f"w{width}": partial(Causal, width, 4, 4) for width in (4, 32)}
    options = {
        "training": Training(steps=30, batch_size=16, optimizer="adamw"),
        "extra": {"held_out_loss": task.held_out_loss},
    }
    first = rank(candidates, task, out=tmp_path, **options)
    lines = (tmp_path / "journal.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_text("".join(lines[:-3]))
    again = rank(candidates, language(0), out=tmp_path, **options)
    losses = {row.name: row.values["held_out_loss"] for row in first}
    assert losses == {row.name: row.values["held_out_loss"] for row in again}
    assert losses["w32"] < losses["w4"] < math.log(4)


@pytest.mark.parametrize("make_task", [language, masked_language])
def test_a_monitor_and_a_selector_follow_a_training(make_task, tmp_path):
    task = make_task(0)
    model = (Causal if make_task is language else Tagger)(
        16, **{name: task.sizes[name] for name in ("vocab_size", "num_classes")}
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    monitor = Monitor(task.probe, view=task.views)
    selector = CheckpointSelector(tmp_path / "best")
    batches = task.batches(16, 0)
    for step in range(1, 13):
        optimizer.zero_grad()
        task.loss(model, next(batches)).backward()
        optimizer.step()
        if step % 4 == 0:
            reading = monitor.read(model, step)
            assert not math.isnan(reading.values["stable_information"]) or step == 4
            selector.update(reading, model)
    model.load_state_dict(selector.load())


def test_a_screening_reads_the_same_positions_of_seen_inputs():
    task = masked_language(0)
    candidate = Candidate("tagger", {}, lambda: Tagger(16, 4, 4))
    panel = ["gap/entropy", "entropy"]
    reading = next(screen(candidate, task, Training(steps=4, batch_size=8), panel))
    assert all(math.isfinite(value) for value in reading.values.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ids": ROWS.float()},
            r"`ids` must be a tensor of integers \(T,\) or \(n, L\), got float32",
        ),
        ({"ids": ROWS[None]}, r"`ids` must be a tensor of integers .*got int64 \(1, 20, 6\)"),
        ({"ids": [1, 2]}, "`ids` must be a tensor of integers .*got list"),
        ({"ids": ROWS - 1}, "`ids` must be at least 0, got -1"),
        ({"mask": MASK[:3]}, r"`mask` must be a tensor \(20, 6\) as ids are, got int64 \(3, 6\)"),
        ({"loss_mask": [1]}, r"`loss_mask` must be a tensor \(20, 6\) as ids are, got list"),
        ({"ids": STREAM, "mask": STREAM}, "`mask` must be None for a stream of tokens, got"),
        (
            {"ids": STREAM, "padding_id": 0},
            "`padding_id` must be None for a stream of tokens, got 0",
        ),
        ({"objective": "prefix"}, "`objective` must be one of causal, masked, got 'prefix'"),
        ({"vocab_size": 6}, "`vocab_size` must be at least 7 for these ids, got 6"),
        ({"mask_id": 7}, "`mask_id` must be at least 0 and below vocab_size=7, got 7"),
        ({"probe_size": 1}, "`probe_size` must be at least 2, got 1"),
        ({"probe_size": 20}, "`probe_size` must be from 2 to 19, .*, got 20"),
        ({"ids": STREAM, "context": 0}, "`context` must be at least 1, got 0"),
        (
            {"ids": STREAM, "context": 30},
            "`probe_size` must be from 2 to 4 for 6 sequences of 30 tokens, got 5; give more tokens",
        ),
        ({"probe": {"mask": MASK}}, r"`probe` must be ids, or a dict with ids, got \['mask'\]"),
        ({"probe": ROWS[:, :4]}, r"`probe` must be \(N, 6\), with .* have, got int64 \(20, 4\)"),
        ({"probe": ROWS, "mask": MASK}, r"`probe` must be \(N, 6\), with the masks that ids have"),
        (
            {"mask": MASK * 0},
            "`ids` must have a token to predict in every sequence, got one without",
        ),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(**{"probe_size": 5, **changes})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_model_without_a_mask_argument_is_called_without_loss_mask():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(8, 4), nn.Linear(4, 8)

        def forward(self, input_ids):
            return self.head(self.embed(input_ids))

    task = make(loss_mask=ANSWERS)
    assert capture(Plain(), task.probe).positions.shape == (4 * 2,)
    assert chain(0, 10).shape == (10,)
