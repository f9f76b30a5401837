"""Processes forked from a server that has imported torch: they start at once, and they may die."""

import multiprocessing
import os
import signal
import sys

from patience import PATIENCE

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        *("prescreen.cli.app", "prescreen.checkpoints", "prescreen.integrations.optuna"),
        *("pyarrow.parquet", "PIL.Image", "pytest"),
    ]
)


class Died(Exception):
    """The process has ended without an answer; the exit code is None if it had to be killed."""

    def __init__(self, exitcode):
        super().__init__("hangs" if exitcode is None else f"ended with exit code {exitcode}")
        self.exitcode = exitcode


def call(function, *arguments, patience=PATIENCE):
    """The result of a function that runs in a process of its own."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_answer, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        if not ours.poll(patience):
            raise Died(None)
        return ours.recv()
    except EOFError:
        process.join(patience)
        raise Died(process.exitcode) from None
    finally:
        process.kill()
        process.join()
        ours.close()


def _answer(pipe, function, arguments):
    # After an answer nothing else may run: a candidate can leave threads, or handlers at exit.
    pipe.send(function(*arguments))
    pipe.close()
    os._exit(0)


def killed_at(moment, function, *arguments):
    """Run a function and SIGKILL the process when Python code calls or returns for the nth time.

    The same moment is the same place, whatever the machine's load. Returns whether it was killed.
    """
    try:
        call(_dying, moment, function, arguments)
    except Died as death:
        assert death.exitcode == -signal.SIGKILL, death  # noqa: PT017
        return True
    return False


def moments(function, *arguments):
    """How many moments a whole run has."""
    return call(_counted, function, arguments)


def _dying(moment, function, arguments):
    left = moment

    def count(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    function(*arguments)
    sys.setprofile(None)


def _counted(function, arguments):
    passed = 0

    def count(*_):
        nonlocal passed
        passed += 1

    sys.setprofile(count)
    function(*arguments)
    sys.setprofile(None)
    return passed
