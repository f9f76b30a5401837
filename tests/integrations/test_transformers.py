"""transformers' own Trainer with the callback: it keeps, stops and resumes."""

import subprocess
import sys

import pytest
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from prescreen import CheckpointSelector, EarlyStopping, Monitor
from prescreen.integrations.transformers import ReadoutCallback

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")

generator = torch.Generator().manual_seed(0)
UNSEEN = {"input_ids": torch.randint(1, 20, (32, 5), generator=generator)}


def reversed_words(inputs):
    return {"input_ids": inputs["input_ids"].flip(1)}


class Words(Dataset):
    def __init__(self):
        self.tokens = torch.randint(1, 20, (32, 5), generator=torch.Generator().manual_seed(1))

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        tokens = self.tokens[index]
        return {"input_ids": tokens, "labels": int(tokens[0] > 10)}


def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=20, intermediate_size=16, max_position_embeddings=8, **sizes)
    return BertForSequenceClassification(config)


def train(tmp_path, callback, epochs, resume=False):
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "trainer"),
        num_train_epochs=epochs,
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        save_strategy="epoch",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    trainer = Trainer(model(), arguments, train_dataset=Words(), callbacks=[callback])
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def callback(folder, readout="stable_information", patience=50, **arguments):
    monitor = Monitor(UNSEEN, view=reversed_words, readouts=[readout])
    selector = CheckpointSelector(folder, [readout], smoothing=1, save_top_k=-1)
    stopping = EarlyStopping(readout, patience=patience, smoothing=1, **arguments)
    return ReadoutCallback(monitor, selector, stopping)


def test_it_keeps_the_best_and_logs_its_readings(tmp_path):
    one = callback(tmp_path / "best")
    trainer = train(tmp_path, one, 3)
    readings = one.selector.state_dict()["readings"]
    assert [reading["step"] for reading in readings] == [4, 8, 12]
    logged = [
        entry["prescreen/stable_information"]
        for entry in trainer.state.log_history
        if "prescreen/stable_information" in entry
    ]
    values = [reading["values"]["stable_information"] for reading in readings]
    assert logged == pytest.approx([float(value) for value in values], abs=0, nan_ok=True)
    last, state = trainer.model.state_dict(), one.selector.load(12)
    assert all(torch.equal(value, state[name]) for name, value in last.items())


def test_it_stops_training(tmp_path):
    never_enough = {"patience": 1, "min_delta": 9.0, "patience_share": 0.0}
    one = callback(tmp_path / "best", "mutual_information", **never_enough)
    one.every_n_steps = 2
    trainer = train(tmp_path, one, 9)
    assert trainer.state.global_step < 36
    assert "has not improved" in one.stopping.reason


def test_a_resumed_training_continues_with_its_readings(tmp_path):
    whole = callback(tmp_path / "whole")
    train(tmp_path / "a", whole, 3)
    train(tmp_path / "b", callback(tmp_path / "parts"), 2)
    second = callback(tmp_path / "parts")
    train(tmp_path / "b", second, 3, resume=True)
    assert second.selector.state_dict() == whole.selector.state_dict()
    assert second.stopping.state_dict() == whole.stopping.state_dict()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"^`every_n_steps` must be at least 1, got 0$"):
        ReadoutCallback(Monitor(UNSEEN, view=reversed_words), every_n_steps=0)


def test_a_missing_extra_is_named():
    code = (
        "import sys; sys.modules['transformers'] = None; import prescreen.integrations.transformers"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    named = "needs the 'transformers' extra: pip install 'prescreen[transformers]'"
    assert named in done.stderr.splitlines()[-1]
