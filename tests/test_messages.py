"""Every error message has the one form: `argument` must be what is allowed, got what came."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*(ROOT / "prescreen").rglob("*.py"), *(ROOT / "search_spaces").glob("*.py")])

# Nothing came: a package is missing.
EXCEPTIONS = ("checkpoint {} needs the safetensors package: pip install safetensors",)


def text_of(node):
    """The text of a literal or f-string, with {} for what is formatted; None if it is neither."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
    return None


def messages():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            is_error = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ValueError")
            if is_error and node.args and (text := text_of(node.args[0])) is not None:
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                yield pytest.param(text, id=where)


@pytest.mark.parametrize("text", list(messages()))
def test_a_message_names_its_subject_and_says_what_is_allowed_and_what_came(text):
    assert re.match(r"`[\w{}]+` |[a-z]", text), text
    assert re.search(r" must .*\bgot ", text) or text in EXCEPTIONS, text
    assert "\n" not in text
