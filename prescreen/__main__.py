"""The command line, also as ``python -m prescreen``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; returns the exit code: 0, 1 (nothing could be ranked) or 2 (bad input)."""
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

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
