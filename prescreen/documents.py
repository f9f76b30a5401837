"""Documents: TOML, YAML and JSON files that a user names, with one-line errors."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from prescreen.text import first_line

# Extension to the modules that read it, the first that is installed, and what else to install.
_READERS = {
    ".toml": (("tomllib", "tomli"), "tomli"),
    ".yaml": (("yaml",), "pyyaml"),
    ".yml": (("yaml",), "pyyaml"),
    ".json": (("json",), ""),
}


def is_document(path: str | Path) -> bool:
    """Whether a file is one of these by its name."""
    return Path(path).suffix.lower() in _READERS


def read_document(path: str | Path, argument: str) -> Any:
    """The content of a file.

    Raises:
        ValueError: it cannot be read; the message begins with the argument's name.
        ImportError: what reads it is not installed.
    """
    path = Path(path).expanduser()
    if not is_document(path):
        raise ValueError(f"`{argument}` must be a file {', '.join(_READERS)}, got {str(path)!r}")
    load = _loader(path.suffix.lower(), argument)
    try:
        return load(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ValueError(
            f"`{argument}` must be a file that can be read, got {str(path)!r} ({error.strerror})"
        ) from None
    except Exception as error:  # each format has errors of its own, and each is one of the file
        reason = " ".join(str(error).split()) or first_line(error)
        raise ValueError(
            f"`{argument}` must be a file of valid {path.suffix[1:].upper()}, got {str(path)!r}: "
            f"{reason[:200]}"
        ) from None


def _loader(suffix: str, argument: str) -> Any:
    names, package = _READERS[suffix]
    for name in names:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        return module.safe_load if name == "yaml" else module.loads
    raise ImportError(f"`{argument}` needs {package} to read {suffix}: pip install {package}")
