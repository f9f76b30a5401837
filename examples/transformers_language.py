"""GPT-2 in a transformers Trainer: the checkpoint that predicts other text best is kept.

The text is short, so the model learns it by heart if it goes on.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from prescreen import CheckpointSelector, Monitor
from prescreen.integrations.transformers import ReadoutCallback
from prescreen.readouts import held_out_loss
from prescreen.tasks import LanguageTask


def main() -> None:
    torch.manual_seed(0)
    folder = Path(tempfile.mkdtemp())
    for name, module in (("train", json), ("val", argparse)):  # any two texts will do
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    task = LanguageTask.from_files(folder, context=64, probe_size=64)
    ids, _ = next(task.batches(128, 0))
    rows = [{"input_ids": row, "labels": row} for row in ids]  # the model shifts its labels

    sizes = {"vocab_size": task.sizes["vocab_size"], "n_positions": 64}
    model = GPT2LMHeadModel(GPT2Config(**sizes, n_embd=48, n_layer=2, n_head=4))
    # What comes next in the probe is known without annotation.
    readouts = {"held_out_loss": held_out_loss(task.targets)}
    monitor = Monitor({"input_ids": task.probe}, readouts=readouts)
    selector = CheckpointSelector(folder / "best", readouts)
    settings = TrainingArguments(
        str(folder),
        num_train_epochs=25,
        learning_rate=3e-3,
        report_to=[],
        save_strategy="no",
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model, settings, train_dataset=rows, callbacks=[ReadoutCallback(monitor, selector)]
    )
    trainer.train()
    print(f"last: {task.held_out_loss(model):.2f} nats a character, held out")
    model.load_state_dict(selector.load())
    print(f"kept, of step {selector.best.step}: {task.held_out_loss(model):.2f}")


if __name__ == "__main__":
    main()
