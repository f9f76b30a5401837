"""No test depends on speed: whatever waits for something waits for PATIENCE."""

import ast
from pathlib import Path

from patience import PATIENCE

ROOT = Path(__file__).parent.parent
# Calls that wait for a process, a thread or an answer. (A candidate's own timeout is another thing.)
WAITS = {"run", "call", "check_output", "communicate", "wait", "join", "get", "result", "poll"}


def deadlines(path):
    """Lines on which something waits for a number of seconds that is written there."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in WAITS:
            given = [word.value for word in node.keywords if word.arg == "timeout"]
            if any(isinstance(value, ast.Constant) for value in given):
                yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_no_other_deadline_is_written_anywhere():
    assert PATIENCE >= 600
    files = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/test_*.py")]
    assert [line for file in files for line in deadlines(file)] == []
