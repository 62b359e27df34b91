"""The demo after its payment: it keeps its servers running, and takes keys or shows commands."""

import time
from contextlib import ExitStack

from admin.terminal import GREEN
from regtest.console import Console
from regtest.demo_commands import show_commands
from regtest.demo_keys import QUIT, Keys
from regtest.demo_login import OneTimeLogin
from regtest.demo_payment import DemoFailed
from regtest.installation import Installation
from regtest.keyboard import has_keyboard, single_keys

POLL_SECONDS = 0.2


def keep_running(installation: Installation, screen: Console, api_key: str) -> None:
    """Wait until Ctrl-C or the key q, and report each further email. Raise DemoFailed where a server ends."""
    watch = Watch(installation, screen)
    try:
        if has_keyboard():
            _take_keys(installation, screen, api_key, watch)
        else:
            show_commands(installation, screen, api_key)
            while True:
                watch.look()
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        screen.plain("")


class Watch:
    """Looks after the servers and the emails, from now on."""

    def __init__(self, installation: Installation, screen: Console) -> None:
        self._installation = installation
        self._screen = screen
        self._reported = len(installation.letters())

    def look(self) -> None:
        """Report each new email. Raise DemoFailed where a server has ended."""
        for server in (self._installation.daemon, self._installation.web):
            if not server.is_running:
                raise DemoFailed(f"{server.name} has ended: {' '.join(server.lines()[-1:])}")
        letters = self._installation.letters()
        for letter in letters[self._reported :]:
            self._screen.step(f"An email: {letter['Subject']}", GREEN)
        self._reported = len(letters)


def _take_keys(installation: Installation, screen: Console, api_key: str, watch: Watch) -> None:
    with ExitStack() as stack:
        login = OneTimeLogin(installation.url, installation.settings["OPERATOR_PASSWORD"])
        keys = Keys(installation, screen, installation.client(api_key), stack.enter_context(login))
        keys.invite()
        keyboard = stack.enter_context(single_keys())
        while True:
            try:
                pressed = keyboard.keys(POLL_SECONDS)
            except EOFError:
                return
            for key in pressed:
                if key == QUIT:
                    return
                keys.press(key)
            watch.look()
            keys.report_changes()
