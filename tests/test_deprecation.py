"""Retired names still work, and say what to use instead."""

import importlib

import pytest

import prescreen
from prescreen.deprecation import moved

OLD = {
    "Comparison": prescreen.CheckpointRanking,
    "RANKING_PANEL": prescreen.DEFAULT_PANEL,
    "select": prescreen.select_checkpoint,
}


@pytest.mark.parametrize("name", OLD)
def test_an_old_name_is_found_with_a_warning(name):
    with pytest.warns(
        DeprecationWarning, match=rf"^prescreen.{name} ends with .*; use prescreen\."
    ):
        assert getattr(prescreen, name) is OLD[name]


def test_every_old_name_leads_somewhere():
    for old, now in prescreen.MOVED.items():
        home, _, name = now.rpartition(".")
        assert hasattr(importlib.import_module(home), name), old
        assert old not in prescreen.__all__


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'prescreen' has no attribute 'nothing'"):
        _ = prescreen.nothing
    find = moved("here", {"old": "math.pi"}, until="2.0")
    with pytest.warns(DeprecationWarning, match=r"^here.old ends with version 2.0; use math.pi$"):
        assert find("old") == importlib.import_module("math").pi
