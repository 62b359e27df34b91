"""The demo's keys, on a pseudo-terminal. One demo serves most of the tests."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest
import urllib3
from playwright.sync_api import Browser, expect

from regtest.node import PROJECT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("bitcoind")

LAST_LINE_OF_MENU = "q  end"
PAGE = r"http://127\.0\.0\.1:\d+/pay/PR-\w+"
PATIENCE_SECONDS = 60.0


class Terminal:
    """A demo on its own terminal."""

    def __init__(self, directory: Path) -> None:
        self._hand, terminal = pty.openpty()
        self.mode = termios.tcgetattr(self._hand)
        command = [sys.executable, str(PROJECT / "manage.py"), "demo"]
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=dict(os.environ) | {"TMPDIR": str(directory), "NO_COLOR": "1"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # the session's own terminal
        )
        self._terminal = terminal
        self._shown = b""
        self._place = 0
        Thread(target=self._read, daemon=True).start()

    @property
    def present_mode(self) -> list[object]:
        return list(termios.tcgetattr(self._hand))

    def press(self, key: str, pattern: str) -> re.Match[str]:
        """Press a key, and return the next output that fits `pattern`."""
        os.write(self._hand, key.encode())
        return self.wait_for(pattern)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first output that fits `pattern`, after the match of the previous call."""

        def look() -> re.Match[str] | None:
            return re.compile(pattern).search(self._text(), self._place)

        found = wait_until(look, PATIENCE_SECONDS, f"the demo to print {pattern!r}: {self._text()[-1500:]}")
        assert found is not None
        self._place = found.end()
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def _text(self) -> str:
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def _read(self) -> None:
        while True:
            try:
                self._shown += os.read(self._hand, 4096)
            except OSError:
                return


@contextmanager
def open_terminal(directory: Path) -> Iterator[tuple[Terminal, str]]:
    """Yield a demo that waits for a key, and the printed address of its checkout page."""
    terminal = Terminal(directory)
    with ExitStack() as stack:
        stack.callback(terminal.close)
        terminal.wait_for("Your turn")
        page = terminal.wait_for(PAGE)[0]
        terminal.wait_for(LAST_LINE_OF_MENU)
        wait_until(lambda: terminal.present_mode != terminal.mode, what="the demo to read single keys")
        yield terminal, page


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Terminal, str]]:
    with open_terminal(tmp_path_factory.mktemp("demo")) as opened:
        yield opened


@pytest.fixture
def terminal(demo: tuple[Terminal, str]) -> Terminal:
    return demo[0]


def test_one_key_pays_the_open_page(demo: tuple[Terminal, str], browser: Browser) -> None:
    """The page follows the payment by itself, and a second payment is refused."""
    terminal, address = demo
    with browser.new_context(locale="en-GB") as context:
        page = context.new_page()
        page.goto(address)
        expect(page.locator("main")).to_have_attribute("data-scene", "new")
        expect(page.get_by_text("Demo shop").first).to_be_visible()
        terminal.press("p", r"The customer pays 0\.00271980 BTC")
        terminal.wait_for(r"Nodetill reports for PR-\w+: received")
        expect(page.locator("main")).to_have_attribute("data-scene", "received", timeout=30_000)
        terminal.press("m", r"Block \d+ is mined")
        terminal.wait_for(r": confirming, 1 of 6")
        expect(page.locator("main")).to_have_attribute("data-scene", "confirming", timeout=30_000)
    terminal.press("p", "The newest request is paid. Press n for a new one")


def test_keys_pay_half_and_double_spend(terminal: Terminal) -> None:
    """Only a payment in the mempool can be double-spent."""
    terminal.press("m", "is mined")
    terminal.press("d", "No payment is unconfirmed")
    page = terminal.press("n", f"A new request: ({PAGE})")[1]
    reference = page.rpartition("/")[2]
    terminal.press("h", r"pays 0\.00135990 BTC")
    terminal.wait_for(f"{reference}: underpaid, 0.00135990 of 0.00271980 BTC")
    terminal.press("d", r"The customer replaces transaction \w+… by \w+…")
    terminal.wait_for(rf"{reference}: new \(transaction replaced\)")
    terminal.press("p", r"pays 0\.00271980 BTC")
    terminal.wait_for(f"{reference}: received")


def test_a_payment_that_spends_change_can_be_double_spent(terminal: Terminal) -> None:
    """The newest is replaced first, and then the one before, with all that spends its change."""
    for _ in range(3):
        terminal.press("n", "A new request")
        terminal.press("p", "The customer pays")
        terminal.wait_for("received")
    for _ in range(3):
        terminal.press("d", "The customer replaces")
        terminal.wait_for("transaction replaced")


def test_one_key_makes_a_request_that_expires_soon(terminal: Terminal) -> None:
    found = terminal.press("e", rf"A new request expires in 60 s\. .*: ({PAGE})")
    assert urllib3.request("GET", found[1]).status == 200


def test_the_link_to_the_operators_page_works_once(terminal: Terminal, browser: Browser) -> None:
    """The first browser that opens the link is logged in. Any other browser gets the login page."""
    link = terminal.press("o", r"this link logs you in, once\): (http://127\.0\.0\.1:\d+/\S{20,})")[1]
    with browser.new_context() as first, browser.new_context() as second:
        page = first.new_page()
        page.goto(link)
        expect(page.get_by_text("Demo shop").or_(page.get_by_text("Alpaca socks")).first).to_be_visible()
        page.reload()
        expect(page.get_by_label("Password")).to_have_count(0)
        late = second.new_page()
        late.goto(link)
        expect(late.get_by_role("link", name="Operator login")).to_be_visible()


def test_a_new_link_ends_the_one_before(terminal: Terminal) -> None:
    """Only the newest link logs in. A wrong link does not use it up."""
    old, new = (terminal.press("o", r"once\): (http\S+)")[1] for _ in range(2))
    assert cookies(old) == []
    assert cookies(new[:-1]) == []
    assert len(cookies(new)) == 2
    assert cookies(new) == []


def cookies(link: str) -> list[str]:
    answer = urllib3.request("GET", link, redirect=False)
    assert answer.status == 303
    return list(answer.headers.getlist("Set-Cookie"))


def test_other_keys_show_the_keys_and_commands(terminal: Terminal) -> None:
    terminal.press("x", LAST_LINE_OF_MENU)
    terminal.press("c", "list the emails")


@pytest.mark.broad
@pytest.mark.parametrize(
    "end", ["q", "server", *(pytest.param(end, marks=pytest.mark.slow) for end in ("\x03", signal.SIGHUP))]
)
def test_the_terminal_is_restored_at_the_end(tmp_path: Path, end: str | signal.Signals) -> None:
    """q, Ctrl-C and a signal end the demo with exit status 0. A failed server makes it 1."""
    with open_terminal(tmp_path) as (terminal, _page):
        if isinstance(end, signal.Signals):
            terminal.process.send_signal(end)
        elif end == "server":
            children = Path(f"/proc/{terminal.process.pid}/task/{terminal.process.pid}/children").read_text()
            (web,) = [
                it for it in children.split() if "run_web.py" in Path(f"/proc/{it}/cmdline").read_text()
            ]
            os.kill(int(web), signal.SIGKILL)
            terminal.wait_for("Not all steps worked")
        else:
            terminal.press(end, "Stopped. Nothing is left behind")
        assert terminal.process.wait(60) == (1 if end == "server" else 0)
        assert terminal.present_mode == terminal.mode
        assert list(tmp_path.iterdir()) == []
