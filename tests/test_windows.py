"""Windows, simulated: what it lacks is taken away, and what it does otherwise is done here."""

import ast
import errno
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from patience import PATIENCE
from toy import GOOD, SPACE, TRAINING, make_task

from prescreen.cli.output import show
from prescreen.files import load_state, replace_text, save_state
from prescreen.ranking.executors import Processes, processes
from prescreen.ranking.journal import Journal
from prescreen.ranking.run import rank
from prescreen.text import file_name

fcntl = pytest.importorskip("fcntl", reason="here it need not be simulated")

ROOT = Path(__file__).parent.parent
# Python's documentation: "Availability: Unix".
POSIX_ONLY = {
    "os": "fork forkpty killpg setpgid getpgid setsid getuid geteuid getgid chown lchown nice "
    "mkfifo statvfs fstatvfs sync fchmod fchown pread pwrite posix_fallocate register_at_fork "
    "sched_getaffinity sched_setaffinity wait3 wait4 WIFEXITED WEXITSTATUS WNOHANG O_DIRECTORY "
    "O_NONBLOCK O_CLOEXEC O_SYNC getloadavg sysconf",
    "signal": "SIGHUP SIGKILL SIGALRM SIGTTOU SIGTTIN SIGTSTP SIGSTOP SIGCONT SIGCHLD SIGPIPE SIGUSR1 "
    "SIGUSR2 SIGQUIT SIGBUS alarm pause setitimer getitimer ITIMER_REAL pthread_kill pthread_sigmask "
    "sigwait sigpending SIG_BLOCK SIG_UNBLOCK SIG_SETMASK",
    "time": "tzset clock_gettime",
}
# What comes with a name that is looked for.
BESIDE = {
    "SIGALRM": "setitimer",
    "ITIMER_REAL": "setitimer",
    "SIG_BLOCK": "pthread_sigmask",
    "SIG_UNBLOCK": "pthread_sigmask",
    "SIG_SETMASK": "pthread_sigmask",
    "setpgid": "pthread_sigmask",
    "SIGKILL": "killpg",
}
MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "syslog", "posix"}


def sources():
    for folder in ("prescreen", "search_spaces"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_what_windows_lacks_is_used_only_where_it_is_looked_for():
    """`hasattr`, or an AttributeError that is caught around it."""
    found = []
    for path in sources():
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        looked_for = set(re.findall(r'hasattr\((?:os|signal|time), "(\w+)"\)', text))
        for handler in (node for node in ast.walk(tree) if isinstance(node, ast.Try)):
            if any("AttributeError" in ast.unparse(one.type or tree) for one in handler.handlers):
                looked_for |= {n.attr for n in ast.walk(handler) if isinstance(n, ast.Attribute)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                own = POSIX_ONLY.get(node.value.id, "").split()
                wanted = BESIDE.get(node.attr, node.attr)
                if node.attr in own and wanted not in looked_for:
                    found.append(f"{path.name}:{node.lineno} {node.value.id}.{node.attr}")
            imported = getattr(node, "names", []) if isinstance(node, ast.Import) else []
            found += [f"{path.name} imports {one.name}" for one in imported if one.name in MODULES]
    # Behind `sys.platform == "linux"`, in screening/plan.py.
    assert found == ["memory.py imports resource"]


def test_text_files_say_their_encoding():
    """Elsewhere than on Linux the default is not UTF-8."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            given = [*node.args, *(one.value for one in node.keywords if one.arg == "encoding")]
            if name == "read_text" and "/proc/" not in ast.unparse(node):
                assert given, f"{path}:{node.lineno}"
            assert name != "write_text" or len(given) > 1, f"{path}:{node.lineno}"


@pytest.fixture
def picky(monkeypatch):
    """Only files that are open for writing can be synced, and folders cannot be opened."""
    sync, opened = os.fsync, os.open

    def fsync(descriptor):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        sync(descriptor)

    def open_(path, *arguments, **keywords):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "open", open_)
    monkeypatch.delattr(os, "O_DIRECTORY")


def test_files_are_written_where_only_open_files_are_synced(picky, tmp_path):
    replace_text(tmp_path / "a.json", "é\n")
    replace_text(tmp_path / "a.json", "ü\n")
    assert (tmp_path / "a.json").read_bytes() == "ü\n".encode()
    for state in ({"a": torch.ones(2)}, {"a": torch.ones(2), "b": 3}):
        assert load_state(save_state(tmp_path / "model", state)).keys() == state.keys()
    assert len(rank(GOOD, make_task(), training=TRAINING, out=tmp_path / "run")) == 3


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_file_that_is_being_read_is_replaced_later(monkeypatch, tmp_path, times):
    left, replace, slept = [times], Path.replace, []

    def hindered(self, target):
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "Access is denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", hindered)
    monkeypatch.setattr(time, "sleep", slept.append)
    replace_text(tmp_path / "a", "text")
    assert (tmp_path / "a").read_text() == "text"
    assert len(slept) == times
    left[0] = 10**6
    with pytest.raises(PermissionError):
        replace_text(tmp_path / "a", "more")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_ends_of_lines_in_a_journal_are_not_changed(monkeypatch, tmp_path):
    """A descriptor that is not opened as binary writes \\r\\n for \\n."""
    binary, opened, write, text = 1 << 29, os.open, os.write, set()

    def open_(path, flags, *arguments, **keywords):
        descriptor = opened(path, flags & ~binary, *arguments, **keywords)
        text.discard(descriptor)
        if not flags & binary:
            text.add(descriptor)
        return descriptor

    def write_(descriptor, content):
        whole = content.replace(b"\n", b"\r\n") if descriptor in text else content
        write(descriptor, whole)
        return len(content)

    monkeypatch.setattr(os, "O_BINARY", binary, raising=False)
    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "write", write_)
    with Journal(tmp_path, {"seed": 0}) as journal:
        journal.started("a")
    assert b"\r" not in (tmp_path / "journal.jsonl").read_bytes()
    with Journal(tmp_path, {"seed": 0}) as journal:
        assert journal.records["a"].status == "running"


ODD = [
    "a|b",
    "a:b",
    "a<b>",
    'a"b"',
    "a*?",
    "a/b",
    "a\\b",
    "a\tb",
    "a\nb",
    "\x1b[31m",
    "\udcff",
    "a b",
]
DEVICES = ["CON", "con", "nul.txt", "COM1", "lpt9.tar.gz", "aux", "CONIN$", "COM¹"]
ENDS = ["a.", "a ", "..", ".", "", " ", "...a"]
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


@pytest.mark.parametrize("text", [*ODD, *DEVICES, *ENDS, "x" * 300, "é" * 300])
def test_names_of_files_are_allowed_everywhere(text, tmp_path):
    name = file_name(text)
    assert name
    assert not FORBIDDEN.search(name)
    assert not name.endswith((".", " "))
    assert not name.startswith(".")
    assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d|com¹|conin\$)(\.|$)", name)
    assert len(name) <= 61
    (tmp_path / name).mkdir()
    assert file_name(name) == name


@pytest.mark.parametrize(
    "text", ["nas_bench_201", "width=4", "resnet18.a1", "café", "COM10", "console"]
)
def test_plain_names_stay_as_they_are(text):
    assert file_name(text) == text


def test_a_pipe_that_nobody_reads_is_known(monkeypatch):
    class Closed:
        encoding = "utf-8"

        def write(self, text):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        show("text")


def test_more_workers_than_windows_waits_for_are_refused(monkeypatch):
    monkeypatch.setattr(processes, "MOST_WORKERS", 60)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(128), raising=False)
    assert Processes().workers == 60
    with pytest.raises(ValueError, match="`workers` must be at most 60 on this platform, got 61"):
        Processes(61)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert Processes().workers == 3


# What the package looks for; the libraries go by the name of the platform for some more.
LACKING = {
    "os": "killpg setpgid sched_getaffinity O_DIRECTORY",
    "signal": "SIGHUP SIGTTOU SIGALRM setitimer getitimer ITIMER_REAL pthread_kill pthread_sigmask "
    "SIG_BLOCK SIG_UNBLOCK SIG_SETMASK",
}
WITHOUT = """
import ctypes, os, signal, sys
for module, names in LACKING.items():
    for name in names.split():
        delattr(sys.modules[module], name)
sys.modules["resource"] = None
load = ctypes.CDLL.__init__
def init(self, name, *arguments, **keywords):
    if name is None:
        raise TypeError("argument 1 must be str")
    load(self, name, *arguments, **keywords)
ctypes.CDLL.__init__ = init
"""


@pytest.mark.slow
def test_the_command_line_runs_without_what_windows_lacks(tmp_path):
    # Python runs it first, also in worker processes.
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.replace("LACKING", repr(LACKING)))
    (tmp_path / "space.py").write_text(SPACE)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "prescreen", "rank", "space.py", "--steps", "2", "--json"]
    command += ["--on", "processes,workers=1", "--timeout", "600", "--out", "run"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert [row["rank"] for row in json.loads(done.stdout)["rows"]] == [1, 2, 3]
