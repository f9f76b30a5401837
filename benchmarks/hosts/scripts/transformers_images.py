"""transformers: a small Vision Transformer in a Trainer, evaluated after every epoch."""

import tempfile
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)

from benchmarks.hosts.live.data import digits
from benchmarks.hosts.scripts.program import begin
from prescreen import CheckpointSelector, EarlyStopping, Monitor  # prescreen
from prescreen.integrations.transformers import ReadoutCallback  # prescreen


class Images(Dataset):
    """Rows as a Trainer takes them."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        return {"pixel_values": self.images[row], "labels": self.labels[row]}


def main() -> None:
    """Train; the best checkpoint is loaded at the end."""
    program, data = begin(epochs=15), digits()
    sizes = {"image_size": 8, "patch_size": 2, "num_channels": 1, "num_labels": 10}
    config = ViTConfig(
        **sizes, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
    )
    model = ViTForImageClassification(config)
    accuracies: list[float] = []

    def metrics(found):
        accuracies.append(float((found.predictions.argmax(-1) == found.label_ids).mean()))
        return {"accuracy": accuracies[-1]}

    choice: dict[str, Any] = {"save_strategy": "no", "eval_strategy": "epoch"}
    choice = {"save_strategy": "epoch", "eval_strategy": "epoch"}  # theirs
    choice.update(load_best_model_at_end=True, metric_for_best_model="accuracy")  # theirs
    choice = {"save_strategy": "best", "load_best_model_at_end": True}  # prescreen
    arguments = TrainingArguments(
        tempfile.mkdtemp(),
        num_train_epochs=program.epochs,
        per_device_train_batch_size=64,
        learning_rate=3e-3,
        report_to=[],
        seed=program.seed,
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        **choice,
    )
    callbacks = []
    callbacks += [EarlyStoppingCallback(3)]  # theirs
    monitor = Monitor({"pixel_values": data.unlabelled})  # prescreen
    callbacks += [ReadoutCallback(monitor, CheckpointSelector(), EarlyStopping())]  # prescreen
    trainer = Trainer(
        model,
        arguments,
        train_dataset=Images(*data.train),
        eval_dataset=Images(*data.valid),
        compute_metrics=metrics,
        callbacks=callbacks,
    )
    trainer.train()
    cut = 1 - trainer.state.epoch / program.epochs
    best = trainer.evaluate()["eval_accuracy"]
    torch.set_num_threads(1)
    program.found(best, cut=cut, top=max(accuracies))


if __name__ == "__main__":
    main()
