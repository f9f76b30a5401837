"""What tests need a later version for than the lowest one that is supported."""

from importlib.metadata import PackageNotFoundError, version

import pytest


def later_than(package, known, reason):
    """Skips a test, or a case of one, with versions up to one such as "2.6" that is known."""
    try:
        found = version(package)
    except PackageNotFoundError:
        return pytest.mark.skip(reason=f"needs {package}")
    return pytest.mark.skipif(parts(found) <= parts(known), reason=f"{package} {found} {reason}")


def parts(text):
    return [int(part) for part in text.split("+")[0].split(".")[:2]]
