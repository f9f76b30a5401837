"""Search spaces: modules with ``sample(trial)`` and ``build(config)``, found by name or file."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from prescreen.importing import import_file, import_module

# The top-level folder search_spaces/, installed under this name. It is never imported by name: which
# spaces there are is found out at run time.
BUILT_IN = "prescreen.search_spaces"


class Space:
    """A search space: a module with ``sample(trial)`` and ``build(config)``; see `resolve_space`.

    Optional in the module are ``grid()`` (all configs of a finite space), ``name(config)``, and
    ``build_untrained(config)``, the network that is measured without training where that is not the
    one that is trained.
    A space is pickled by reference, so that a worker process imports the module itself.

    Args:
        reference: what `resolve_space` finds the module by: its dotted name or its file's path.
        module: the module.

    Raises:
        ValueError: the module lacks ``sample`` or ``build``.
    """

    def __init__(self, reference: str, module: ModuleType) -> None:
        missing = [f for f in ("sample", "build") if not callable(getattr(module, f, None))]
        if missing:
            raise ValueError(
                "space: functions sample(trial) and build(config) are needed, "
                f"{reference} has no {' and no '.join(missing)}"
            )
        self.reference = reference
        self.module = module

    def __reduce__(self) -> tuple[Callable[[str], Space], tuple[str]]:
        return resolve_space, (self.reference,)

    def __repr__(self) -> str:
        return f"Space({self.reference!r})"

    @property
    def name(self) -> str:
        """The module's or file's own name, without package, folder and extension."""
        path = Path(self.reference)
        return path.stem if path.suffix == ".py" else self.reference.rpartition(".")[2]

    def sample(self, trial: Any) -> dict[str, Any]:
        """Draw a config with the ``suggest_*`` functions of a trial, Optuna's or `RandomTrial`."""
        config = self.module.sample(trial)
        if not isinstance(config, dict):
            raise ValueError(f"sample: {self.name} must return a dict, got {type(config).__name__}")
        return config

    def build(self, config: Mapping[str, Any], **sizes: Any) -> nn.Module:
        """Build a config's network with those of the keywords that the module's build accepts."""
        model: nn.Module = self.module.build(config, **accepted(self.module.build, sizes))
        return model

    def build_untrained(self, config: Mapping[str, Any], **sizes: Any) -> nn.Module:
        """Build, likewise, the network that is measured without training."""
        build = self.module.build_untrained
        model: nn.Module = build(config, **accepted(build, sizes))
        return model

    @property
    def has_untrained(self) -> bool:
        """Whether another network is measured without training than the one that is trained."""
        return callable(getattr(self.module, "build_untrained", None))

    def grid(self) -> Iterable[dict[str, Any]] | None:
        """All configs of a finite space; None if the module does not list them."""
        grid = getattr(self.module, "grid", None)
        return grid() if callable(grid) else None

    def name_of(self, config: dict[str, Any]) -> str | None:
        """What the module calls a config; None if it has no ``name`` function."""
        name = getattr(self.module, "name", None)
        return str(name(config)) if callable(name) else None


def resolve_space(space: str | Path | ModuleType | Space) -> Space:
    """Find a search space.

    Args:
        space: the name of a built-in one (``"nas_bench_201"``), a dotted module
            (``"my_package.space"``), a file (``"space.py"``), or the imported module.

    Raises:
        ValueError: no such space or file, a file that cannot be imported, a module without
            ``sample`` or ``build``.
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
            raise ValueError(f"space: a file with sample and build is needed, no file at {space}")
        return Space(str(Path(space).expanduser().resolve()), module)
    module = import_module(f"{BUILT_IN}.{space}" if space in _built_in_names() else space, "space")
    if module is None:
        raise _unknown_space(space)
    return Space(space, module)


def space_names() -> dict[str, str]:
    """The built-in search spaces, each with the first line that it says of itself."""
    spaces = {name: resolve_space(name) for name in _built_in_names()}
    return {
        name: (inspect.getdoc(space.module) or "").partition("\n")[0]
        for name, space in spaces.items()
    }


def accepted(function: Callable[..., Any], keywords: dict[str, Any]) -> dict[str, Any]:
    """Those keywords that a function's signature names, or all if it takes ``**kwargs``."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return keywords
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {keyword: value for keyword, value in keywords.items() if keyword in names}


def _built_in_names() -> list[str]:
    package = importlib.import_module(BUILT_IN)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def _unknown_space(name: str) -> ValueError:
    names = _built_in_names()
    close = difflib.get_close_matches(name, names)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return ValueError(
        f"space: a built-in one ({', '.join(names)}), a module or a FILE.py is needed, "
        f"got {name!r}{hint}"
    )
