"""What pyproject.toml cannot say: the README as a package index shows it, and where the project lives.

On an index a link to a file of the repository, or to a heading, leads nowhere. PRESCREEN_HOME is the
repository's address, which the workflows know, and PRESCREEN_REF a commit or tag in it. Without an
address, such links become their text.
"""

import os
import re
from pathlib import Path

from setuptools import setup

HOME = os.environ.get("PRESCREEN_HOME", "").rstrip("/")
REF = os.environ.get("PRESCREEN_REF") or "HEAD"
# An image or a link whose target is no address.
RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:)([^)\s]+)\)")


def absolute(link: re.Match) -> str:
    """The link as it works outside of the repository."""
    image, text, path = link.groups()
    if not HOME:
        return text
    path = f"README.md{path}" if path.startswith("#") else path
    return f"{image}[{text}]({HOME}/{'raw' if image else 'blob'}/{REF}/{path})"


places = {"Repository": "", "Documentation": f"/tree/{REF}/docs", "Issues": "/issues"}
places["Changelog"] = f"/blob/{REF}/CHANGELOG.md"

setup(
    long_description=RELATIVE.sub(absolute, Path("README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
    project_urls={name: HOME + path for name, path in places.items()} if HOME else {},
)
