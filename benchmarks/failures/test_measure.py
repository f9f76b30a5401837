"""The benchmark of failures: its corrections, its data, and what it measures."""

from dataclasses import replace

import pytest
import torch

from benchmarks.common import training_sets
from benchmarks.failures import corrections, data, tables
from benchmarks.failures import measure as runs
from benchmarks.failures import plans as planning
from prescreen import CandidateFailed
from prescreen.captured import Capture
from prescreen.tasks import ImageTask
from prescreen.tasks.images.batches import DatasetBatches, Moments
from prescreen.tasks.images.dataset import InMemory
from prescreen.tasks.images.probe_batch import probe_shift

CLASSES = 10
POOLS = planning.CONVOLUTIONS.replace("nor_conv_3x3", "avg_pool_3x3")


@pytest.fixture
def taken():
    features = torch.randn(64, 12, dtype=torch.float64)
    weight = torch.randn(CLASSES, 12, dtype=torch.float64)
    bias = torch.randn(CLASSES, dtype=torch.float64)
    return Capture(features, features @ weight.T + bias, weight, bias, "softmax")


@pytest.fixture
def samples():
    labels = torch.arange(CLASSES).repeat(800)
    images = torch.randint(256, (len(labels), 3, 4, 4), dtype=torch.uint8)
    return InMemory(images, labels)


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_corrected_readouts_are_blind_to_a_temperature(taken, factor):
    hotter = replace(
        taken,
        logits=factor * taken.logits,
        weight=factor * taken.weight,
        bias=factor * taken.bias,
    )
    expected = {name: readout(taken) for name, readout in corrections.CORRECTED.items()}
    found = {name: readout(hotter) for name, readout in corrections.CORRECTED.items()}
    assert found == pytest.approx(expected, rel=1e-9)
    assert len(found) == 9


def test_corrected_readouts_of_equal_logits_are_finite(taken):
    flat = Capture(torch.zeros(8, 12), torch.zeros(8, CLASSES), torch.zeros(CLASSES, 12), None)
    for kind in ("scaled", "rowwise"):
        assert corrections.CORRECTED[f"{kind}.confidence"](flat) == pytest.approx(0.1)


def test_gaps_and_shifts_vanish_on_equal_inputs(taken):
    assert {gap(taken, taken) for gap in corrections.GAPS.values()} == {0.0}
    layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()]
    pool = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, CLASSES)]
    model = torch.nn.Sequential(*layers, *pool)
    inputs = torch.randn(16, 3, 8, 8)
    shifts = corrections.shifts(model, inputs, inputs)
    assert shifts.pop("shift.input") == probe_shift(inputs)
    assert list(shifts.values()) == pytest.approx([0.0] * 5, abs=1e-6)
    assert corrections.shifts(model, inputs, 3 * inputs + 1)["shift.features_running"] > 0.1


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_exactly_a_share_of_labels_is_wrong(samples, share):
    wrong = training_sets.wrong_labels(samples, share, CLASSES)
    assert (wrong.labels != samples.labels).sum() == round(share * len(samples))
    assert wrong.labels.min() == 0
    assert wrong.labels.max() == CLASSES - 1


def test_a_long_tail_has_its_ratio(samples):
    sizes = training_sets.long_tail(samples).labels.bincount().tolist()
    assert sizes[0] == 100 * sizes[-1] == 800
    assert sizes == sorted(sizes, reverse=True)


def test_shifted_probes_are_deterministic_and_distinct(samples):
    first, again = (data.shifted_probes(samples, 64) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert {(*images.shape, images.dtype) for images in first.values()} == {
        (64, 3, 4, 4, torch.uint8)
    }
    assert {tables.REFERENCE, *tables.CLEAN} < set(first)
    clean = first.pop("clean")
    assert not any(torch.equal(clean, images) for images in first.values())


def test_a_recipe_varies_one_factor():
    planned = planning.plans("recipe", None)
    assert len({plan.name for plan in planned}) == len(planned) == 28
    for plan in planned[3:]:
        assert replace(plan.recipe, **{plan.factor: 0.0}) == replace(
            planning.Recipe(), **{plan.factor: 0.0}
        )
    model = planning.Recipe(dropout=0.5).build(planning.CONVOLUTIONS)
    assert isinstance(model[-2], torch.nn.Dropout)


@pytest.fixture
def tiny(samples, monkeypatch):
    """The benchmark's data and budgets, scaled down; every class has its own colour."""
    images = samples.labels.view(-1, 1, 1, 1) * 20 + samples.images // 8
    batches = DatasetBatches(
        InMemory(images.to(torch.uint8), samples.labels),
        Moments((100.0,) * 3, (60.0,) * 3),
        crop=True,
        flip=True,
    )
    inputs, labels = next(batches(128, 7))
    task = ImageTask("tiny", inputs, CLASSES, 3, (4, 4), batches)
    for name, steps in (("BRIEF", 8), ("LONG", 12), ("OVERFIT", 8)):
        monkeypatch.setattr(runs, name, steps)
    probes = {"clean": inputs, "noise": inputs + torch.randn_like(inputs)}
    # As the benchmark's workers do: threads wait for each other on a busy machine.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield data.Data(task, batches.samples, probes, (inputs, labels))
    torch.set_num_threads(threads)


@pytest.mark.parametrize("experiment", planning.EXPERIMENTS)
def test_every_experiment_measures_what_its_table_needs(tiny, experiment):
    readings = runs.measure(tiny, planning.Plan(experiment, "cell", "cell", 0.0, arch=POOLS))
    assert [r.step for r in readings] == ([2, 4, 8] if experiment == "overfit" else [8])
    values = readings[-1].values
    prefix = "noise: " if experiment == "shifted" else ""
    assert {prefix + name for name in corrections.READ} | set(runs.TRUTHS) <= set(values)
    assert (set(corrections.GAPS) <= set(values)) == (experiment == "overfit")


def test_a_collapsed_candidate_is_a_failure(tiny):
    nothing = POOLS.replace("avg_pool_3x3", "none")
    with pytest.raises(CandidateFailed, match="collapsed"):
        runs.measure(tiny, planning.Plan("shifted", "dead", "cell", 0.0, arch=nothing))
