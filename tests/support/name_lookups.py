"""A machine that can look up no name, and reports each attempt."""

import ipaddress
import socket
from typing import Any

import pytest


def forbid_lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let each look-up of a name fail. Return the list of the names that were looked up."""
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        flags = options.get("flags", args[3] if len(args) > 3 else 0)
        if flags & socket.AI_NUMERICHOST or host == "localhost" or _is_address(host):
            return real(host, port, *args, **options)
        looked_up.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return looked_up


def _is_address(host: Any) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
