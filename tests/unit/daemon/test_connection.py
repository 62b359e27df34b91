"""A host is reached by any address that works, whatever its other addresses do."""

import errno
import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from daemon.net.addresses import is_public
from daemon.net.connection import open_connection
from daemon.net.errors import ForbiddenAddress
from tests.support.dead_address import NAME, dead_address, resolve


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Open a port on 127.0.0.1 that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def peer(port: int, seconds: float = 20) -> str:
    """Return the address to which a connection to NAME was made."""
    with open_connection(NAME, port, seconds) as connection:
        return str(connection.getpeername()[0])


def test_a_dead_address_before_a_live_one_is_skipped(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual case is an IPv6 address whose route drops every packet."""
    resolve(monkeypatch, "::1", "127.0.0.1")
    with dead_address("::1", port_of(listener)):
        assert peer(port_of(listener)) == "127.0.0.1"


def test_a_dead_ipv4_address_before_a_live_ipv6_one_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, "127.0.0.1", "::1")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = port_of(server)
        with dead_address("127.0.0.1", port):
            assert peer(port) == "::1"


def test_many_dead_addresses_before_a_live_one_are_skipped(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A content delivery network has eight addresses."""
    dead = [f"127.0.0.{number}" for number in range(2, 8)]
    resolve(monkeypatch, "::1", *dead, "127.0.0.1")
    with ExitStack() as stack:
        for address in ("::1", *dead):
            stack.enter_context(dead_address(address, port_of(listener)))
        assert peer(port_of(listener)) == "127.0.0.1"


def test_an_address_that_refuses_is_skipped(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, "::1", "127.0.0.2", "127.0.0.1")
    assert peer(port_of(listener)) == "127.0.0.1"


def test_a_name_server_that_is_silent_for_one_family_delays_nothing(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some name servers drop each query for an IPv6 address."""
    is_over = threading.Event()
    resolve(monkeypatch, "127.0.0.1", before=lambda family: _hang(is_over, family == socket.AF_INET6))
    assert peer(port_of(listener)) == "127.0.0.1"
    is_over.set()


def test_addresses_of_a_late_answer_are_tried(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer of the name server has only a dead address."""
    is_begun = threading.Event()
    port = port_of(listener)
    resolve(
        monkeypatch,
        "::1",
        "127.0.0.1",
        before=lambda family: _hang(is_begun, family == socket.AF_INET),
    )
    with dead_address("::1", port):
        threading.Timer(0.3, is_begun.set).start()
        assert peer(port) == "127.0.0.1"


def test_a_silent_name_server_is_waited_for_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    resolve(monkeypatch, "127.0.0.1", before=lambda _family: _hang(is_over, True))
    with pytest.raises(TimeoutError):
        peer(1, seconds=0.3)
    is_over.set()


def test_only_dead_addresses_time_out_at_the_deadline(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, "::1", "127.0.0.2")
    with (
        dead_address("::1", port_of(listener)),
        dead_address("127.0.0.2", port_of(listener)),
        pytest.raises(TimeoutError),
    ):
        peer(port_of(listener), seconds=1)


def test_only_refusing_addresses_raise_connection_refused_before_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = port_of(server)
    resolve(monkeypatch, "::1", "127.0.0.1")
    with pytest.raises(OSError, match="refused") as caught:
        peer(port)
    assert caught.value.errno == errno.ECONNREFUSED


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a" * 70, "a..b", "\udcff"])
def test_an_unknown_name_raises_an_oserror(name: str) -> None:
    """All faults of a connection are OSErrors."""
    with pytest.raises(OSError, match=r"[a-z]"):
        open_connection(name, 80, 20)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.0.0.1", "2130706433", "::ffff:127.0.0.1"])
def test_an_address_needs_no_name_server(listener: socket.socket, host: str) -> None:
    """Each spelling of an address is accepted."""
    with open_connection(host, port_of(listener), 20) as connection:
        assert str(connection.getpeername()[0]).endswith("127.0.0.1")


def test_only_an_allowed_address_is_connected_to(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checked address is the one that is connected to, so a second look-up cannot change it."""
    resolve(monkeypatch, "127.0.0.1", "127.0.0.2")
    allowed = ipaddress.ip_address("127.0.0.2")
    port = port_of(listener)
    with socket.create_server(("127.0.0.2", port)):
        checked: list[str] = []

        def may_connect(host: str, address: object) -> bool:
            checked.append(host)
            return address == allowed

        with open_connection(NAME, port, 20, may_connect) as connection:
            assert connection.getpeername()[0] == "127.0.0.2"
        with pytest.raises(ForbiddenAddress):
            open_connection(NAME, port, 20, lambda _host, _address: False)
    assert checked == [NAME, NAME]


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "93.184.215.14",
        "2606:4700:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2002:101:101::",
    ],
)
def test_public_addresses_are_public(text: str) -> None:
    """Some of them contain a public IPv4 address."""
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0", "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b:1::1"),
        *("2002:a00:1::", "2002:7f00:1::", "2001::1", "100::1", "4000::1"),
    ],
)
def test_other_addresses_are_not_public(text: str) -> None:
    """They are loopback, private, a cloud's own, multicast, or contain such an address."""
    assert not is_public(ipaddress.ip_address(text))


def _hang(until: threading.Event, condition: bool) -> None:
    if condition:
        until.wait(30)
