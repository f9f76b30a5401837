"""The command line, also as ``python -m prescreen``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line.

    Returns:
        The exit code: 0, 1 (nothing could be ranked), 2 (bad input), 130 (Ctrl-C) or 143 (SIGTERM), 141
        (nobody reads the output).
    """
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        print(
            f"prescreen: the command line needs the 'cli' extra: pip install 'prescreen[cli]' ({error})",
            file=sys.stderr,
        )
        return 2
    from prescreen.cli.app import run
    from prescreen.cli.streams import end_of_output

    code = run(sys.argv[1:])
    return end_of_output() or code


if __name__ == "__main__":
    sys.exit(main())
