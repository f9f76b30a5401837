"""Every example runs without an error and prints something."""

import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.slow  # two minutes; before a change lands, .ci/run runs them all
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    assert len(path.read_text().splitlines()) < 60
    # Lightning uses what torch has deprecated.
    theirs = "ignore:`isinstance(treespec, LeafSpec)`:FutureWarning"
    command = [sys.executable, "-W", "error", "-W", theirs, str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
