"""A name with several addresses, and addresses that never answer a connection."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

NAME = "several-addresses.test"


@contextmanager
def dead_address(host: str, port: int) -> Iterator[None]:
    """Drop each new SYN to `port` of `host`, by filling the listener's queue of connections."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket(family))
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        yield


def resolve(
    monkeypatch: pytest.MonkeyPatch, *addresses: str, before: Callable[[int], None] = lambda _family: None
) -> None:
    """Resolve NAME to these addresses. `before` is called with the family of each look-up of NAME."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        if host != NAME:
            return real(host, port, *args, **options)
        family = options.get("family", args[0] if args else 0)
        flags = options.get("flags", args[3] if len(args) > 3 else 0)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        before(family)
        found = [
            entry
            for address in addresses
            for entry in real(address, port, type=socket.SOCK_STREAM)
            if family in (0, entry[0])
        ]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
