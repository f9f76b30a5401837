"""Loggers on the command line."""

import sys

import pytest

from prescreen.cli.logs import opened_log


def test_no_logger():
    with opened_log(None) as log:
        assert log is None


@pytest.mark.parametrize(
    "text",
    ["", ":", "tensorboard", "tensorboard:", "mlflow:", "wandb:", "csv:runs", "runs", "MLflow"],
)
def test_other_texts_are_refused(text):
    line = f"`log` must be tensorboard:FOLDER, .*, got {text!r}$"
    with pytest.raises(ValueError, match=line), opened_log(text):
        pass


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="pip install wandb"), opened_log("wandb:mine"):
        pass


def test_values_reach_tensorboard_and_its_files_are_closed(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with opened_log(f"tensorboard:{tmp_path}/C:odd") as log:
        log({"prescreen/a": 0.5}, 7, "one")
    read = EventAccumulator(str(tmp_path / "C:odd" / "one")).Reload()
    assert [(one.step, one.value) for one in read.Scalars("prescreen/a")] == [(7, 0.5)]
