"""Code: what a candidate's network is built by, as digests that run folders keep.

Seen are the source of the module that builds, of the own modules that it imports and the versions of
libraries (see ``sources``); of a function of a script or notebook, its byte code and that of all it
refers to; the plain values that a function holds as closure, defaults or arguments of a ``partial``.
Not seen are data files, values that a function changes itself, and the state of other objects.
"""

from __future__ import annotations

import argparse
import enum
import functools
import hashlib
import inspect
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from types import CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from prescreen.spaces.bytecode import changed_by, globals_of
from prescreen.spaces.candidate import Candidate
from prescreen.spaces.listed import Made
from prescreen.spaces.sources import (
    ELSEWHERE,
    Stale,
    digest,
    is_library,
    library_version,
    module_parts,
    source_file,
)
from prescreen.spaces.space import Space

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), torch.dtype, torch.device)
# Objects of libraries that hold what users put there.
_HOLDERS = (SimpleNamespace, argparse.Namespace, torch.nn.Module)
_DEEPEST = 40
_EMPTY = CellType()  # of a name that is not assigned yet
# Differ between versions of Python, or between equal classes.
_OF_CLASSES = {"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__"}
_OF_CLASSES |= {"__static_attributes__", "__annotations__", "__annotate__", "__annotate_func__"}


class Code:
    """Digests of what builds candidates; every module is looked at once."""

    def __init__(self) -> None:
        self._modules: dict[str, dict[str, str]] = {}
        self._spaces: dict[Space, dict[str, str]] = {}

    def of(self, candidate: Candidate) -> dict[str, str]:
        """Part to digest or version; the part ``build`` stands for functions and their values."""
        method = getattr(candidate.build, "func", None)
        space = getattr(method, "__self__", None)
        if isinstance(space, Space):  # what else is bound to its methods, the config, is no code
            return self.of_space(space)
        return self._of("build", [candidate.build, candidate.build_untrained])

    def of_space(self, space: Space) -> dict[str, str]:
        """Of all candidates of a search space, likewise."""
        if space not in self._spaces:
            self._spaces[space] = self._of("build", [space])
        return self._spaces[space]

    def of_functions(self, functions: Mapping[str, Any]) -> dict[str, str]:
        """Of a user's own functions, likewise; those of prescreen and torch do not count."""
        own = {name: one for name, one in functions.items() if not _is_settled(one)}
        return self._of("functions", [*own.items()]) if own else {}

    def _of(self, label: str, values: Sequence[Any]) -> dict[str, str]:
        found = _Found(self._modules)
        texts = [found.text(one) for one in values]
        return {label: digest(*texts), **dict(sorted(found.parts.items()))}


class _Found:
    """One walk through what a function needs: text of values, and parts on the way."""

    def __init__(self, modules: dict[str, dict[str, str]]) -> None:
        self.parts: dict[str, str] = {}
        self._modules = modules
        self._seen: dict[int, Any] = {}  # holds the objects: their ids stay theirs
        self._within: list[Any] = []

    def text(self, value: Any) -> str:
        """What defines a value, the same in every process."""
        if isinstance(value, enum.Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__} {value!r}"
        if isinstance(value, PurePath):
            return f"path {value}"
        if id(value) in self._seen:
            return f"again {getattr(value, '__qualname__', type(value).__qualname__)}"
        if len(self._within) > _DEEPEST:
            return "deep"
        self._seen[id(value)] = value
        self._within.append(value)
        try:
            return self._composite(value)
        except Exception as error:  # the methods of a foreign value are foreign code
            if isinstance(error, Stale):
                raise
            return f"unseen {type(value).__qualname__}"
        finally:
            self._within.pop()

    def _composite(self, value: Any) -> str:
        if isinstance(value, torch.Tensor | np.ndarray):
            return _array(value)
        if isinstance(value, dict):
            pairs = (f"{self.text(key)}: {self.text(one)}" for key, one in value.items())
            return f"{{{', '.join(pairs)}}}"
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self.text, value))}]"
        if isinstance(value, set | frozenset):
            return f"{{{', '.join(sorted(map(self.text, value)))}}}"
        if isinstance(value, functools.partial):
            return " ".join(map(self.text, (value.func, value.args, value.keywords)))
        if isinstance(value, MethodType):
            return f"{self.text(value.__func__)} {self.text(value.__self__)}"
        if isinstance(value, Made):
            return f"{self.text(value.function)} {value.name}"
        if isinstance(value, Space):
            return self._of_source(value.module)
        if isinstance(value, ModuleType):
            return self._of_module(value)
        if isinstance(value, FunctionType | type):
            return self._defined(value)
        name = getattr(value, "__qualname__", "")
        wrapped = self.text(getattr(value, "__wrapped__", None))
        return f"{self.text(type(value))} {name} {wrapped} {self.text(_state_of(value))}"

    def _of_module(self, module: ModuleType) -> str:
        if not is_library(module):
            return self._of_source(module)
        top = module.__name__.partition(".")[0]
        if top not in (*sys.stdlib_module_names, *ELSEWHERE):
            self.parts[top] = library_version(top)
        return module.__name__

    def _of_source(self, module: ModuleType) -> str:
        if source_file(module) is None:  # made by hand
            builders = (getattr(module, name, None) for name in ("build", "build_untrained"))
            return " ".join(map(self.text, builders))
        if module.__name__ not in self._modules:
            self._modules[module.__name__] = module_parts(module)
        self.parts |= self._modules[module.__name__]
        # Not the whole name, as that of a file holds where it lies.
        return "module"

    def _defined(self, value: FunctionType | type) -> str:
        """A function or class: by its module, or one by one if that is a script or has no file."""
        module = sys.modules.get(value.__module__ or "")
        by_module = module is not None and module.__name__ not in ("__main__", "__mp_main__")
        if by_module and module is not None and (is_library(module) or source_file(module)):
            name = f"{self._of_module(module)} {value.__qualname__}"
            if isinstance(value, type):
                return name
            # Two lambdas have one name; so have two functions that one function has made.
            code = (
                self._byte_code(value.__code__, value.__doc__) if "<" in value.__qualname__ else ""
            )
            return f"{name} {code} {self._held(value)}"
        if isinstance(value, FunctionType):
            code = self._byte_code(value.__code__, value.__doc__)
            return f"{code} {self._held(value)} {self._globals(value)}"
        members = {name: one for name, one in vars(value).items() if name not in _OF_CLASSES}
        plain = {
            name: inspect.unwrap(getattr(one, "__func__", one)) for name, one in members.items()
        }
        texts = (f"{name} {self._member(one)}" for name, one in sorted(plain.items()))
        return f"class {' '.join(map(self.text, value.__bases__))} {' '.join(texts)}"

    def _member(self, value: Any) -> str:
        if isinstance(value, property):
            return " ".join(map(self.text, (value.fget, value.fset)))
        return self.text(value) if isinstance(value, (*_PLAIN, tuple, FunctionType, type)) else ""

    def _held(self, function: FunctionType) -> str:
        """The values that a function holds: defaults and closure, without those that it changes."""
        names, cells = function.__code__.co_freevars, function.__closure__ or ()
        closure = {
            name: cell.cell_contents
            for name, cell in zip(names, cells, strict=True)
            if cell != _EMPTY
        }
        defaults = [function.__defaults__, function.__kwdefaults__]
        return " ".join([*map(self.text, defaults), self._lasting(function, closure)])

    def _globals(self, function: FunctionType) -> str:
        names = globals_of(function.__code__) & set(function.__globals__)
        return self._lasting(function, {n: function.__globals__[n] for n in sorted(names)})

    def _lasting(self, function: FunctionType, values: dict[str, Any]) -> str:
        changed = changed_by(function.__code__)
        code = (ModuleType, FunctionType, type)  # a module's function may be called add or insert
        kept = [n for n, value in values.items() if n not in changed or isinstance(value, code)]
        return " ".join(f"{name}={self.text(values[name])}" for name in kept)

    def _byte_code(self, code: CodeType, doc: str | None = None) -> str:
        self.parts["python"] = ".".join(platform.python_version_tuple()[:2])
        constants = [
            self._byte_code(one) if isinstance(one, CodeType) else self.text(one)
            for one in code.co_consts
            if one is None or one is not doc
        ]
        return digest(code.co_code.hex(), *code.co_names, *code.co_varnames, *constants)


def _is_settled(function: Any) -> bool:
    """Whether a function or class belongs to a package whose version is a setting itself."""
    package = str(getattr(function, "__module__", "")).partition(".")[0]
    return function is None or (hasattr(function, "__qualname__") and package in ELSEWHERE)


def _state_of(value: Any) -> dict[str, Any]:
    """The attributes of a user's own object; those of a library's own are its business."""
    module = sys.modules.get(type(value).__module__)
    foreign = module is None or (is_library(module) and not isinstance(value, _HOLDERS))
    return {} if foreign else dict(vars(value))


def _array(value: torch.Tensor | np.ndarray[Any, Any]) -> str:
    array = value.detach().cpu() if isinstance(value, torch.Tensor) else value
    try:
        content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    except (TypeError, RuntimeError):  # a type that NumPy lacks, or without numbers
        content = ""
    return f"array {value.dtype} {tuple(value.shape)} {content}"
