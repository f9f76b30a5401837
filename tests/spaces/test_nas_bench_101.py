"""NAS-Bench-101 against its published sizes and a plain account of its cells."""

import re

import pytest
import torch
from prescreen.search_spaces import nas_bench_101
from published_spaces import IMAGES, published_rows, with_gradients
from torch import nn

from prescreen import Training, load_task, rank
from prescreen.spaces.chosen import as_candidates

FULL = {"channels": 128, "modules_per_stack": 3}
THREE, ONE, POOL = nas_bench_101.OPERATIONS


def cell(matrix, *inner):
    return {"matrix": matrix, "ops": "|".join(["input", *inner, "output"])}


# 0 → 1 → 2 → 4, 0 → 3 → 4, 0 → 2 and 0 → 4.
MIXED = cell("01111/00100/00001/00001/00000", THREE, ONE, POOL)
DIRECT = cell("01/00")


@pytest.fixture(scope="module")
def published():
    return published_rows("nas_bench_101", 250)


def count(config, **sizes):
    with torch.device("meta"):
        return sum(p.numel() for p in nas_bench_101.build(config, **sizes).parameters())


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_parameters_equal_the_published_ones(published, every):
    for row in published[::every]:
        assert count({key: row[key] for key in ("matrix", "ops")}, **FULL) == int(row["params"])


@pytest.mark.parametrize(
    ("config", "widths"),
    [
        (DIRECT, [3, 10]),
        # Vertices 2 and 3 share the output; 1 has as many channels as 2, which it leads to.
        (MIXED, [3, 5, 5, 5, 10]),
        # Three share 10 channels, and the first of them has the one that is left over.
        (cell("01110/00001/00001/00001/00000", ONE, ONE, ONE), [3, 4, 3, 3, 10]),
        # The first leads to two of unlike width and has the larger one.
        (cell("010000/001110/000001/000001/000001/000000", *[ONE] * 4), [3, 4, 4, 3, 3, 10]),
    ],
)
def test_channels_of_vertices(config, widths):
    rows = config["matrix"].split("/")
    matrix = [[int(digit) for digit in row] for row in rows]
    assert nas_bench_101.vertex_channels(matrix, 3, 10) == widths


def vertex_by_vertex(block, x):
    """What a cell computes: sums of what enters, without the channels that are too many."""
    last = len(block.matrix) - 1
    values = [x]
    for v in range(1, last):
        total = 0
        for source in range(v):
            if block.matrix[source][v]:
                entering = block.projections[str(v)](x) if source == 0 else values[source]
                total = total + entering[:, : block.widths[v]]
        values.append(block.operations[str(v)](total))
    ends = [values[v] for v in range(1, last) if block.matrix[v][last]]
    out = torch.cat(ends, 1) if ends else 0
    return out + block.projections[str(last)](x) if block.matrix[0][last] else out


def test_cells_compute_what_the_graph_says():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    drawn = [candidate.config for candidate in as_candidates("nas_bench_101", 40, 1)]
    for config in [MIXED, DIRECT, *drawn]:
        network = nas_bench_101.build(config, channels=6).double()
        block = next(part for part in network if isinstance(part, nas_bench_101.Cell))
        torch.testing.assert_close(block(x), vertex_by_vertex(block, x))


def test_operations_are_the_published_ones():
    network = nas_bench_101.build(MIXED)
    block = next(part for part in network if isinstance(part, nas_bench_101.Cell))
    kinds = [type(part) for part in block.operations["1"]]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert block.operations["1"][0].kernel_size == (3, 3)
    assert block.operations["2"][0].kernel_size == (1, 1)
    assert isinstance(block.operations["3"], nn.MaxPool2d)
    full = nas_bench_101.build(MIXED, **FULL)
    assert sum(isinstance(part, nas_bench_101.Cell) for part in full) == 9
    assert full[-1].in_features == 512


def test_samples_are_cells_with_names_of_their_own():
    candidates = as_candidates("nas_bench_101", 300, 0)
    assert len({candidate.name for candidate in candidates}) == 300
    sizes = set()
    for candidate in candidates:
        rows = candidate.config["matrix"].split("/")
        sizes.add(len(rows))
        assert candidate.config["matrix"].count("1") <= nas_bench_101.EDGES
        # What is on no path is not in the config: every row but the last has an edge, and so has
        # every column but the first.
        assert all("1" in row for row in rows[:-1])
        assert all("1" in column for column in [*zip(*rows, strict=True)][1:])
        with torch.device("meta"):
            nas_bench_101.build(candidate.config)
    assert sizes == {2, 3, 4, 5, 6, 7}


def test_name_of_one_cell():
    assert nas_bench_101.name(MIXED) == "3x3 1x1 pool: 1<0 2<0,1 3<0 4<0,2,3"
    assert nas_bench_101.name(DIRECT) == "input: 1<0"


def test_vertices_on_no_path_do_not_matter():
    # 1 leads nowhere, and nothing leads to 2.
    rich = cell("01010/00000/00010/00001/00000", THREE, THREE, ONE)
    plain = cell("010/001/000", ONE)
    assert nas_bench_101.name(rich) == nas_bench_101.name(plain)
    assert count(rich) == count(plain)


@pytest.mark.parametrize(("channels", "size"), [(1, (1, 1)), *IMAGES])
def test_every_image_size_trains(channels, size):
    for network in with_gradients("nas_bench_101", 4, 2, channels, size):
        assert all(parameter.grad is not None for parameter in network.parameters())


def test_optuna_trials_drive_sample():
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    config = nas_bench_101.sample(trial)
    assert len(trial.params) == 21 + 1 + 5
    # Ray Tune's OptunaSearch passes the draws on as well.
    assert nas_bench_101.name(trial.params | config) == nas_bench_101.name(config)
    assert nas_bench_101.build(trial.params | config)(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


def test_a_ranking_of_the_space():
    training = Training(steps=2, batch_size=8)
    ranking = rank("nas_bench_101", load_task("digits"), samples=3, training=training)
    assert [row.status for row in ranking] == ["ok"] * 3


@pytest.mark.parametrize(
    ("config", "sizes", "message"),
    [
        ({}, {}, "`config` must have the keys matrix and ops, got []"),
        (cell("0/0"), {}, "`matrix` must be square, of 2 to 7 rows, got '0/0'"),
        (cell("/".join(["0" * 8] * 8)), {}, "`matrix` must be square, of 2 to 7 rows, got '0"),
        (cell("02/00"), {}, "`matrix` must be upper triangular of 0 and 1, got '02/00'"),
        (cell("01/10"), {}, "`matrix` must be upper triangular of 0 and 1, got '01/10'"),
        (cell("01/00", ONE), {}, "`ops` must be input, 0 of conv3x3-bn-relu, "),
        (cell("010/001/000", "conv"), {}, "`ops` must be input, 1 of conv3x3-bn-relu, "),
        (cell("00/00"), {}, "`matrix` must lead from input to output, got '00/00'"),
        (
            cell("01111/00111/00011/00001/00000", *[ONE] * 3),
            {},
            "`matrix` must have at most 9 edges on paths from input to output, got 10 in '01111/",
        ),
        (DIRECT, {"channels": 0}, "`channels` must be at least 1, got 0"),
        (DIRECT, {"modules_per_stack": 0}, "`modules_per_stack` must be at least 1, got 0"),
        (MIXED, {"channels": 1}, "`channels` must be at least 2 for this cell, got 1"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(config, sizes, message):
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}[^\n]*$"):
        nas_bench_101.build(config, **sizes)
