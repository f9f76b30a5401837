"""transformers' own Trainer with the callback: it keeps, stops and resumes."""

import shutil
import subprocess
import sys

import pytest
import torch
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from prescreen import CheckpointSelector, EarlyStopping, Monitor
from prescreen.integrations import transformers as transformers_host
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


class Diverging(TrainerCallback):
    """Makes weights NaN at a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step >= self.step:
            torch.nn.init.constant_(model.classifier.bias, torch.nan)


def train(tmp_path, callback, epochs, resume=False, seed=0, diverges=10**9, others=(), **options):
    options = {"save_strategy": "epoch", "report_to": [], **options}
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "trainer"),
        num_train_epochs=epochs,
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        use_cpu=True,
        disable_tqdm=True,
        seed=seed,
        **options,
    )
    callbacks = [Diverging(diverges), callback, *others]
    trainer = Trainer(model(), arguments, train_dataset=Words(), callbacks=callbacks)
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
    assert values[0] == "nan"  # which is not logged
    assert logged == values[1:]
    last, state = trainer.model.state_dict(), one.selector.load(12)
    assert all(torch.equal(value, state[name]) for name, value in last.items())


class Logs(TrainerCallback):
    """What is logged, by step."""

    def __init__(self):
        self.taken = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.taken.append((state.global_step, set(logs)))


def test_readings_reach_other_callbacks_beside_the_loss(tmp_path):
    one, logs = callback(tmp_path / "best"), Logs()
    one.every_n_steps = 2
    train(tmp_path, one, 2, others=[logs], logging_strategy="steps", logging_steps=2)
    name = "prescreen/stable_information"
    assert [step for step, names in logs.taken if name in names] == [4, 6, 8]
    assert [step for step, names in logs.taken if "loss" in names] == [2, 4, 6, 8]


@pytest.mark.filterwarnings("ignore:.*`logging_dir` is deprecated")
def test_tensorboard_shows_readings(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    one = callback(tmp_path / "best")
    train(tmp_path, one, 3, report_to=["tensorboard"])
    (file,) = tmp_path.rglob("events.out*")
    events = EventAccumulator(str(file.parent)).Reload()
    shown = [event.step for event in events.Scalars("train/prescreen/stable_information")]
    assert shown == [8, 12]


@pytest.mark.parametrize("limit", [None, 1])
def test_trainer_keeps_and_loads_the_best_by_readings(tmp_path, limit):
    one = callback(tmp_path / "best", "mutual_information")
    best = {"save_strategy": "best", "load_best_model_at_end": True, "save_total_limit": limit}
    one.selector = CheckpointSelector(None, ["mutual_information"])
    kept = CheckpointSelector(tmp_path / "kept", ["mutual_information"])
    alone = ReadoutCallback(one.monitor, kept)
    train(tmp_path / "a", alone, 5, diverges=14)
    trainer = train(tmp_path / "b", one, 5, diverges=14, **best)
    step = kept.best.step
    assert 0 < step < 14
    assert trainer.state.best_model_checkpoint.endswith(f"checkpoint-{step}")
    state, loaded = kept.load(), trainer.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in loaded.items())


def test_images_by_keyword_have_the_default_view():
    images = torch.randn(4, 1, 6, 6)
    monitor = Monitor({"pixel_values": images}, readouts=["agreement"])
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 5))

    class Keyword(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, pixel_values):
            return self.network(pixel_values)

    assert monitor.read(Keyword(), 1) == Monitor(images, readouts=["agreement"]).read(network, 1)


def test_a_view_that_fails_shows_how_to_write_one():
    message = (
        r"^`view` must be a function of the inputs as the model takes them, such as lambda inputs: "
        r"{\*\*inputs, 'pixel_values': inputs\['pixel_values'\]\.flip\(-1\)}, got AttributeError: "
    )
    with pytest.raises(ValueError, match=message):
        Monitor({"pixel_values": torch.randn(4, 1, 8, 8)}, view=lambda images: images.flip(-1))


def test_it_stops_training(tmp_path):
    never_enough = {"patience": 1, "min_delta": 9.0, "patience_share": 0.0}
    one = callback(tmp_path / "best", "mutual_information", **never_enough)
    one.every_n_steps = 2
    trainer = train(tmp_path, one, 9)
    assert trainer.state.global_step < 36
    assert "has not improved" in one.stopping.reason


def known(one):
    """All that a callback knows, but in which folder its files are."""
    best = {name: value.tolist() for name, value in one.selector.load().items()}
    files = sorted(path.name for path in one.selector.folder.glob("step*"))
    readings = one.selector.state_dict()["readings"]
    return readings, repr(one.selector.best), best, files, one.stopping.state_dict()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("place", ["same", "other output", "moved"])
def test_a_resumed_training_equals_the_uninterrupted_one(tmp_path, monkeypatch, place, large):
    if large:
        monkeypatch.setattr(transformers_host, "_LARGE", 10)
    whole = callback(tmp_path / "whole")
    train(tmp_path / "a", whole, 3)
    train(tmp_path / "b", callback(tmp_path / "first"), 2)
    checkpoint = tmp_path / "b" / "trainer" / "checkpoint-8"
    output, kept = tmp_path / "b", tmp_path / "first"
    if place != "same":
        output, kept = tmp_path / "c", tmp_path / "second"
        # Another run's, at the same step.
        train(output, callback(tmp_path / "stray"), 2, seed=1)
    if place == "moved":
        shutil.move(tmp_path / "b", tmp_path / "d")
        checkpoint = tmp_path / "d" / "trainer" / "checkpoint-8"
    second = callback(kept)
    if place == "moved" and large:
        with pytest.raises(
            ValueError, match=r"^`resume_from_checkpoint` must be a checkpoint whos"
        ):
            train(output, second, 3, resume=str(checkpoint))
        return
    train(output, second, 3, resume=str(checkpoint))
    assert known(second) == known(whole)


def test_a_divergence_after_resuming_stops_as_it_does_without(tmp_path):
    whole = callback(tmp_path / "whole")
    assert train(tmp_path / "a", whole, 5, diverges=9).state.global_step == 12
    train(tmp_path / "b", callback(tmp_path / "first"), 2)
    second = callback(tmp_path / "second")
    checkpoint = str(tmp_path / "b" / "trainer" / "checkpoint-8")
    resumed = train(tmp_path / "c", second, 5, resume=checkpoint, diverges=9)
    assert resumed.state.global_step == 12
    assert second.stopping.reason == whole.stopping.reason == "stable_information is nan at step 12"
    assert repr(known(second)) == repr(known(whole))


def test_a_second_training_is_another(tmp_path):
    one = callback(tmp_path / "best")
    train(tmp_path / "a", one, 2)
    with pytest.raises(ValueError, match=r"^`folder` must be new for a new training, got "):
        train(tmp_path / "b", one, 2)
    expected, one.selector = one.stopping.state_dict(), None
    train(tmp_path / "c", one, 2)
    assert one.stopping.state_dict() == expected


@pytest.mark.parametrize("every_n_steps", [None, 100])
def test_one_epoch_has_a_best(tmp_path, every_n_steps):
    one = callback(tmp_path / "best")
    one.every_n_steps = every_n_steps
    trainer = train(tmp_path, one, 1)
    assert one.selector.best.step == 4
    state = one.selector.load()
    assert all(torch.equal(v, state[n]) for n, v in trainer.model.state_dict().items())


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
