"""Run the web server. The web server needs only the database, because only the daemon calls bitcoind."""

import packages  # noqa: F401 (reports a missing package in one sentence)

# isort: split
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import structlog

import logs
from config import likely_typos, settings_or_exit
from models.db.connection import DatabaseError, disconnect
from models.db.schema import open_database
from models.db.web_role import refuse_missing_rights
from sd_notify import ServiceManager
from web.app import create_app
from web.greenfield.errors import refusal
from web.http.server import CannotListenError, Server
from web.http.threads import Threads

SERVING = "serving"

log = structlog.get_logger("run_web")


def main() -> int:
    """Serve until SIGTERM or SIGINT. Return the exit status."""
    logs.configure_before_settings()
    os.umask(0o077)
    settings = settings_or_exit()
    manager = ServiceManager(os.environ)
    logs.configure(settings.log_format, settings.log_level)
    for name, suggestion in likely_typos(os.environ):
        log.warning("no setting", variable=name, did_you_mean=suggestion)
    try:
        open_database(settings.database_url.reveal())
        refuse_missing_rights()
        app, host, port = create_app(settings), settings.web_host, settings.web_port
        pulse = partial(_notify_alive, manager)
        server = Server(app, host, port, Threads(disconnect), pulse=pulse, refusal=refusal)
    except (DatabaseError, CannotListenError) as error:
        print(f"nodetill: {error}", file=sys.stderr)
        return 1

    def stop(*_: Any) -> None:
        manager.stopping()
        server.stop()

    _on_signals(stop)
    _notify_alive(manager)
    log.info("web server started", listening=" ".join(f"{host}:{port}" for host, port in server.addresses))
    # The main thread handles signals, because on a second signal the server would drop requests under way.
    with ThreadPoolExecutor(1) as runner:
        runner.submit(server.run).result()
    # Python restores the default handlers when it exits. Another signal would then change the exit status.
    _on_signals(signal.SIG_IGN)
    disconnect()
    log.info("web server stopped")
    return 0


def _notify_alive(manager: ServiceManager) -> None:
    manager.ready(SERVING)
    manager.alive(SERVING)


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
