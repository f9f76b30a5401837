"""What is left on the screen of a terminal, of 80 and of 140 columns."""

import pytest
from terminal import screen_of, shown
from toy import SPACE

pytest.importorskip("pty", reason="there are no such terminals here")

RANK = ["-m", "prescreen", "rank", "space.py", "--steps", "2", "--on", "here", "--out", "run"]


def test_the_screen_is_read_as_people_see_it():
    assert shown("a\r\nbc\rd\r\n") == ["a", "dc"]
    assert shown("bar 1\r\x1b[2Kbar 2\r\n\x1b[1A\x1b[2Kend\r\n") == ["end"]


def test_tables_fit_and_a_resumed_run_leaves_nothing_else(tmp_path):
    name = "def name(config): return '-'.join(['width', str(config['width'])] * 4)\n"
    (tmp_path / "space.py").write_text(f"{SPACE}\n{name}")
    first, code = screen_of(RANK, 80, tmp_path)
    assert code == 0, first
    begin = next(at for at, line in enumerate(first) if line.startswith("rank  candidate"))
    table = first[begin:]
    # The bar is gone; nothing stands before the table, but for the heads of its columns.
    assert [line.strip() for line in first[:begin]] == ["ahead/", "expected_"]
    assert max(map(len, first)) <= 80
    assert "No room in 80 columns: " in "\n".join(table)
    assert table[-1] == "Journal and results: run"
    again, _ = screen_of(RANK, 140, tmp_path)
    header = next(line for line in again if line.startswith("rank  candidate"))
    assert header.split()[-3:] == ["params", "loss", "sec"]
    assert "ahead/expected_agreement" in header
    said = " ".join(again[: again.index(header)])
    assert said.startswith("Continues run: 3 of 3 candidates were measured before (2")
    assert said.endswith("--fresh measures all anew")
    assert again[-1] == table[-1]
