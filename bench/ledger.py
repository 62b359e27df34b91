"""Stores the fewest rows that a payment needs, by the driver alone."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.database import connect, value
from bench.requests import open_requests
from bench.site import AMOUNT_SATS, FIRST_ADDRESS_ID, SELLER, fill_addresses
from models.db.connection import disconnect
from models.db.schema import open_database
from payments.transaction import Transaction

DOCUMENT = json.dumps({"payment": "x" * 1_400})
"""A document about as large as a request's, which an event keeps."""


class Ledger:
    """Nodetill's tables in a database of their own, with requests that wait for a payment."""

    def __init__(self, database: Path, request_count: int) -> None:
        open_database(f"sqlite:///{database}")
        disconnect()
        fill_addresses(database, request_count)
        self._connection = connect(database)
        self._connection.execute("PRAGMA synchronous = full")
        self._connection.execute(
            f"INSERT INTO seller (id, name, email, created_at) VALUES ('{SELLER}', '', '', 0)"
        )
        open_requests(database, range(FIRST_ADDRESS_ID, FIRST_ADDRESS_ID + request_count))
        found = self._connection.execute("SELECT script FROM address ORDER BY id").fetchall()
        self._scripts: Iterator[bytes] = iter([script for (script,) in found])

    def store(self, payment: Transaction) -> None:
        """Store that this transaction pays the next request, in one durable commit.

        The rows are an output, a watched outpoint, the status, an event, and a message for each recipient.
        """
        now, txid = time.time_ns() // 1000, payment.txid
        address_id = value(self._connection, "SELECT id FROM address WHERE script = ?", next(self._scripts))
        self._connection.execute("BEGIN IMMEDIATE")
        self._insert(
            "output",
            address_id=address_id,
            txid=txid,
            vout=0,
            amount_sats=AMOUNT_SATS,
            first_seen_at=now,
            present_since=now,
            state="mempool",
        )
        self._connection.execute(
            "INSERT INTO watched_outpoint VALUES (?, ?, ?)", (txid, payment.inputs[0], txid)
        )
        payment_id, revision = self._connection.execute(
            "SELECT id, revision FROM payment_request WHERE address_id = ?", (address_id,)
        ).fetchone()
        self._connection.execute(
            "UPDATE payment_request SET status = 'received', received_sats = ?, due_sats = 0, txid = ?, "
            "received_at = ?, notified_sats = ?, revision = ? WHERE id = ? AND revision = ?",
            (AMOUNT_SATS, txid, now, AMOUNT_SATS, revision + 1, payment_id, revision),
        )
        self._insert_event(payment_id, revision + 1, now)
        self._connection.execute("COMMIT")

    def _insert_event(self, payment_id: int, revision: int, now: int) -> None:
        event_id = self._insert(
            "event",
            reference=f"evt_{secrets.token_hex(16)}",
            payment_id=payment_id,
            revision=revision,
            type="payment.received",
            created_at=now,
            payload=DOCUMENT,
        )
        for channel in ("email", "webhook"):
            self._insert(
                "message",
                event_id=event_id,
                payment_id=payment_id,
                channel=channel,
                recipient=SELLER,
                queue=channel,
                created_at=now,
                attempts=0,
                next_attempt_at=now,
            )

    def _insert(self, table: str, **values: Any) -> int:
        marks = ", ".join("?" * len(values))
        query = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks}) RETURNING id"
        return int(value(self._connection, query, *values.values()))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
