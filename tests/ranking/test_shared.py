"""What all workers of a machine are given: the same to the bit, in memory that they share."""

import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from patience import PATIENCE, wait_until
from toy import PYTHONPATH

from prescreen.ranking.executors.shared import shared

LARGE = 1 << 18


def bits(value):
    array = np.ascontiguousarray(value.numpy() if isinstance(value, torch.Tensor) else value)
    return array.dtype, array.shape, array.tobytes()


def randoms(dtype, count=LARGE):
    """Bits of any kind, NaNs among them."""
    size = count * torch.empty(0, dtype=dtype).element_size()
    raw = torch.randint(256, (size,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return (raw < 128)[:count] if dtype == torch.bool else raw.view(dtype)


VALUES = {
    **{str(one): randoms(one) for one in (torch.uint8, torch.bool, torch.int64, torch.float32)},
    "half": randoms(torch.float16),
    "small": torch.arange(6).view(2, 3),
    "empty": torch.empty(0, 3),
    "strided": randoms(torch.float32).view(512, 512).t()[3:, ::2],
    "array": randoms(torch.float64).numpy().reshape(64, -1),
    "read-only": np.frombuffer(randoms(torch.uint8, 1 << 20).numpy().tobytes(), np.uint8),
    "of the other byte order": randoms(torch.int32).numpy().astype(">i4"),
    "transposed": randoms(torch.float32).numpy().reshape(512, 512).T,
    "of text": np.array(["a", "bc"] * LARGE),
    "small array": np.arange(3),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_arrive_bit_for_bit_as_by_plain_pickling(name):
    plain = pickle.loads(pickle.dumps(VALUES[name]))
    with shared("task", {"value": VALUES[name]}) as message:
        got = pickle.loads(message)["value"]
        assert type(got) is type(plain)
        assert bits(got) == bits(plain)
        del got


def mapped():
    return Path("/proc/self/maps").read_text().count("shared.pt")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what is mapped")
@pytest.mark.parametrize("name", ["torch.uint8", "strided", "array"])
def test_large_ones_are_mapped_and_no_worker_writes_to_another(name):
    value = VALUES[name]
    with shared("task", value) as message:
        ours, theirs = pickle.loads(message), pickle.loads(message)
        assert len(message) < 1000
        assert mapped() >= 2
        before = bits(theirs)
        ours[:] = 0
        assert bits(theirs) == before
        assert bits(pickle.loads(message)) == before
        del ours, theirs


def test_the_file_goes_at_the_end_also_of_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sharing = shared("task", VALUES["array"])
    sharing.__enter__()
    assert len([*tmp_path.glob("prescreen-*/shared.pt")]) == 1
    sharing.__exit__(KeyError, KeyError(), None)
    assert [*tmp_path.iterdir()] == []


def test_without_room_for_a_file_it_is_sent(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with shared("task", VALUES["array"]) as message:
        assert bits(pickle.loads(message)) == bits(VALUES["array"])


def test_what_cannot_be_pickled_is_refused():
    line = "^the task must be picklable for worker processes, got .*lambda"
    with pytest.raises(ValueError, match=line), shared("task", (VALUES["array"], lambda: 0)):
        pass


KILLED = """
import os, signal, sys, time
import torch
from functools import partial
from toy import TRAINING, make_task
from prescreen import Processes, rank

def waits(folder):
    open(f"{folder}/begun", "w").close()
    time.sleep(10_000)

if __name__ == "__main__":
    rank({"waits": partial(waits, sys.argv[1])}, make_task(), training=TRAINING, on=Processes(1))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is mapped stays on Windows")
def test_the_last_worker_removes_the_file_of_a_killed_process(tmp_path, monkeypatch):
    script, temporary = tmp_path / "script.py", tmp_path / "temporary"
    script.write_text(textwrap.dedent(KILLED))
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH, prepend=os.pathsep)
    process = subprocess.Popen([sys.executable, script, str(tmp_path)])
    try:
        wait_until((tmp_path / "begun").exists)
        assert len([*temporary.glob("prescreen-*/shared.pt")]) == 1
    finally:
        process.kill()
        process.wait(PATIENCE)
    wait_until(lambda: not [*temporary.glob("prescreen-*")])
