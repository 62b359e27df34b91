"""The notifications of a service to systemd."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sd_notify import ServiceManager
from tests.support.notify_socket import NotifySocket


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[NotifySocket]:
    """Open the socket of the service manager."""
    with NotifySocket(tmp_path) as listener:
        yield listener


def test_alive_extends_the_start_and_then_feeds_the_watchdog(systemd: NotifySocket) -> None:
    """systemd ignores WATCHDOG=1 before READY=1, which is sent once."""
    manager = ServiceManager(systemd.environ)
    manager.alive("reading the chain")
    manager.alive("reading the chain")
    manager.ready("at block 7")
    manager.ready("at block 7")
    manager.alive("at block 7")
    manager.alive("at block 8")
    manager.stopping()
    assert systemd.received() == [
        "EXTEND_TIMEOUT_USEC=60000000",
        "STATUS=reading the chain",
        "EXTEND_TIMEOUT_USEC=60000000",
        "READY=1",
        "STATUS=at block 7",
        "WATCHDOG=1",
        "WATCHDOG=1",
        "STATUS=at block 8",
        "STOPPING=1",
        "STATUS=stopping",
    ]


def test_a_status_cannot_contain_another_assignment(systemd: NotifySocket) -> None:
    """A text of bitcoind or PostgreSQL may have several lines."""
    ServiceManager(systemd.environ).alive("the server said\nREADY=1")
    assert systemd.received()[1:] == ["STATUS=the server said READY=1"]


def test_an_abstract_socket_name_is_accepted() -> None:
    """sd_notify(3) writes @ instead of the zero byte."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0nodetill-test")
        ServiceManager({"NOTIFY_SOCKET": "@nodetill-test"}).ready("well")
        assert listener.recv(100) == b"READY=1\nSTATUS=well"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_a_missing_socket_is_ignored(environ: dict[str, str]) -> None:
    """There is none at a terminal or in a container."""
    ServiceManager(environ).ready("well")


def test_a_full_socket_does_not_block_the_service(systemd: NotifySocket) -> None:
    """Notifications are then dropped, but READY=1 is sent again."""
    manager = ServiceManager(systemd.environ)
    for number in range(1000):
        manager.alive(f"at block {number}")
    manager.ready("well")
    assert not manager.has_sent_ready
    systemd.forget()
    manager.ready("well")
    manager.ready("well")
    assert systemd.received() == ["READY=1", "STATUS=well"]
