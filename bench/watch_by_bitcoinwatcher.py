"""A watcher made with the package `bitcoinwatcher`, like its own simple_address_listener.py.

It is a program in a virtual environment of its own. bench/watching.py sets its environment variables.
"""

import os
import sys
from typing import Any

from bitcoin.address_listener.address_listener import AbstractAddressListener
from bitcoin.tx_listener import zmq_listener
from bitcoinlib.encoding import pubkeyhash_to_addr_bech32


class Listener(AbstractAddressListener):  # type: ignore[misc]
    """Writes each transaction that pays the address to standard error. Its log is on standard output."""

    def consume(self, tx_hex: str, subscribed_address: str, address_tx_data: list[Any]) -> None:  # noqa: ARG002
        """Write the txid of a transaction that has to do with the address."""
        print(address_tx_data[0].tx_id, file=sys.stderr, flush=True)


def main() -> None:
    # The package reads all transactions as the main chain's, and has no setting for the port.
    key_hash = bytes.fromhex(os.environ["WATCHED_SCRIPT"])[2:]
    zmq_listener.default_port = os.environ["ZMQ_PORT"]
    zmq_listener.ZMQTXListener(Listener({pubkeyhash_to_addr_bech32(key_hash, prefix="bc")})).start()


if __name__ == "__main__":
    main()
