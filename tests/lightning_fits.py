"""What the tests of the Lightning integrations share: a module, its data and a short fit."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

MARKS = [
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


def loader():
    return DataLoader(TensorDataset(INPUTS, LABELS), batch_size=16)


def fit(
    tmp_path,
    callbacks,
    epochs=6,
    ckpt_path=None,
    checkpointing=False,
    module=None,
    last=None,
    own_logger=False,
    **arguments,
):
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=callbacks,
        logger=own_logger,
        enable_checkpointing=checkpointing,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **arguments,
    )
    module = Module() if module is None else module
    trainer.fit(module, loader(), ckpt_path=ckpt_path)
    if last is not None:
        trainer.save_checkpoint(tmp_path / last)
    return trainer, module
