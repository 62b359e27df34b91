"""The servers report their state to systemd, and a stuck server feeds no watchdog."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon import health
from daemon.node.feed import Batch, Feed
from models.db.connection import disconnect
from regtest.process import Process
from sd_notify import ServiceManager
from tests.functional.conftest import MerchantMaker
from tests.support.merchant import Merchant
from tests.support.notify_socket import NotifySocket
from tests.support.scenario import Scenario

pytestmark = pytest.mark.bitcoind


@dataclass
class Services:
    """A merchant whose servers run as under systemd, and the sockets that receive their messages."""

    merchant: Merchant
    daemon: NotifySocket
    web: NotifySocket


@pytest.fixture(scope="module")
def services(make_merchant: MerchantMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Start both servers, each with a socket. The daemon reconciles each second."""
    merchant = make_merchant(RECONCILE_INTERVAL="1")
    with ExitStack() as stack:
        daemon, web = (
            stack.enter_context(NotifySocket(tmp_path_factory.mktemp(name))) for name in ("daemon", "web")
        )
        merchant.daemon.environ |= daemon.environ
        merchant.web.environ |= web.environ
        merchant.open()
        yield Services(merchant, daemon, web)
        merchant.close()


def test_both_servers_report_ready_and_feed_the_watchdog(services: Services) -> None:
    """The daemon is ready once it has called bitcoind. `systemctl status` shows the height of its block."""
    services.daemon.wait("READY=1", "WATCHDOG=1")
    services.daemon.wait_status(f"at block {services.merchant.node.rpc('getblockcount')}")
    services.web.wait("READY=1", "STATUS=serving", "WATCHDOG=1")
    services.merchant.node.mine()
    services.daemon.wait_status(f"at block {services.merchant.node.rpc('getblockcount')}")


def test_the_daemon_feeds_the_watchdog_while_bitcoind_hangs(services: Services) -> None:
    """A restart of the daemon would not help. The status names bitcoind."""
    process = services.merchant.node.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        services.daemon.forget()
        services.daemon.wait_status("bitcoind")
        services.daemon.forget()
        services.daemon.wait("WATCHDOG=1")
    finally:
        process.send_signal(signal.SIGCONT)
    services.daemon.wait_status("at block")


def test_a_stop_is_reported(services: Services) -> None:
    """With this message, systemd distinguishes a stop from a crash."""
    # Unread messages fill the socket.
    services.daemon.forget()
    services.web.forget()
    assert services.merchant.installation.stop() == (0, 0)
    services.daemon.wait("STOPPING=1")
    services.web.wait("STOPPING=1")
    services.merchant.daemon.start()
    services.merchant.web.start()
    services.merchant.installation.wait_ready()


def test_the_daemon_reports_ready_without_bitcoind(services: Services) -> None:
    """bitcoind may need an hour to start. The status names bitcoind meanwhile."""
    services.merchant.daemon.stop()
    services.daemon.forget()
    services.merchant.node.stop()
    services.merchant.daemon.start()
    services.daemon.wait("READY=1")
    assert "bitcoind" in services.daemon.wait_status("bitcoind")
    services.merchant.node.launch()
    services.daemon.wait_status("at block")


def test_a_standby_reports_ready_and_its_status(services: Services, tmp_path: Path) -> None:
    with NotifySocket(tmp_path) as socket:
        environ = services.merchant.installation.environ | socket.environ
        with Process("run_daemon.py", environ, services.merchant.installation.directory, "standby"):
            socket.wait("READY=1", "WATCHDOG=1", "STATUS=standby: another daemon works on this database")


def test_a_stuck_loop_feeds_no_watchdog(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process still runs, so only the missing messages make systemd restart it."""
    stuck, go_on, is_over = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr(health, "HEARTBEAT_SECONDS", 0.1)
    poll = Feed.poll

    def hang(self: Feed, timeout_seconds: float) -> Batch:
        if not go_on.is_set() and "WATCHDOG=1" in socket.received():
            stuck.set()
            assert go_on.wait(60)
        return poll(self, timeout_seconds)

    def work() -> None:
        scenario.daemon.work_until(is_over.is_set, 60)
        # Each thread has a connection of its own.
        disconnect()

    monkeypatch.setattr(Feed, "poll", hang)
    with NotifySocket(tmp_path) as socket:
        scenario.daemon.manager = ServiceManager(socket.environ)
        scenario.daemon.start()
        worker = threading.Thread(target=work)
        worker.start()
        assert stuck.wait(30)
        socket.forget()
        # Ten heartbeats pass. No condition ends this wait, because no message is expected.
        assert not go_on.wait(1)
        assert socket.received() == []
        go_on.set()
        socket.wait("WATCHDOG=1")
        is_over.set()
        worker.join()
