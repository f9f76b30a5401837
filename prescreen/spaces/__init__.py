"""Spaces: where architectures come from, and candidates, which are not built yet."""

from prescreen.spaces.candidate import Candidate
from prescreen.spaces.space import Space, resolve_space

__all__ = ["Candidate", "Space", "resolve_space"]
