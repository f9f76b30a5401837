"""Candidate: an architecture not built yet; and search spaces, where candidates come from."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import itertools
import json
import math
import pkgutil
import random
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

# Never imported by name: which spaces are installed is found out at run time.
BUILT_IN = "search_spaces"

# After so many draws without a new config a space counts as exhausted.
MAX_REPEATS = 1000

_MAX_NAME = 40

# What a user's file raises while it is imported; anything else keeps its own traceback.
_IMPORT_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Candidate:
    """An architecture not built yet.

    Args:
        name: what tables call it; unique within a ranking.
        config: what tells it from other candidates, as JSON values.
        build: makes the untrained network; of the keywords ``num_classes``, ``in_channels`` and
            ``image_size`` it is given those that its signature accepts.

    Raises:
        ValueError: an empty name, a config that is no JSON object, a build that is no function.
    """

    name: str
    config: Mapping[str, Any]
    build: Callable[..., nn.Module] = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name: a non-empty string is needed, got {self.name!r}")
        if not callable(self.build) or isinstance(self.build, nn.Module):
            got = type(self.build).__name__
            raise ValueError(f"build: a function that returns a new network is needed, got {got}")
        _canonical_json(self.config)

    def __hash__(self) -> int:
        return hash(self.key)

    @functools.cached_property
    def key(self) -> str:
        """Identity across processes and sessions: canonical JSON of name and config."""
        return _canonical_json({"config": dict(self.config), "name": self.name})

    def model(
        self,
        *,
        num_classes: int | None = None,
        in_channels: int | None = None,
        image_size: int | tuple[int, int] | None = None,
    ) -> nn.Module:
        """Build the untrained network; what is None is left to the builder's own default.

        Raises:
            ValueError: something else than a torch.nn.Module was built.
        """
        sizes = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
        given = {keyword: size for keyword, size in sizes.items() if size is not None}
        model: object = self.build(**_accepted(self.build, given))
        if not isinstance(model, nn.Module):
            got = type(model).__name__
            raise ValueError(f"build: {self.name} must build a torch.nn.Module, got {got}")
        return model


class Space:
    """A search space: a module with ``sample(trial)`` and ``build(config)``; see `resolve_space`.

    ``grid()`` (all configs of a finite space) and ``name(config)`` are optional in the module.
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
        model: nn.Module = self.module.build(config, **_accepted(self.module.build, sizes))
        return model

    def grid(self) -> Iterable[dict[str, Any]] | None:
        """All configs of a finite space; None if the module does not list them."""
        grid = getattr(self.module, "grid", None)
        return grid() if callable(grid) else None

    def candidate(self, config: dict[str, Any]) -> Candidate:
        """The candidate of one config."""
        name = getattr(self.module, "name", None)
        called = name(config) if callable(name) else _default_name(config) or self.name
        return Candidate(called, config, functools.partial(self.build, config))


class RandomTrial:
    """Draws uniformly what `sample` suggests, with the signatures of Optuna's Trial.

    A parameter that is suggested again keeps its value.

    Args:
        generator: where randomness comes from.
    """

    def __init__(self, generator: random.Random) -> None:
        self.params: dict[str, Any] = {}
        self._generator = generator

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        if not choices:
            raise ValueError(f"choices: at least one is needed for {name!r}, got none")
        return self._keep(name, lambda: self._generator.choice(choices))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """An integer from low to high, both included."""
        _check_range(name, low, high, None if step == 1 else step, log)
        if log:
            draw = self._log_uniform(low - 0.5, high + 0.5)
            return int(self._keep(name, lambda: min(max(round(draw()), low), high)))
        return int(self._keep(name, lambda: self._generator.randrange(low, high + 1, step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from low to high, or one of low, low + step, … up to high."""
        _check_range(name, low, high, step, log)
        if log:
            draw = self._log_uniform(low, high)
            return float(self._keep(name, lambda: min(max(draw(), low), high)))
        if step is None:
            return float(self._keep(name, lambda: self._generator.uniform(low, high)))
        # The small term keeps a last step that rounding puts just above high.
        steps = math.floor((high - low) / step + 1e-9)
        draw_step = functools.partial(self._generator.randint, 0, steps)
        return float(self._keep(name, lambda: min(low + draw_step() * step, high)))

    def _keep(self, name: str, draw: Callable[[], Any]) -> Any:
        if name not in self.params:
            self.params[name] = draw()
        return self.params[name]

    def _log_uniform(self, low: float, high: float) -> Callable[[], float]:
        return lambda: math.exp(self._generator.uniform(math.log(low), math.log(high)))


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
        path = Path(space).expanduser().resolve()
        if not path.is_file():
            raise ValueError(f"space: a file with sample and build is needed, no file at {space}")
        return Space(str(path), _import_file(path, path.stat().st_mtime_ns))
    if space in _built_in_names():
        return Space(space, _import_module(f"{BUILT_IN}.{space}"))
    return Space(space, _import_module(space))


def space_names() -> dict[str, str]:
    """The built-in search spaces, each with the first line that it says of itself."""
    spaces = {name: resolve_space(name) for name in _built_in_names()}
    return {
        name: (inspect.getdoc(space.module) or "").partition("\n")[0]
        for name, space in spaces.items()
    }


def sample_candidates(space: Space, num_samples: int | None, seed: int) -> list[Candidate]:
    """Distinct candidates of a search space.

    The first of a larger sample are the smaller sample of the same seed. Where `num_samples` is
    None, or no less than a finite space has, all of its grid is returned, in the grid's order.
    A space that has no grid and gives no new config any more ends the sample early, with a
    warning: fewer candidates are still a ranking.

    Args:
        space: where configs come from.
        num_samples: how many candidates; None for all of a finite space.
        seed: a non-negative integer.

    Raises:
        ValueError: `num_samples` below 1, or None for a space without ``grid``; a bad seed;
            a ``name`` that calls two configs the same.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed: a non-negative integer is needed, got {seed!r}")
    if num_samples is not None and num_samples < 1:
        raise ValueError(f"samples: at least 1 is needed, got {num_samples}")
    grid = space.grid()
    if grid is not None:
        configs = list(itertools.islice(grid, None if num_samples is None else num_samples + 1))
        if num_samples is None or len(configs) <= num_samples:
            return _distinctly_named([space.candidate(config) for config in configs])
    if num_samples is None:
        raise ValueError(f"samples: a number is needed, {space.name} has no grid(), got None")
    return _distinctly_named(_draw(space, num_samples, random.Random(seed)))


def as_candidates(
    candidates: (
        str
        | Path
        | ModuleType
        | Space
        | Mapping[str, Callable[..., nn.Module]]
        | Iterable[Candidate]
    ),
    num_samples: int | None = None,
    seed: int = 0,
) -> list[Candidate]:
    """Candidates from whatever names them.

    Args:
        candidates: a search space (see `resolve_space`), which is sampled; candidates; or names
            and the functions that build them, such as ``{"small": make_small}``.
        num_samples: how many to sample, None for all of a finite space; for search spaces only.
        seed: of the sample.

    Raises:
        ValueError: no candidates, two of one name, something that is no candidate, or
            `num_samples` for candidates that are given.
    """
    if isinstance(candidates, str | Path | ModuleType | Space):
        return sample_candidates(resolve_space(candidates), num_samples, seed)
    if num_samples is not None:
        raise ValueError(f"samples: only a search space is sampled, got {num_samples}")
    given: list[object] = (
        [Candidate(name, {}, build) for name, build in candidates.items()]
        if isinstance(candidates, Mapping)
        else list(candidates)
    )
    strangers = [type(other).__name__ for other in given if not isinstance(other, Candidate)]
    if strangers or not given:
        raise ValueError(
            "candidates: a search space, Candidates or {name: function} is needed, "
            f"got {strangers[0] if strangers else 'none'}"
        )
    return _distinctly_named([one for one in given if isinstance(one, Candidate)])


def _draw(space: Space, num_samples: int, generator: random.Random) -> list[Candidate]:
    """Draw until there are enough distinct configs or no new ones come."""
    found: dict[str, dict[str, Any]] = {}
    repeats = 0
    while len(found) < num_samples and repeats < MAX_REPEATS:
        config = space.sample(RandomTrial(generator))
        key = _canonical_json(config)
        repeats = repeats + 1 if key in found else 0
        found.setdefault(key, config)
    if len(found) < num_samples:
        warnings.warn(
            f"samples: {space.name} gave {len(found)} distinct configs and no new one in "
            f"{MAX_REPEATS} further draws, {num_samples} were asked for",
            stacklevel=2,
        )
    return [space.candidate(config) for config in found.values()]


def _distinctly_named(candidates: list[Candidate]) -> list[Candidate]:
    seen: set[str] = set()
    for candidate in candidates:
        if candidate.name in seen:
            raise ValueError(f"name: every candidate needs its own, got {candidate.name!r} twice")
        seen.add(candidate.name)
    return candidates


def _canonical_json(config: Mapping[str, Any]) -> str:
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        raise ValueError(f"config: a dict with string keys is needed, got {config!r}")
    try:
        text = json.dumps(dict(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"config: JSON values are needed, got {config!r} ({error})") from error
    return text


def _default_name(config: Mapping[str, Any]) -> str:
    """``key=value`` of every entry, cut and made unique by a digest where it is long."""
    text = " ".join(f"{key}={value}" for key, value in config.items())
    if len(text) <= _MAX_NAME:
        return text
    digest = hashlib.sha256(_canonical_json(config).encode()).hexdigest()[:8]
    return f"{text[: _MAX_NAME - len(digest) - 1]}…{digest}"


def _accepted(function: Callable[..., Any], keywords: dict[str, Any]) -> dict[str, Any]:
    """Those keywords that a function's signature names, or all if it takes ``**kwargs``."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return keywords
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {keyword: value for keyword, value in keywords.items() if keyword in names}


def _check_range(name: str, low: float, high: float, step: float | None, log: bool) -> None:
    if not low <= high:
        raise ValueError(f"low: at most high is allowed for {name!r}, got {low} > {high}")
    if step is not None and (log or not step > 0):
        raise ValueError(f"step: a positive step without log is allowed for {name!r}, got {step}")
    if log and low <= 0:
        raise ValueError(f"low: above 0 is needed for {name!r} with log, got {low}")


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except _IMPORT_ERRORS as error:
        # "import a.b" fails for a or a.b itself, or for something that a.b imports.
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if (missing and f"{name}.".startswith(f"{missing}.")) or not name.strip("."):
            raise _unknown_space(name) from None
        raise ValueError(_import_failure(name, error)) from error


@functools.lru_cache
def _import_file(path: Path, modified: int) -> ModuleType:
    """Import a file once for every time it was modified.

    It is registered under a name made from its path, which is the same in every process.
    """
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{digest}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"space: a Python file FILE.py is needed, got {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))  # as for a script: its neighbours can be imported
    try:
        spec.loader.exec_module(module)
    except _IMPORT_ERRORS as error:
        del sys.modules[spec.name]
        raise ValueError(_import_failure(str(path), error)) from error
    finally:
        sys.path.remove(str(path.parent))
    return module


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


def _import_failure(name: str, error: Exception) -> str:
    """One line: the line of the imported file at which its import went wrong."""
    ours = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in ours and not frame.filename.startswith("<frozen importlib")
    ]
    where = name
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}, line {error.lineno}"
    elif frames:
        lines = [frame.lineno for frame in frames if frame.filename == frames[0].filename]
        where = f"{frames[0].filename}, line {lines[-1]}"
    reason = str(error).partition("\n")[0]
    return f"space: {name} cannot be imported, {where}: {type(error).__name__}: {reason}"
