"""When trials are read: candidates on one grid, of which a budget of time takes some."""

import math
import random
from itertools import pairwise

import numpy as np
import optuna
import pytest
import torch
from optuna_studies import FREE, INPUTS, filled, make_model, panel
from torch import nn

from prescreen.integrations import budget as budgets
from prescreen.integrations.budget import Account, Meter
from prescreen.integrations.optuna import Reader, ReadoutPruner, trajectory
from prescreen.panel import DEFAULT_PANEL, Panel
from prescreen.probe import Probe
from prescreen.pruning import Median, Population
from prescreen.readouts import READOUTS, Readout, resolve_readouts

GRID = [
    1,
    2,
    3,
    4,
    6,
    8,
    12,
    16,
    24,
    32,
    48,
    64,
    96,
    128,
    192,
    256,
    384,
    512,
    768,
    1024,
    1536,
    2048,
]


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(budgets, "clock", made)
    return made


class Clock:
    now = 0.0

    def __call__(self):
        return self.now

    def passes(self, seconds):
        self.now += seconds


class Search:
    """Trials of networks of three sizes. A step, a reading and measures take as long as a size says."""

    def __init__(
        self, clock, *, budget=0.02, steps=1000, every=1, reading=4.0, measures=0.0,
        noise=0.0, pruned=0.0, first=10.0, trials=20, seed=0,
    ):  # fmt: skip
        self.random, self.clock = random.Random(seed), clock
        self.account, self.spent, self.free = Account(), 0.0, 0.0
        self.longest = self.dearest = 0.0
        self.read = []
        for _ in range(trials):
            size, begun, steps_read = self.random.choice([0.5, 1.0, 2.0]), clock.now, []
            meter = Meter(self.account, budget)
            if meter.begin(measures=measures > 0) and measures:
                with meter.measuring():
                    self.takes(measures * size * (1 if self.account.measures else first))
            for step in range(1, steps + 1):
                clock.passes(size * (1 + noise * self.random.random()))
                if step % every == 0 and meter.is_due(step):
                    steps_read.append(step)
                    with meter.reading():
                        longer = (
                            (1 + noise * self.random.random()) if self.account.readings else first
                        )
                        self.takes(reading * size * longer, free=not self.account.readings)
                    if self.random.random() < pruned:
                        break
            self.read.append(steps_read)
            self.longest = max(self.longest, clock.now - begun)

    def takes(self, seconds, free=None):
        free = not self.account.measures if free is None else free
        self.clock.passes(seconds)
        self.spent += 0 if free else seconds
        self.dearest = max(self.dearest, 0 if free else seconds)


@pytest.mark.parametrize("every", [1, 7, 100])
@pytest.mark.parametrize(
    "search",
    [
        {"reading": 0.01},
        {"reading": 4.0},
        {"reading": 4.0, "budget": 0.2},
        {"reading": 4.0, "measures": 8.0},
        {"reading": 4.0, "measures": 60.0},
        {"reading": 4.0, "measures": 8.0, "pruned": 0.5},
        {"reading": 4.0, "measures": 8.0, "noise": 3.0},
        {"reading": 50.0, "measures": 100.0},
        {"reading": 1e4},
    ],
    ids=str,
)
def test_reading_takes_its_share_of_the_time_and_no_more(clock, search, every):
    for steps in (10, 300, 3000):
        done = Search(clock, **search, every=every, steps=steps)
        # What a trial was expected to earn and did not, and one reading that took longer than expected.
        share = search.get("budget", 0.02)
        allowed = share * (clock.now + done.longest) + done.dearest
        assert done.spent <= allowed, steps
        clock.now = 0.0


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (1, [128, 256, 384, 512, 768, 1024, 1536, 2048]),
        (10, [130, 260, 390, 520, 770, 1030, 1540, 2050]),
        (100, [200, 300, 400, 600, 800, 1100, 1600, 2100]),
    ],
)
def test_all_trials_are_read_at_the_same_steps(clock, every, expected):
    """They take the first steps asked for at or after points of the grid, whatever their speed."""
    found = Search(clock, every=every, steps=2200).read
    assert all(read == expected for read in found[1:])


def test_a_trial_reads_the_grid_where_reading_costs_nothing(clock):
    found = Search(clock, reading=0.0, steps=2100).read
    assert found == [GRID] * 20


def test_trials_that_ask_at_other_steps_meet_where_both_ask(clock):
    """Twice the batch size is half the steps of an epoch."""
    found = {
        every: Search(clock, reading=0.0, every=every, steps=1200).read[1] for every in (50, 100)
    }
    assert found[100] == [100, 200, 300, 400, 600, 800, 1100]
    assert found[50] == [50, 100, 150, 200, 300, 400, 550, 800, 1050]
    assert {100, 200, 300, 400, 800} <= {*found[50]} & {*found[100]}


def test_noise_moves_few_of_the_steps_read(clock):
    found = Search(clock, noise=0.5, measures=4.0, steps=3000).read[2:]
    shared = set.intersection(*map(set, found))
    assert len(shared) >= 0.6 * max(map(len, found))


def test_interruptions_move_few_of_the_steps_read(clock):
    """A busy machine makes most steps and readings short, and a few very long."""
    read = []
    rng, account = random.Random(0), Account()

    def works(seconds):
        clock.passes(seconds + 40.0 * sum(rng.random() < 0.2 for _ in range(round(seconds))))

    for _ in range(20):
        meter, steps_read = Meter(account, 0.02), []
        meter.begin(measures=False)
        for step in range(1, 1201):
            works(1.0)
            if meter.is_due(step):
                with meter.reading():
                    works(4.0)
                steps_read.append(step)
        read.append(steps_read)
    assert all({128, 256, 384} <= {*found} for found in read[8:])
    assert account.spent <= 0.02 * clock.now + 4.0 * 41.0


@pytest.mark.parametrize("steps", [200, 400, 1000])
def test_the_first_reading_comes_in_the_first_half_if_the_budget_covers_it(clock, steps):
    """A budget of 2 % of 200 steps is one reading that takes as long as 4."""
    found = Search(clock, steps=steps).read[1:]
    assert all(read and read[0] == 128 for read in found) or steps == 200
    assert sum(1 for read in found if read and read[0] <= 128) >= len(found) - 1


def test_a_reading_that_was_once_slow_is_tried_again(clock):
    """Those of the first trial happen to take as long as 100 steps, later ones as long as one."""
    account, read = Account(), []
    for number in range(40):
        meter, steps_read = Meter(account, 0.02), []
        meter.begin(measures=False)
        for step in range(1, 1001):
            clock.passes(1.0)
            if meter.is_due(step):
                with meter.reading():
                    clock.passes(1.0 if number else 100.0)
                steps_read.append(step)
        read.append(steps_read)
    assert read[0] == [1, 2]
    assert read[1] == []
    assert len(read[-1]) > 3


def test_no_budget_reads_whenever_asked(clock):
    meter = Meter(Account(), None)
    meter.begin(measures=True)
    for step in (0, 1, 5, 7, 7, 100):
        clock.passes(1.0)
        assert meter.is_due(step)
        with meter.reading():
            clock.passes(1000.0)


@pytest.mark.parametrize("share", [0, -0.1, 1.5, math.nan])
def test_a_budget_is_a_share(share):
    with pytest.raises(ValueError, match=r"^`budget` must be above 0 and at most 1, or None, got "):
        Reader(optuna.create_study().ask(), make_model(), INPUTS, budget=share)


class Slow(optuna.storages.InMemoryStorage):
    """A storage whose writes and queries take time."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.queries = 0

    def set_trial_user_attr(self, *args):
        self.clock.passes(3.0)
        super().set_trial_user_attr(*args)

    def get_all_trials(self, *args, **options):
        self.queries += 1
        self.clock.passes(1.0)
        return super().get_all_trials(*args, **options)


def slow_readouts(clock):
    """The default panel; measures of the untrained network take 20 seconds, a reading 5."""

    def slowed(readout, seconds):
        def function(*subjects):
            clock.passes(seconds)
            return readout.function(*subjects)

        return Readout(function, readout.needs, readout.higher_is_better)

    table = resolve_readouts(DEFAULT_PANEL)
    return {name: slowed(one, 10.0 if one.of_network else 5.0) for name, one in table.items()}


@pytest.mark.parametrize("directions", [["maximize"], ["maximize", "minimize"]])
def test_readings_writes_and_decisions_count(clock, directions):
    """In studies of one objective and of several."""
    storage, readouts = Slow(clock), slow_readouts(clock)
    pruner = ReadoutPruner(readouts=readouts, **FREE)
    study = optuna.create_study(directions=directions, storage=storage, pruner=pruner)
    for _ in range(6):
        trial, model = study.ask(), make_model()
        reader = Reader(trial, model, INPUTS, readouts)
        begun, storage.queries = clock.now, 0
        for step in range(1, 2001):
            clock.passes(1.0)
            if reader.read(step) is None:
                assert not reader.should_prune()
            else:
                with torch.no_grad():
                    model[0].weight.mul_(1.01)
                reader.should_prune()
        taken = trajectory(trial)
        # Not due, not asked; one answer serves a reading at step 1 and what was known before.
        assert storage.queries == len(taken) - any(reading.step == 1 for reading in taken)
        assert reader.share == pytest.approx(
            (clock.now - begun - 2000) / (clock.now - begun), abs=0.02
        )
        study.tell(trial, [0.5] * len(directions))
    steps = [[reading.step for reading in trajectory(trial)] for trial in study.trials]
    assert steps[0][:3] == [0, 1, 2]
    assert steps[2] == steps[3] == steps[4] == steps[5]
    at_start, *read = steps[5]
    assert at_start == 0
    assert all(step in GRID for step in read)
    # The measures are those of the first trial: one architecture. A reading is 5 + 3 + 1 seconds, and
    # what is known before training 3 + 1.
    spent = 9 * len(read) + 4
    assert reader.share == pytest.approx(spent / (2000 + spent))
    assert reader.share <= 0.02 + 9 / 2000
    # Stored: all readings and decisions before, and this one's forward pass.
    overheads = [reading.overhead for reading in trajectory(study.trials[5])]
    assert overheads == pytest.approx([0, *(9 * (index + 1) for index in range(len(read)))])


def test_a_trial_whose_measures_the_budget_does_not_cover_is_not_read(clock):
    """Each trial has another architecture; measures take 20 seconds, 2 % of a trial are 2."""
    study, readouts = optuna.create_study(), slow_readouts(clock)
    measured = []
    for width in range(2, 42):
        model = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 3))
        trial, begun = study.ask(), clock.now
        reader = Reader(trial, model, INPUTS, readouts)
        measured.append(clock.now > begun)
        for step in range(1, 101):
            clock.passes(1.0)
            reader.read(step)
            assert not reader.should_prune()
        study.tell(trial, 0.5)
    assert measured[0]
    assert 1 < sum(measured) <= 4
    assert clock.now <= 4000 * 1.02 + 20 + 5 + 20


class Counted:
    """A measure of the untrained network that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, network):
        self.calls += 1
        return float(self.calls)


def test_one_architecture_is_measured_once_in_a_study(clock):
    counted = Counted()
    readouts = {"mine": Readout(counted, ("network",)), "entropy": READOUTS["entropy"]}
    study = optuna.create_study()

    def value(model, inputs=INPUTS, **options):
        clock.passes(1.0)
        reading = Reader(study.ask(), model, inputs, readouts, **options).read(1)
        return reading.values["mine"]

    wider = nn.Sequential(nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3))
    assert [value(make_model()), value(make_model().double(), INPUTS.clone())] == [1.0, 1.0]
    assert value(wider) == 2.0
    assert value(make_model(), INPUTS + 1) == 3.0
    assert value(make_model(), budget=None) == 4.0
    assert value(make_model()) == 1.0
    study = optuna.create_study()
    assert value(make_model()) == 5.0


def test_taking_over_measures_changes_no_comparison():
    """Trials of one architecture tie in them, so that those of the first stand for all anyway."""
    names = Panel.of(resolve_readouts(DEFAULT_PANEL))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        own, taken_over = Population(names), Population(names)
        first = {}
        for trial in range(12):
            architecture = "ab"[rng.integers(2)]
            network = rng.normal(size=2)
            first.setdefault(architecture, network)
            for step in (1, 2):
                head = rng.normal()
                for population, known in ((own, network), (taken_over, first[architecture])):
                    values = dict(zip(DEFAULT_PANEL, [head, *known], strict=True))
                    population.read(trial, step, values, architecture)
            for population in (own, taken_over):
                population.complete(trial, (rng.random(),))
        for step in (1, 2):
            columns = [population.completed(step) for population in (own, taken_over)]
            assert columns[0].members == columns[1].members
            assert columns[0].scores().tolist() == columns[1].scores().tolist()


def test_a_network_is_measured_anew_where_inputs_have_no_digest():
    counted = Counted()
    readouts = {"mine": Readout(counted, ("network",)), "entropy": READOUTS["entropy"]}

    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = make_model()

        def forward(self, x):
            return self.inner(x.to_dense())

    study = optuna.create_study()
    for _ in range(2):
        Reader(study.ask(), Dense(), INPUTS.to_sparse(), readouts, budget=1.0)
    assert counted.calls == 2


def test_a_step_without_a_reading_neither_prunes_nor_asks():
    study = optuna.create_study(pruner=ReadoutPruner(Median(), **FREE))
    filled(study, [1e9] * 6)  # better than any reading
    reader = Reader(study.ask(), make_model(), INPUTS)
    assert reader.read(1) is not None
    assert reader.should_prune()
    assert [reader.read(5), reader.should_prune()] != [None, True]
    reader = Reader(study.ask(), make_model(), INPUTS)
    assert reader.read(0) is None  # before the first point
    assert not reader.should_prune()


def test_threads_share_an_account():
    """Every reading is counted once, whatever the order of threads."""
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    models = [make_model() for _ in range(8)]  # torch's generator is not each thread's own
    probe = Probe(INPUTS)

    def objective(trial):
        reader = Reader(trial, models[trial.number], INPUTS, budget=1.0)
        for step in range(1, 13):
            reader.read(step)
            reader.should_prune()
        assert 0 <= reader.share <= 1
        return 0.5

    study.optimize(objective, n_trials=8, n_jobs=4)
    assert all(trial.value == 0.5 for trial in study.trials)
    probe.read_untrained(models[0])
    expected = probe.read(models[0], 1).values
    for trial in study.trials:
        taken = [reading.step for reading in trajectory(trial)]
        assert all(before < after for before, after in pairwise(taken))
        assert {*taken} <= {*GRID}
        assert all(reading.values == pytest.approx(expected) for reading in trajectory(trial))


def test_stored_readings_without_a_cost_are_readable():
    study = optuna.create_study()
    trial = study.ask()
    old = {"step": 1, "values": panel(0.5), "seconds": 1.0, "training_loss": "nan", "parameters": 0}
    trial.set_user_attr("prescreen:0:1", old)
    (reading,) = trajectory(trial)
    assert math.isnan(reading.overhead)
    assert reading.to_json() == old
