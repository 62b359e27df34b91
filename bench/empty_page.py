"""`python -m bench.empty_page PORT`: the web server as it is operated, with nothing behind it."""

import signal
import sys

from bottle import Bottle

from web.http.server import Server


def main() -> None:
    """Serve an empty page until SIGTERM."""
    app = Bottle()
    app.route("/", "GET", lambda: b"")
    server = Server(app, "127.0.0.1", int(sys.argv[1]))
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    server.run()


if __name__ == "__main__":
    main()
