"""load_task for KIND:PATH, where the kinds are a table."""

import inspect

import pytest

from prescreen.cli.app import run
from prescreen.tasks import LanguageTask, load_task
from prescreen.tasks.load import KINDS

TEXT = "a rose is a rose is a rose\n" * 2000


@pytest.fixture
def text(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return "text:a.txt"


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_take_options_of_load_task(kind):
    shared = {"probe_size", "seed"}
    assert shared <= set(inspect.signature(KINDS[kind]).parameters)


def test_a_path_of_text_is_a_language_task(text):
    task = load_task(text, probe_size=32, seed=3)
    assert isinstance(task, LanguageTask)
    assert task.probe.shape == (32, 128)
    assert task.fingerprint == LanguageTask.from_files("a.txt", probe_size=32, seed=3).fingerprint


def test_options_of_images_are_refused(text):
    with pytest.raises(ValueError, match=r"^`image_size` must be left out for text:PATH, got 12$"):
        load_task(text, image_size=12)


def test_other_names_with_a_colon_are_those_of_paths(tmp_path):
    with pytest.raises(ValueError, match=r"`data` must be a folder, .*got 'txt:a'"):
        load_task("txt:a")


def test_an_empty_path_is_not_the_working_directory(text):
    with pytest.raises(ValueError, match=r"`data` must be a text file, .*, got nothing there: "):
        load_task("text:")


def test_the_command_line_ranks_models_of_text(text, capsys):
    options = "--samples 2 --steps 8 --batch-size 4 --probe-size 8 --on here --json"
    code = run(["rank", "gpt", "--data", text, *options.split(), "--optimizer", "adamw"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert '"flops"' in printed.out
