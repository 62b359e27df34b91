"""A watcher as it is often written: each transaction of the feed is decoded by bitcoind.

A program of its own, told by its environment what bench.watching.Script tells it.
"""

import os
import sys

import zmq
from bitcoinrpc.authproxy import AuthServiceProxy


def main() -> None:
    """Name, on standard error, each transaction that pays the script."""
    told = os.environ
    user, host = f"{told['RPC_USER']}:{told['RPC_PASSWORD']}", f"{told['RPC_HOST']}:{told['RPC_PORT']}"
    node = AuthServiceProxy(f"http://{user}@{host}")
    socket = zmq.Context().socket(zmq.SUB)
    socket.set(zmq.SUBSCRIBE, b"rawtx")
    socket.connect(f"tcp://{told['RPC_HOST']}:{told['ZMQ_PORT']}")
    while True:
        _, raw, _ = socket.recv_multipart()
        transaction = node.decoderawtransaction(raw.hex())
        if any(output["scriptPubKey"]["hex"] == told["WATCHED_SCRIPT"] for output in transaction["vout"]):
            print(transaction["txid"], file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
