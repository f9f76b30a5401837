"""Texts for people: nothing that a terminal acts on, and nothing that a spreadsheet computes."""

import pytest

from prescreen.text import first_line, named_line, plain_table, printable, spreadsheet_cell

HOSTILE = {
    "\x1b[31mred\x1b[0m": r"\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b31m": r"\x9b31m",
    "two\nlines": r"two\nlines",
    "back\rward": r"back\rward",
    "tab\tbed": r"tab\tbed",
    "\u202egpj.exe": r"\u202egpj.exe",
    "\u2066isolated\u2069": r"\u2066isolated\u2069",
    "line\u2028break": r"line\u2028break",
    "zero\u200bwidth": r"zero\u200bwidth",
    "next\x85line": r"next\x85line",
    "nul\x00": r"nul\x00",
    "\udcff": r"\udcff",
    "\U000e0001tag": r"\U000e0001tag",
}
PLAIN = ["width=4", "3x3|1x1,pool|skip", "café", "日本語", "6×128-h4…", "a b", "C:\\folder", ""]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_act_on_is_escaped(text):
    assert printable(text) == HOSTILE[text]
    assert printable(text).isprintable()
    for line in plain_table(["name", text], [[text, "1"]]).split("\n"):
        assert line.isprintable()
    assert named_line(ValueError(f"got {text}")).isprintable()
    assert first_line(ValueError(f"got {text}")).isprintable()


@pytest.mark.parametrize("text", PLAIN)
def test_plain_texts_stay_as_they_are(text):
    assert printable(text) == spreadsheet_cell(text) == text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_spreadsheet_takes_a_text_for_a_formula(text):
    assert spreadsheet_cell(text) == f"'{printable(text)}"
