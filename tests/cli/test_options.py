"""Counts and times on the command line."""

import pytest

from prescreen.cli.options import count, duration


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e6", 2e6),
        ("300k", 3e5),
        ("1.5M", 1.5e6),
        ("2G", 2e9),
        ("1B", 1e9),
        ("1T", 1e12),
        ("7", 7),
    ],
)
def test_counts(text, value):
    assert count("max_params", text) == value
    assert count("max_params", None) is None


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("5", "ms", 5),
        ("5ms", "ms", 5),
        ("0.1s", "ms", 100),
        ("90", "s", 90),
        ("90s", "s", 90),
        ("30m", "s", 1800),
        ("1.5h", "s", 5400),
        ("500ms", "s", 0.5),
    ],
)
def test_times(text, unit, value):
    assert duration("time_budget", text, unit) == pytest.approx(value)
    assert duration("time_budget", None, unit) is None


@pytest.mark.parametrize("text", ["", "k", "many", "1.5 Mega", "1x", "M5"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"^`max_params` must be a number such as 2e6, .*, got "):
        count("max_params", text)
    with pytest.raises(ValueError, match=r"^`time_budget` must be a time such as 90s, .*, got "):
        duration("time_budget", text, "s")
