"""Tables in a width: nothing is broken, and what has no room is named."""

import math
import random
import re

import pytest

from prescreen.tables import fitted_line, fitted_table
from prescreen.text import plain_table

HEADER = ["rank", "candidate", "score", "ahead/expected_agreement", "flops", "sec"]
ROWS = [
    ["1", "3x3|3x3,none|1x1,pool,3x3", "0.818", "0.9648", "3.692e+06", "3.0"],
    ["2", "none|1x1,3x3|pool,none,1x1", "0.466", "-1.2e-05", "1e+06", "12.5"],
]
SPARE = (5, 4, 3)


@pytest.mark.parametrize("width", [None, 200, 82])
def test_what_fits_is_as_it_is(width):
    whole = plain_table(HEADER, ROWS, (1,))
    assert max(map(len, whole.splitlines())) == 82
    assert fitted_table(HEADER, ROWS, (1,), wrap=(1,), width=width, spare=SPARE) == (whole, [])


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (81, []),
        (64, []),
        (63, ["sec"]),
        (57, ["sec", "flops"]),
        (50, ["sec", "flops"]),
        (49, ["sec", "flops", "ahead/expected_agreement"]),
        (35, ["sec", "flops", "ahead/expected_agreement"]),
    ],
)
def test_columns_are_left_out_and_names_are_wrapped(width, left_out):
    text, missing = fitted_table(HEADER, ROWS, (1,), wrap=(1,), width=width, spare=SPARE)
    lines = text.splitlines()
    assert missing == left_out
    assert max(map(len, lines)) <= width
    rule = next(at for at, line in enumerate(lines) if set(line) == {"-"})
    names = "".join(line[6:].partition("  ")[0] for line in lines[rule + 1 :])
    assert names == "".join(row[1] for row in ROWS)
    if "flops" not in missing:
        assert {"3.69e6", "1e6", "-1.2e-5"} <= set(text.split())
        assert "expected_" in text.split()


@pytest.mark.parametrize("seed", range(30))
def test_no_word_is_broken_and_no_line_is_too_long(seed):
    draw = random.Random(seed)
    columns, width = draw.randint(1, 5), draw.randint(70, 120)

    def words(most):
        given = ["".join(draw.choices("abcxyz123", k=draw.randint(1, 9))) for _ in range(most)]
        return draw.choice(" |,/").join(given)

    header = [words(1) for _ in range(columns)]
    rows = [[words(draw.randint(1, 8)) for _ in range(columns)] for _ in range(4)]
    every = range(columns)
    text, missing = fitted_table(header, rows, every, wrap=every, width=width)
    assert missing == []
    assert max(map(len, text.splitlines())) <= width  # five columns of twelve always fit
    for cell in (cell for row in rows for cell in row):
        for word in re.split(r"[ |,/]", cell):
            assert word in text


@pytest.mark.parametrize("width", [None, 20, 40, 80])
def test_lines_are_wrapped_between_words(width):
    text = (
        "±  95 % interval over samples-of-the-probe (ahead/expected_agreement). Noise is not in it."
    )
    lines = fitted_line(text, width).splitlines()
    assert " ".join(line.strip() for line in lines).split() == text.split()
    longest = max(map(len, text.split())) + 3
    assert max(map(len, lines)) <= max(width or math.inf, longest)
