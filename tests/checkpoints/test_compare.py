"""The best checkpoint file of one run, and of different architectures."""

import json
import math
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from prescreen import Monitor, read, select_checkpoint
from prescreen.tasks import ImageTask

PROBE = torch.randn(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
MODELS = """
from torch import nn

def small(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(36 * in_channels, num_classes))

def wide(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 9), nn.ReLU(), nn.Linear(9, num_classes))
"""


def batches(size, seed):
    generator = torch.Generator().manual_seed(seed + 1)
    while True:
        yield torch.randn(size, 1, 6, 6, generator=generator), torch.zeros(size).long()


TASK = ImageTask("noise", PROBE, 3, 1, (6, 6), batches)


def small(scale=1.0, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with torch.no_grad():
        model[1].weight.mul_(scale)
    return model


@pytest.fixture
def models(tmp_path):
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    return str(path)


def write(folder, scales):
    files = []
    for epoch, scale in enumerate(scales, start=8):
        files.append(folder / f"epoch={epoch}.pt")
        torch.save(small(scale).state_dict(), files[-1])
    return files


def test_files_of_one_run_are_read_in_the_order_of_their_numbers(tmp_path, models):
    scales = [1.0, 5.0, 3.0, 2.0]
    files = write(tmp_path, scales)  # epochs 8 to 11
    found = select_checkpoint(sorted(files), f"{models}:small", TASK, readouts=["confidence"])
    assert list(found.files) == files
    assert [reading.values["confidence"] for reading in found.readings] == [
        read(small(scale), PROBE, ["confidence"], batch_statistics=False)["confidence"]
        for scale in scales
    ]
    assert found.best == files[1]
    assert found.order == (1, 2, 3, 0)
    assert found.choice.doubts == ()
    lines = str(found).splitlines()
    assert [line.split()[:2] for line in lines[2:6]] == [
        [str(rank), str(files[place])] for rank, place in enumerate(found.order, start=1)
    ]
    assert found.reason == lines[-1]
    score = found.choice.score
    assert found.reason == f"{files[1]} has the best confidence ({score:.4g}) of 4."


def test_of_one_run_each_file_is_compared_with_the_one_before(tmp_path, models):
    scales = [1.0, 5.0, 3.0, 2.0]
    files = write(tmp_path, scales)
    found = select_checkpoint(files, f"{models}:small", TASK)
    monitor = Monitor(PROBE)
    expected = [monitor.read(small(scale), place) for place, scale in enumerate(scales)]
    assert found.readouts == ("stable_information",)
    assert repr(found.readings) == repr(tuple(expected))  # NaN equals NaN
    assert found.choice.skipped == 1
    few = select_checkpoint(files[:3], f"{models}:small", TASK)
    assert few.readouts == ("view_information",)
    different = select_checkpoint(files, [f"{models}:small"] * 4, TASK)
    assert different.readouts == ("view_information",)
    assert [one.values for one in different.readings[:3]] == [one.values for one in few.readings]


def test_doubts_about_the_curve_are_in_the_reason(tmp_path, models):
    found = select_checkpoint(
        write(tmp_path, [1, 2, 3, 4]), f"{models}:small", TASK, readouts=["confidence"]
    )
    assert found.reason.endswith(
        "But it is the last of the window: a better one may lie later. "
        "But confidence only gets better: it may follow training, not generalization."
    )
    smoothed = select_checkpoint(
        write(tmp_path, [1, 9, 1.1, 5.1, 5, 4]),
        f"{models}:small",
        TASK,
        readouts=["confidence"],
        smoothing=3,
    )
    assert smoothed.best.name == "epoch=12.pt"


def test_different_architectures_are_compared(tmp_path, models):
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Flatten(), nn.Linear(36, 9), nn.ReLU(), nn.Linear(9, 3))
    save_file(wide.state_dict(), tmp_path / "b.safetensors")
    (tmp_path / "x").mkdir()
    (first,) = write(tmp_path / "x", [4.0])
    found = select_checkpoint(
        [first, tmp_path / "b.safetensors"],
        [f"{models}:small", f"{models}:wide"],
        TASK,
        readouts=["confidence", "entropy"],
    )
    assert found.best == first
    assert "the best mean rank in confidence and entropy" in found.reason
    assert "But" not in found.reason
    assert found.readings[1].values == read(
        wide, PROBE, ["confidence", "entropy"], batch_statistics=False
    )


def test_functions_serve_as_well_as_names(tmp_path, models, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    files = write(tmp_path, [1, 3, 2])
    by_function = select_checkpoint(files, lambda: small(), TASK)
    assert select_checkpoint(files, "models:small", TASK).to_json() == by_function.to_json()
    sys.modules.pop("models")


@pytest.mark.parametrize("entry", ["state_dict", "model_state_dict", "model", None])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module._orig_mod."])
def test_weights_are_found_where_training_scripts_put_them(tmp_path, entry, prefix):
    state = {f"{prefix}{name}": value for name, value in small(2).state_dict().items()}
    content = state if entry is None else {"epoch": 3, entry: state, "optimizer": {"lr": 0.1}}
    torch.save(content, tmp_path / "a.pt")
    found = select_checkpoint([tmp_path / "a.pt"], small, TASK, readouts=["confidence"])
    expected = read(small(2), PROBE, ["confidence"], batch_statistics=False)
    assert found.readings[0].values == expected


def test_a_diverged_checkpoint_is_skipped(tmp_path, models):
    files = write(tmp_path, [1, math.nan, 2])
    found = select_checkpoint(files, f"{models}:small", TASK, readouts=["confidence"])
    assert found.best == files[2]
    assert found.order == (2, 0)
    assert found.choice.skipped == 1
    assert "of 2, 1 more without a value." in found.reason
    assert str(found).splitlines()[4].split() == ["-", str(files[1]), "nan"]
    content = json.loads(found.to_json())
    assert content["checkpoints"][1]["values"] == {"confidence": None}
    assert content["best"] == str(files[2])
    nothing = select_checkpoint(files[1:2], f"{models}:small", TASK)
    assert nothing.reason == "No checkpoint has readouts that are numbers."
    with pytest.raises(
        ValueError, match=r"^`checkpoints` must have one whose readouts are numbers, got none$"
    ):
        nothing.best  # noqa: B018


def test_a_pair_of_seen_and_unseen_inputs_is_read(tmp_path, models):
    (file,) = write(tmp_path, [3])
    found = select_checkpoint(
        [file], f"{models}:small", TASK, readouts=["gap/confidence", "agreement"]
    )
    seen = next(batches(40, 0))[0]
    model = small(3)
    high, low = (
        read(model, inputs, ["confidence"], batch_statistics=False)["confidence"]
        for inputs in (seen, PROBE)
    )
    assert found.readings[0].values["gap/confidence"] == high - low


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("small", "`models` must be package.module:function or FILE.py:function, got 'small'$"),
        ("no_such:small", "`models` must be .*, got 'no_such:small', which is not found$"),
        ("no_such.py:small", "`models` must be .*, got 'no_such.py:small', which is not found$"),
        ("{models}:none", ", which has no function none$"),
        ("{models}:wide", "checkpoint must hold the weights of the model, got .*epoch=8.pt: .*"),
    ],
)
def test_models_that_are_missing_or_do_not_fit_are_one_line(tmp_path, models, function, problem):
    (file,) = write(tmp_path, [1])
    with pytest.raises(ValueError, match=problem) as caught:
        select_checkpoint([file], function.format(models=models), TASK)
    assert "\n" not in str(caught.value)


def test_bad_arguments_are_refused(tmp_path, models):
    files = write(tmp_path, [1, 2])
    with pytest.raises(ValueError, match=r"^`checkpoints` must have at least one file, got none$"):
        select_checkpoint([], small, TASK)
    with pytest.raises(
        ValueError, match=r"^`models` must be one, or one for each of the 2 files, got 1$"
    ):
        select_checkpoint(files, [small], TASK)
    with pytest.raises(ValueError, match=r"^`smoothing` must be 1 for different models, got 3$"):
        select_checkpoint(files, [small, small], TASK, smoothing=3)
    torch.save({"epoch": 3}, tmp_path / "no.pt")
    with pytest.raises(
        ValueError, match=r"^checkpoint must hold a state dict, got none in .*no.pt$"
    ):
        select_checkpoint([tmp_path / "no.pt"], small, TASK)
