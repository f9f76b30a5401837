"""The command line: prescreen rank | explain | report | export | select | readouts | spaces.

A new command is a file here with NAME_command and a line below. Its module imports what loads torch
inside of that function: `--help`, `--version` and shell completion answer at once.
"""

from __future__ import annotations

import importlib.metadata
import os
import signal
from typing import Annotated

import typer

from prescreen.cli.explain import explain_command
from prescreen.cli.export import export_command
from prescreen.cli.listing import readouts_command, spaces_command
from prescreen.cli.output import logs_as_notes, note, show
from prescreen.cli.rank import rank_command
from prescreen.cli.report import report_command
from prescreen.cli.select import select_command
from prescreen.cli.streams import CLOSED_PIPE
from prescreen.interrupts import Interrupted, report, signals_interrupt
from prescreen.text import named_line, shortened

app = typer.Typer(
    name="prescreen",
    help="Rank neural architectures after brief training, from unlabelled data.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("rank")(rank_command)
app.command("explain")(explain_command)
app.command("report")(report_command)
app.command("export")(export_command)
app.command("select")(select_command)
app.command("readouts")(readouts_command)
app.command("spaces")(spaces_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        show(f"prescreen {importlib.metadata.version('prescreen')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


# Requests of shells, which Typer answers, and then it ends the process.
_COMPLETION = "_PRESCREEN_COMPLETE"
_COMPLETION_OPTIONS = {"--install-completion", "--show-completion"}

# Typer's error for wrong options. Depending on the version it is defined in Click, in a vendored copy of
# Click or in Typer; as the base of a public class it is found in all versions.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run(arguments: list[str]) -> int:
    """Run a command line; bad input is one line on stderr and exit code 2."""
    try:
        with logs_as_notes(), signals_interrupt():
            # The name is that of the command, also as `python -m`: shells complete it.
            code = app(arguments or ["--help"], prog_name="prescreen", standalone_mode=False)
    except Interrupted as interruption:
        return report(interruption.number)
    except (typer.Abort, KeyboardInterrupt):
        return report(signal.SIGINT)
    except _UsageError as error:
        # Unlike the message itself, format_message() names the option.
        return _refuse(error.format_message())  # type: ignore[attr-defined]
    except BrokenPipeError:
        return CLOSED_PIPE
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        return _refuse(str(error))
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer's, if nobody reads the output
            return CLOSED_PIPE
        if _COMPLETION in os.environ or {*arguments} & _COMPLETION_OPTIONS:
            return end.code if isinstance(end.code, int) else 0
        return _refuse(f"the command must end by itself, got {named_line(end)}")
    return code if isinstance(code, int) else 0


def _refuse(message: str) -> int:
    note(f"prescreen: {shortened(' '.join(message.split()), 1000)}")
    return 2
