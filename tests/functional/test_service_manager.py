"""The servers as services: what they say of themselves to systemd, and when they fall silent."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon import health as vitals
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
    """A till whose two servers were started as systemd would, and what each is heard to say."""

    till: Merchant
    daemon: NotifySocket
    web: NotifySocket


@pytest.fixture(scope="module")
def services(make_till: MerchantMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Running, with a look at bitcoind each second."""
    till = make_till(RECONCILE_INTERVAL="1")
    with ExitStack() as stack:
        daemon, web = (
            stack.enter_context(NotifySocket(tmp_path_factory.mktemp(name))) for name in ("daemon", "web")
        )
        till.daemon.environ |= daemon.environ
        till.web.environ |= web.environ
        till.open()
        yield Services(till, daemon, web)
        till.close()


def test_they_are_ready_when_they_work_and_feed_the_watchdog(services: Services) -> None:
    """The daemon has looked at bitcoind by then; `systemctl status` shows where it is."""
    services.daemon.wait("READY=1", "WATCHDOG=1")
    services.daemon.wait_status(f"at block {services.till.node.rpc('getblockcount')}")
    services.web.wait("READY=1", "STATUS=serving", "WATCHDOG=1")
    services.till.node.mine()
    services.daemon.wait_status(f"at block {services.till.node.rpc('getblockcount')}")


def test_while_bitcoind_is_silent_the_daemon_lives_and_says_so(services: Services) -> None:
    """It is bitcoind that hangs: to restart the daemon would mend nothing."""
    process = services.till.node.process
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


def test_a_stop_is_told_of(services: Services) -> None:
    """systemd knows then that it was no crash."""
    # What nobody reads fills the socket.
    services.daemon.forget()
    services.web.forget()
    assert services.till.installation.stop() == (0, 0)
    services.daemon.wait("STOPPING=1")
    services.web.wait("STOPPING=1")
    services.till.daemon.start()
    services.till.web.start()
    services.till.installation.wait_ready()


def test_a_start_without_bitcoind_is_a_start(services: Services) -> None:
    """It may take an hour to warm up; the status says what is missing."""
    services.till.daemon.stop()
    services.daemon.forget()
    services.till.node.stop()
    services.till.daemon.start()
    services.daemon.wait("READY=1")
    assert "bitcoind" in services.daemon.wait_status("bitcoind")
    services.till.node.launch()
    services.daemon.wait_status("at block")


def test_a_standby_is_ready_and_says_what_it_waits_for(services: Services, tmp_path: Path) -> None:
    """It does what it is there for."""
    with NotifySocket(tmp_path) as heard:
        environ = services.till.installation.environ | heard.environ
        with Process("run_daemon.py", environ, services.till.installation.directory, "standby"):
            heard.wait("READY=1", "WATCHDOG=1", "STATUS=standby: another daemon works on this database")


def test_a_loop_that_is_stuck_feeds_no_watchdog(
    stage: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However alive the process is beside it: systemd restarts it then."""
    stuck, go_on, is_over = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr(vitals, "HEARTBEAT_SECONDS", 0.1)
    poll = Feed.poll

    def hang(self: Feed, timeout_seconds: float) -> Batch:
        if not go_on.is_set() and "WATCHDOG=1" in heard.received():
            stuck.set()
            assert go_on.wait(60)
        return poll(self, timeout_seconds)

    def turn() -> None:
        stage.daemon.work_until(is_over.is_set, 60)
        # A connection is a thread's own.
        disconnect()

    monkeypatch.setattr(Feed, "poll", hang)
    with NotifySocket(tmp_path) as heard:
        stage.daemon.manager = ServiceManager(heard.environ)
        stage.daemon.start()
        turning = threading.Thread(target=turn)
        turning.start()
        assert stuck.wait(30)
        heard.forget()
        # Ten of its beats; nothing happens that could be waited for.
        assert not go_on.wait(1)
        assert heard.received() == []
        go_on.set()
        heard.wait("WATCHDOG=1")
        is_over.set()
        turning.join()
