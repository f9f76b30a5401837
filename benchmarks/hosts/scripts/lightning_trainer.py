"""Lightning: a module, a Trainer, and a test of the best checkpoint."""

import tempfile

import lightning
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.hosts.live.data import BATCH, digits
from benchmarks.hosts.live.in_optuna import Module
from benchmarks.hosts.scripts.networks import convolutions
from benchmarks.hosts.scripts.program import begin
from prescreen import Monitor  # prescreen
from prescreen.integrations import lightning as ours  # prescreen


class Classifier(Module):
    """With an accuracy after every epoch."""

    def validation_step(self, batch, index):
        """The accuracy of a batch."""
        self.log("accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    test_step = validation_step


class Tops(lightning.Callback):
    """Remembers the accuracies, to compare the chosen checkpoint with."""

    def __init__(self):
        self.seen = []

    def on_validation_epoch_end(self, trainer, module):
        """One more."""
        if not trainer.sanity_checking:
            self.seen.append(trainer.callback_metrics["accuracy"].item())


def main() -> None:
    """Train and test."""
    program, data = begin(epochs=20), digits()
    train = DataLoader(TensorDataset(*data.train), BATCH, shuffle=True)
    valid = DataLoader(TensorDataset(*data.valid), len(data.valid[1]))
    kept, tops = tempfile.mkdtemp(), Tops()
    callbacks: list[lightning.Callback] = [tops]
    callbacks += [ModelCheckpoint(kept, monitor="accuracy", mode="max")]  # theirs
    callbacks += [EarlyStopping("accuracy", mode="max", patience=3)]  # theirs
    monitor = Monitor(data.unlabelled)  # prescreen
    callbacks += [ours.ReadoutModelCheckpoint(monitor, kept)]  # prescreen
    callbacks += [ours.ReadoutEarlyStopping(monitor)]  # prescreen
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=program.epochs,
        callbacks=callbacks,
        logger=False,
        default_root_dir=kept,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Classifier(convolutions(16, 32), 3e-3, 0.01)
    trainer.fit(module, train, valid)
    epochs, tested = trainer.current_epoch, "best"
    (result,) = trainer.test(module, valid, ckpt_path=tested, verbose=False)
    program.found(result["accuracy"], cut=1 - epochs / program.epochs, top=max(tops.seen))


if __name__ == "__main__":
    main()
