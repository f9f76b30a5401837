"""What a kind of hostile input is, and how one case of it is run."""

import os
import random
import shutil
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from judge import EQUAL, REFUSED, Refused

UNCHANGED = "unchanged"
FAULT = "fault"


@dataclass(frozen=True)
class Kind:
    """A kind of hostile input.

    Args:
        prepare: writes sound files to a folder and returns what is right, which can be pickled.
        changes: functions of a random generator and a folder, by name; case n takes the nth of them.
        check: uses the folder through public entries; compares with what is right, or is refused.
        cases: how many belong to the campaign.
    """

    prepare: Callable[[Path], Any]
    changes: Mapping[str, Callable[[random.Random, Path], object]]
    check: Callable[[Path, Any], object]
    cases: int


class Outcome(NamedTuple):
    """How a case ended."""

    change: str
    verdict: str
    detail: str = ""


def run_case(kind, name, seed, base, folder, right):
    """Copy the sound files, change them, and use them."""
    changes = {UNCHANGED: lambda dice, folder: None, **kind.changes}
    change = list(changes)[seed % len(changes)]
    shutil.copytree(base, folder)
    os.chdir(folder)
    changes[change](random.Random(f"{name} {seed}"), folder)
    try:
        kind.check(folder, right)
    except Refused as refusal:
        if change != UNCHANGED:
            return Outcome(change, REFUSED, str(refusal))
        return Outcome(change, FAULT, f"a sound input was refused: {refusal}")
    except BaseException as error:  # sys.exit and the like are faults as well
        return Outcome(change, FAULT, _told(error))
    return Outcome(change, EQUAL)


def _told(error):
    try:
        lines = traceback.format_exception(error)
        where = "".join(lines)[-2500:]
    except BaseException:
        where = ""
    return where if not isinstance(error, AssertionError) else f"{error}\n{where[-600:]}"


def in_file(pattern, mutators):
    """Changes of a folder: a mutator is applied to one of the files that match."""

    def of(mutator):
        def change(dice, folder):
            path = dice.choice(sorted(folder.glob(pattern)))
            path.write_bytes(mutator(dice, path.read_bytes()))

        return change

    return {name: of(mutator) for name, mutator in mutators.items()}
