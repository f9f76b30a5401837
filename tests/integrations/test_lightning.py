"""Lightning's own Trainer with the callbacks: they keep, stop, share readings and resume."""

import subprocess
import sys

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from prescreen import Monitor
from prescreen.integrations.lightning import ReadoutCheckpoint, ReadoutEarlyStopping

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec.*:FutureWarning"),
]

generator = torch.Generator().manual_seed(0)
INPUTS = torch.randn(64, 6, generator=generator)
UNSEEN = torch.randn(40, 6, generator=generator)
LABELS = (INPUTS[:, 0] > 0).long()


def negative(inputs):
    return -inputs


class Module(LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(6, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.body(x).relu())

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.5)


class Counting(Monitor):
    calls = 0

    def read(self, model, step):
        self.calls += 1
        return super().read(model, step)


def fit(tmp_path, callbacks, epochs=6, ckpt_path=None, checkpointing=False):
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=checkpointing,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    module = Module()
    loader = DataLoader(TensorDataset(INPUTS, LABELS), batch_size=16)
    trainer.fit(module, loader, ckpt_path=ckpt_path)
    return trainer, module


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


def test_a_resumed_fit_continues_with_its_readings(tmp_path):
    def callbacks(folder):
        monitor = Monitor(UNSEEN, view=negative)
        keep = ReadoutCheckpoint(monitor, tmp_path / folder, save_top_k=-1, smoothing=1)
        return keep, ReadoutEarlyStopping(monitor, patience=50)

    whole = callbacks("whole")
    fit(tmp_path, [*whole], epochs=6)
    first = callbacks("parts")
    trainer, _ = fit(tmp_path, [*first], epochs=3, checkpointing=True)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    second = callbacks("parts")
    fit(tmp_path, [*second], ckpt_path=tmp_path / "last.ckpt", checkpointing=True)
    assert second[0].selector.state_dict() == whole[0].selector.state_dict()
    assert second[1].stopping.state_dict() == whole[1].stopping.state_dict()


def test_a_missing_extra_is_named():
    code = "import sys; sys.modules['lightning'] = None; import prescreen.integrations.lightning"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        "needs the 'lightning' extra: pip install 'prescreen[lightning]'"
        in done.stderr.splitlines()[-1]
    )
