"""Lightning's own checkpoints kept by readings, and its own callbacks beside ours."""

import math

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning_fits import MARKS, UNSEEN, Module, fit, loader, negative

from prescreen import Monitor
from prescreen.integrations.lightning import ReadoutCheckpoint, ReadoutModelCheckpoint

pytestmark = MARKS


class WithTest(Module):
    def test_step(self, batch, index):
        self.log("seen", self.head.weight.sum())


def keeping(folder, **arguments):
    return ReadoutModelCheckpoint(Monitor(UNSEEN, view=negative), folder, **arguments)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_trainer_finds_the_best_checkpoint(tmp_path):
    plain = ReadoutCheckpoint(Monitor(UNSEEN, view=negative), tmp_path / "plain", save_top_k=2)
    keep = keeping(tmp_path / "kept", save_top_k=2)
    trainer, module = fit(tmp_path, [plain, keep], checkpointing=True, module=WithTest())
    assert repr(keep.selector.best) == repr(plain.selector.best)
    assert keep.selector.steps == plain.selector.steps
    assert files(tmp_path / "kept") == sorted(f"step-{s}.ckpt" for s in keep.selector.steps)
    assert trainer.checkpoint_callback is keep
    (result,) = trainer.test(module, loader(), ckpt_path="best", verbose=False)
    assert result["seen"] == pytest.approx(plain.selector.load()["head.weight"].sum().item())


@pytest.mark.parametrize("moved", [False, True])
def test_a_resumed_fit_equals_the_uninterrupted_one(tmp_path, moved):
    whole = keeping(tmp_path / "whole", save_top_k=2)
    fit(tmp_path, [whole], checkpointing=True)
    first = keeping(tmp_path / "first", save_top_k=2)
    fit(tmp_path, [first], epochs=3, checkpointing=True, last="last.ckpt")
    before = files(tmp_path / "first")
    second = keeping(tmp_path / ("second" if moved else "first"), save_top_k=2)
    last = tmp_path / "last.ckpt"
    trainer, _ = fit(tmp_path, [second], ckpt_path=last, checkpointing=True)
    assert second.selector.state_dict() == whole.selector.state_dict()
    assert trainer.checkpoint_callback.best_model_path == second.best_model_path
    kept, ours = (torch.load(one.best_model_path, weights_only=True) for one in (second, whole))
    assert all(torch.equal(ours["state_dict"][name], v) for name, v in kept["state_dict"].items())
    if moved:
        assert files(tmp_path / "first") == before


def test_files_that_are_gone_are_not_the_best(tmp_path):
    first = keeping(tmp_path / "first", save_top_k=-1)
    fit(tmp_path, [first], epochs=3, checkpointing=True, last="last.ckpt")
    (tmp_path / "first" / f"step-{first.selector.best.step}.ckpt").unlink()
    second = keeping(tmp_path / "second", save_top_k=-1)
    second.load_state_dict(first.state_dict())
    assert second.selector.steps == tuple(
        step for step in first.selector.steps if step != first.selector.best.step
    )
    assert second.best_model_path.endswith(f"step-{second.selector.best.step}.ckpt")


def test_a_folder_with_checkpoints_is_refused(tmp_path):
    fit(tmp_path, [keeping(tmp_path / "kept")], epochs=1, checkpointing=True)
    with pytest.raises(ValueError, match=r"^`folder` must be new for a new training, got .*kept"):
        fit(tmp_path, [keeping(tmp_path / "kept")], epochs=1, checkpointing=True)


def test_weights_alone_can_be_tested_but_hold_no_optimizer(tmp_path):
    keep = keeping(tmp_path / "kept", save_weights_only=True)
    trainer, module = fit(tmp_path, [keep], epochs=2, checkpointing=True, module=WithTest())
    assert "optimizer_states" not in torch.load(keep.best_model_path, weights_only=True)
    trainer.test(module, loader(), ckpt_path="best", verbose=False)


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
def test_no_nan_is_logged_and_lightnings_own_callbacks_go_on(tmp_path):
    """A first reading has no value; as a NaN it would end training."""
    name = "prescreen/stable_information"
    ends = EarlyStopping(name, mode="max", patience=50, strict=False)
    saves = ModelCheckpoint(tmp_path / "own", monitor=name, mode="max")
    keep = ReadoutCheckpoint(Monitor(UNSEEN, view=negative), tmp_path / "kept")
    callbacks, logger = [keep, ends, saves], CSVLogger(tmp_path, name="csv", version=0)
    trainer, _ = fit(tmp_path, callbacks, epochs=4, checkpointing=True, own_logger=logger)
    assert trainer.current_epoch == 4
    values = [one["values"]["stable_information"] for one in keep.selector.state_dict()["readings"]]
    assert (values[0], len(values)) == ("nan", 4)
    assert "nan" not in (tmp_path / "csv" / "version_0" / "metrics.csv").read_text()
    assert saves.best_model_score.item() == pytest.approx(max(values[1:]))
    assert all(math.isfinite(value) for value in trainer.callback_metrics.values())
