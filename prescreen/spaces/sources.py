"""Sources: a module's own source code and what it imports, as digests.

Import statements are followed, wherever they stand. What a module loads in other ways (by
``importlib``, from data files) is not seen.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

# torch is a setting of every run, and so is this package.
ELSEWHERE = {"torch", __name__.partition(".")[0]}
_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD = Path(sysconfig.get_paths()["stdlib"]).resolve()


class Stale(ValueError):
    """The file of an imported module has changed."""


# Name of an imported module -> its specification, which is a new one after each import, and digest.
_imported_as: dict[str, tuple[ModuleSpec, str]] = {}


def module_parts(module: ModuleType) -> dict[str, str]:
    """Digests of a module and of the own modules that it imports; versions of libraries.

    Own are the modules of its folder, and all others that are not installed. Comments, docstrings and
    layout do not count.

    Returns:
        File, folder or package to digest, and library to version; empty without a source file.

    Raises:
        Stale: a file is known to have changed after it was imported.
    """
    file = source_file(module)
    if file is None:
        return {}
    own = {file: (module.__name__, module.__package__ or "")}
    libraries: dict[str, str] = {}
    waiting = [file]
    while waiting:
        name, package = own[waiting[-1]]
        for imported in _imported(waiting.pop(), name, package):
            found = _find(imported, file.parent)
            top = imported.partition(".")[0]
            if found is None or found in own or _is_standard(found):
                continue
            if top in ELSEWHERE and file.parent not in found.parents:
                continue
            if _is_installed(found, file.parent):
                libraries[top] = library_version(top)
                continue
            is_package = found.stem == "__init__"
            own[found] = (imported, imported if is_package else imported.rpartition(".")[0])
            waiting.append(found)
    parts: dict[str, list[str]] = {}
    for path, (name, _) in own.items():
        _require_current(name, path)
        inside = file.parent in path.parents
        part = path.relative_to(file.parent).parts[0] if inside else name.partition(".")[0]
        where = path.relative_to(file.parent).as_posix() if inside else name
        parts.setdefault(part, []).append(f"{where} {_read(path, _stamp(path))[0]}")
    return {**{part: digest(*sorted(lines)) for part, lines in parts.items()}, **libraries}


def source_file(module: ModuleType) -> Path | None:
    """The file that a module was loaded from; None if there is none."""
    file = getattr(module, "__file__", None)
    path = Path(file).resolve() if isinstance(file, str) else None
    return path if path is not None and path.is_file() else None


def is_library(module: ModuleType) -> bool:
    """Whether a module is installed or built in, unlike a user's own."""
    file = source_file(module)
    if file is None:
        return module.__name__ in sys.builtin_module_names
    top = module.__name__.partition(".")[0]
    return _is_installed(file) or _is_standard(file) or top in ELSEWHERE


@functools.lru_cache
def library_version(name: str) -> str:
    """The version of the distribution that a top-level module comes from."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        distributions = importlib.metadata.packages_distributions().get(name, [])
    versions = [importlib.metadata.version(one) for one in sorted(set(distributions))]
    return " ".join(versions) or str(getattr(sys.modules.get(name), "__version__", "unknown"))


def digest(*texts: str) -> str:
    """Sixteen digits that stand for some texts."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _imported(path: Path, name: str, package: str) -> Iterator[str]:
    """Dotted names that a file may import, their packages and its own packages included."""
    names = {package, *_read(path, _stamp(path))[1]}
    for dotted in names:
        try:
            absolute = importlib.util.resolve_name(dotted, package or None)
        except ImportError:  # beyond the top-level package: it fails when it is run as well
            continue
        steps = absolute.split(".")
        yield from (".".join(steps[: end + 1]) for end in range(len(steps)) if absolute != name)


def _find(name: str, folder: Path) -> Path | None:
    """The file of a module, loaded or not; nothing is imported."""
    if not name:
        return None
    if name in sys.modules:
        return source_file(sys.modules[name])
    spec: ModuleSpec | None = None
    places: list[str] | None = [str(folder), *sys.path]
    steps = name.split(".")
    for end in range(len(steps)):
        spec = PathFinder.find_spec(".".join(steps[: end + 1]), places)
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or [])
    path = Path(spec.origin).resolve() if spec is not None and spec.origin else None
    return path if path is not None and path.is_file() else None


def _require_current(name: str, path: Path) -> None:
    """Refuse a file that has changed since this process imported it and looked at it.

    This process would run the one code, its workers the other.
    """
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if spec is None:
        return
    now = _read(path, _stamp(path))[0]
    known, then = _imported_as.setdefault(name, (spec, now))
    if known is not spec:
        _imported_as[name] = spec, now
    elif then != now:
        raise Stale(
            f"`candidates` must be of the code on disk, got {path}, which has changed since it was "
            "imported; start Python anew"
        )


def _is_installed(path: Path, folder: Path | None = None) -> bool:
    """Whether a file belongs to a library; inside a folder, to one that is installed below it."""
    inside = folder is not None and folder in path.parents
    return bool(
        _INSTALLED & set(path.relative_to(folder).parts if inside and folder else path.parts)
    )


def _is_standard(path: Path) -> bool:
    return _STANDARD in path.parents and not _is_installed(path)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=4096)
def _read(path: Path, stamp: tuple[int, int]) -> tuple[str, frozenset[str]]:
    """The digest of a file's code and the names that it imports, relative ones with their dots."""
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
        shape = digest(_shape(tree))
    except (SyntaxError, ValueError, RecursionError):  # not Python, such as an extension module
        return hashlib.sha256(content).hexdigest()[:16], frozenset()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            between = "" if base.endswith(".") else "."
            names |= {base, *(f"{base}{between}{alias.name}" for alias in node.names)}
    return shape, frozenset(names)


def _shape(node: object) -> str:
    """A syntax tree as text, the same in all versions of Python (unlike ``ast.dump``)."""
    if isinstance(node, list):
        return f"[{','.join(_shape(one) for one in node if not _is_prose(one))}]"
    if not isinstance(node, ast.AST):
        return f"{type(node).__name__} {node!r}"
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({','.join(f'{name}={_shape(value)}' for name, value in fields)})"


def _is_prose(node: object) -> bool:
    """Whether a statement is a docstring or another constant without effect."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
