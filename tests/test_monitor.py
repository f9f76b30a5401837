"""Readings of one run: pairs against plain reads, every process told the same."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from prescreen import READOUTS, CheckpointSelector, EarlyStopping, Monitor, read
from prescreen.readouts.paired import get_paired

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
    assert not get_paired(f"gap/{name}").higher_is_better


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
    with pytest.raises(ValueError, match="view: 40 samples in the same order are needed, got 20"):
        Monitor(UNSEEN, view=lambda x: x[::2], readouts=["agreement"]).read(model, 0)


@pytest.mark.parametrize(
    ("readouts", "message"),
    [
        (["gap/confidence"], "seen: needed for the readout 'gap/confidence', got None"),
        (["agreement"], "view: needed for the readout 'agreement', got None"),
        (["gap/nothing"], "readouts: .* are allowed, got 'nothing'"),
        ("confidence", "readouts: a sequence of names is needed, got the string 'confidence'"),
        ([], r"readouts: distinct names, at least one, are needed, got \[\]"),
    ],
)
def test_what_is_lacking_is_said(readouts, message):
    with pytest.raises(ValueError, match=message):
        Monitor(UNSEEN, readouts=readouts)


def test_a_diverged_model_reads_nan():
    model = network()
    nn.init.constant_(model[-1].weight, math.nan)
    values = Monitor(UNSEEN, seen=SEEN, readouts=["confidence", "gap/confidence"]).read(model, 1)
    assert all(math.isnan(value) for value in values.values.values())


def decide(rank, folder, seen_by):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    monitor = Monitor(UNSEEN + rank)  # what other processes hold does not matter
    selector = CheckpointSelector(f"{folder}/kept", smoothing=1)
    stopping = EarlyStopping(patience=1, patience_share=0.0, smoothing=1)
    decisions = []
    for step in range(1, 6):
        model = nn.parallel.DistributedDataParallel(network(step))
        reading = monitor.read(model, step)
        decisions.append(
            (dict(reading.values), selector.update(reading, model), stopping.update(reading))
        )
    seen_by[rank] = (decisions, selector.best, monitor_error(rank))
    dist.destroy_process_group()


def monitor_error(rank):
    try:
        Monitor(UNSEEN[:, :, :2] if rank == 0 else UNSEEN).read(network(), 0)
    except Exception as error:
        return str(error)
    return None


def test_processes_decide_alike_and_one_writes(tmp_path):
    with mp.Manager() as manager:
        seen_by = manager.dict()
        mp.spawn(decide, (str(tmp_path), seen_by), nprocs=2)
        (first, other) = (seen_by[0], seen_by[1])
    assert first == other
    decisions, best, error = first
    assert error is not None
    alone = Monitor(UNSEEN)
    assert [values for values, *_ in decisions] == [
        alone.read(network(step), step).values for step in range(1, 6)
    ]
    assert len({kept for _, kept, _ in decisions}) == 2
    selector = CheckpointSelector(tmp_path / "kept", smoothing=1)
    assert selector.best == best
    expected = network(best.step).state_dict()
    assert all(torch.equal(expected[name], value) for name, value in selector.load().items())
