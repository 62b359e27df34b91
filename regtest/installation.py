"""A whole Nodetill on a regtest node, for the demo and the functional tests."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import fields
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Any, Self

from config import Settings
from config.reader import variable_name
from regtest.child import free_ports
from regtest.client import Client
from regtest.node import RegtestNode
from regtest.process import READY_SECONDS, Process, ProcessError, StartPython, start_python


class Installation:
    """A whole Nodetill on `node`: the settings, the two servers, and a directory for all their files.

    `settings` are variables of docs/spec.md 2 that override those of `settings_for`. `start` starts each
    program.
    """

    def __init__(
        self, node: RegtestNode, directory: Path, start: StartPython = start_python, **settings: str
    ) -> None:
        self.node = node
        self.directory = directory
        self.settings = settings_for(node, directory) | settings
        self.environ = environment(self.settings)
        self.daemon = Process("run_daemon.py", self.environ, directory, start=start)
        self.web = Process("run_web.py", self.environ, directory, start=start)
        self._start_python = start
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environ['WEB_PORT']}"

    @property
    def mail(self) -> Path:
        """The Maildir for the emails."""
        return self.directory / "mail"

    def letters(self) -> list[EmailMessage]:
        """Return the delivered emails in the order of their delivery."""
        paths = [path for name in ("new", "cur") for path in (self.mail / name).glob("*")]
        paths.sort(key=lambda path: path.stat().st_mtime_ns)
        return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in paths]

    def client(self, api_key: str | None = None) -> Client:
        return Client(self.url, api_key)

    def start(self) -> Self:
        """Start both servers and wait until they are ready. Raise ProcessError."""
        self.daemon.start()
        self.web.start()
        self.wait_ready()
        return self

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until /health returns 200. Raise ProcessError with its last response."""
        health = "no response yet"

        def is_well() -> bool:
            nonlocal health
            if not self.daemon.is_running:
                self.daemon.wait_until(lambda: None, "get ready")
            answer = self.client().try_get("/health")
            health = health if answer is None else str(answer.document)
            return answer is not None and answer.status == 200

        try:
            self.web.wait_until(is_well, "report that all is well", seconds)
        except ProcessError as error:
            raise ProcessError(f"{error}\n/health returned: {health}") from None

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run manage.py with this installation's settings. The caller checks the exit status."""
        with NamedTemporaryFile() as output, NamedTemporaryFile() as errors:
            child = self._start_python("manage.py", arguments, self.environ, self.directory, output, errors)
            try:
                status = child.wait(READY_SECONDS)
            finally:
                child.kill()
            texts = [Path(stream.name).read_text() for stream in (output, errors)]
        return subprocess.CompletedProcess(["manage.py", *arguments], status, *texts)

    def manage_json(self, *arguments: str) -> Any:
        """Run manage.py and return its JSON document. Raise ProcessError where manage.py fails."""
        done = self.manage(*arguments, "--json")
        if done.returncode != 0:
            raise ProcessError(f"manage.py {' '.join(arguments)} failed: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def stop(self) -> tuple[int, int]:
        """Stop both servers. Return the exit statuses of the daemon and of the web server."""
        return self.daemon.stop(), self.web.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def settings_for(node: RegtestNode, directory: Path) -> dict[str, str]:
    """Return settings for `node`, with the database and the mail in `directory`."""
    return {
        "DATABASE_URL": f"sqlite:///{directory / 'nodetill.db'}",
        "BITCOIND_RPC_URL": node.rpc_url,
        "BITCOIND_COOKIE_FILE": str(node.cookie_file),
        "BITCOIND_ZMQ_RAWTX": node.zmq_rawtx,
        "BITCOIND_ZMQ_HASHBLOCK": node.zmq_hashblock,
        "ADDRESS_POOL": "20",
        "WEB_PORT": str(free_ports(1)[0]),
        "RATE_SOURCES": "fixed:EUR=50000,USD=54000",
        "SMTP_URL": f"maildir:{directory / 'mail'}",
    }


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment, with `settings` instead of all Nodetill's variables in it."""
    ours = {variable_name(row) for row in fields(Settings)}
    ours |= {f"{name}_FILE" for name in ours}
    return {name: value for name, value in os.environ.items() if name not in ours} | dict(settings)
