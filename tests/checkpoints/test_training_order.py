"""Copies of checkpoint files, and the order of training: what a file is worth is in its weights."""

import random
import shutil

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from prescreen import Monitor, select_checkpoint
from prescreen.tasks import ImageTask

PROBE = torch.randn(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
TASK = ImageTask("noise", PROBE, 3, 1, (6, 6), lambda size, seed: iter(()))


def network(seed=0, scale=1.0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with torch.no_grad():
        model[1].weight.mul_(scale)
    return model


MODELS = [network(seed, 1 + seed) for seed in range(6)]  # in the order of training


def write(folder, form="run/epoch={epoch}.pt", wrap=lambda state, step: state, models=MODELS):
    files = []
    for epoch, model in enumerate(models, start=6):
        files.append(folder / form.format(epoch=epoch))
        files[-1].parent.mkdir(exist_ok=True)
        torch.save(wrap(model.state_dict(), epoch), files[-1])
    return files


def what(found):
    """The value and rank of every file, copies included."""
    ranks = {place: rank for rank, place in enumerate(found.order)}
    return {
        file: (dict(reading.values), ranks.get(place))
        for place, (first, copies, reading) in enumerate(
            zip(found.files, found.copies, found.readings, strict=True)
        )
        for file in (first, *copies)
    }


def assert_same(found, alone):
    got = what(found)
    for file, expected in what(alone).items():
        assert repr(got[file]) == repr(expected), file  # NaN equals NaN


def in_training_order(models=MODELS):
    monitor = Monitor(PROBE)
    return [monitor.read(model, step).values for step, model in enumerate(models)]


def add_same_file(files, folder):
    return [files[2]]


def add_copies(files, folder):
    return [shutil.copy(files[i], folder / f"a{i}.pt") for i in (0, 3)]


def add_earlier_name(files, folder):
    return [shutil.copy(files[4], files[4].with_name("epoch=1.pt"))]


def add_last(files, folder):
    return [shutil.copy(files[-1], files[0].with_name("last.ckpt"))]


def add_last_of_an_early_one(files, folder):
    return [shutil.copy(files[1], files[0].with_name("last.pt"))]


def add_best(files, folder):
    return [shutil.copy(files[3], folder / "model_best.pth.tar")]


def add_link(files, folder):
    (folder / "latest.pt").symlink_to(files[2])
    return [folder / "latest.pt"]


def add_safetensors(files, folder):
    save_file(MODELS[2].state_dict(), folder / "x.safetensors")
    return [folder / "x.safetensors"]


def add_averaged(files, folder):
    state = {f"module.{name}": value for name, value in MODELS[4].state_dict().items()}
    torch.save({"model_ema": {"n_averaged": torch.tensor(3), **state}}, folder / "b.pth")
    return [folder / "b.pth"]


def add_all_again(files, folder):
    (folder / "backup").mkdir()
    return [shutil.copy(file, folder / "backup" / file.name) for file in files]


def permute(files, folder):
    return []


CHANGES = [
    *(add_same_file, add_copies, add_earlier_name, add_last, add_last_of_an_early_one, add_best),
    *(add_link, add_safetensors, add_averaged, add_all_again, permute),
]


@pytest.mark.parametrize("change", CHANGES)
def test_copies_and_the_order_of_arguments_change_nothing(tmp_path, change):
    files, readouts = write(tmp_path), ["confidence", "stable_information"]
    alone = select_checkpoint(files, network, TASK, readouts=readouts)
    more = [*files, *change(files, tmp_path)]
    random.Random(0).shuffle(more)
    found = select_checkpoint(more, network, TASK, readouts=readouts)
    assert_same(found, alone)
    assert len(found.files) == len(MODELS)
    assert found.choice == alone.choice
    assert any("guess" in note for note in found.notes) == (change is add_earlier_name)
    assert sorted({*map(str, more)}) == sorted(map(str, what(found)))  # each is listed once


def test_copies_are_listed_beside_their_file(tmp_path):
    files = write(tmp_path)
    shutil.copy(files[2], tmp_path / "best.pt")
    found = select_checkpoint([tmp_path / "best.pt", *files], network, TASK)
    assert found.files == tuple(files)
    assert repr([reading.values for reading in found.readings]) == repr(in_training_order())
    assert found.copies[2] == (tmp_path / "best.pt",)
    assert f"{files[2]} = {tmp_path / 'best.pt'}" in str(found)
    assert found.notes == ()


def test_different_models_are_compared_whatever_their_order(tmp_path):
    zeros = [network(scale=0.0), network(scale=0.0)]
    with torch.no_grad():
        zeros[0][1].bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
        zeros[1][1].bias.copy_(torch.tensor([3.0, 2.0, 1.0]))  # equal confidence
    files = write(tmp_path, models=zeros)
    names = [(one, network) for one in files]
    first = select_checkpoint(*map(list, zip(*names, strict=True)), TASK, readouts=["confidence"])
    names.reverse()
    again = select_checkpoint(*map(list, zip(*names, strict=True)), TASK, readouts=["confidence"])
    assert_same(again, first)
    with pytest.raises(
        ValueError,
        match=r"^`readouts` must not need the reading before .*, got stable_information$",
    ):
        select_checkpoint(files, [network] * 2, TASK, readouts=["stable_information"])


# What trainers write beside the weights, for the epoch-th checkpoint.
COUNTS = {
    "lightning": lambda n: {"epoch": n // 2, "global_step": 50 * n},
    "timm": lambda n: {"epoch": n, "arch": "x", "version": 2},
    "steps within an epoch": lambda n: {"epoch": n // 2, "step": n % 2},
    "mmcv": lambda n: {"meta": {"epoch": 1, "iter": 100 * n}},
    "tensor": lambda n: {"step": torch.tensor(n), "epoch": 0},
    "numpy": lambda n: {"iteration": torch.ones(1).numpy().astype(int)[0] * n},
}


@pytest.mark.parametrize("trainer", COUNTS)
def test_the_order_of_training_is_that_of_counts_in_the_files(tmp_path, trainer):
    names = iter("cfadbe")
    files = write(
        tmp_path,
        "run{epoch}.pt",
        lambda state, n: {"state_dict": state, **COUNTS[trainer](n)},
    )
    files = [file.rename(tmp_path / f"{next(names)}.pt") for file in files]
    found = select_checkpoint(sorted(files), network, TASK)
    assert found.files == tuple(files)
    assert repr([r.values for r in found.readings]) == repr(in_training_order())
    assert found.notes == ()


# Forms of names, and whether they say the order.
FORMS = {
    "{epoch}.pt": True,
    "checkpoint-{epoch}/model.pt": True,
    "epoch={epoch}-loss={loss}.pt": True,
    "loss{loss}_ep{epoch}.pt": True,
    "net_{loss}_step{epoch}00.pt": True,
    "{loss}_{epoch}.pt": False,
    "{letter}.pt": False,
}


@pytest.mark.parametrize("form", FORMS)
def test_else_it_is_that_of_the_names_and_a_guess_is_said(tmp_path, form):
    files = []
    for epoch, model in enumerate(MODELS, start=6):
        loss, letter = f"0.{31 - epoch * 7 % 4}", "abcdefghijklm"[epoch]
        files.append(tmp_path / form.format(epoch=epoch, loss=loss, letter=letter))
        files[-1].parent.mkdir(exist_ok=True)
        torch.save(model.state_dict(), files[-1])
    shuffled = random.Random(1).sample(files, len(files))
    found = select_checkpoint(shuffled, network, TASK)
    if FORMS[form]:
        assert found.files == tuple(files)
        assert found.notes == ()
    else:
        (note,) = found.notes
        assert note.startswith("The training order is a guess")
        assert str(found).splitlines()[-1] == note


def test_a_last_file_comes_last_if_nothing_else_says_where(tmp_path):
    files = write(tmp_path)
    last = files[-1].rename(files[-1].with_name("last.pt"))
    found = select_checkpoint([last, *files[:-1]], network, TASK)
    assert found.files == (*files[:-1], last)
    assert found.notes == ()


@pytest.mark.parametrize("holds", [True, False])
def test_a_file_that_says_no_step_changes_no_other_files_value(tmp_path, holds):
    wrap = lambda state, n: {"model": state, "epoch": n} if holds else state  # noqa: E731
    files = write(tmp_path, wrap=wrap)
    other = tmp_path / "run" / "best.pt"
    torch.save(network(9, 2.0).state_dict(), other)
    alone = select_checkpoint(files, network, TASK)
    found = select_checkpoint([other, *files], network, TASK)
    assert found.files == (*files, other)
    assert repr(found.readings[:-1]) == repr(alone.readings)
    assert found.notes == (f"The training order is a guess for {other}, without a step in it.",)


def test_files_of_two_runs_are_no_run_and_that_is_said(tmp_path):
    first = write(tmp_path, "run1-epoch={epoch}.pt", models=MODELS[:3])
    second = write(tmp_path, "run2-epoch={epoch}.pt", models=MODELS[3:])
    found = select_checkpoint([*second, *first], network, TASK)
    assert found.notes == ("The training order is a guess where the steps in names are equal.",)


def test_files_of_one_step_are_in_the_order_of_their_names_and_that_is_said(tmp_path):
    files = write(tmp_path, wrap=lambda state, n: {"model": state, "epoch": min(n, 9)})
    found = select_checkpoint(files[::-1], network, TASK)
    assert found.files == tuple(files)
    assert found.notes == ("The training order is a guess where epoch of files are equal.",)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    (file,) = write(tmp_path, models=MODELS[:1])
    load, loads = torch.load, []

    def changing(*args, **options):
        loads.append(args)
        if len(loads) == 2:
            torch.save(MODELS[1].state_dict(), file)
        return load(*args, **options)

    monkeypatch.setattr(torch, "load", changing)
    with pytest.raises(ValueError, match=r"^`checkpoints` must stay as they are, got .* changed$"):
        select_checkpoint([file], network, TASK)
