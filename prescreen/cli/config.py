"""Config: options in a file, and those of a run written down so that the file can be given again."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from prescreen.documents import read_document

# Not in a file that a run writes: where it came from, and how a result is shown.
_APART = ("config", "fresh", "as_json", "as_csv")
SAVED = "config.toml"


def _use(context: typer.Context, config: Path | None) -> Path | None:
    """Take the options of a file for those that are not on the command line."""
    if config is not None and not context.resilient_parsing:
        context.default_map = {**(context.default_map or {}), **_options(context, config)}
    return config


CONFIG = typer.Option(
    "--config",
    help="A .toml or .yaml file with options of this command; those given here win.",
    is_eager=True,
    callback=_use,
    show_default=False,
)


def write_config(path: Path, options: Mapping[str, Any]) -> None:
    """Write the options of a command as TOML; those without a value are left out."""
    from prescreen.files import replace_text

    kept = {name: one for name, one in options.items() if name not in _APART and one is not None}
    lines = [f"{name.replace('_', '-')} = {_toml(value)}\n" for name, value in kept.items()]
    replace_text(path, "# Again, or further: prescreen rank --config FILE\n" + "".join(lines))


def _options(context: typer.Context, path: Path) -> dict[str, Any]:
    """The options in a file, by the names of their parameters."""
    parameters = {}
    for one in context.command.params:
        if one.name and one.name not in ("config", "help"):
            for name in (one.name, *(opt.lstrip("-") for opt in one.opts if opt.startswith("--"))):
                parameters[name.replace("-", "_")] = one
    content = read_document(path, "config")
    if not isinstance(content, dict):
        raise ValueError(f"`config` must map options to values, got {type(content).__name__}")
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in parameters:
            close = difflib.get_close_matches(name, parameters)
            hint = f"; did you mean {' or '.join(c.replace('_', '-') for c in close)}?"
            raise ValueError(
                f"`config` must hold options of `prescreen {context.info_name}`, got {key!r} in "
                f"{path}{hint if close else ''}"
            )
        parameter = parameters[name]
        if parameter.name in found:
            raise ValueError(f"`config` must hold an option once, got {key!r} twice in {path}")
        if value is not None:
            found[str(parameter.name)] = _given(key, value, parameter, path)
    return found


def _given(key: str, value: Any, parameter: Any, path: Path) -> Any:
    """A value as it would stand on the command line, where it is checked."""
    is_flag = bool(getattr(parameter, "is_flag", False))
    one_or_more = value if isinstance(value, list) else [value]
    plain = all(isinstance(one, str | int | float) for one in one_or_more)
    if isinstance(value, bool) != is_flag or not plain or bool in map(type, one_or_more[1:]):
        allowed = "true or false" if is_flag else "a text, a number or a list of them"
        raise ValueError(f"`{key}` must be {allowed} in {path}, got {value!r}")
    if is_flag:
        return value
    # A number without a fraction is one, also where YAML has made it a float.
    whole = [
        int(one) if isinstance(one, float) and one.is_integer() else one for one in one_or_more
    ]
    texts = [str(one) for one in whole]
    several = getattr(parameter, "multiple", False) or parameter.nargs == -1
    return texts if several else ",".join(texts)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # A string of JSON is one of TOML, but for one character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
