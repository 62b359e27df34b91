"""What a service says of itself to systemd."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sd_notify import ServiceManager
from tests.support.notify_socket import NotifySocket


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[NotifySocket]:
    """What listens."""
    with NotifySocket(tmp_path) as listener:
        yield listener


def test_a_sign_of_life_gives_time_to_start_and_then_feeds_the_watchdog(systemd: NotifySocket) -> None:
    """systemd has no use for WATCHDOG=1 before READY=1; which is said once."""
    manager = ServiceManager(systemd.environ)
    manager.alive("reading the chain")
    manager.alive("reading the chain")
    manager.ready("at block 7")
    manager.ready("at block 7")
    manager.alive("at block 7")
    manager.alive("at block 8")
    manager.stopping()
    assert systemd.heard() == [
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


def test_a_status_is_one_line_and_no_other_word(systemd: NotifySocket) -> None:
    """What bitcoind or PostgreSQL says may have several."""
    ServiceManager(systemd.environ).alive("the server said\nREADY=1")
    assert systemd.heard()[1:] == ["STATUS=the server said READY=1"]


def test_an_abstract_name_is_one_too() -> None:
    """sd_notify(3): with @ in the place of the zero byte."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0nodetill-test")
        ServiceManager({"NOTIFY_SOCKET": "@nodetill-test"}).ready("well")
        assert listener.recv(100) == b"READY=1\nSTATUS=well"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_nobody_has_to_listen(environ: dict[str, str]) -> None:
    """By hand, in a container, or when the listener has gone."""
    ServiceManager(environ).ready("well")


def test_a_listener_that_does_not_read_keeps_nobody_waiting(systemd: NotifySocket) -> None:
    """What it has no room for is dropped; but that we are ready can be said again."""
    manager = ServiceManager(systemd.environ)
    for number in range(1000):
        manager.alive(f"at block {number}")
    manager.ready("well")
    assert not manager.is_told_ready
    systemd.forget()
    manager.ready("well")
    manager.ready("well")
    assert systemd.heard() == ["READY=1", "STATUS=well"]
