"""Search spaces that misbehave: other candidates' rows are right, or the space is refused."""

import csv
import io
import json
import re
import shutil

import npz_files
import numpy as np
from judge import command
from kinds import Kind

SPACE = """
import asyncio, gc, logging, os, random, signal, sys, threading, warnings
import numpy, torch
from torch import nn
# at import

def sample(trial):
    # in sample
    return {"width": trial.suggest_categorical("width", [4, 8, 16])}

def build(config, *, num_classes, in_channels):
    width = config["width"]
    if width == 4:
        pass
        # in build
    first = Layer(64 * in_channels, width)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(width, num_classes))

class Layer(nn.Linear):
    def forward(self, x):
        if self.out_features == 4:
            pass
            # in forward
        return super().forward(x)

def grid():
    # in grid
    return [{"width": width} for width in (4, 8, 16)]

def name(config):
    # in name
    return f"width={config['width']}"
"""
PLACES = ("at import", "in sample", "in build", "in forward", "in grid", "in name")
RAISES = (
    *("raise KeyError('x')", "raise StopIteration", "raise MemoryError", "raise ValueError"),
    *("raise RecursionError('deep')", "raise GeneratorExit", "raise asyncio.CancelledError"),
    *("raise EOFError", "raise OSError(28, 'full')", "raise Warning", "raise 5", "assert False"),
    *("sys.exit()", "sys.exit(3)", "sys.exit('bye')", "1 / 0", "undefined", "import nope"),
    "raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})()",
    "raise type('E', (Exception,), {'__init__': lambda self, a, b: None})(1, 2)",
    "raise type('E', (BaseException,), {})('x')",
    *("raise UnicodeError('\\ud800')", "raise Exception('a\\nb\\x1b[31m')"),
    "raise Exception('long ' * 9999)",
)
PRINTS = (
    *("print('noise')", "os.write(1, b'noise\\n')", "os.system('echo noise')"),
    *("print('\\x1b[2J\\x07')", "sys.stdout.buffer.write(b'\\xff\\n')", "warnings.warn('noise')"),
    *("sys.stderr.write('noise\\n')", "sys.__stdout__.write('noise\\n')"),
    *("logging.basicConfig(); logging.warning('noise')", "print('Traceback (most likely)')"),
)
STATE = (
    *("torch.set_default_dtype(torch.float64)", "torch.set_num_threads(2)", "torch.manual_seed(9)"),
    *("torch.use_deterministic_algorithms(True)", "warnings.simplefilter('error')"),
    *("random.seed(9)", "numpy.random.seed(9)", "numpy.seterr(all='raise')", "gc.disable()"),
    *("torch.set_grad_enabled(False)", "os.chdir('..')", "os.environ.clear()", "sys.path.clear()"),
    *("torch.autograd.set_detect_anomaly(True)", "sys.setrecursionlimit(300)", "os.umask(0o777)"),
    *("torch.set_float32_matmul_precision('medium')", "torch.inference_mode().__enter__()"),
    *("torch.autocast('cpu').__enter__()", "sys.argv.clear()", "torch.set_default_device('meta')"),
    *("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "torch.set_flush_denormal(True)"),
    *("sys.stdout = open(os.devnull, 'w')", "sys.stdout = None", "torch.set_printoptions(1)"),
    *("threading.Thread(target=print).start()", "os.fork() or os._exit(0)"),
)
RETURNS = (
    *("None", "1", "'x'", "[]", "()", "{}", "object()", "b'x'", "lambda: None", "float('nan')"),
    *("{1: 2}", "{'': 1}", "{'width': torch.ones(1)}", "{'width': float('nan')}", "{'width': {4}}"),
    *("{'width': None}", "{'width': 10 ** 400}", "{'width': '\\ud800'}", "{'a': {'b': [1, 2]}}"),
    *("iter([])", "(x for x in [1])", "[1, 2]", "[{}]", "[{'width': 4}] * 3"),
    "iter(lambda: {'width': 4}, None)",
    *("torch.ones(3)", "nn.Linear", "nn.Linear(3, 2)", "nn.ReLU()", "nn.Module()"),
    *("nn.ModuleList()", "nn.Sequential()"),
)
NAMES = (
    *("''", "None", "5", "'a\\nb'", "'\\x1b[31mred'", "'\\ud800'", "'same'", "'../x'"),
    *("\"=cmd|' /C calc'!A0\"", "'+1'", "'-1'", "'@x'", "'a,b\"c'", "' '", "'\\0'", "'\\u202e'"),
    "'x' * 9999",
)
# Ends of a process: only a worker can survive them.
ENDS = (
    *("os._exit(0)", "os._exit(7)", "os.kill(os.getpid(), 9)", "os.abort()", "os.fork()"),
    *("os.closerange(3, 99)", "os.kill(os.getpid(), signal.SIGSTOP) if 0 else sys.exit()"),
)


def prepare(folder):
    np.savez(folder / "data.npz", **npz_files.ARRAYS)
    (folder / "space.py").write_text(SPACE)
    right = rows(ranked("--json").out)
    shutil.rmtree(folder / "run")
    return right


def ranked(form, on="here"):
    sizes = "--steps 2 --readings 1 --probe-size 8 --batch-size 8"
    line = f"rank space.py --data data.npz --out run {sizes} --on {on} {form}"
    return command(line.split(), talkative=True)


def rows(text):
    """What was measured, by width."""
    found = {}
    for row in json.loads(text)["rows"]:
        width = row["config"].get("width")
        measured = row["values"], row["training_loss"], row["parameters"], row["status"]
        found[width if isinstance(width, int) else None] = measured
    return found


def check(folder, right):
    on = folder / "on"
    where = on.read_text() if on.exists() else "here"
    found = rows(ranked("--json", where).out)
    for width in (8, 16):
        assert found.get(width) in (None, right[width]), f"another row of width {width}: {found}"
    again = ranked("--csv", where).out
    for row in csv.reader(io.StringIO(again)):
        assert not any(formula(cell) for cell in row), f"a formula in the table: {row}"


def formula(cell):
    """Whether a spreadsheet would compute the cell; numbers may be negative."""
    return cell.startswith(("=", "+", "-", "@")) and not re.fullmatch(r"-?[\d.e+-]+|-inf", cell)


def _inserted(places, payloads, on=None):
    def change(dice, folder):
        place, payload = dice.choice(places), dice.choice(payloads)
        insert(folder, place, payload)
        if on is not None:
            (folder / "on").write_text(on)

    return change


def insert(folder, place, payload):
    space = folder / "space.py"
    space.write_text(space.read_text().replace(f"# {place}", f"{payload}  # {place}"))


KIND = Kind(
    prepare,
    {
        **{f"raises {place}": _inserted([place], RAISES) for place in PLACES},
        **{f"prints {place}": _inserted([place], PRINTS) for place in PLACES},
        "state in build": _inserted(["in build"], STATE),
        "state in forward": _inserted(["in forward"], STATE),
        "state elsewhere": _inserted(["in sample", "in grid", "in name"], STATE),
        **{
            f"returns {place}": _inserted([place], [f"return {value}" for value in RETURNS])
            for place in ("in sample", "in build", "in grid", "in forward")
        },
        "names": _inserted(["in name"], [f"return {value}" for value in NAMES]),
    },
    check,
    cases=160,
)
WORKERS = Kind(
    prepare,
    {
        "ends": _inserted(["in build", "in forward"], ENDS, "processes,workers=1"),
        "raises": _inserted(["in build", "in forward"], RAISES, "processes,workers=1"),
        "prints": _inserted(["in build", "in forward"], PRINTS, "processes,workers=1"),
    },
    check,
    cases=16,
)
