"""A U-Net in a Lightning trainer: its best checkpoint is kept, and training ends, without labels."""

import tempfile

import torch
from lightning.pytorch import LightningModule, Trainer
from prescreen.search_spaces import unet
from torch.utils.data import DataLoader, TensorDataset

from prescreen import Monitor
from prescreen.integrations.lightning import ReadoutCheckpoint, ReadoutEarlyStopping
from prescreen.tasks import SegmentationTask

CONFIG = {"depth": 2, "width": 8, "kernel": 3, "norm": "batch", "skip": "concatenate"}


def draw(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images with a disc each, and which pixels belong to it."""
    randoms = torch.Generator().manual_seed(seed)
    at = torch.randint(6, 26, (2, count, 1, 1), generator=randoms)
    rows, columns = torch.arange(32).view(32, 1), torch.arange(32)
    masks = (rows - at[0]).square() + (columns - at[1]).square() < 36
    noise = 1.5 * torch.randn(count, 1, 32, 32, generator=randoms)
    return masks[:, None] + noise, masks.long()


class Segmenter(LightningModule):
    def __init__(self, task: SegmentationTask) -> None:
        super().__init__()
        self.task, self.net = task, unet.build(CONFIG, num_classes=2, in_channels=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        return self.task.loss(self, batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=5e-3)


def main() -> None:
    torch.manual_seed(0)
    task = SegmentationTask(*draw(6, seed=0), probe=draw(48, seed=1)[0], mean=0, std=1)
    model, monitor = Segmenter(task), Monitor(task.probe, view=task.views)
    kept, ends = ReadoutCheckpoint(monitor, tempfile.mkdtemp()), ReadoutEarlyStopping(monitor)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=150, callbacks=[kept, ends], accelerator="cpu", **quiet)
    trainer.fit(model, DataLoader(TensorDataset(*draw(6, seed=0)), batch_size=3, shuffle=True))
    model.load_state_dict(kept.selector.load())
    images, truth = draw(48, seed=1)
    masks = model.eval()(images).argmax(1)
    dice = 2 * (masks * truth).sum() / (masks + truth).sum()
    print(f"ended after {trainer.current_epoch} epochs; Dice {dice:.3f}")


if __name__ == "__main__":
    main()
