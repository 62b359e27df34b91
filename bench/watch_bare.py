"""The least that a watcher in Python can do: it takes each message, and looks for one script's bytes in it.

A program of its own, told by its environment what bench.watching.Script tells it.
"""

import os
import sys

import zmq

from payments.transaction import parse_transaction


def main() -> None:
    """Name, on standard error, each transaction that has the script in it."""
    script = bytes.fromhex(os.environ["WATCHED_SCRIPT"])
    socket = zmq.Context().socket(zmq.SUB)
    socket.set(zmq.SUBSCRIBE, b"rawtx")
    socket.connect(f"tcp://{os.environ['RPC_HOST']}:{os.environ['ZMQ_PORT']}")
    while True:
        _, raw, _ = socket.recv_multipart()
        if script in raw:
            print(parse_transaction(raw).txid, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
