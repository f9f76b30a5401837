"""Search spaces against published numbers, slow references and with Optuna's trials."""

import csv
import itertools
import sys
from pathlib import Path

import pytest
import torch
from prescreen.search_spaces import nas_bench_201, timm_models
from torch import nn

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT.parent / "shared" / "data" / "nas_bench_201" / "cifar10.csv"
FULL = {"channels": 16, "cells_per_stage": 5}

# These models halve the resolution too often for such small images.
CANNOT_32 = {"ghostnetv3_050"}
CANNOT_28 = {
    "dla46_c",
    "densenet121",
    "ese_vovnet19b_slim_dw",
    "ghostnetv3_050",
    "test_convnext",
    "convnext_zepto_rms",
    "convnext_atto",
    "convnextv2_atto",
    "inception_next_atto",
    "fasternet_t0",
    "edgenext_xx_small",
    "pvt_v2_b0",
    "test_coatnet",
    "test_maxvit",
    "levit_128s",
    "coat_lite_tiny",
}


def cell(*operations):
    """A config from the operations of edges 1←0, 2←0, 2←1, 3←0, 3←1, 3←2."""
    return dict(zip(next(iter(nas_bench_201.grid())), operations, strict=True))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(scope="module")
def full_counts():
    """Parameters of all full networks by arch.

    Cells with the same operations on other edges are the same modules in another order, so each
    of the 210 multisets of operations is built once.
    """
    by_operations, by_arch = {}, {}
    for config in nas_bench_201.grid():
        operations = tuple(sorted(config.values()))
        if operations not in by_operations:
            with torch.device("meta"):
                by_operations[operations] = count(nas_bench_201.build(config, **FULL))
        by_arch[nas_bench_201.to_arch(config)] = by_operations[operations]
    return by_arch


def test_every_cell_has_the_published_number_of_parameters(full_counts):
    assert len(full_counts) == 15_625
    for arch, parameters in full_counts.items():
        ones, threes = arch.count("nor_conv_1x1"), arch.count("nor_conv_3x3")
        assert parameters == 73_306 + 28_000 * ones + 243_040 * threes


def test_parameters_equal_the_benchmarks_column(full_counts):
    if not BENCHMARK.exists():
        pytest.skip(f"needs the benchmark's table {BENCHMARK.name} in shared/data/nas_bench_201")
    with BENCHMARK.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2000
    assert all(full_counts[row["arch"]] == int(row["params"]) for row in rows)
    for row in rows[::50]:
        with torch.device("meta"):
            network = nas_bench_201.build({"arch": row["arch"]}, **FULL)
        assert count(network) == int(row["params"])


def test_every_cell_has_its_own_short_name_and_arch():
    configs = list(nas_bench_201.grid())
    names = {nas_bench_201.name(config) for config in configs}
    assert len(names) == len({nas_bench_201.to_arch(config) for config in configs}) == 15_625
    assert max(map(len, names)) <= 40
    assert all(
        nas_bench_201.from_arch(nas_bench_201.to_arch(config)) == config for config in configs[::7]
    )


def test_name_and_arch_of_one_cell():
    config = cell(
        "nor_conv_3x3", "nor_conv_1x1", "skip_connect", "none", "avg_pool_3x3", "nor_conv_3x3"
    )
    arch = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    assert nas_bench_201.name(config) == "3x3|1x1,skip|none,pool,3x3"
    assert nas_bench_201.to_arch(config) == arch
    assert nas_bench_201.name({"arch": arch}) == nas_bench_201.name(config)
    assert config["edge_2_0"] == "nor_conv_1x1"


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("", "`arch` must be like .*, got ''"),
        ("|none~0|+|none~0|none~1|", "`arch` must be like "),
        ("|none~0|+|none~0|none~0|+|none~0|none~1|none~2|", "`arch` must be like "),
        ("|none~1|+|none~0|none~1|+|none~0|none~1|none~2|", "`arch` must be like "),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|\n", "`arch` must be like "),
        ("|none~0|+|none~0|conv~1|+|none~0|none~1|none~2|", "`arch` must have .*, got 'conv'"),
    ],
)
def test_malformed_arch_is_refused(arch, message):
    with pytest.raises(ValueError, match=message):
        nas_bench_201.from_arch(arch)


@pytest.mark.parametrize(
    ("config", "keywords", "message"),
    [
        ({}, {}, "`config` must have the keys edge_1_0, .* or arch, got "),
        (
            cell(*["none"] * 6) | {"edge_9_9": "none"},
            {},
            "`config` must have the keys .*'edge_9_9'",
        ),
        (cell(*["none"] * 5, "conv"), {}, "`edge_3_2` must be one of none, .*, got 'conv'"),
        (cell(*["none"] * 6), {"channels": 0}, "`channels` must be at least 1, got 0"),
        (
            cell(*["none"] * 6),
            {"cells_per_stage": 0},
            "`cells_per_stage` must be at least 1, got 0",
        ),
    ],
)
def test_bad_cell_is_refused(config, keywords, message):
    with pytest.raises(ValueError, match=message):
        nas_bench_201.build(config, **keywords)


def every_node(block, x, operations):
    """A cell as published: all edges, live or dead, node by node; "none" multiplies by zero."""
    nodes = [x]
    for to in (1, 2, 3):
        entering = [
            nodes[source] * 0
            if operations[f"edge_{to}_{source}"] == "none"
            else block.edges[f"edge_{to}_{source}"](nodes[source])
            for source in range(to)
        ]
        nodes.append(sum(entering))
    return nodes[3]


def random_cells(number):
    generator = torch.Generator().manual_seed(0)
    operations = list(nas_bench_201.OPERATIONS)
    for row in torch.randint(5, (number, 6), generator=generator).tolist():
        yield cell(*(operations[index] for index in row))


def test_cells_without_dead_edges_compute_what_all_edges_compute():
    torch.manual_seed(0)
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    zero_node_into_convolution = cell("none", "none", "none", "none", "nor_conv_3x3", "none")
    for config in itertools.chain([zero_node_into_convolution], random_cells(150)):
        network = nas_bench_201.build(config, channels=4).double()
        block = next(part for part in network if isinstance(part, nas_bench_201.Cell))
        for parameter in block.parameters():
            nn.init.normal_(parameter)  # a batch normalisation's bias is zero before training
        torch.testing.assert_close(block(x), every_node(block, x, config))


def test_dead_edges_are_counted_but_not_executed():
    dead = cell("nor_conv_3x3", "nor_conv_3x3", "nor_conv_3x3", "skip_connect", "none", "none")
    network = nas_bench_201.build(dead)
    executed = []
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda module, *_: executed.append(module))
    network(torch.randn(2, 3, 8, 8))
    reductions, stem = 2 * 3, 1
    assert len(executed) == stem + reductions
    assert sum(isinstance(part, nn.Conv2d) for part in network.modules()) == 3 * 3 + 7


def test_operations_are_the_published_ones():
    operations = ["nor_conv_3x3", "avg_pool_3x3", "skip_connect", "nor_conv_1x1", "none", "none"]
    network = nas_bench_201.build(cell(*operations))
    edges = next(part for part in network if isinstance(part, nas_bench_201.Cell)).edges
    assert [type(part) for part in edges["edge_1_0"]] == [nn.ReLU, nn.Conv2d, nn.BatchNorm2d]
    norm = edges["edge_3_0"][2]
    assert norm.affine
    assert norm.track_running_stats
    # count_include_pad=False: a constant image stays constant at its borders.
    image = torch.full((1, 8, 4, 4), 3.0)
    assert torch.equal(edges["edge_2_0"](image), image)
    assert torch.equal(edges["edge_2_1"](image), image)


def test_macro_skeleton_is_the_published_one():
    network = nas_bench_201.build(cell(*["nor_conv_3x3"] * 6), num_classes=7, **FULL)
    kinds = [type(part).__name__ for part in network]
    assert kinds == [
        *["Conv2d", "BatchNorm2d"],
        *["Cell"] * 5,
        "ReductionBlock",
        *["Cell"] * 5,
        "ReductionBlock",
        *["Cell"] * 5,
        *["BatchNorm2d", "ReLU", "AdaptiveAvgPool2d", "Flatten", "Linear"],
    ]
    assert (network[-1].in_features, network[-1].out_features) == (64, 7)


@pytest.mark.parametrize(
    ("channels", "size"), [(1, (1, 1)), (1, (2, 3)), (1, (8, 8)), (3, (7, 30)), (4, (28, 28))]
)
def test_every_image_size_trains(channels, size):
    for config in random_cells(6):
        network = nas_bench_201.build(config, num_classes=5, in_channels=channels, image_size=size)
        logits = network(torch.randn(2, channels, *size))
        assert logits.shape == (2, 5)
        logits.sum().backward()
        assert network[-1].weight.grad is not None


@pytest.mark.parametrize("space", [nas_bench_201, timm_models], ids=["nas_bench_201", "timm"])
def test_optuna_trials_drive_sample(space):
    optuna = pytest.importorskip("optuna")
    first = next(iter(space.grid()))
    assert space.sample(optuna.trial.FixedTrial(first)) == first
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    config = space.sample(trial)
    assert trial.params == config
    assert config in list(space.grid())


@pytest.mark.parametrize(("channels", "size", "cannot"), [(3, 32, CANNOT_32), (1, 28, CANNOT_28)])
def test_timm_models_run_or_refuse_the_image_size(channels, size, cannot):
    pytest.importorskip("timm")
    x = torch.randn(2, channels, size, size)
    sizes = {"num_classes": 7, "in_channels": channels, "image_size": size}
    for config in timm_models.grid():
        model = timm_models.name(config)
        if model in cannot:
            line = rf"^`image_size` must be one that {model} can take, got {size}×{size}: [^\n]+$"
            with pytest.raises(ValueError, match=line):
                timm_models.build(config, **sizes)
            continue
        network = timm_models.build(config, **sizes)
        assert network.training
        assert count(network) < 7.5e6, model
        with torch.no_grad():
            assert network.eval()(x).shape == (2, 7), model


def test_trying_an_image_leaves_random_state_and_statistics_alone():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    plain = timm.create_model("test_resnet", num_classes=3, in_chans=3)
    after = torch.get_rng_state()
    torch.manual_seed(0)
    built = timm_models.build({"model": "test_resnet"}, num_classes=3)
    assert torch.equal(torch.get_rng_state(), after)
    torch.testing.assert_close(built.state_dict(), plain.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("size", "patch", "patches"), [(32, 4, 64), (28, 4, 49), (64, 8, 64), (224, 16, 196)]
)
def test_patches_shrink_with_the_image(size, patch, patches):
    pytest.importorskip("timm")
    network = timm_models.build({"model": "test_vit"}, image_size=size)
    assert network.patch_embed.patch_size == (patch, patch)
    assert network.patch_embed.num_patches == patches


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        ("resnet9000", 32, "`model` must be one that timm has, got 'resnet9000'"),
        ("test_resnet", 0, "`image_size` must be a side or .*, got 0"),
        ("test_resnet", (32, 32, 3), "`image_size` must be a side or .*, got "),
    ],
)
def test_bad_timm_arguments_are_refused(model, size, message):
    with pytest.raises(ValueError, match=message):
        timm_models.build({"model": model}, image_size=size)


def test_models_are_distinct_and_known_to_timm():
    timm = pytest.importorskip("timm")
    assert len(set(timm_models.MODELS)) == len(timm_models.MODELS) >= 50
    assert set(timm_models.MODELS) <= set(timm.list_models())


def test_missing_timm_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        ImportError, match=r"needs the 'timm' extra: pip install 'prescreen\[timm\]'"
    ):
        timm_models.build({"model": "test_resnet"})
