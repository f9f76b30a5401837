"""Optuna's trials in Lightning's Trainer: read, stored, logged and pruned by one callback."""

import subprocess
import sys

import optuna
import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning_fits import MARKS, UNSEEN, Module, fit, loader
from optuna.pruners import BasePruner
from optuna_studies import FREE

from prescreen.integrations.optuna import Reader, ReadoutPruner, trajectory
from prescreen.integrations.optuna.lightning import ReadoutPruning

pytestmark = MARKS
NAMES = ["entropy", "flops"]


class Late(BasePruner):
    """Prunes from the n-th reading on."""

    def __init__(self, count):
        self.count = count

    def prune(self, study, trial):
        return len(trial.intermediate_values) >= self.count


def study_of(count):
    return optuna.create_study(pruner=ReadoutPruner(Late(count), NAMES, **FREE))


def by_hand(trial, epochs):
    """The same in a loop of one's own."""
    module = Module()
    reader = Reader(trial, module, UNSEEN, budget=None)
    optimizer, step = module.configure_optimizers(), 0
    for _ in range(epochs):
        for batch in loader():
            optimizer.zero_grad()
            module.training_step(batch, 0).backward()
            optimizer.step()
            step += 1
            reader.read(step)
            if reader.should_prune():
                return


@pytest.mark.parametrize("count", [5, 1000])
def test_one_line_does_what_a_loop_of_ones_own_does(tmp_path, count):
    study, other = study_of(count), study_of(count)
    logger = CSVLogger(tmp_path, name="csv", version=0)

    def objective(trial):
        one = ReadoutPruning(trial, UNSEEN, budget=None)
        fit(tmp_path, [one], epochs=2, own_logger=logger, log_every_n_steps=1)
        return 1.0

    study.optimize(objective, n_trials=1)
    trial = other.ask()
    by_hand(trial, epochs=2)
    assert study.trials[0].state.name == ("PRUNED" if count == 5 else "COMPLETE")
    found, expected = trajectory(study.trials[0]), trajectory(trial)
    assert [one.step for one in found] == [one.step for one in expected] == [*range(1, 9)][:count]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.values == pytest.approx(dict(theirs.values))
    if count > 5:
        header = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0]
        assert {"prescreen/entropy", "prescreen/flops"} <= set(header.split(","))


def test_accumulated_gradients_are_one_step(tmp_path):
    trial = study_of(1000).ask()
    one = ReadoutPruning(trial, UNSEEN, budget=None)
    fit(tmp_path, [one], epochs=2, accumulate_grad_batches=2)
    assert [reading.step for reading in trajectory(trial)] == [1, 2, 3, 4]


def test_a_trial_may_end_before_it_is_trained(tmp_path):
    study = optuna.create_study(pruner=Always())
    trained = []

    class Watched(Module):
        def on_train_start(self):
            trained.append(self)

    with pytest.raises(optuna.TrialPruned, match=r"^by its readings at step 0$"):
        fit(tmp_path, [ReadoutPruning(study.ask(), UNSEEN)], module=Watched())
    assert trained == []


class Always(ReadoutPruner):
    """Has the rule of the default, which begins before training, and ends every trial."""

    def prune(self, study, trial):
        return True


def test_several_processes_are_refused_by_name():
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    one = ReadoutPruning(study_of(1).ask(), UNSEEN)
    trainer.__class__ = type("Trainer", (Trainer,), {"world_size": 2})
    with pytest.raises(
        ValueError, match=r"^`devices` must be one process .*, got 2; in several use"
    ):
        one.on_fit_start(trainer, Module())

    class TorchDistributedTrial(optuna.trial.FixedTrial):
        pass

    with pytest.raises(ValueError, match=r"^`trial` must be that of one process, got TorchDist"):
        ReadoutPruning(TorchDistributedTrial({}), UNSEEN)


def test_a_missing_extra_is_named():
    code = "import sys; sys.modules['lightning'] = None; import prescreen.integrations.optuna.lightning"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'prescreen[lightning]'" in done.stderr.splitlines()[-1]
