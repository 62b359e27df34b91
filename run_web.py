"""The web server: the HTTP API. It needs the database and nothing else; bitcoind is the daemon's."""

import logging
import os
import signal
import sys
from typing import Any

import structlog

import logs
from config import settings_or_exit
from models.database import DatabaseError, disconnect, is_sqlite
from models.schema import open_database
from web.app import create_app
from web.server import THREADS, THREADS_ON_POSTGRESQL, CannotListenError, Server

log = structlog.get_logger("run_web")


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    os.umask(0o077)
    settings = settings_or_exit()
    logs.configure(settings.log_format, settings.log_level)
    # waitress would warn of each request that waits for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        open_database(settings.database_url.reveal())
        threads = THREADS if is_sqlite() else THREADS_ON_POSTGRESQL
        server = Server(create_app(settings), settings.web_host, settings.web_port, disconnect, threads)
    except (DatabaseError, CannotListenError) as error:
        print(f"nodetill: {error}", file=sys.stderr)
        return 1
    _on_signals(lambda *_: server.stop())
    log.info("web server started", listening=" ".join(f"{host}:{port}" for host, port in server.addresses))
    server.run()
    # Python puts the default handlers back as it ends, and one more signal would spoil the exit status.
    _on_signals(signal.SIG_IGN)
    disconnect()
    log.info("web server stopped")
    return 0


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
