"""What tests need a later version for than the lowest one that is supported."""

from importlib.metadata import PackageNotFoundError, version

import pytest


def since(package, wanted, reason):
    """Skips a test, or a case of one, before a version such as "2.7"."""
    try:
        found = version(package)
    except PackageNotFoundError:
        return pytest.mark.skip(reason=f"needs {package}")
    return pytest.mark.skipif(parts(found) < parts(wanted), reason=f"{package} {found} {reason}")


def parts(text):
    return [int(part) for part in text.split("+")[0].split(".")[:2]]
