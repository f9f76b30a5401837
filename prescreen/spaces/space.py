"""Search spaces: modules with ``sample(trial)`` and ``build(config)``, found by name or file."""

from __future__ import annotations

import ast
import difflib
import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from prescreen.importing import BUILT_IN, built_in_spaces, import_file, import_module

logger = logging.getLogger(__name__)


class Space:
    """A search space: a module with ``sample(trial)`` and ``build(config)``; see `resolve_space`.

    The module may also define ``grid()`` (all configs of a finite space), ``name(config)``,
    ``build_untrained(config)`` (the network that is measured without training, if it is not the one
    that is trained), and ``check(...)`` (whether its networks can be built here; see `Space.check`).
    A space is pickled by reference: a worker process imports the module itself.

    Args:
        reference: the dotted name of the module or the path of its file, for `resolve_space`.
        module: the module.

    Raises:
        ValueError: the module lacks ``sample`` or ``build``.
    """

    def __init__(self, reference: str, module: ModuleType) -> None:
        missing = [f for f in ("sample", "build") if not callable(getattr(module, f, None))]
        if missing:
            raise ValueError(
                f"the space {reference} must define sample(trial) and build(config), "
                f"got no {' and no '.join(missing)}"
            )
        self.reference = reference
        self.module = module

    def __reduce__(self) -> tuple[Callable[[str], Space], tuple[str]]:
        return resolve_space, (self.reference,)

    def __repr__(self) -> str:
        return f"Space({self.reference!r})"

    @property
    def name(self) -> str:
        """The name of the module or file, without package, folder and extension."""
        path = Path(self.reference)
        return path.stem if path.suffix == ".py" else self.reference.rpartition(".")[2]

    def sample(self, trial: Any) -> dict[str, Any]:
        """Draw a config with the ``suggest_*`` methods of a trial, Optuna's or `RandomTrial`."""
        config = self.module.sample(trial)
        if not isinstance(config, dict):
            got = type(config).__name__
            raise ValueError(f"`sample` of {self.name} must return a dict, got {got}")
        return config

    def build(self, config: Mapping[str, Any], **sizes: Any) -> nn.Module:
        """Build a config's network with the keywords that the module's build accepts."""
        model: nn.Module = self.module.build(config, **accepted(self.module.build, sizes))
        return model

    def build_untrained(self, config: Mapping[str, Any], **sizes: Any) -> nn.Module:
        """Build the network that is measured without training, likewise."""
        build = self.module.build_untrained
        model: nn.Module = build(config, **accepted(build, sizes))
        return model

    @property
    def has_untrained(self) -> bool:
        """Whether the network that is measured untrained is not the one that is trained."""
        return callable(getattr(self.module, "build_untrained", None))

    def check(self, sizes: Mapping[str, Any]) -> None:
        """Ask the module, before any network is built, whether its networks can be.

        The module's ``check`` is given those of the task's sizes that its signature names. It raises
        an error if nothing can be built here, and returns a line if some cannot, which is logged.

        Raises:
            ImportError: something that the space needs is not installed.
            ValueError: no network can be built for these sizes.
        """
        check = getattr(self.module, "check", None)
        said = check(**accepted(check, dict(sizes))) if callable(check) else None
        if said is not None:
            logger.warning("%s: %s", self.name, said)

    def grid(self) -> Iterable[dict[str, Any]] | None:
        """All configs of a finite space; None if the module does not list them."""
        grid = getattr(self.module, "grid", None)
        return grid() if callable(grid) else None

    def name_of(self, config: dict[str, Any]) -> str | None:
        """The module's name for a config; None if it has no ``name`` function."""
        name = getattr(self.module, "name", None)
        return str(name(config)) if callable(name) else None


def resolve_space(space: str | Path | ModuleType | Space) -> Space:
    """Find a search space.

    Args:
        space: the name of a built-in one (``"nas_bench_201"``), a dotted module
            (``"my_package.space"``), a file (``"space.py"``), or the imported module.

    Raises:
        ValueError: there is no such space or file, it cannot be imported, or it lacks ``sample`` or
            ``build``.
    """
    if isinstance(space, Space):
        return space
    if isinstance(space, ModuleType):
        importable = sys.modules.get(space.__name__) is space
        file = None if importable else getattr(space, "__file__", None)
        return Space(file or space.__name__, space)
    if isinstance(space, Path) or space.endswith(".py") or "/" in space or "\\" in space:
        module = import_file(space, "space")
        if module is None:
            raise ValueError(f"`space` must be a file that exists, got {str(space)!r}")
        return Space(str(Path(space).expanduser().resolve()), module)
    module = import_module(f"{BUILT_IN}.{space}" if space in built_in_spaces() else space, "space")
    if module is None:
        raise _unknown_space(space)
    return Space(space, module)


def space_names() -> dict[str, str]:
    """The built-in search spaces, each with the first line of its docstring; none is imported."""
    found = {name: find_spec(f"{BUILT_IN}.{name}") for name in built_in_spaces()}
    files = {name: spec.origin for name, spec in found.items() if spec is not None and spec.origin}
    texts = {name: Path(file).read_text("utf-8") for name, file in files.items()}
    return {
        name: (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        for name, text in texts.items()
    }


def accepted(function: Callable[..., Any], keywords: dict[str, Any]) -> dict[str, Any]:
    """The keywords that a function's signature names, or all if it takes ``**kwargs``."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return keywords
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {keyword: value for keyword, value in keywords.items() if keyword in names}


def _unknown_space(name: str) -> ValueError:
    names = built_in_spaces()
    close = difflib.get_close_matches(name, names)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return ValueError(
        f"`space` must be a built-in one ({', '.join(names)}), a module or a FILE.py, "
        f"got {name!r}{hint}"
    )
