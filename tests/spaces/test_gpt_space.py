"""The GPT space against a closed formula, another implementation, and its users."""

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from prescreen.search_spaces import gpt
from toy_tasks import chain

from prescreen import Training, capture, rank
from prescreen.heads import find_heads
from prescreen.readouts.network import flops, isotropy, synflow
from prescreen.tasks import LanguageTask

SMALL = {
    "depth": 2,
    "width": 32,
    "heads": 4,
    "mlp_ratio": 2,
    "norm": "pre",
    "tied": False,
    "context": 8,
}
IDS = torch.randint(11, (3, 20), generator=torch.Generator().manual_seed(0))


def make(**changes):
    torch.manual_seed(0)
    return gpt.build({**SMALL, **changes}, vocab_size=11, max_length=20)


def few():
    """Some configs, each choice among them."""
    return itertools.islice(gpt.grid(), 0, None, 191)


def expected_parameters(config, vocabulary, length):
    d, r = config["width"], config["mlp_ratio"]
    attention = 3 * (d * d + d) + d * d + d
    mlp = (d * r * d + r * d) + (r * d * d + d)
    ends = vocabulary * d * (1 if config["tied"] else 2) + length * d
    last = 2 * d if config["norm"] == "pre" else 0
    return ends + config["depth"] * (attention + mlp + 2 * 2 * d) + last


@pytest.mark.parametrize(("vocabulary", "length"), [(65, 128), (50_257, 32)])
def test_every_network_has_the_expected_parameters(vocabulary, length):
    for config in few():
        with torch.device("meta"):
            model = gpt.build(config, vocab_size=vocabulary, max_length=length)
        counted = sum(parameter.numel() for parameter in model.parameters())
        assert counted == expected_parameters(config, vocabulary, length), config


def test_grid_and_names_are_complete_and_distinct():
    configs = list(gpt.grid())
    choices = [len(values) for values in gpt.CHOICES.values()]
    assert len(configs) == len({gpt.name(config) for config in configs}) == math.prod(choices)
    assert gpt.name(SMALL) == "2x32-h4-r2-pre-own-c8"
    assert gpt.name({**SMALL, "tied": True, "depth": 2.0}) == "2x32-h4-r2-pre-tied-c8"
    for key, values in gpt.CHOICES.items():
        assert {config[key] for config in few()} == set(values)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("context", [8, 32])
def test_a_position_sees_its_window_and_nothing_after_itself(norm, context):
    """From gradients: which tokens the features of each position depend on."""
    model = make(norm=norm, context=context, depth=1)
    embedded = model.embedding(IDS[:1]).detach().requires_grad_()
    for position in range(20):
        out = model.norm(model.layers(embedded))[0, position].square().sum()
        (gradient,) = torch.autograd.grad(out * torch.randn(()), embedded)
        seen = gradient[0].abs().sum(1).nonzero()[:, 0].tolist()
        assert set(seen) <= set(range(max(0, position - context + 1), position + 1))
        if norm == "pre":  # the norm at the end of `post` has features of a fixed length
            assert len(seen) == min(position + 1, context)


@pytest.mark.parametrize("changes", [{}, {"norm": "post"}, {"context": 32}, {"heads": 1}])
def test_layers_compute_what_torchs_do(changes):
    model = make(**changes).double().eval()
    config = {**SMALL, **changes}
    x = model.embedding(IDS) + model.positions
    place = torch.arange(20)
    behind = place[:, None] - place
    hidden = (behind < 0) | (behind >= config["context"])
    for layer in model.layers:
        other = torch.nn.TransformerEncoderLayer(
            32,
            config["heads"],
            64,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=config["norm"] == "pre",
        ).double()
        parts = [
            *(layer.attention.into.weight, layer.attention.into.bias),
            *layer.attention.out.parameters(),
            *(one for module in (layer.mlp[0], layer.mlp[2]) for one in module.parameters()),
            *(one for norm in layer.norms for one in norm.parameters()),
        ]
        for own, given in zip(other.parameters(), parts, strict=True):
            own.data.copy_(given)
        y = other(x, src_mask=hidden)
        x = layer(x)
        torch.testing.assert_close(x, y)
    torch.testing.assert_close(model(IDS), model.norm(x) @ model.head.weight.T)


@pytest.mark.parametrize("tied", [False, True])
def test_tied_heads_are_read_as_the_head(tied):
    model = make(tied=tied)
    assert (model.head.weight is model.embedding.weight) is tied
    (head,) = find_heads(model)
    assert head.name == "head"
    taken = capture(model, IDS)
    assert torch.equal(taken.weight, model.embedding.weight if tied else model.head.weight)
    assert taken.bias is None
    logits = model(IDS).flatten(0, 1)[taken.positions]
    torch.testing.assert_close(taken.logits, logits, rtol=0, atol=0)
    torch.testing.assert_close(taken.features @ taken.weight.T, logits, rtol=1e-4, atol=1e-5)


def test_operations_are_counted_with_those_of_attention():
    for config in few():
        model = gpt.build(config, vocab_size=11, max_length=20)
        d = config["width"]
        layer = 4 * d * d + 2 * config["mlp_ratio"] * d * d + 2 * 20 * d  # scores and mixtures
        assert flops(model, IDS) == 2 * 20 * (config["depth"] * layer + d * 11)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_measures_of_the_untrained_network_are_defined(norm):
    model = make(norm=norm)
    assert 0 < isotropy(model, IDS) < math.log(32)
    assert math.isfinite(synflow(model, IDS))


@pytest.fixture(scope="module")
def task():
    return LanguageTask(chain(0), context=16, probe_size=32)


def test_the_default_panel_ranks_models_and_a_killed_run_is_resumed(task, tmp_path):
    options = {
        "samples": 2,
        "seed": 32,  # small ones
        "training": Training(steps=24, batch_size=8, optimizer="adamw", lr=0.01),
        "extra": {"held_out_loss": task.held_out_loss},
    }
    first = rank("gpt", task, out=tmp_path, **options)
    assert [row.status for row in first] == ["ok"] * 2
    assert set(task.panel) <= set(first.best.values)
    assert all(math.isfinite(value) for row in first for value in row.values.values())
    assert first.best.values["held_out_loss"] < math.log(4)
    journal = Path(tmp_path / "journal.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[: len(lines) // 2]))
    again = rank("gpt", task, out=tmp_path, **options)
    values = [[json.dumps(row.values), row.score] for row in first]
    assert values == [[json.dumps(row.values), row.score] for row in again]


def test_optuna_searches_the_space(task):
    optuna = pytest.importorskip("optuna")
    from prescreen.integrations.optuna import objective

    assert gpt.sample(optuna.trial.FixedTrial(SMALL)) == SMALL
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.enqueue_trial(SMALL)
    brief = Training(steps=40, batch_size=16, optimizer="adamw")
    search = objective("gpt", task, brief, value="covariance_gradient", costs=["flops"])
    study.optimize(search, n_trials=1)
    (trial,) = study.trials
    assert trial.values[1] == flops(make_for(task), task.probe[:1])
    assert trial.values[0] > 0


def make_for(task):
    sizes = {name: task.sizes[name] for name in ("vocab_size", "max_length")}
    return gpt.build(SMALL, **sizes)


@pytest.mark.parametrize(
    ("config", "sizes", "message"),
    [
        ({}, {}, "`config` must have the keys depth, .*, got "),
        ({**SMALL, "norm": "mid"}, {}, "`norm` must be one of pre, post, got 'mid'"),
        ({**SMALL, "width": 33}, {}, "`width` must be one of 32, .*, got 33"),
        (SMALL, {"vocab_size": 0}, "`vocab_size` must be at least 1, got 0"),
        (SMALL, {"max_length": 0}, "`max_length` must be at least 1, got 0"),
    ],
)
def test_bad_configs_are_refused(config, sizes, message):
    with pytest.raises(ValueError, match=message):
        gpt.build(config, **{"vocab_size": 11, "max_length": 20, **sizes})
