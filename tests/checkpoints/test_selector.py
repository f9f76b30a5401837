"""Files of the best checkpoints: which are kept, kills at any moment, resuming."""

import json
import math
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from prescreen import CheckpointSelector, Reading
from prescreen.checkpoints.selection import Selection
from prescreen.files import load_state, save_state
from prescreen.pruning import Panel


def reading(step, value):
    return Reading(step, {"stable_information": value})


def state(step):
    return {"weight": torch.full((3,), float(step)), "half": torch.ones(2, dtype=torch.bfloat16)}


def run(selector, values, first=1):
    for step, value in enumerate(values, start=first):
        selector.update(reading(step, value), state(step))


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "selection.json")


def name(*steps):
    return [f"step-{step:08d}.safetensors" for step in steps]


def test_the_best_and_those_that_are_not_smoothed_yet_are_kept(tmp_path):
    selector = CheckpointSelector(tmp_path, smoothing=3)
    kept = []
    for step, value in enumerate([1.0, 5.0, 4.0, 3.0, 1.0, 2.0], start=1):
        kept.append(selector.update(reading(step, value), state(step)))
    assert kept == [True] * 6  # each is the latest
    assert files(tmp_path) == name(3, 6)  # means: 3.0, 3.3, 4.0, 2.7, 2.0, 1.5
    assert selector.best.step == 3
    assert torch.equal(selector.load()["weight"], torch.full((3,), 3.0))
    assert selector.load(6)["half"].dtype == torch.bfloat16
    assert selector.path() == tmp_path / name(3)[0]


@pytest.mark.parametrize("top", [1, 2, 4])
def test_the_top_k_of_an_unsmoothed_readout_are_kept_as_if_all_had_been(tmp_path, top):
    generator = random.Random(top)
    values = [generator.random() for _ in range(12)]
    selector = CheckpointSelector(tmp_path, smoothing=1, save_top_k=top)
    run(selector, values)
    best = sorted(range(1, 13), key=lambda step: -values[step - 1])[:top]
    assert files(tmp_path) == name(*sorted(best))
    everything = CheckpointSelector(tmp_path / "all", smoothing=1, save_top_k=-1)
    run(everything, values)
    assert files(tmp_path / "all") == name(*range(1, 13))
    assert everything.best == selector.best


def test_from_its_start_on_only_the_window_counts(tmp_path):
    selector = CheckpointSelector(tmp_path, smoothing=1, start=3)
    run(selector, [9.0, 8.0])
    assert selector.best.step == 1
    run(selector, [1.0, 2.0], first=3)
    assert files(tmp_path) == name(4)


def test_steps_are_chosen_without_a_folder():
    selector = CheckpointSelector(smoothing=1)
    for step, value in enumerate([1.0, 3.0, 2.0]):
        selector.update(reading(step, value))
    assert selector.best.step == 1
    with pytest.raises(ValueError, match=r"^`step` must be one of the kept \(none\), got 1$"):
        selector.path()


def test_nan_is_kept_only_until_there_is_a_value(tmp_path):
    selector = CheckpointSelector(tmp_path)
    for step in (1, 2):
        assert selector.update(reading(step, math.nan), state(step))
        assert selector.best is None
        assert torch.equal(selector.load()["weight"], state(step)["weight"])
        assert len(files(tmp_path)) == 1
    run(selector, [1.0], first=3)
    assert (selector.best.step, selector.best.skipped) == (3, 2)
    assert not selector.update(reading(4, math.nan), state(4))
    assert selector.path().name == files(tmp_path)[0]
    assert len(files(tmp_path)) == 1


def test_what_was_deleted_is_not_chosen(tmp_path):
    # Rank sums change when other readings come in between: 1 beat 2, but no longer does.
    selector = CheckpointSelector(tmp_path, ["confidence", "entropy"], smoothing=1)
    generator = random.Random(3)
    lost = False
    for step in range(1, 60):
        values = {"confidence": generator.random(), "entropy": generator.random()}
        selector.update(Reading(step, values), state(step))
        assert (tmp_path / name(selector.best.step)[0]).is_file()
        lost |= any("was not kept" in doubt for doubt in selector.best.doubts)
    assert lost


def test_training_that_returns_to_a_step_drops_later_readings(tmp_path):
    selector = CheckpointSelector(tmp_path, smoothing=1, save_top_k=3)
    run(selector, [1.0, 2.0, 3.0, 9.0])
    selector.update(reading(3, 2.5), state(33))
    assert files(tmp_path) == name(2, 3)
    assert selector.best.step == 3
    assert selector.load()["weight"][0] == 33


def test_a_saved_state_continues(tmp_path):
    values = [1.0, 3.0, 2.0, 5.0, 1.0, 0.0]
    whole = CheckpointSelector(tmp_path / "whole")
    run(whole, values)
    first = CheckpointSelector(tmp_path / "parts")
    run(first, values[:3])
    saved = json.loads(json.dumps(first.state_dict()))
    second = CheckpointSelector(tmp_path / "parts")
    assert second.state_dict() == saved  # from the manifest
    second.load_state_dict(saved)
    run(second, values[3:], first=4)
    assert second.best == whole.best
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("smoothing", [1, 3])
def test_a_kill_at_any_moment_leaves_the_best_of_before_or_after(tmp_path, monkeypatch, smoothing):
    values = [1.0, 4.0, 3.0, 2.0, 5.0, 4.0, 6.0]
    plain = Selection(Panel(("stable_information",), (True,)), smoothing=smoothing)
    survived = 0
    for moment in range(200):
        folder = tmp_path / str(moment)
        calls = 0

        def dies(real, moment=moment):
            def call(*args, **kwargs):
                nonlocal calls
                calls += 1
                if calls > moment:
                    raise Killed
                return real(*args, **kwargs)

            return call

        done = 0
        with monkeypatch.context() as patch:
            for method in ("replace", "unlink", "mkdir", "write_text"):
                patch.setattr(Path, method, dies(getattr(Path, method)))
            try:
                selector = CheckpointSelector(folder, smoothing=smoothing)
                for done, value in enumerate(values):
                    selector.update(reading(done, value), state(done))
                done = len(values)
            except Killed:
                pass
        again = CheckpointSelector(folder, smoothing=smoothing)
        known = [reading(step, value) for step, value in enumerate(values)]
        before, after = plain.choose(known[:done]), plain.choose(known[: done + 1])
        if again.best is not None:
            assert again.best.step in {choice.step for choice in (before, after) if choice}
            assert again.load()["weight"][0] == again.best.step
        else:
            assert before is None
        for step in range(done, len(values)):
            again.update(reading(step, values[step]), state(step))
        assert again.best.step == plain.choose(known).step
        survived += done < len(values)
        if calls <= moment:
            break
    assert survived > 20


def test_a_folder_of_other_settings_or_files_is_left_alone(tmp_path):
    run(CheckpointSelector(tmp_path / "a"), [1.0])
    with pytest.raises(
        ValueError, match=r"^`folder` must be one of the same settings, got .* with {"
    ):
        CheckpointSelector(tmp_path / "a", smoothing=5)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "step-1.pt").write_text("mine")
    with pytest.raises(ValueError, match=r"^`folder` must be empty or one of a selector, got "):
        CheckpointSelector(tmp_path / "b")
    assert (tmp_path / "b" / "step-1.pt").read_text() == "mine"


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"^`save_top_k` must be at least 1, or -1 for all, got 0$"
    ):
        CheckpointSelector(save_top_k=0)
    with pytest.raises(ValueError, match=r"^`state` must be the model or its state .*, got None$"):
        CheckpointSelector(tmp_path).update(reading(1, 1.0))


def test_safetensors_holds_plain_states_and_torch_the_others(tmp_path):
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    plain = save_state(tmp_path / "plain", nn.Linear(3, 2).state_dict())
    shared = save_state(tmp_path / "tied", tied.state_dict())
    more = save_state(tmp_path / "more", {"weight": torch.ones(1), "epoch": 3})
    assert [path.suffix for path in (plain, shared, more)] == [".safetensors", ".pt", ".pt"]
    assert load_state(more) == {"weight": torch.ones(1), "epoch": 3}
    loaded = load_state(shared)
    assert torch.equal(loaded["0.weight"], loaded["1.weight"])


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harm-was-done"),))


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Harmful()}, tmp_path / "harmful.pt")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for file in ("harmful.pt", "text.safetensors", "absent.pt"):
        with pytest.raises(
            ValueError, match=f"^checkpoint must be a file of weights, got .*{file}"
        ):
            load_state(tmp_path / file)
    assert not (tmp_path / "harm-was-done").exists()
