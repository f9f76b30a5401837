"""Exported: the files of a candidate, and its weights, which are trained again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prescreen.checks import require
from prescreen.cli.config import SAVED
from prescreen.cli.naming import name_of
from prescreen.cli.retrained import trained_again
from prescreen.cli.streams import candidates_on_stderr
from prescreen.documents import read_document
from prescreen.files import SAFETENSORS, replace_text
from prescreen.ranking.opened import Run, open_run
from prescreen.spaces.candidate import Candidate, candidate_of
from prescreen.spaces.code import Code
from prescreen.spaces.listed import is_listed, listed
from prescreen.spaces.space import Space, resolve_space
from prescreen.tasks import Task, load_task
from prescreen.text import file_name, finite


def exported(
    run: Path,
    candidate: str,
    to: Path | None,
    *,
    weights: bool,
    space: str | None,
    data: str | None,
) -> tuple[Path, bool]:
    """Write the files of a candidate.

    Args:
        run: folder of a run.
        candidate: its name, the beginning of it, or its rank.
        to: folder for the files, or None for one in that of the run.
        weights: whether it is trained again.
        space: in place of what the run says.
        data: likewise.

    Returns:
        The folder, and whether the weights, if they are asked for, are those that were measured.

    Raises:
        ValueError: there is no such run or candidate, or its code has changed.
    """
    opened = open_run(run)
    name = name_of(candidate, opened.ranking, opened.unfinished)
    options = _options(run, space, data)
    with candidates_on_stderr():
        source = options["space"]
        source = source if is_listed(source) else resolve_space(source)
        task = _task(opened, options)
        one = _found(source, task, opened, name)
    _require_same_code(opened, one)
    folder = run / "exported" / file_name(name) if to is None else to
    folder.mkdir(parents=True, exist_ok=True)
    file, is_same = trained_again(one, task, opened, folder) if weights else (None, True)
    reference = _reference(source)
    row = next(row for row in opened.ranking if row.name == name)
    content = {
        **{key: value for key, value in row.to_dict().items() if key != "status"},
        "space": reference,
        "data": options["data"],
        "sizes": dict(task.sizes),
        "measured": dict(opened.settings),
        "weights": file and {"file": file.name, "as_measured": is_same},
    }
    replace_text(folder / "candidate.json", json.dumps(finite(_plain(content)), indent=2) + "\n")
    lines = _lines(one, isinstance(source, Space), dict(task.sizes), reference, file)
    replace_text(folder / "rebuild.py", "".join(f"{line}\n" for line in lines))
    return folder, is_same


class _Options(dict[str, Any]):
    def __missing__(self, name: str) -> None:
        return None


def _options(run: Path, space: str | None, data: str | None) -> _Options:
    """The options with which a run was made; those without a value are None."""
    saved = run / SAVED
    found: dict[str, Any] = {}
    if saved.is_file():
        content = read_document(saved, "run")
        found = {name.replace("-", "_"): one for name, one in content.items()}
    elif space is None or data is None:
        raise ValueError(
            f"`run` must hold {SAVED}, which `prescreen rank` writes, or come with --space and --data, "
            f"got {str(run)!r}"
        )
    given = {"space": space, "data": data}
    return _Options({**found, **{name: one for name, one in given.items() if one is not None}})


def _task(opened: Run, options: Mapping[str, Any]) -> Task:
    """The data of a run."""
    size, seed = options["probe_size"] or opened.samples, options["seed"]
    seed = opened.settings["seed"] if seed is None else seed
    named = {name: options[name] for name in ("probe", "image_size")}
    task = load_task(options["data"], probe_size=size, seed=seed, **named)
    now, was = f"{task.name} {task.fingerprint}", opened.settings["task"]
    require("data", f"that of the run, {was}", now, now == was)
    return task


def _found(source: Space | str, task: Task, opened: Run, name: str) -> Candidate:
    """The candidate of a run, with the code that builds it."""
    row = next(row for row in opened.ranking if row.name == name)
    if isinstance(source, Space):
        one = candidate_of(source, dict(row.config))
        return Candidate(name, one.config, one.build, one.build_untrained)
    named = [one for one in listed(source, task.sizes) if one.name == name]
    if not named:
        raise ValueError(f"`space` must be that of the run, got {source!r} without {name!r}")
    return named[0]


def _require_same_code(opened: Run, one: Candidate) -> None:
    now, codes = Code().of(one), opened.codes.get(one.name, {})
    changed = {part: was for part, was in codes.items() if now.get(part) != was}
    unlike = [f"{part} {was} instead of {now.get(part)}" for part, was in changed.items()]
    if unlike:
        raise ValueError(
            f"`run` must be of the code that is here, got {str(opened.folder)!r} with "
            f"{'; '.join(unlike)}"
        )


def _reference(space: Space | str) -> str:
    """What names the space or function wherever the files are used."""
    reference = space.reference if isinstance(space, Space) else space
    where, colon, function = (
        reference.rpartition(":") if ".py:" in reference else (reference, "", "")
    )
    is_file = Path(where).is_file()
    return (str(Path(where).resolve()) if is_file else where) + colon + function


def _lines(
    one: Candidate, is_space: bool, sizes: Mapping[str, Any], reference: str, file: Path | None
) -> list[str]:
    """A program that builds the candidate again."""
    if is_space:
        lines = [
            "from prescreen.spaces import resolve_space",
            f"config = {dict(one.config)!r}",
            f"model = resolve_space({reference!r}).build(config, **{sizes!r})",
        ]
    else:
        lines = [
            "from prescreen.spaces.chosen import as_candidates",
            f"found = {{one.name: one for one in as_candidates({reference!r}, sizes={sizes!r})}}",
            f"model = found[{one.name!r}].model(**{sizes!r})",
        ]
    if file is None:
        return lines
    where = f"__file__.replace('rebuild.py', {file.name!r})"
    if file.suffix == SAFETENSORS:
        return [
            "from safetensors.torch import load_file",
            *lines,
            f"model.load_state_dict(load_file({where}))",
        ]
    return [
        "import torch",
        *lines,
        f"model.load_state_dict(torch.load({where}, weights_only=True))",
    ]


def _plain(value: Any) -> Any:
    """The same value with lists in place of tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [*map(_plain, value)] if isinstance(value, tuple | list) else value
