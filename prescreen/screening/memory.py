"""Memory: what a candidate may take from the process that screens it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MemoryLimit:
    """Allocations beyond a limit fail while the candidate's code runs; on Linux.

    The limit is on the process's data (RLIMIT_DATA). Address space would be the wrong measure: torch
    and CUDA reserve far more of it than they use.

    Args:
        gibibytes: beyond what the process holds when the candidate begins; None for no limit.
    """

    def __init__(self, gibibytes: float | None) -> None:
        self._gibibytes = gibibytes
        self._most: int | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """The limit holds inside the context."""
        if self._gibibytes is None:
            yield
            return
        import resource  # not on Windows

        if self._most is None:
            self._most = _held() + int(self._gibibytes * 2**30)
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([self._most, *limits]), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _held() -> int:
    """The bytes of data that this process holds, as Linux counts them for RLIMIT_DATA."""
    status = Path("/proc/self/status").read_text()
    (kilobytes,) = re.findall(r"^VmData:\s+(\d+) kB", status, re.MULTILINE)
    return int(kilobytes) * 1024
