"""Tests that need a later version of a package than the lowest one that is supported."""

from importlib.metadata import PackageNotFoundError, version

import pytest


def later_than(package, known, reason):
    """Skips a test, or a case of one, up to the version, such as "2.6", that is known to fail it."""
    try:
        found = version(package)
    except PackageNotFoundError:
        return pytest.mark.skip(reason=f"needs {package}")
    return pytest.mark.skipif(parts(found) <= parts(known), reason=f"{package} {found} {reason}")


def parts(text):
    return [int(part) for part in text.split("+")[0].split(".")[:2]]
