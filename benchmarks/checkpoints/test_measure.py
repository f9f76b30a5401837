"""The benchmark of checkpoint selection: its data, its runs and its journal."""

import argparse
import io
import math

import pytest
import torch
from scipy.stats import kurtosis
from torch import nn

from benchmarks.checkpoints import data, networks, readings, run
from benchmarks.checkpoints import measure as runs
from benchmarks.checkpoints.test_tables import needed
from benchmarks.common import results
from benchmarks.common.training_sets import few
from prescreen import Reading
from prescreen.heads.capturing import capture
from prescreen.tasks import ImageTask
from prescreen.tasks.images.batches import DatasetBatches, Moments
from prescreen.tasks.images.dataset import InMemory

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
    """The benchmark's data and budgets, scaled down; every class has its own colour."""
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
    task = ImageTask("tiny", inputs, CLASSES, 3, (16, 16), batches)
    probes = {"unseen": inputs, "corrupted": inputs + 0.1}
    return data.Data(task, pool, probes, (inputs, targets), (inputs, targets), inputs + 0.1)


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
    args = argparse.Namespace(out=tmp_path, steps_share=1.0, data=None, workers=1)
    planned = runs.plans()[:3]
    outcome = [Reading(s, {"test": s / 10, "unseen.dispersion": -math.inf}, 1.0) for s in (1, 2)]
    asked = []

    def killed(waiting):
        asked.append([plan.name for plan in waiting])
        yield waiting[0], outcome
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "Work", lambda *_: killed)

    def to_the_end(waiting):
        asked.append([plan.name for plan in waiting])
        yield waiting[1], outcome
        yield waiting[0], ("diverged", "loss nan at step 1")

    with pytest.raises(KeyboardInterrupt):
        run.train(args, planned)
    monkeypatch.setattr(run, "Work", lambda *_: to_the_end)
    records = run.train(args, planned)
    names = [plan.name for plan in planned]
    assert asked == [names, names[1:]]
    assert [records[name].status for name in names] == ["finished", "diverged", "finished"]
    path = tmp_path / "results.csv"
    results.write(path, run.rows("tune", planned, records))
    rows = results.read(path)
    assert [row.get("failure") for row in rows] == [None, None, "diverged", None, None]
    assert rows[1]["test"] == 0.2
    assert rows[1]["unseen.dispersion"] == -math.inf


def test_seen_inputs_are_not_those_with_wrong_labels(tiny, monkeypatch):
    monkeypatch.setattr(runs, "PROBE", 32)
    monkeypatch.setattr(runs, "TRAINING_IMAGES", 128)
    asked = []
    monkeypatch.setattr(runs, "probes", lambda inputs, seen, labels: asked.append(labels) or [])
    runs.measure(tiny, runs.Plan("noise", "vit", 0))
    noisy = data.training_samples(tiny.samples, "noise", CLASSES, 0)
    clean = few(tiny.samples, data.REGIMES["noise"].images, 0)
    wrong = (noisy.labels != clean.labels).double().mean().item()
    order = torch.randperm(len(noisy), generator=torch.Generator().manual_seed(1000))[:32]
    assert torch.equal(asked[0], noisy.labels[order])
    assert 0 < (noisy.labels != clean.labels)[order].double().mean() < 2 * wrong < 1


def test_only_what_is_reported_stands_among_the_committed_results(tmp_path):
    assert run.results_of("report", tmp_path).parent == run.RESULTS
    assert run.results_of("tune", tmp_path) == tmp_path / "tune.csv"
