"""Connections to Ray: to a running cluster, or to a new one that ends with the connection."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prescreen.interrupts import same_handlers
from prescreen.text import first_line

_CONNECT_SECONDS = 5.0


def import_ray() -> Any:
    """Ray, imported only when it is used.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    try:
        import ray
        import ray.cloudpickle
    except ImportError as error:
        line = "`ray` needs the 'ray' extra: pip install 'prescreen[ray]'"
        raise ImportError(f"{line} ({error})") from None
    return ray


@contextmanager
def connected(ray: Any, address: str) -> Iterator[None]:
    """Be connected inside the context; an existing connection is used and kept.

    Raises:
        ConnectionError: no cluster answers.
    """
    if ray.is_initialized():
        yield
        return
    _require_answer(address)
    try:
        _connect(ray, address)
        yield
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    try:
        # Workers would print on the standard output, which is for results.
        with same_handlers():
            ray.init(address, log_to_driver=False, logging_level=logging.WARNING)
    except Exception as error:  # Ray raises a bare Exception if a node does not start in time
        raise _unreachable(address, error) from None


def _require_answer(address: str) -> None:
    """Try the address first: Ray itself would try for five minutes and then end the process."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
    if (place := host_and_port(address)) is not None:
        try:
            socket.create_connection(place, _CONNECT_SECONDS).close()
        except OSError as error:
            raise _unreachable(address, error) from None


def _unreachable(address: str, error: Exception) -> ConnectionError:
    return ConnectionError(
        f"`address` must be that of a running Ray cluster, got {address}: {first_line(error)}"
    )


def host_and_port(address: str) -> tuple[str, int] | None:
    """Host and port of a cluster; None if Ray itself finds or starts it.

    Raises:
        ValueError: it is not an address.
    """
    if address in ("auto", "local"):
        return None
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16):
        raise ValueError(
            f"`address` must be auto, local, HOST:PORT or ray://HOST:PORT, got {address!r}"
        )
    return host.strip("[]"), int(port)
