"""Files of the best checkpoints: which are kept, kills at any moment, resuming."""

import copy
import json
import math
import multiprocessing
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from patience import PATIENCE
from torch import nn

from prescreen import CheckpointSelector, Reading
from prescreen.checkpoints import manifest
from prescreen.checkpoints.record import MANIFEST
from prescreen.checkpoints.selection import Selection
from prescreen.files import load_state, save_state
from prescreen.lines import line_of
from prescreen.pruning import Panel


def reading(step, value):
    return Reading(step, {"stable_information": value})


def state(step):
    return {"weight": torch.full((3,), float(step)), "half": torch.ones(2, dtype=torch.bfloat16)}


def run(selector, values, first=1):
    for step, value in enumerate(values, start=first):
        selector.update(reading(step, value), state(step))


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name not in (MANIFEST, ".lock"))


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


@pytest.mark.parametrize("top", [1, 3, -1])
@pytest.mark.parametrize("smoothing", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_is_what_the_whole_curve_would_keep(top, smoothing, seed):
    """With NaN, a window that begins late, and returns: against ranking all readings every time."""
    generator = random.Random(seed)
    selector = CheckpointSelector(save_top_k=top, smoothing=smoothing, start=6)
    readings, kept = [], set()
    for step in [0, 1, 2, 3, 4, 5, 3, 4, 6, 7, 8, 9, 10, 8, 9, 10, 11, 12]:
        value = math.nan if generator.random() < 0.4 else generator.random()
        readings = [one for one in readings if one.step < step] + [reading(step, value)]
        ranked = selector.selection.ranked(readings)
        there = [one for one in ranked if one == step or (one in kept and one < step)]
        pending = sorted(ranked)[-(smoothing // 2) :] if smoothing > 1 else []
        kept = (set(there) if top == -1 else {*there[:top], *pending} & set(there)) or {step}
        selector.update(reading(step, value))
        assert set(map(int, selector.state_dict()["files"])) == kept
        assert selector.best.step in kept


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
        assert (selector.best.step, selector.best.skipped) == (step, step)
        assert selector.best.doubts == ("no checkpoint that is kept has a value: it is the latest",)
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
    assert files(tmp_path) == ["step-00000002.safetensors", "step-00000003-1.safetensors"]
    assert selector.best.step == 3
    assert selector.load()["weight"][0] == 33
    assert CheckpointSelector(tmp_path, save_top_k=3).best == selector.best


VALUES = [1.0, 3.0, 2.0, 5.0, 1.0, 0.0]


def whole(folder):
    with CheckpointSelector(folder) as selector:
        run(selector, VALUES)
    return selector


def test_a_run_continues_when_it_is_asked_to(tmp_path):
    expected = whole(tmp_path / "whole")
    with CheckpointSelector(tmp_path / "parts") as first:
        run(first, VALUES[:3])
    with CheckpointSelector(tmp_path / "parts", resume=True) as second:
        assert second.state_dict() == first.state_dict()
        run(second, VALUES[3:], first=4)
    assert second.best == expected.best
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_a_second_run_into_an_old_folder_is_refused_and_changes_nothing(tmp_path):
    whole(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    second = CheckpointSelector(tmp_path)
    assert second.best.step == 4  # it may be looked at
    assert second.load()["weight"][0] == 4
    for first in (1, 4, 7):
        with pytest.raises(
            ValueError, match=r"^`folder` must be new for a new training, got .*resume=True"
        ):
            second.update(reading(first, 0.5), state(first))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    # One that was made before the first run began is refused as well.
    early, late = (CheckpointSelector(tmp_path / "new") for _ in range(2))
    with early:
        run(early, VALUES)
    with pytest.raises(ValueError, match=r"^`folder` must be new for a new training"):
        late.update(reading(1, 0.5), state(1))


@pytest.mark.parametrize("resume", [False, True])
def test_one_selector_is_not_used_for_a_second_training(tmp_path, resume):
    selector = whole(tmp_path)
    if resume:
        selector = CheckpointSelector(tmp_path, resume=True)
    for step in (0, 1):
        with pytest.raises(ValueError, match=r"^`reading` must be of a step after 1, the first"):
            selector.update(reading(step, 0.5), state(step))
    assert selector.load()["weight"][0] == 4


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("cut", range(1, 6))
def test_a_saved_state_continues_also_in_another_folder(tmp_path, cut, moved):
    expected = whole(tmp_path / "whole")
    with CheckpointSelector(tmp_path / "parts") as first:
        run(first, VALUES[:cut])
    saved = json.loads(json.dumps(first.state_dict()))
    folder = tmp_path / ("other" if moved else "parts")
    with CheckpointSelector(folder) as second:
        second.load_state_dict(saved)
        assert second.load()["weight"][0] == first.best.step
        run(second, VALUES[cut:], first=cut + 1)
    assert second.best == expected.best
    assert second.state_dict()["readings"] == expected.state_dict()["readings"]
    assert files(folder) == files(tmp_path / "whole")
    assert CheckpointSelector(folder).load()["weight"][0] == 4
    if moved:  # the first folder is left as it was
        assert CheckpointSelector(tmp_path / "parts").state_dict() == saved


def test_a_state_of_another_run_does_not_replace_the_run_in_a_folder(tmp_path):
    whole(tmp_path / "a")
    with CheckpointSelector(tmp_path / "b") as other:
        run(other, [0.5, 0.4])
    for saved in (other.state_dict(), {"readings": [], "files": {}}):
        selector = CheckpointSelector(tmp_path / "a")
        selector.load_state_dict(saved)
        with pytest.raises(ValueError, match=r"^`folder` must be of the same run, got "):
            selector.update(reading(3, 1.0), state(3))
    assert CheckpointSelector(tmp_path / "a").load()["weight"][0] == 4
    for broken in ({}, {"readings": 3, "files": {}}, {"readings": [], "files": {"1": "../x"}}):
        with pytest.raises(ValueError, match=r"^`state` must be one of a selector with the same "):
            CheckpointSelector().load_state_dict(broken)


def test_a_state_whose_files_are_gone_says_so(tmp_path):
    first = whole(tmp_path / "a")
    saved = first.state_dict()
    first.path().write_bytes(first.path().read_bytes()[:-1] + b"x")  # the same size
    second = CheckpointSelector(tmp_path / "b")
    second.load_state_dict(saved)
    run(second, [2.5], first=7)
    assert second.best.step == 7
    assert second.best.doubts[-1] == "step 4 now reads better, but was not kept"


def test_of_two_live_selectors_one_is_refused(tmp_path):
    first, second = CheckpointSelector(tmp_path), CheckpointSelector(tmp_path, resume=True)
    run(first, [1.0, 2.0])
    copies = [second, copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
    for other in copies:
        with pytest.raises(ValueError, match=r"^`folder` must be one that no other selector is u"):
            other.update(reading(3, 3.0), state(3))
    run(first, [3.0], first=3)
    assert first.load()["weight"][0] == 3
    del first
    run(second, [4.0], first=4)
    assert second.load()["weight"][0] == 4
    assert len(second.state_dict()["readings"]) == 4
    with pytest.raises(ValueError, match=r"^`folder` must be one that no other selector is using"):
        copies[1].update(reading(4, 5.0), state(4))  # the copies do not know step 4
    second.close()
    with pytest.raises(ValueError, match=r"^`folder` must be of the same run"):
        copies[1].update(reading(4, 5.0), state(4))
    run(second, [5.0], first=5)  # takes its folder back
    assert CheckpointSelector(tmp_path).load()["weight"][0] == 5


def elsewhere(folder, seen):
    try:
        with CheckpointSelector(folder, resume=True) as selector:
            selector.update(reading(9, 9.0), state(9))
    except ValueError as error:
        seen.put(str(error))
    else:
        seen.put("written")


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_folder_is_of_one_process(tmp_path):
    context = multiprocessing.get_context("fork")
    seen = context.Queue()
    selector = CheckpointSelector(tmp_path)
    run(selector, [1.0])
    for expected in ("`folder` must be one that no other selector is using", "written"):
        other = context.Process(target=elsewhere, args=(tmp_path, seen))
        other.start()
        assert seen.get(timeout=PATIENCE).startswith(expected)
        other.join()
        if expected != "written":
            run(selector, [2.0], first=2)  # still holds it
        selector.close()


def test_only_what_the_manifest_once_listed_is_deleted(tmp_path):
    selector = CheckpointSelector(tmp_path)
    run(selector, [1.0])
    own = ["step-1.pt", "step-00000002.pt", "step-00000003.safetensors", ".step-00000009.pt.1.part"]
    for one in own:
        (tmp_path / one).write_text("mine")
    run(selector, [2.0, 3.0, 2.0], first=2)
    selector.close()
    (tmp_path / "step-00000001.safetensors").write_text("mine, put back")
    own.append("step-00000001.safetensors")
    assert CheckpointSelector(tmp_path).load()["weight"][0] == 3
    with CheckpointSelector(tmp_path, resume=True) as again:
        run(again, [4.0], first=5)
    assert all((tmp_path / one).read_text().startswith("mine") for one in own)
    assert files(tmp_path) == sorted([*own, *name(5)])


def test_opening_writes_nothing(tmp_path):
    assert CheckpointSelector(tmp_path / "absent", resume=True).best is None
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("folder", [b"\xff\xfe", "é☃".encode(), b"a\nb", b"'\"$ "])
def test_a_folder_may_have_any_name(tmp_path, folder):
    folder = tmp_path / os.fsdecode(folder)
    whole(folder)
    assert CheckpointSelector(folder).load()["weight"][0] == 4


def test_a_relative_folder_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    selector = CheckpointSelector("kept")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    run(selector, VALUES)
    assert selector.load()["weight"][0] == 4
    assert files(tmp_path / "kept") == name(4)


@pytest.mark.parametrize(
    "kind", [np.int64, np.uint8, torch.tensor, lambda step: torch.tensor([step])]
)
def test_steps_and_values_may_be_of_numpy_or_torch(tmp_path, kind):
    with CheckpointSelector(tmp_path / "a") as selector:
        for step, value in enumerate(VALUES, start=1):
            one = Reading(kind(step), {"stable_information": torch.tensor(value)})
            selector.update(one, state(step))
    assert selector.state_dict()["readings"] == whole(tmp_path / "b").state_dict()["readings"]
    assert selector.load(kind(4))["weight"][0] == 4


@pytest.mark.parametrize("step", [1.5, True, "1", -1, None, torch.ones(2), torch.tensor(1.0)])
def test_other_steps_are_refused(step):
    with pytest.raises(ValueError, match=r"^`step` must be "):
        CheckpointSelector().update(Reading(step, {"stable_information": 1.0}))


@pytest.mark.parametrize("save_top_k", [1, 3, -1])
@pytest.mark.parametrize("count", [10, 40])
def test_an_update_writes_as_much_late_as_early(tmp_path, monkeypatch, save_top_k, count):
    written = []
    monkeypatch.setattr(
        manifest, "line_of", lambda one: written.append(line_of(one)) or written[-1]
    )
    with CheckpointSelector(tmp_path, save_top_k=save_top_k) as selector:
        run(selector, [float(i) for i in range(count)])
    assert sum(map(len, written)) <= 700 * count
    assert len(written) == 2 * count + 1


class Killed(BaseException):
    pass


@pytest.mark.parametrize("smoothing", [1, 3])
def test_a_kill_at_any_moment_leaves_the_best_of_before_or_after(tmp_path, monkeypatch, smoothing):
    values = [1.0, 4.0, 3.0, 5.0, 4.0]
    plain = Selection(Panel(("stable_information",), (True,)), smoothing=smoothing)
    survived = 0
    for moment in range(400):
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
            for method in ("replace", "unlink", "mkdir", "write_text", "write_bytes", "open"):
                patch.setattr(Path, method, dies(getattr(Path, method)))
            patch.setattr(os, "fsync", dies(os.fsync))
            try:
                selector = CheckpointSelector(folder, smoothing=smoothing)
                for done, value in enumerate(values):
                    selector.update(reading(done, value), state(done))
                done = len(values)
            except Killed:
                pass
            selector.close()
        again = CheckpointSelector(folder, smoothing=smoothing, resume=True)
        known = [reading(step, value) for step, value in enumerate(values)]
        before, after = plain.choose(known[:done]), plain.choose(known[: done + 1])
        if again.best is not None:
            assert again.best.step in {choice.step for choice in (before, after) if choice}
            assert again.load()["weight"][0] == again.best.step
        else:
            assert before is None
        for step in range(done, len(values)):
            again.update(reading(step, values[step]), state(step))
        again.close()
        assert again.best.step == plain.choose(known).step
        kept = {kept["file"] for kept in again.state_dict()["files"].values()}
        assert {str(path) for path in folder.glob("*step*")} == kept  # nothing is left behind
        survived += done < len(values)
        if calls <= moment:
            break
    assert survived > 20


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_a_failed_update_the_same_selector_goes_on(tmp_path, monkeypatch, failure):
    # A file that cannot be deleted is deleted later.
    others = ["unlink"] if isinstance(failure, KeyboardInterrupt) else []
    for moment in range(40):
        calls = 0

        def fails(real, moment=moment):
            def call(*args, **kwargs):
                nonlocal calls
                calls += 1
                if calls == moment:
                    raise failure
                return real(*args, **kwargs)

            return call

        selector = CheckpointSelector(tmp_path / str(moment), save_top_k=2)
        run(selector, [1.0, 3.0])
        with monkeypatch.context() as patch:
            for method in ("replace", "open", *others):
                patch.setattr(Path, method, fails(getattr(Path, method)))
            patch.setattr(os, "fsync", fails(os.fsync))
            for step, value in ((3, 2.0), (4, 4.0)):
                try:
                    selector.update(reading(step, value), state(step))
                except type(failure):
                    run(selector, [value], first=step)
        kept = [int(file[5:13]) for file in files(tmp_path / str(moment))]
        assert kept == [2, 4]  # nothing is left behind
        assert selector.load()["weight"][0] == 4
        assert CheckpointSelector(tmp_path / str(moment), save_top_k=2).best == selector.best
        selector.close()
    assert moment > calls  # all moments were tried


def test_a_file_that_cannot_be_deleted_yet_is_deleted_later(tmp_path, monkeypatch):
    selector = CheckpointSelector(tmp_path)
    run(selector, [1.0])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError()))
        run(selector, [2.0, 3.0], first=2)
    assert files(tmp_path) == name(1, 2, 3)
    run(selector, [0.0], first=4)
    assert files(tmp_path) == name(3)


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
