"""Cached files: where they are, that they are whole, and which are removed."""

import os

import pytest

from prescreen.caching import cache_folder, cache_root, is_cached, store, used


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESCREEN_CACHE", str(tmp_path / "cache"))
    return cache_folder("kind")


def test_the_folder_is_that_of_the_variable_or_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESCREEN_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root() == tmp_path / "home" / ".cache" / "prescreen"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_root() == tmp_path / "caches" / "prescreen"
    monkeypatch.setenv("PRESCREEN_CACHE", str(tmp_path / "given"))
    assert cache_folder("kind") == tmp_path / "given" / "kind"
    assert is_cached(tmp_path / "given" / "kind")
    assert not is_cached(tmp_path / "given")
    monkeypatch.setenv("PRESCREEN_CACHE", "OFF")
    assert cache_root() is None
    assert cache_folder("kind") is None


def test_there_is_none_where_no_folder_can_be(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PRESCREEN_CACHE", str(tmp_path / "file" / "cache"))
    assert cache_folder("kind") is None


def test_those_used_longest_ago_go(folder):
    for number, name in enumerate("abcd"):
        store(folder / name, lambda part: part.write_bytes(bytes(10)), limit=100)
        os.utime(folder / name, (number, number))
    used(folder / "a")
    store(folder / "e", lambda part: part.write_bytes(bytes(10)), limit=30)
    assert {path.name for path in folder.iterdir()} == {"CACHEDIR.TAG", "a", "d", "e"}
    store(folder / "f", lambda part: part.write_bytes(bytes(31)), limit=30)
    assert {path.name for path in folder.iterdir()} == {"CACHEDIR.TAG"}


@pytest.mark.parametrize("error", [OSError, RuntimeError, KeyboardInterrupt])
def test_a_file_is_whole_or_not_there(folder, error):
    def fails(part):
        part.write_bytes(bytes(5))
        raise error

    if error is KeyboardInterrupt:
        with pytest.raises(error):
            store(folder / "a", fails, limit=100)
    else:
        store(folder / "a", fails, limit=100)
    assert {path.name for path in folder.iterdir()} == {"CACHEDIR.TAG"}


def test_parts_of_another_process_are_left_until_they_are_old(folder):
    for name, age in (("new.part", None), ("old.part", (0, 0))):
        (folder / name).write_bytes(bytes(10))
        if age:
            os.utime(folder / name, age)
    store(folder / "a", lambda part: part.write_bytes(bytes(10)), limit=10)
    assert {path.name for path in folder.iterdir()} == {"CACHEDIR.TAG", "a", "new.part"}
