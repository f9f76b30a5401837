"""Lightning's own Trainer with the callbacks: they keep, stop, share readings and resume."""

import subprocess
import sys

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning_fits import MARKS, UNSEEN, Module, fit, loader, negative
from torch import nn

from prescreen import Monitor
from prescreen.integrations.lightning import ReadoutCheckpoint, ReadoutEarlyStopping

pytestmark = MARKS


class Counting(Monitor):
    calls = 0

    def read(self, model, step):
        self.calls += 1
        return super().read(model, step)


def test_the_pair_shares_readings_keeps_the_best_and_stops(tmp_path):
    monitor = Counting(UNSEEN, readouts=["entropy", "confidence"])
    keep = ReadoutCheckpoint(monitor, tmp_path / "best", smoothing=1)
    # Entropy falls all the time, by less than min_delta.
    stop = ReadoutEarlyStopping(
        monitor, patience=2, min_delta=5.0, smoothing=1, patience_share=0.0, n_warmup_steps=12
    )
    trainer, module = fit(tmp_path, [keep, stop], epochs=9)
    assert monitor.calls == trainer.global_step // 4 < 9
    waited = monitor.calls - 1
    assert stop.stopping.reason == f"entropy has not improved in {waited} readings, since step 4"
    assert keep.selector.best.step == trainer.global_step  # both improve all the time
    state = keep.selector.load()
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    last = monitor.read(module, 0).values
    logged = trainer.callback_metrics
    for name, value in last.items():
        assert logged[f"prescreen/{name}"].item() == pytest.approx(value)


def test_readings_come_every_few_epochs(tmp_path):
    monitor = Counting(UNSEEN, view=negative)
    fit(tmp_path, [ReadoutCheckpoint(monitor, tmp_path / "best", every_n_epochs=2)], epochs=5)
    assert monitor.calls == 2
    with pytest.raises(ValueError, match=r"^`every_n_epochs` must be at least 1, got 0$"):
        ReadoutEarlyStopping(monitor, every_n_epochs=0)


def callbacks(folder, **arguments):
    monitor = Monitor(UNSEEN, view=negative)
    keep = ReadoutCheckpoint(monitor, folder, smoothing=1, **arguments)
    return keep, ReadoutEarlyStopping(monitor, patience=50)


def known(pair):
    """All that a pair knows, but in which folder its files are."""
    keep, stop = pair
    state = keep.selector.load()
    best = {name: value.tolist() for name, value in state.items()}
    files = sorted(path.name for path in keep.selector.folder.glob("step*"))
    readings = keep.selector.state_dict()["readings"]
    return readings, repr(keep.selector.best), best, files, stop.stopping.state_dict()


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("save_top_k", [1, -1])
@pytest.mark.parametrize("cut", [1, 4])
def test_a_resumed_fit_equals_the_uninterrupted_one(tmp_path, moved, save_top_k, cut):
    whole = callbacks(tmp_path / "whole", save_top_k=save_top_k)
    fit(tmp_path, [*whole], epochs=6)
    first = callbacks(tmp_path / "first", save_top_k=save_top_k)
    trainer, _ = fit(tmp_path, [*first], epochs=cut, checkpointing=True)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    second = callbacks(tmp_path / ("second" if moved else "first"), save_top_k=save_top_k)
    fit(tmp_path, [*second], ckpt_path=tmp_path / "last.ckpt", checkpointing=True)
    assert known(second) == known(whole)


class Diverging(Module):
    """Its head is NaN from the fourth epoch on."""

    def on_train_epoch_start(self):
        if self.current_epoch >= 3:
            nn.init.constant_(self.head.bias, torch.nan)


def test_a_divergence_after_resuming_stops_as_it_does_without(tmp_path):
    whole = callbacks(tmp_path / "whole")
    trainer, _ = fit(tmp_path, [*whole], module=Diverging())
    assert trainer.global_step == 16
    fit(tmp_path, [*callbacks(tmp_path / "a")], epochs=3, module=Diverging(), last="last.ckpt")
    second = callbacks(tmp_path / "b")
    trainer, _ = fit(tmp_path, [*second], ckpt_path=tmp_path / "last.ckpt", module=Diverging())
    assert trainer.global_step == 16
    assert second[1].stopping.reason == whole[1].stopping.reason
    assert repr(known(second)) == repr(known(whole))


def test_a_second_fit_is_another_training(tmp_path):
    whole, stop = callbacks(tmp_path / "whole")
    fit(tmp_path, [whole, stop], epochs=3)
    expected = stop.stopping.state_dict()
    # The folder holds the first fit's best, which is not replaced; the same callback or another.
    for again in ([whole], [callbacks(tmp_path / "whole")[0]]):
        with pytest.raises(ValueError, match=r"^`folder` must be new for a new training, got "):
            fit(tmp_path, again, epochs=3)
    fit(tmp_path, [stop], epochs=3)
    assert stop.stopping.state_dict() == expected
    assert whole.selector.load()["head.bias"].isfinite().all()


class Failing(Module):
    def on_train_epoch_start(self):
        if self.current_epoch == 4:
            raise RuntimeError("out of memory")


def test_after_an_exception_the_folder_is_free_and_the_fit_can_be_resumed(tmp_path):
    whole = callbacks(tmp_path / "whole")
    fit(tmp_path, [*whole], epochs=6)
    first = callbacks(tmp_path / "parts")
    saves, again = (ModelCheckpoint(tmp_path / "saved", filename="last") for _ in range(2))
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(tmp_path, [*first, saves], module=Failing(), checkpointing=True)
    second = callbacks(tmp_path / "parts")  # while the first still lives
    fit(tmp_path, [*second, again], ckpt_path=saves.best_model_path, checkpointing=True)
    assert known(second) == known(whole)


def test_a_fit_that_goes_on_is_the_same_training(tmp_path):
    whole = callbacks(tmp_path / "whole")
    fit(tmp_path, [*whole], epochs=4)
    parts = callbacks(tmp_path / "parts")
    trainer, module = fit(tmp_path, [*parts], epochs=2)
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module, loader())
    assert known(parts) == known(whole)


@pytest.mark.parametrize("every_n_epochs", [1, 2])
def test_one_epoch_has_a_best(tmp_path, every_n_epochs):
    pair = callbacks(tmp_path / "best", every_n_epochs=every_n_epochs)
    _, module = fit(tmp_path, [*pair], epochs=1)
    assert pair[0].selector.best.step == 4
    state = pair[0].selector.load()
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed"])
def test_a_training_of_any_precision_is_read(tmp_path, precision):
    keep, stop = callbacks(tmp_path / "best")
    _, module = fit(tmp_path, [keep, stop], epochs=3, precision=precision)
    values = [one["values"]["stable_information"] for one in keep.selector.state_dict()["readings"]]
    assert [isinstance(value, float) for value in values] == [False, True, True]
    assert keep.selector.load()["head.bias"].dtype == module.head.bias.dtype


def test_a_missing_extra_is_named():
    code = "import sys; sys.modules['lightning'] = None; import prescreen.integrations.lightning"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        "needs the 'lightning' extra: pip install 'prescreen[lightning]'"
        in done.stderr.splitlines()[-1]
    )
