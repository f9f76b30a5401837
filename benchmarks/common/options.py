"""Options of the benchmarks' commands, declared by their defaults."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def command(doc: str | None, **options: Any) -> argparse.ArgumentParser:
    """A parser that shows a module's docstring as its help.

    Args:
        doc: the docstring.
        options: a tuple of words is a required argument with these choices. All others are flags: a
            type means that there is no default (None), a list takes several values of its own type,
            False is a switch, and anything else is the default.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, given in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(given, tuple):
            parser.add_argument(name, choices=given)
        elif isinstance(given, type):
            parser.add_argument(flag, type=given)
        elif given is False:
            parser.add_argument(flag, action="store_true")
        elif isinstance(given, list):
            parser.add_argument(flag, nargs="+", type=type(given[0]), default=given)
        else:
            parser.add_argument(flag, type=type(given), default=given, help="[%(default)s]")
    return parser


def need(args: argparse.Namespace, *names: str) -> None:
    """End the command in one line if an option that it needs is not given."""
    if missing := [f"--{name}" for name in names if getattr(args, name) is None]:
        raise SystemExit(f"`{args.do}` needs {' and '.join(missing)}")


def folder_of(results: Path, args: argparse.Namespace, trial: bool) -> Path:
    """Where results go: those of a trial never replace the committed ones."""
    return Path(args.out) / "trial" if trial else results
