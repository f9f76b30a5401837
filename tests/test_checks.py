import math

import numpy as np
import pytest

from prescreen.checks import require, require_at_least, require_kind, require_number, require_one_of


def test_what_is_allowed_passes():
    require("steps", "even", 4, True)
    for value in (0, 7, np.int64(7)):
        require_at_least("seed", value, 0)
    for number in (0, 0.5, 1, np.float32(1)):
        require_number("share", number, 0, 1)
    require_one_of("link", "softmax", ("softmax", "sigmoid"))
    require_one_of("on", "here", {"here": 1, "ray": 2})
    require_kind("steps", True, int)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "`steps` must be at least 1, got 0"),
        (-1, "`steps` must be at least 1, got -1"),
        (1.0, "`steps` must be an integer, got 1.0"),
        (True, "`steps` must be an integer, got True"),
        ("3", "`steps` must be an integer, got '3'"),
        (None, "`steps` must be an integer, got None"),
    ],
)
def test_integers(value, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        require_at_least("steps", value, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, -math.inf])
def test_numbers_in_a_range(value):
    with pytest.raises(ValueError, match=f"^`share` must be from 0 to 1, got {value}$"):
        require_number("share", value, 0, 1)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_numbers_without_a_highest(value):
    with pytest.raises(ValueError, match=f"^`min_delta` must be at least 0, got {value}$"):
        require_number("min_delta", value, 0)


@pytest.mark.parametrize("value", ["adam", None, 3])
def test_names(value):
    with pytest.raises(ValueError, match=f"^`optimizer` must be one of sgd, adamw, got {value!r}$"):
        require_one_of("optimizer", value, ("sgd", "adamw"))


def test_anything_else():
    with pytest.raises(ValueError, match=r"^`smoothing` must be an odd number, got 2$"):
        require("smoothing", "an odd number", 2, False)


@pytest.mark.parametrize(
    ("value", "got"), [("3", "str"), (None, "NoneType"), (int, "the class int")]
)
def test_kinds(value, got):
    with pytest.raises(ValueError, match=f"^`steps` must be a int, got {got}$"):
        require_kind("steps", value, int)
