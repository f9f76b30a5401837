"""The benchmark of checkpoint selection: its data, its runs, its journal and its tables."""

import argparse
import io
import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from benchmark_modules import load_benchmark
from scipy.stats import kurtosis
from torch import nn

from prescreen import READOUTS, Reading, Task, Trajectory
from prescreen.data.batches import DatasetBatches, Moments
from prescreen.data.images import InMemory
from prescreen.forward import capture
from prescreen.journal import Record

main = load_benchmark("checkpoint_selection")
choices = load_benchmark("checkpoint_selection_choice")
data = load_benchmark("checkpoint_selection_data")
networks = load_benchmark("checkpoint_selection_networks")
readings = load_benchmark("checkpoint_selection_readings")
results = load_benchmark("checkpoint_selection_results")
runs = load_benchmark("checkpoint_selection_runs")
scores = load_benchmark("checkpoint_selection_scores")
stopping = load_benchmark("checkpoint_selection_stopping")
table = load_benchmark("checkpoint_selection_table")

CLASSES = 10
MOMENTS = Moments((100.0, 110.0, 120.0), (60.0, 50.0, 40.0))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As the benchmark's workers do: threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, 16, 16), generator=generator, dtype=torch.uint8)


@pytest.fixture
def samples():
    labels = torch.arange(CLASSES).repeat(2200)
    return InMemory(labels.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 1, 1), labels)


def test_corruptions_are_deterministic_and_of_all_kinds():
    clean = images(300)
    corrupted = data.corrupt(clean, seed=3)
    assert corrupted.dtype == torch.uint8
    assert torch.equal(corrupted, data.corrupt(clean, seed=3))
    assert not torch.equal(corrupted, data.corrupt(clean, seed=4))
    assert (corrupted != clean).flatten(1).any(1).all()


@pytest.mark.parametrize("kind", data.CORRUPTIONS)
def test_a_corruption_grows_with_its_strength(kind):
    clean = images(20).float() / 255

    def change(strength):
        generator = torch.Generator().manual_seed(0)
        return (data.CORRUPTIONS[kind](clean, torch.tensor(strength), generator) - clean).norm()

    assert 0 < change(0.2) < change(1.0)


def test_pixels_undo_normalization():
    clean = images(8)
    assert torch.equal(data.pixels(MOMENTS, MOMENTS.normalize(clean)), clean)


def test_training_sets_of_all_regimes(samples):
    made = {name: data.training_samples(samples, name, CLASSES, 0) for name in data.REGIMES}
    for name in ("clean", "noise", "small"):
        assert len(made[name]) == data.REGIMES[name].images
    # An image of this fixture holds its class.
    wrong = {name: (s.images[:, 0, 0, 0] != s.labels).sum().item() for name, s in made.items()}
    assert wrong.pop("noise") == round(data.NOISE * len(made["noise"]))
    assert set(wrong.values()) == {0}
    sizes = made["imbalance"].labels.bincount().tolist()
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] / sizes[-1] == pytest.approx(data.RATIO, rel=0.02)
    again, other = (data.training_samples(samples, "noise", CLASSES, seed) for seed in (0, 1))
    assert torch.equal(again.labels, made["noise"].labels)
    assert not torch.equal(other.labels, made["noise"].labels)


def test_no_image_is_in_two_sets(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the images extra is not installed")
    arrow = pytest.importorskip("pyarrow")
    image = pytest.importorskip("PIL.Image")
    for split, count, seed in (("train", 20, 0), ("test", 40, 1)):
        encoded = []
        for pixels in images(count, seed).movedim(1, -1).numpy():
            file = io.BytesIO()
            image.fromarray(pixels).save(file, "PNG")
            encoded.append({"bytes": file.getvalue()})
        columns = {"img": encoded, "label": [i % 2 for i in range(count)]}
        parquet.write_table(arrow.table(columns), tmp_path / f"{split}-0.parquet")
    for name, size in (("PROBE", 8), ("VALIDATION", 10), ("TEST", 20)):
        monkeypatch.setattr(data, name, size)
    loaded = data.load_data(tmp_path)
    clean = torch.cat([loaded.inputs["unseen"], loaded.validation[0], loaded.test[0]])
    shown = torch.cat([data.pixels(loaded.task.batches.moments, clean), loaded.samples.images])
    assert len(shown.flatten(1).unique(dim=0)) == 8 + 10 + 20 + 20
    assert loaded.inputs["corrupted"].shape == loaded.inputs["unseen"].shape
    assert loaded.corrupted_test.shape == loaded.test[0].shape


@pytest.mark.parametrize("architecture", networks.ARCHITECTURES)
def test_networks_are_read_and_repeat_with_their_seed(architecture):
    model, again = (networks.build(architecture, 1) for _ in range(2))
    inputs = torch.randn(4, 3, 16, 16)
    taken = capture(model, inputs, batch_statistics=False)
    assert taken.logits.shape == (4, CLASSES)
    assert torch.equal(taken.logits, capture(again, inputs, batch_statistics=False).logits)
    kinds = {type(module) for module in model.modules()}
    assert (nn.BatchNorm2d in kinds) == (architecture == "resnet")
    assert (nn.MultiheadAttention in kinds) == (architecture == "vit")


def test_what_training_shows_of_its_samples():
    head = nn.Linear(2, 2, bias=False)
    model = networks.Network(nn.Flatten(), head)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    followed = readings.Followed(model, torch.tensor([0, 1, 0]))
    inputs = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 1.0]]).view(3, 1, 1, 2)
    rows = torch.tensor([2, 0, 1])
    loss = followed.loss(model(inputs[rows]), rows)
    expected = nn.functional.cross_entropy(inputs.flatten(1), torch.tensor([0, 1, 0]))
    assert loss.item() == pytest.approx(expected.item())
    assert math.isnan(followed.values(1)["label_wave"])
    with torch.no_grad():
        head.weight[1, 1] = 3.0  # the second sample: 2, 3 instead of 2, 1
    followed.loss(model(inputs), torch.arange(3))
    values = followed.values(1)
    assert values["label_wave"] == pytest.approx(1 / 3)
    # By autograd: the alignment of every sample's gradient with the weight.
    gammas = []
    for x, y in zip(inputs, [0, 1, 0], strict=True):
        loss = nn.functional.cross_entropy(model(x[None]), torch.tensor([y]))
        (gradient,) = torch.autograd.grad(loss, head.weight)
        gammas.append(nn.functional.cosine_similarity(-gradient.ravel(), head.weight.ravel(), 0))
    gammas = torch.stack(gammas).detach().double().numpy()
    assert values["gwa.training"] == pytest.approx(gammas.mean() / (kurtosis(gammas) + 1.2), 1e-4)


@pytest.fixture
def tiny(monkeypatch):
    """The benchmark's data and budgets in small; every class has a colour of its own."""
    labels = torch.arange(CLASSES).repeat(16)
    coloured = (labels.view(-1, 1, 1, 1) * 20 + images(len(labels)) // 8).to(torch.uint8)
    pool = InMemory(coloured, labels)
    batches = DatasetBatches(pool, MOMENTS, crop=True, flip=True)
    inputs, targets = next(batches(32, 7))
    regimes = {
        name: data.Regime(128, 4, 2, regime.augment, regime.recipe)
        for name, regime in data.REGIMES.items()
    }
    for module in (data, runs):
        monkeypatch.setattr(module, "REGIMES", regimes)
    monkeypatch.setattr(data, "RATIO", 2.0)
    task = Task("tiny", inputs, CLASSES, 3, (16, 16), batches)
    probes = {"unseen": inputs, "corrupted": inputs + 0.1}
    return data.Data(task, pool, probes, (inputs, targets), (inputs, targets), inputs + 0.1)


def needed(regime):
    """The columns that the tables look at."""
    asked = set()

    class Row(dict):
        def get(self, key, default=None):
            asked.add(key)
            return 1.0

    tuple(scores.scores([Row()], regime))
    return asked - {"training.loss"}


@pytest.mark.parametrize(
    ("regime", "architecture"), [("clean", "resnet"), ("noise", "vit"), ("imbalance", "convnext")]
)
def test_a_run_measures_what_the_tables_need(tiny, regime, architecture):
    measured = runs.measure(tiny, runs.Plan(regime, architecture, 0))
    assert len(measured) == 2
    first, last = (reading.values for reading in measured)
    expected = needed(regime) | {"test", "test.ema", "test.swa"}
    if regime == "clean":
        expected |= needed("corrupted") | {"test.corrupted"}
    assert expected <= set(last)
    late = {name for name in expected if name.startswith("churn") or name.endswith(".before")}
    assert expected - late - {"test.swa"} <= set(first)
    assert not any(name.startswith("corrupted") for name in last if regime != "clean")
    assert math.isfinite(measured[-1].training_loss)
    assert last["probe.both"] == pytest.approx(
        last["probe.head"] * last["probe.feature"] / last["probe.none"], 1e-4
    )


def test_a_run_repeats(tiny):
    plan = runs.Plan("small", "vit", 1)
    first, again = (runs.measure(tiny, plan) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.values == pytest.approx(other.values, nan_ok=True)


def test_runs_are_distinct_and_tuning_ones_come_first():
    planned = runs.plans()
    assert len({plan.name for plan in planned}) == len(planned) == 36
    assert [plan.seed for plan in planned] == [0] * 12 + [1] * 12 + [2] * 12


def test_a_resumed_journal_measures_only_what_is_missing(tmp_path, monkeypatch):
    args = argparse.Namespace(out=tmp_path, steps_share=1.0)
    planned = runs.plans()[:3]
    outcome = [Reading(s, {"test": s / 10, "unseen.dispersion": -math.inf}, 1.0) for s in (1, 2)]
    asked = []

    def killed(args, waiting):
        asked.append([plan.name for plan in waiting])
        yield waiting[0], outcome
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_in_processes", killed)

    def to_the_end(args, waiting):
        asked.append([plan.name for plan in waiting])
        yield waiting[1], outcome
        yield waiting[0], ("diverged", "loss nan at step 1")

    with pytest.raises(KeyboardInterrupt):
        main.train(args, planned)
    monkeypatch.setattr(main, "_in_processes", to_the_end)
    records = main.train(args, planned)
    names = [plan.name for plan in planned]
    assert asked == [names, names[1:]]
    assert [records[name].status for name in names] == ["finished", "diverged", "finished"]
    path = tmp_path / "results.csv"
    results.write_results(planned, records, path)
    rows = results.read_results(path)
    assert [row["failure"] for row in rows] == ["", "", "diverged", "", ""]
    assert rows[1]["test"] == 0.2
    assert rows[1]["unseen.dispersion"] == -math.inf


def test_seen_inputs_are_not_those_with_wrong_labels(tiny, monkeypatch):
    monkeypatch.setattr(runs, "PROBE", 32)
    monkeypatch.setattr(runs, "TRAINING_IMAGES", 128)
    asked = []
    monkeypatch.setattr(
        runs, "read_all", lambda taken, labels: asked.append((taken["seen"].logits, labels)) or {}
    )
    runs.measure(tiny, runs.Plan("noise", "vit", 0))
    noisy = data.training_samples(tiny.samples, "noise", CLASSES, 0)
    clean = data.few(tiny.samples, data.REGIMES["noise"].images, 0)
    wrong = (noisy.labels != clean.labels).double().mean().item()
    order = torch.randperm(len(noisy), generator=torch.Generator().manual_seed(1000))[:32]
    assert torch.equal(asked[0][1], noisy.labels[order])
    assert 0 < (noisy.labels != clean.labels)[order].double().mean() < 2 * wrong < 1


def scored(values, better=True):
    return scores.Score("made_up", "", "none", np.array(values), better)


@pytest.mark.parametrize("better", [True, False])
def test_pick_is_the_best_smoothed_value_of_the_window(better):
    values = np.array([9.0, 9, 9, 0, 5, 0, 3, 3.1, 3, 0]) * (1 if better else -1)
    made = scored(values, better)
    assert choices.pick(made, 0.5) == 7
    assert choices.pick(made, 0.6) == 4
    assert choices.pick(made, 0.6, smoothing=3) == 7
    assert choices.pick(made, 1.0, smoothing=3) in (0, 1)


def test_pick_passes_over_what_is_not_known():
    assert choices.pick(scored([math.nan, 1.0, 5, math.nan, 2]), 1.0) == 2
    assert choices.pick(scored([math.nan] * 4), 0.5) == 3
    late = choices.choice(scored([math.nan, 1.0, 2.0, 0.0]), np.array([0.9, 0.1, 0.2, 0.0]), 1.0)
    assert (late.gap, late.rho) == (pytest.approx(70), 1)


def run_of(**columns):
    count = len(next(iter(columns.values())))
    rows = [{name: values[i] for name, values in columns.items()} for i in range(count)]
    names = needed("noise") - set(columns)
    return [{**dict.fromkeys(names, 1.0), **row} for row in rows]


def test_stopping_is_judged_by_what_was_chosen_until_then():
    rise = [0.1 * i for i in range(10)]
    test = rise + [0.9 - 0.05 * i for i in range(1, 21)]
    run = run_of(
        **{
            "test": test,
            "unseen.mutual_information": [2 + value for value in test],
            "divergence.unseen.before": [0.0] * 30,
            "validation.loss": [-value for value in test],
            "validation.accuracy": [min(value, 0.5) for value in test],
            "label_wave": [1.0, 0.9, 0.8, 0.7, 0.8, 0.9] + [1.0] * 24,
        }
    )
    lines = {
        cells[0]: cells[1:]
        for cells in (
            re.split(" {2,}", line.strip())
            for line in stopping.stopping_table([run], "noise").split("\n")
        )
    }
    assert lines["validation.loss, patience 3"] == [
        "validation",
        "57 %",
        "-100.00",
        "-100.00",
        "0.00",
    ]
    assert lines["validation.accuracy, patience 6"][1] == "60 %"
    assert lines["nothing: the last checkpoint"] == ["none", "0 %", "+0.00", "+0.00", "100.00"]
    saved, lost, *_ = lines["stable_information"][1:]
    assert lost == "-100.00"
    assert 0 < int(saved.split()[0]) < 57
    assert lines["label_wave"][1] == "80 %"


def made_up(plan):
    """Accuracy has its peak in the window; mutual information follows it, confidence does not."""
    test = [0.1 + 0.05 * i - 0.02 * max(0, i - 6) ** 2 for i in range(12)]
    found = []
    for i, accuracy in enumerate(test):
        values = dict.fromkeys(needed(plan.regime) | needed("corrupted"), 1.0)
        values |= {"test": accuracy, "test.corrupted": accuracy, "test.ema": 0.9, "test.swa": 0.8}
        values |= {f"unseen.{name}": float(i) for name in READOUTS}
        values |= {f"{kind}.mutual_information": accuracy for kind in ("unseen", "corrupted")}
        values["label_wave"] = -float(i)
        found.append(Reading(i + 1, values, 1.0, 1.0))
    return Record(Trajectory(found), "finished")


def test_tables_of_made_up_results(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(table, "bootstrap", partial(table.bootstrap, rounds=20))
    planned = runs.plans()
    records = {plan.name: made_up(plan) for plan in planned}
    records["small vit 2"] = Record(status="diverged")
    path = tmp_path / "results.csv"
    results.write_results(planned, records, path)
    table.print_tables("report", path=path)
    out = capsys.readouterr().out
    assert "left out, it failed as 'diverged': small vit 2" in out
    assert "noise: 3 runs; test accuracy in %: oracle" in out
    assert "small: 2 runs" in out
    assert "all regimes: 14 runs" in out
    noise = out.partition("\nnoise: ")[2].partition("\nsmall: ")[0]
    cells = [re.split(" {2,}", line.strip()) for line in noise.split("\n")]
    lines = {tuple(line[:2]): line[3:] for line in cells}
    table.print_tables("tune", path=path)
    summary = capsys.readouterr().out.partition("mean gap by regime, in points:")[2]
    cells = [re.split(" {2,}", line.strip()) for line in summary.split("\n")]
    gaps = {line[0]: line[1:] for line in cells}
    assert gaps["mutual information"] == ["none", *["0.00"] * 5, "0.00", "100 %"]
    assert gaps["last checkpoint"][-1] == "0 %"
    assert gaps["last checkpoint"][1:6] == gaps["confidence"][1:6]  # which only rises
    assert set(gaps) > {"stable information", "GWA", "highest validation accuracy"}
    good = lines["mutual_information", "unseen, eval"]
    assert good == ["0.00 [0.00, 0.00]", "0.00", "0.00", "1.00", "1.00", "0 of 3"]
    assert "noise, stopped early:" in out
    assert "corrupted, stopped early:" not in out
    gap, share, *_, edge = lines["margin", "unseen, eval"]
    assert gap.startswith("28.00 [")  # in points: all that could be gained is lost
    assert (share, edge) == ("1.00", "3 of 3")


def test_no_results_are_one_clear_line(tmp_path, capsys):
    table.print_tables("tune", path=tmp_path / "none.csv")
    expected = f"tune: no results in {tmp_path / 'none.csv'}; train them first\n"
    assert capsys.readouterr().out == expected
