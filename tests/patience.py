"""How long tests wait: a hang must end some day, but slowness is never a failure."""

import time

PATIENCE = 1800  # seconds; starting Ray took 300 on a machine with a load of 16
_PAUSE = 0.02


def wait_until(condition):
    """Poll until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not so after {PATIENCE} s"
        time.sleep(_PAUSE)
