"""DARTS against its published sizes and a plain account of its cells."""

import re

import pytest
import torch
from prescreen.search_spaces import darts
from published_spaces import IMAGES, published_rows, with_gradients
from torch import nn

from prescreen import Training, load_task, rank
from prescreen.spaces.chosen import as_candidates

FULL = {"channels": 32, "cells": 8}


def config(normal, reduce=None):
    """A config from the operations and sources of both cells, eight each."""
    text = "|".join(f"{operation}~{source}" for operation, source in normal)
    other = text if reduce is None else "|".join(f"{o}~{source}" for o, source in reduce)
    return {"normal": text, "reduce": other}


SOURCES = (0, 1, 0, 2, 1, 3, 2, 4)
SEPARABLE = config([("sep_conv_3x3", source) for source in SOURCES])
SKIPS = config([("skip_connect", source) for source in SOURCES])


@pytest.fixture(scope="module")
def published():
    return published_rows("darts", 362)


def build(config, **sizes):
    with torch.device("meta"):
        return darts.build(config, **sizes)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("every", [15, pytest.param(1, marks=pytest.mark.slow)])
def test_parameters_equal_the_published_ones(published, every):
    for row in published[::every]:
        assert count(build({cell: row[cell] for cell in darts.CELLS}, **FULL)) == int(row["params"])


def test_affine_normalisations_are_what_a_straightforward_build_has_too_many(published):
    surplus = []
    for row in published[::20]:
        model = build({cell: row[cell] for cell in darts.CELLS}, **FULL)
        plain = (m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and not m.affine)
        surplus.append(sum(2 * norm.num_features for norm in plain))
    assert 3_200 <= min(surplus) < 8_960 < max(surplus) <= 15_232


def test_operations_are_the_published_ones():
    names = [*darts.OPERATIONS, "skip_connect"]
    model = darts.build(config([*zip(names, SOURCES, strict=True)]), channels=4)
    pooled, averaged, skip, sep3, sep5, dil3, dil5, _ = model.cells[0].operations
    image = torch.full((1, 4, 6, 6), 3.0)
    for same in (pooled, averaged, skip):  # also at the border
        assert torch.equal(same(image), image)
    for twice, kernel in ((sep3, 3), (sep5, 5)):
        kinds = [nn.ReLU, nn.Conv2d, nn.Conv2d, nn.BatchNorm2d]
        assert [[type(part) for part in half] for half in twice] == [kinds, kinds]
        assert all(half[1].kernel_size == (kernel, kernel) for half in twice)
        assert all(half[1].groups == 4 and not half[3].affine for half in twice)
    for dilated, kernel in ((dil3, 3), (dil5, 5)):
        assert dilated[1].kernel_size == (kernel, kernel)
        assert dilated[1].dilation == (2, 2)
    # In a reduction cell what comes from outside is halved.
    reduction = model.cells[1].operations
    assert isinstance(reduction[2], darts.FactorizedReduce)
    wide = torch.zeros(1, 8, 6, 6)
    assert [operation(wide).shape[-1] for operation in reduction] == [3, 3, 3, 6, 3, 6, 6, 6]


def test_a_factorized_reduction_sees_every_second_pixel_and_those_between():
    torch.manual_seed(0)
    reduce = darts.FactorizedReduce(3, 4, affine=False).double().eval()
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    padded = torch.zeros(2, 3, 6, 6, dtype=torch.float64)
    padded[:, :, :5] = x.clamp(min=0)
    first, second = (conv.weight[:, :, 0, 0] for conv in reduce.convolutions)
    pixels = padded[:, :, ::2, ::2], padded[:, :, 1::2, 1::2]
    parts = [
        torch.einsum("nchw,kc->nkhw", *pair) for pair in zip(pixels, (first, second), strict=True)
    ]
    expected = torch.cat(parts, 1) / (1 + reduce.normalization.eps) ** 0.5
    torch.testing.assert_close(reduce(x), expected)


def test_nodes_are_sums_of_two_operations():
    torch.manual_seed(0)
    model = darts.build(SKIPS, channels=4).double()
    cell, image = model.cells[0], torch.randn(2, 3, 8, 8, dtype=torch.float64)
    stem = model.stem(image)
    a, b = (entry(stem) for entry in cell.entries)
    # Nodes 2 to 5 have the sources (0, 1), (0, 2), (1, 3) and (2, 4).
    nodes = [a, b, a + b]
    nodes.append(a + nodes[2])
    nodes.append(b + nodes[3])
    nodes.append(nodes[2] + nodes[4])
    torch.testing.assert_close(cell(stem, stem), torch.cat(nodes[2:], 1))


def test_reduction_cells_stand_at_a_third_and_two_thirds():
    model = build(SEPARABLE, **FULL)
    widths = [cell.operations[0][0][1].in_channels for cell in model.cells]
    assert widths == [32, 32, 64, 64, 64, 128, 128, 128]
    # The cell after a reduction halves what comes from before it.
    halving = [isinstance(cell.entries[0], darts.FactorizedReduce) for cell in model.cells]
    assert halving == [False, False, False, True, False, False, True, False]
    assert model.classifier.in_features == 512


def test_samples_are_genotypes_with_names_of_their_own():
    candidates = as_candidates("darts", 200, 0)
    assert len({candidate.name for candidate in candidates}) == 200
    assert max(len(candidate.name) for candidate in candidates) <= 120
    operations = set()
    for candidate in candidates:
        for cell in darts.CELLS:
            edges = [edge.split("~") for edge in candidate.config[cell].split("|")]
            operations |= {operation for operation, _ in edges}
            sources = [int(source) for _, source in edges]
            pairs = zip(darts.NODES, sources[::2], sources[1::2], strict=True)
            assert all(0 <= first < second < node for node, first, second in pairs)
    assert operations == set(darts.OPERATIONS)
    for candidate in candidates[:10]:
        build(candidate.config)


def test_name_of_one_genotype():
    pools = config([("max_pool_3x3", source) for source in SOURCES], [("dil_conv_5x5", 0)] * 8)
    assert darts.name(pools) == (
        "max~0,max~1|max~0,max~2|max~1,max~3|max~2,max~4 dil5~0,dil5~0|"
        + "|".join(["dil5~0,dil5~0"] * 3)
    )


@pytest.mark.parametrize(("channels", "size"), IMAGES)
def test_every_image_size_trains(channels, size):
    for network in with_gradients("darts", 2, 1, channels, size):
        assert network.classifier.weight.grad is not None


def test_optuna_trials_drive_sample():
    optuna = pytest.importorskip("optuna")
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    drawn = darts.sample(trial)
    assert len(trial.params) == 2 * 4 * 3
    # Ray Tune's OptunaSearch passes the draws on as well.
    assert darts.name(trial.params | drawn) == darts.name(drawn)
    assert count(build(trial.params | drawn)) == count(build(drawn))


def test_a_ranking_of_the_space():
    training = Training(steps=2, batch_size=8)
    ranking = rank("darts", load_task("digits"), samples=2, training=training)
    assert [row.status for row in ranking] == ["ok"] * 2


EDGES = (
    "`normal` must be 8 edges operation~source joined by |, two a node, each of an earlier node "
)


@pytest.mark.parametrize(
    ("normal", "sizes", "message"),
    [
        (None, {}, "`config` must have the keys normal and reduce, got ['reduce']"),
        ("", {}, EDGES),
        (SKIPS["normal"] + "|skip_connect~0", {}, EDGES),
        (SKIPS["normal"].replace("~4", "~5"), {}, EDGES),
        (SKIPS["normal"].replace("~4", "~-1"), {}, EDGES),
        (SKIPS["normal"].replace("skip_connect", "none"), {}, EDGES),
        (SKIPS["normal"], {"channels": 1}, "`channels` must be at least 2, got 1"),
        (SKIPS["normal"], {"cells": 2}, "`cells` must be at least 3, got 2"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(normal, sizes, message):
    given = {"reduce": SKIPS["reduce"]} | ({} if normal is None else {"normal": normal})
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}[^\n]*$"):
        darts.build(given, **sizes)
