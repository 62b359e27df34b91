"""The web server's PostgreSQL role cannot write the daemon's data."""

from typing import Any

import psycopg
import pytest

from models.db.connection import disconnect
from models.db.schema import open_database
from tests.support.postgres import PostgresServer
from tests.support.web_role import WEB, RoleDatabase, late_payment, manage_as, new_role_database
from tests.support.web_server import stock

FORGERIES = {
    "a status": "UPDATE payment_request SET status = 'confirmed'",
    "an amount received": "UPDATE payment_request SET received_sats = 222416",
    "an acceptance": "UPDATE payment_request SET late_accepted_at = 1",
    "a cancellation": "UPDATE payment_request SET cancelled_at = 1",
    "another expiry": "UPDATE payment_request SET expires_at = 1",
    "another amount due": "UPDATE payment_request SET amount_sats = 1",
    "another address for a request": "UPDATE payment_request SET address_id = 1",
    "a first cover": "UPDATE payment_request SET first_covered_at = 1",
    "a first confirmation": "UPDATE payment_request SET first_confirmed_at = 1",
    "a report of an invoice": "UPDATE payment_request SET invoice_reported = '{}'",
    "an assessment": "UPDATE payment_request SET reassess_at_height = 0",
    "another order": "UPDATE payment_request SET order_id = 'x'",
    "another idempotency key": "UPDATE payment_request SET idempotency_key = 'x'",
    "what a request counts for its link": "UPDATE payment_request SET link_units = 10000",
    "the link of a request": "UPDATE payment_request SET link_id = NULL",
    "a link's payment": "UPDATE link SET paid_at = 1",
    "a link's amount": "UPDATE link SET amount_fiat = '1'",
    "a paid link": "INSERT INTO link (reference, seller_id, title, description, note, currency, suggested, "
    "is_reusable, thanks, created_at, paid_at) VALUES ('LK-x', 'company1', 'x', '', '', 'EUR', '[]', FALSE, "
    "'', 1, 1)",
    "links": "DELETE FROM link",
    "an output": "INSERT INTO output (address_id, txid, vout, amount_sats, first_seen_at, state) "
    "VALUES (1, repeat('a', 64), 0, 222416, 1, 'mempool')",
    "an output's state": "UPDATE output SET state = 'mempool', block_hash = NULL, block_height = NULL",
    "an event": "INSERT INTO event (reference, payment_id, revision, type, created_at, payload) "
    "VALUES ('evt_x', 1, 1, 'payment.confirmed', 1, '{}')",
    "an event's payload": "UPDATE event SET payload = '{}'",
    "a message": "INSERT INTO message (event_id, payment_id, channel, recipient, queue, created_at, "
    "attempts) VALUES (1, 1, 'webhook', 'company1', 'company1', 1, 0)",
    "a message that waits": "UPDATE message SET next_attempt_at = NULL",
    "a message's recipient": "UPDATE message SET recipient = 'thief@example.com'",
    "an address": "INSERT INTO address (script, address, wallet, created_at) "
    "VALUES ('\\x00', 'bc1qthief', 'nodetill', 1)",
    "an address's text": "UPDATE address SET address = 'bc1qthief' WHERE id = 1",
    "an address's script": "UPDATE address SET script = '\\x00' WHERE id = 1",
    "a rate": "UPDATE rate SET price = '1'",
    "a new rate": "INSERT INTO rate (source, currency, price, fetched_at) VALUES ('x', 'EUR', '1', 1)",
    "a block": "INSERT INTO block (height, hash, chainwork, mined_at) VALUES (1, 'a', '1', 1)",
    "a report": "UPDATE daemon_report SET assessed_height = 1",
    "a seller's key": "UPDATE api_key SET key_hash = 'x'",
    "a key's seller": "UPDATE api_key SET seller_id = 'company1'",
    "a key's permissions": "UPDATE api_key SET permissions = NULL",
    "the end of a previous key": "UPDATE api_key SET expires_at = NULL",
    "a key's label": "UPDATE api_key SET label = 'x'",
    "keys": "DELETE FROM api_key",
    "a key that seems to be a command's": "INSERT INTO api_key (reference, seller_id, key_hash, label, "
    "created_at, created_by) VALUES ('key_x', 'company1', 'x', '', 1, 'operator')",
    "a webhook's address": "UPDATE webhook SET url = 'http://thief.example/'",
    "a webhook's address, removed": "UPDATE webhook SET url = NULL",
    "a webhook's secret": "UPDATE webhook SET signing_secret = 'x'",
    "a webhook's previous secret": "UPDATE webhook SET previous_secret = 'x'",
    "a webhook's seller": "UPDATE webhook SET seller_id = 'company2'",
    "a webhook's kind": "UPDATE webhook SET kind = 'btcpay'",
    "a webhook's secret, read": "SELECT signing_secret FROM webhook",
    "a previous webhook secret, read": "SELECT previous_secret FROM webhook",
    "webhooks": "DELETE FROM webhook",
    "a delivery": "UPDATE delivery SET error = NULL",
    "deliveries": "DELETE FROM delivery",
    "a row as a whole": "SELECT * FROM webhook",
    "a term": "UPDATE daemon_epoch SET number = number + 1",
    "a migration": "DELETE FROM schema_migration",
    "a watched outpoint": "DELETE FROM watched_outpoint",
    "a command that waits": "DELETE FROM daemon_command",
    "a decision's comment": "UPDATE decision SET comment = 'x'",
    "decisions": "DELETE FROM decision",
    "requests": "DELETE FROM payment_request",
    "outputs": "TRUNCATE output",
    "a table": "CREATE TABLE mine (id integer)",
    "a dropped table": "DROP TABLE rate",
    "a disabled policy": "ALTER TABLE address DISABLE ROW LEVEL SECURITY",
}


@pytest.fixture(scope="module")
def filled(postgres: PostgresServer) -> RoleDatabase:
    """Create a database with a row in each of the daemon's tables."""
    made = new_role_database(postgres)
    open_database(made.owner)
    stock(20)
    late_payment(1001)
    disconnect()
    assert manage_as(made.owner, "database", "grant-web", WEB).exit_code == 0
    return made


@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_web_role_cannot_write_the_daemons_data(filled: RoleDatabase, forgery: str) -> None:
    """PostgreSQL itself refuses each statement of a web process that an attacker controls."""
    with filled.as_web() as web, pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute(FORGERIES[forgery])


@pytest.mark.parametrize(
    "column",
    ["status", "due_sats", "received_sats", "overpaid_sats", "notified_sats", "revision", "is_late"],
)
def test_the_web_role_can_insert_only_a_new_request(filled: RoleDatabase, column: str) -> None:
    """A request with any trace of a payment is refused."""
    values = new_request_values()
    forged = {"status": "confirmed", "is_late": True}.get(column, 222_416 * 2)
    columns = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    insert = f"INSERT INTO payment_request ({columns}) VALUES ({marks})"
    with filled.as_web() as web:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            web.execute(insert, [*(values | {column: forged}).values()])
        with web.transaction(force_rollback=True):
            web.execute(insert, [*values.values()])


def new_request_values() -> dict[str, Any]:
    return {
        "reference": "PR-forged",
        "seller_id": "company1",
        "amount_fiat": "135.99",
        "currency": "EUR",
        "price": "61142.30",
        "price_at": 1,
        "price_source": "x",
        "amount_sats": 222_416,
        "tolerance_sats": 0,
        "address_id": 1,
        "confirmations_required": 6,
        "created_at": 1,
        "expires_at": 2,
        "monitored_until": 3,
        "note": "",
        "metadata": "{}",
        "status": "new",
        "due_sats": 222_416,
        "received_sats": 0,
        "overpaid_sats": 0,
        "notified_sats": 0,
        "revision": 0,
        "is_late": False,
        "order_id": "4711",
        "checkout": "{}",
        "link_amount_fiat": "50.00",
        "reassess_at_height": 0,
    }


@pytest.mark.parametrize(
    "column",
    [
        "covered_height",
        "txid",
        "received_at",
        "confirmed_at",
        "closed_at",
        "marked",
        "invoice_reported",
        "counted_sats",
        "link_units",
        "counted_since",
    ],
)
def test_the_web_role_cannot_insert_the_daemons_columns(filled: RoleDatabase, column: str) -> None:
    """These columns are empty at first, and only the daemon writes them."""
    with filled.as_web() as web, pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute(f"INSERT INTO payment_request ({column}) VALUES (NULL)")


def test_the_web_role_can_change_what_a_shop_says_of_its_invoice(filled: RoleDatabase) -> None:
    """A shop marks and archives its invoices, and replaces their metadata. The daemon then assesses them."""
    with filled.as_web() as web, web.transaction(force_rollback=True):
        changes = "marked = 'settled', marked_at = 5, archived_at = 5, metadata = '{}'"
        assert web.execute(f"UPDATE payment_request SET {changes} WHERE id = 1").rowcount == 1
        command = "INSERT INTO daemon_command (kind, payment_id, created_at) VALUES ('reassess', 1, 5)"
        assert web.execute(command).rowcount == 1


def test_the_web_role_cannot_release_a_claimed_address(filled: RoleDatabase) -> None:
    """A released address could be assigned to a second customer."""
    with filled.as_web() as web:
        claimed = web.execute("UPDATE address SET claimed_at = 5 WHERE id = 3 RETURNING id").fetchone()
        assert claimed == (3,)
        assert web.execute("UPDATE address SET claimed_at = NULL WHERE id = 3").rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            web.execute("UPDATE address SET claimed_at = NULL")
        assert web.execute("SELECT claimed_at FROM address WHERE id = 3").fetchone() == (5,)


def test_the_web_role_cannot_bring_a_revoked_key_back(filled: RoleDatabase) -> None:
    """It can revoke a key, and note a use of a key that works."""
    with filled.as_web() as web, web.transaction(force_rollback=True):
        assert web.execute("UPDATE api_key SET last_used_at = 5").rowcount == 1
        assert web.execute("UPDATE api_key SET revoked_at = 5").rowcount == 1
        assert web.execute("UPDATE api_key SET revoked_at = NULL").rowcount == 0
