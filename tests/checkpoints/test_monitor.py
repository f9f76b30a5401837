"""Readings of one run: pairs against plain reads, and the same reading in every process."""

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from scipy.stats import entropy
from torch import nn

from prescreen import READOUTS, CheckpointSelector, EarlyStopping, Monitor, read
from prescreen.readouts import get_readout
from prescreen.tasks.images.views import shifted

UNSEEN = torch.randn(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
SEEN = torch.randn(30, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )


def mirror(inputs):
    return inputs.flip(-1)


def test_values_are_those_of_read_in_eval_mode():
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reading = Monitor(UNSEEN, readouts=["confidence", "prior/gradient/head"]).read(model, 7)
    assert reading.step == 7
    expected = read(model, UNSEEN, ["confidence", "prior/gradient/head"], batch_statistics=False)
    assert reading.values == expected
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["confidence", "entropy", "head_gradient"])
def test_a_gap_is_how_much_better_seen_inputs_read(name):
    model = network()
    seen, unseen = (
        read(model, inputs, [name], batch_statistics=False)[name] for inputs in (SEEN, UNSEEN)
    )
    monitor = Monitor(UNSEEN, seen=SEEN, readouts=[f"gap/{name}", name])
    sign = 1 if READOUTS[name].higher_is_better else -1
    assert monitor.read(model, 0).values == {f"gap/{name}": sign * (seen - unseen), name: unseen}
    assert not get_readout(f"gap/{name}").higher_is_better


def test_a_memorised_set_opens_the_gap():
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(3, (30,), generator=generator)
    model = network()
    monitor = Monitor(UNSEEN, seen=SEEN, readouts=["gap/confidence"])
    before = monitor.read(model, 0).values["gap/confidence"]
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(SEEN), labels).backward()
        optimizer.step()
    assert monitor.read(model, 100).values["gap/confidence"] > before + 0.1


def test_agreement_counts_equal_predictions_of_both_views():
    model = network().eval()
    with torch.no_grad():
        same = sum(int(model(x[None]).argmax() == model(x.flip(-1)[None]).argmax()) for x in UNSEEN)
    monitor = Monitor(UNSEEN, view=mirror, readouts=["agreement"])
    assert monitor.read(model.train(), 0).values == {"agreement": same / 40}
    with pytest.raises(
        ValueError,
        match=r"^`view` must hold .* softmax \(40, 3\), got softmax \(20, 3\)",
    ):
        Monitor(UNSEEN, view=lambda x: x[::2], readouts=["agreement"]).read(model, 0)


def probabilities(model, inputs):
    with torch.no_grad():
        return model.eval()(inputs).double().softmax(1).numpy()


def information(model, earlier=None):
    """By its definition, from probabilities, for stable_information; view_information without."""
    p, q = (probabilities(model, inputs) for inputs in (UNSEEN, mirror(UNSEEN)))
    mutual = np.mean([entropy(row, p.mean(0)) for row in p])  # scipy's, of two: KL
    other = np.mean(entropy(p, q, axis=1))
    if earlier is None:
        return mutual - other
    return mutual - 0.75 * other - np.mean(entropy(p, probabilities(earlier, UNSEEN), axis=1))


NAMES = ["view_information", "stable_information", "mutual_information"]


def test_information_shared_with_another_view_and_the_previous_reading():
    monitor = Monitor(UNSEEN, view=mirror, readouts=NAMES)
    models = [network(seed) for seed in range(3)]
    first, *others = (monitor.read(m, 10 * i).values for i, m in enumerate(models, start=1))
    assert first["view_information"] == pytest.approx(information(models[0]), abs=1e-6)
    assert math.isnan(first["stable_information"])
    for values, model, earlier in zip(others, models[1:], models, strict=False):
        assert values["view_information"] == pytest.approx(information(model), abs=1e-6)
        expected = information(model, earlier)
        assert values["stable_information"] == pytest.approx(expected, abs=1e-6)
        assert max(map(values.get, NAMES[:2])) < values["mutual_information"]


def test_a_consistent_model_loses_no_information():
    monitor = Monitor(UNSEEN, view=lambda x: x, readouts=NAMES)
    values = [monitor.read(network(), step).values for step in (1, 2)][1]
    assert values["view_information"] == pytest.approx(values["mutual_information"], abs=1e-6)
    assert values["stable_information"] == pytest.approx(values["mutual_information"], abs=1e-6)


def test_the_previous_reading_is_at_the_nearest_earlier_step():
    monitor = Monitor(UNSEEN, view=mirror)

    def read_at(seed, step):
        return monitor.read(network(seed), step).values["stable_information"]

    read_at(0, 10)
    forward = read_at(1, 20)
    assert read_at(1, 20) == forward  # again, as another callback would
    read_at(2, 30)
    assert read_at(1, 30) == pytest.approx(information(network(1), network(1)), abs=1e-6)
    read_at(3, 40)
    assert math.isnan(read_at(1, 20))  # training went back further than is remembered
    assert not math.isnan(read_at(2, 30))


def bare():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))


@pytest.mark.parametrize("second", [[10, 20], [15, 30], [19, 21], [5, 50], [1]])
@pytest.mark.parametrize("first", [[20], [10, 20], [10, 20, 30], [0, 100]])
def test_a_second_training_is_read_as_by_a_new_monitor(first, second):
    used, new = Monitor(UNSEEN, view=mirror), Monitor(UNSEEN, view=mirror)
    for step in first:
        used.read(network(step), step)
    for step in second:
        got, expected = (one.read(network(step + 1), step).values for one in (used, new))
        assert got == pytest.approx(expected, abs=0, rel=0, nan_ok=True)


def test_a_model_of_another_structure_is_of_another_training():
    used = Monitor(UNSEEN, view=mirror)
    used.read(network(), 10)
    assert math.isnan(used.read(bare(), 20).values["stable_information"])
    resumed = Monitor(UNSEEN, view=mirror)
    resumed.load_state_dict(used.state_dict())
    assert math.isnan(resumed.read(network(), 30).values["stable_information"])
    wrapped = nn.parallel.DataParallel(network(1))
    assert not math.isnan(resumed.read(wrapped, 40).values["stable_information"])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_inputs_are_of_the_models_kind_of_numbers(kind):
    given, cast = Monitor(UNSEEN, view=mirror), Monitor(UNSEEN.to(kind), view=mirror)
    for step in (1, 2):
        model = network(step).to(kind)
        first, second = (one.read(model, step).values for one in (given, cast))
        assert first == pytest.approx(second, abs=0, rel=0, nan_ok=True)
        assert {parameter.dtype for parameter in model.parameters()} == {kind}
    assert math.isfinite(first["stable_information"])
    both = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Linear(4, 3).to(kind))
    with pytest.raises(ValueError, match=r"^`inputs` must be such that the model can run on them"):
        given.read(both, 3)  # which of the two its inputs should be, nobody knows


@pytest.mark.parametrize("kind", [np.int32, torch.tensor])
def test_a_step_may_be_of_numpy_or_torch(kind):
    reading = Monitor(UNSEEN, view=mirror).read(network(), kind(7))
    assert (reading.step, type(reading.step)) == (7, int)
    with pytest.raises(ValueError, match=r"^`step` must be "):
        Monitor(UNSEEN, view=mirror).read(network(), 1.5)


def test_a_saved_state_continues_with_the_previous_reading(tmp_path):
    whole, first, second = (Monitor(UNSEEN, view=mirror) for _ in range(3))
    expected = [whole.read(network(step), step).values for step in (1, 2, 3)]
    for step in (1, 2):
        first.read(network(step), step)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.read(network(2), 2).values == expected[1]
    assert second.read(network(3), 3).values == expected[2]


def test_information_of_a_very_confident_model_is_a_number():
    models = [network(seed) for seed in (0, 1)]
    for model in models:
        with torch.no_grad():
            model[-1].weight.mul_(1e4)
    monitor = Monitor(UNSEEN, view=mirror)
    value = [monitor.read(m, i).values["stable_information"] for i, m in enumerate(models)][1]
    assert math.isfinite(value)
    assert value < -1000


def test_information_of_independent_labels_is_summed_over_them():
    model, earlier = network(0), network(1)
    monitor = Monitor(UNSEEN, view=mirror, link="sigmoid", readouts=NAMES)
    monitor.read(earlier, 1)
    values = monitor.read(model, 2).values

    def both(model, inputs):
        with torch.no_grad():
            p = model.eval()(inputs).double().sigmoid().numpy()
        return np.stack([p, 1 - p])

    p = both(model, UNSEEN)
    view, before = (
        entropy(p, both(*o)).sum(1).mean() for o in ((model, mirror(UNSEEN)), (earlier, UNSEEN))
    )
    expected = values["mutual_information"] - 0.75 * view - before
    assert values["stable_information"] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(
        ValueError, match=r"^`readouts` must be defined for identity links, got view_"
    ):
        Monitor(UNSEEN, view=mirror, link="identity", readouts=NAMES[:1]).read(model, 1)


@pytest.mark.parametrize(
    ("readouts", "message"),
    [
        (["gap/confidence"], "`seen` must be given for the readout 'gap/confidence', got None"),
        (["gap/nothing"], "`readouts` must be .*, got 'nothing'"),
        ("confidence", "`readouts` must be a sequence of names, got the string 'confidence'"),
        (
            ["isotropy", "entropy"],
            "`readouts` must tell checkpoints apart, got .* network: isotropy",
        ),
        ([], r"`readouts` must be distinct names, at least one, got \[\]"),
    ],
)
def test_missing_inputs_and_wrong_readouts_are_refused(readouts, message):
    with pytest.raises(ValueError, match=message):
        Monitor(UNSEEN.flatten(1), readouts=readouts)


def test_images_are_shifted_by_default():
    wide = torch.randn(40, 1, 6, 32, generator=torch.Generator().manual_seed(2))
    for images, columns in ((UNSEEN, 1), (wide, 2)):
        moved = shifted(images)
        assert torch.equal(moved[..., columns:], images[..., :-columns])
        for column in range(columns):
            assert torch.equal(moved[..., column], images[..., columns - column])
    given = Monitor(UNSEEN, view=shifted, readouts=["agreement"]).read(network(), 0)
    assert Monitor(UNSEEN, readouts=["agreement"]).read(network(), 0) == given


def test_a_diverged_model_reads_nan():
    model = network()
    nn.init.constant_(model[-1].weight, math.nan)
    values = Monitor(UNSEEN, seen=SEEN, readouts=["confidence", "gap/confidence"]).read(model, 1)
    assert all(math.isnan(value) for value in values.values.values())


def decide(rank, folder, seen_by):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    monitor = Monitor(UNSEEN + rank, view=mirror)  # the inputs of other processes do not matter
    selector = CheckpointSelector(f"{folder}/kept", smoothing=1)
    stopping = EarlyStopping(patience=1, patience_share=0.0, smoothing=1)
    decisions = []
    for step in range(1, 6):
        model = nn.parallel.DistributedDataParallel(network(step))
        reading = monitor.read(model, step)
        decisions.append(
            (dict(reading.values), selector.update(reading, model), stopping.update(reading))
        )
    dist.barrier()
    loaded = {name: value.tolist() for name, value in selector.load().items()}
    errors = [error_of(rank, failure) for failure in FAILURES]
    seen_by[rank] = (decisions, selector.best, errors, loaded)
    dist.destroy_process_group()


class Unsendable(Exception):
    def __init__(self, *told):
        super().__init__(*told)
        self.what = lambda: None


class Mute(ValueError):
    def __str__(self):
        raise KeyError("no text")


FAILURES = [ValueError("one line"), Unsendable("cannot be sent"), KeyError("key"), Mute()]


def error_of(rank, failure):
    """What a process sees if reading fails in the first one."""

    def fails(inputs):
        raise failure

    model = network()
    model[0].forward = fails
    try:
        Monitor(UNSEEN, view=mirror).read(model if rank == 0 else network(), 0)
    except Exception as error:
        return isinstance(error, ValueError), str(error).rpartition(": ")[2]
    return None


def test_processes_decide_alike_and_one_writes(tmp_path):
    with mp.Manager() as manager:
        seen_by = manager.dict()
        mp.spawn(decide, (str(tmp_path), seen_by), nprocs=2)
        (first, other) = (seen_by[0], seen_by[1])
    assert repr(first) == repr(other)  # NaN equals NaN
    decisions, best, errors, loaded = first
    assert None not in errors
    assert loaded == {n: v.tolist() for n, v in network(best.step).state_dict().items()}
    alone = Monitor(UNSEEN, view=mirror)
    expected = [alone.read(network(step), step).values for step in range(1, 6)]
    for (values, *_), one in zip(decisions, expected, strict=True):
        assert values == pytest.approx(one, abs=0, rel=0, nan_ok=True)
    assert len({kept for _, kept, _ in decisions}) == 2
    selector = CheckpointSelector(tmp_path / "kept", smoothing=1)
    assert selector.best == best
    expected = network(best.step).state_dict()
    assert all(torch.equal(expected[name], value) for name, value in selector.load().items())
